"""
Webhook messages: a queue for each endpoint, which one worker at a time serves.

A turn is a lease on an endpoint: one worker at a time sends to it, a slow one holds up nobody else, and what a worker
that died was sending is sent again, under the same id, when the lease is over.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from otp_service.core.events import Message
from otp_service.core.keyring import Keyring
from otp_service.core.seal import seal, unseal
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS
from otp_service.store.scripts import Scripts

WAITING_AT_MOST = 2_000  # messages of one endpoint
DEAD_AT_MOST = 1_000
KEEP_MS = 30 * 86_400_000
LONGEST_RETRY_MS = 27 * 3_600_000  # longer than the longest pause between two tries
LATEST_TURN_MS = 60_000  # an endpoint for which something waits gets a turn this often


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """
    A stored message.

    Attributes:
        body: Sealed.
        at: When it was queued, Unix milliseconds.
        tries: So far.
        last: How the last one went, in stable words; "" before.
    """

    type: str
    body: str = field(repr=False)
    at: int
    tries: int = 0
    last: str = ""

    @classmethod
    def of(cls, keyring: Keyring, message: Message, *, at: int) -> Self:
        """Return the record of a new message."""
        sealed = seal(keyring, message.body, belongs_to=f"event:{message.id}")
        return cls(type=message.type, body=sealed, at=at)

    def open(self, keyring: Keyring, message_id: str) -> Message:
        """Return the message. Raises SealBroken."""
        text = unseal(keyring, self.body, belongs_to=f"event:{message_id}")
        return Message(message_id, self.type, text)

    def tried(self, last: str) -> "Record":
        """Return it after one more try."""
        return replace(self, tries=self.tries + 1, last=last)


class Outgoing:
    """
    The queues. An endpoint is named by `Endpoint.name`.

    Args:
        scripts: To run.
        waiting_at_most: Messages of one endpoint; beyond them the oldest become dead letters.
        dead_at_most: Dead letters of one endpoint; beyond them the oldest go.
    """

    def __init__(
        self,
        scripts: Scripts,
        *,
        waiting_at_most: int = WAITING_AT_MOST,
        dead_at_most: int = DEAD_AT_MOST,
    ) -> None:
        self._scripts = scripts
        self._waiting_at_most = waiting_at_most
        self._dead_at_most = dead_at_most

    async def enqueue(
        self, endpoint: str, message_id: str, record: Record, *, again: bool = False
    ) -> int | None:
        """
        Queue a message; return how many others became dead letters for it, or None if it was there already.

        Args:
            endpoint: For whom.
            message_id: The same twice is queued once.
            record: What is kept.
            again: Out of the dead letters; None then means that there is no such one.

        Raises:
            Unavailable: Redis.
        """
        answer = await self._scripts.run(
            "enqueue_webhook",
            [keys.DUE, keys.FAILING, *_own(endpoint)],
            {
                "endpoint": endpoint,
                "message": message_id,
                "record": json.dumps(asdict(record)),
                "again": again,
                "cap": self._waiting_at_most,
                "dead_cap": self._dead_at_most,
                "keep_ms": KEEP_MS,
            },
        )
        return int(answer["buried"]) if answer["verdict"] == "queued" else None

    async def claim(
        self, *, lease_ms: int, count: int, failing: int, share: int, busy: Mapping[str, int]
    ) -> list[tuple[str, bool]]:
        """
        Return endpoints that have a turn now, each for one worker until the lease ends, and whether each is failing.

        Args:
            count: How many at most.
            failing: How many of them whose last try failed, at most.
            share: Turns of one caller at once, at most.
            busy: Turns that each caller has now.

        Raises:
            Unavailable: Redis.
        """
        answer = await self._scripts.run(
            "claim_turns",
            [keys.DUE, keys.FAILING],
            {
                "lease_ms": lease_ms,
                "longest_ms": max(lease_ms, LATEST_TURN_MS),
                "count": count,
                "failing": failing,
                "share": share,
                "busy": dict(busy),
            },
        )
        return [(str(endpoint), bool(failing)) for endpoint, failing in answer["members"]]

    async def take(self, endpoint: str, *, count: int) -> list[tuple[str, Record]]:
        """Return messages that are due, the longest due first; marks nothing. Raises Unavailable."""
        answer = await self._scripts.run(
            "take_webhooks",
            [keys.waiting(endpoint), keys.records(endpoint)],
            {"longest_ms": LONGEST_RETRY_MS, "count": count},
        )
        return [(message_id, _record(text)) for message_id, text in answer["messages"]]

    async def settle(
        self,
        endpoint: str,
        message_id: str,
        record: Record,
        outcome: Literal["delivered", "retry", "dead"],
        *,
        delay_ms: int = 0,
    ) -> None:
        """Write how a try went. Raises Unavailable."""
        await self._scripts.run(
            "settle_webhook",
            _own(endpoint),
            {
                "message": message_id,
                "outcome": outcome,
                "record": json.dumps(asdict(record)),
                "delay_ms": delay_ms,
                "dead_cap": self._dead_at_most,
                "keep_ms": KEEP_MS,
            },
        )

    async def rest(self, endpoint: str, *, pause_ms: int, failed: bool | None) -> None:
        """
        End a turn; the next is when the next message is due, not before the pause is over.

        Args:
            failed: Whether the last try did; None when none was made.

        Raises:
            Unavailable: Redis.
        """
        await self._scripts.run(
            "rest_endpoint",
            [keys.DUE, keys.FAILING, keys.waiting(endpoint)],
            ({} if failed is None else {"failed": failed})
            | {
                "endpoint": endpoint,
                "pause_ms": pause_ms,
                "latest_ms": LATEST_TURN_MS,
                "keep_ms": KEEP_MS,
            },
        )

    async def dead_letters(self, endpoint: str) -> list[tuple[str, Record]]:
        """Return what was given up, the oldest first. Raises Unavailable."""
        ids = await self._command("ZRANGE", keys.dead(endpoint), 0, -1)
        found = []
        for message_id in ids or ():
            text = await self._command("HGET", keys.records(endpoint), message_id)
            if text is not None:
                found.append((str(message_id), _record(text)))
        return found

    async def waiting(self) -> int:
        """Return how many messages wait in all. Raises Unavailable."""
        endpoints = [
            str(name)
            for key in (keys.DUE, keys.FAILING)
            for name in await self._command("ZRANGE", key, 0, -1) or ()
        ]
        return sum([int(await self._command("ZCARD", keys.waiting(name))) for name in endpoints])

    async def forget(self, endpoint: str) -> None:
        """Drop all that waits for an endpoint, dead letters too: it is gone. Raises Unavailable."""
        for key in (keys.DUE, keys.FAILING):
            await self._command("ZREM", key, endpoint)
        await self._command("DEL", *_own(endpoint))

    async def _command(self, *command: Any) -> Any:  # noqa: ANN401
        client: Any = self._scripts.connection.client
        try:
            return await client.execute_command(*command)
        except FAULTS as error:
            raise Unavailable(f"redis: outgoing: {type(error).__name__}") from error


def _own(endpoint: str) -> Sequence[str]:
    return (keys.waiting(endpoint), keys.records(endpoint), keys.dead(endpoint))


def _record(text: str) -> Record:
    try:
        return Record(**json.loads(text))
    except (ValueError, TypeError):
        raise Unavailable("redis: a message's record is damaged") from None
