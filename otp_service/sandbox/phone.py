"""The phones of this world: what a provider would have delivered, kept to be looked at."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from secrets import token_hex
from typing import Any

CHARACTERS = 20_000_000
"""All texts together."""


@dataclass(frozen=True)
class Message:
    """One SMS as it reached one phone; `to` is what the gateway handed over, mostly E.164."""

    id: int
    to: str
    message: str
    sender: str | None
    sent_at: str
    """RFC 3339, UTC, milliseconds."""
    gateway: str
    flash: bool
    media: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "media": list(self.media)}


class Phone:
    """
    The last messages of all numbers, newest last; older ones are forgotten beyond `capacity` messages, or where all
    texts together are longer than `characters`.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        capacity: int = 10_000,
        characters: int = CHARACTERS,
    ) -> None:
        self._now = now
        self._capacity = capacity
        self._most_characters = characters
        self._messages: deque[Message] = deque()
        self._characters = 0
        self._changed = asyncio.Event()
        self._last_id = 0
        self.token = token_hex(4)
        """Another one after every start, so that ids of an earlier process are not taken for ours."""
        self.epoch = 0
        """Goes up when messages are forgotten, so that a page knows to start afresh."""

    def receive(
        self,
        to: str,
        message: str,
        sender: str | None,
        *,
        gateway: str = "",
        flash: bool = False,
        media: tuple[str, ...] = (),
    ) -> Message:
        self._last_id += 1
        sent_at = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        received = Message(self._last_id, to, message, sender, sent_at, gateway, flash, media)
        self._messages.append(received)
        self._characters += len(message)
        while len(self._messages) > self._capacity or self._characters > self._most_characters:
            self._characters -= len(self._messages.popleft().message)
        self._wake()
        return received

    def messages(self, to: str | None = None, limit: int | None = None) -> list[Message]:
        """Newest first; `to` keeps one number's only, with or without its plus."""
        wanted = None if to is None else to.strip().removeprefix("+")
        found = [
            m
            for m in reversed(self._messages)
            if wanted is None or m.to.removeprefix("+") == wanted
        ]
        return found if limit is None else found[:limit]

    def forget(self, to: str | None = None) -> int:
        """How many were forgotten: all, or one number's."""
        gone = self.messages(to)
        kept = set() if to is None else {m.id for m in self._messages} - {m.id for m in gone}
        remaining = [m for m in self._messages if m.id in kept]
        self._messages.clear()
        self._messages.extend(remaining)
        self._characters = sum(len(m.message) for m in remaining)
        self.epoch += 1
        self._wake()
        return len(gone)

    async def watch(self, after: int = 0) -> AsyncGenerator[list[Message], None]:
        """Batches of messages newer than the id `after`, oldest first, as they arrive.

        An empty batch says that messages were forgotten.
        """
        epoch = self.epoch
        while True:
            changed = self._changed
            if epoch != self.epoch:
                epoch = self.epoch
                after = 0
                yield []
            fresh = [m for m in self._messages if m.id > after]
            if fresh:
                after = fresh[-1].id
                yield fresh
            else:
                await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
