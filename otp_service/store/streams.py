"""Streams of one kind, one in each bucket, read together by one consumer group: each entry by one worker at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from otp_service.errors import Unavailable
from otp_service.store.connection import FAULTS, Connection
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a stream; pending for its reader until it is taken out."""

    stream: str
    entry_id: str
    fields: Mapping[str, str] = field(repr=False)


class Streams:
    """
    The streams as their workers see them.

    Args:
        scripts: For all but waiting.
        blocking: For waiting, with time enough.
        names: Of the streams.
        group: The consumer group; made where it is missing.
        consumer: This worker's name, nobody else's.
    """

    def __init__(
        self,
        scripts: Scripts,
        blocking: Connection,
        *,
        names: Sequence[str],
        group: str,
        consumer: str,
    ) -> None:
        self._scripts = scripts
        self._blocking = blocking
        self._names = names
        self._group = group
        self._consumer = consumer

    @property
    def reading_groups(self) -> list[list[str]]:
        """The streams in groups that one blocking read may name: one on a single node, one each on Redis Cluster."""
        return self._scripts.connection.by_slot(self._names)

    async def prepare(self) -> None:
        """Create the consumer group where it is missing. Raises Unavailable."""
        async with _faults("prepare"):
            answers = await self._each(
                lambda calls, name: calls.xgroup_create(name, self._group, id="0", mkstream=True)
            )
            for answer in answers:
                if isinstance(answer, Exception) and "BUSYGROUP" not in str(answer):
                    raise answer

    async def read(self, names: Sequence[str], *, count: int, block_ms: int) -> list[Entry]:
        """
        Return new entries, at most `count` of each stream, waiting up to `block_ms` for the first.

        Raises:
            Unavailable: Redis.
        """
        client: Any = self._blocking.client
        async with _faults("read"):
            try:
                answer = await client.xreadgroup(
                    self._group,
                    self._consumer,
                    dict.fromkeys(names, ">"),
                    count=count,
                    block=block_ms,
                )
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                await self.prepare()  # the data was lost under our feet
                return []
        streams = answer.items() if isinstance(answer, dict) else answer or []
        return [
            entry
            for name, batches in streams
            for batch in batches
            for entry in _entries(name, batch)
        ]

    async def claim_idle(self, *, idle_ms: int) -> list[Entry]:
        """Return entries that another worker took and left for `idle_ms`. Raises Unavailable."""
        found: list[Entry] = []
        async with _faults("claim"):
            answers = await self._each(
                lambda calls, name: calls.xautoclaim(
                    name, self._group, self._consumer, idle_ms, start_id="0", count=16
                )
            )
            for name, answer in zip(self._names, answers, strict=True):
                if isinstance(answer, Exception):
                    raise answer
                found += _entries(name, answer[1])
        return found

    async def give_back(self, entries: Sequence[tuple[str, str]]) -> None:
        """Leave entries (stream and id) that were not begun for the next sweep, at once. Raises Unavailable."""
        async with _faults("give_back"):
            for name, entry_id in entries:
                await self._client.xclaim(
                    name, self._group, self._consumer, 0, [entry_id], idle=3_600_000, justid=True
                )

    async def leave(self) -> None:
        """Take this consumer out of the groups where nothing is pending for it. Raises Unavailable."""
        own = {"group": self._group, "consumer": self._consumer}
        await asyncio.gather(
            *(self._scripts.run("leave_group", [name], own) for name in self._names)
        )

    async def waiting(self) -> int:
        """Return how many entries there are, pending ones included. Raises Unavailable."""
        async with _faults("waiting"):
            return sum([int(await self._client.xlen(name)) for name in self._names])

    async def take_out(self, name: str, entry_id: str) -> None:
        """Take an entry off its stream: it is done. Raises Unavailable."""
        async with _faults("take_out"):
            await self._client.xack(name, self._group, entry_id)
            await self._client.xdel(name, entry_id)

    async def _each(self, call: Callable[[Any, str], Any]) -> list[Any]:
        """Do one command on every stream in one round trip; a failed one's answer is its exception."""
        pipeline = self._client.pipeline(transaction=False)
        for name in self._names:
            call(pipeline, name)
        return list(await pipeline.execute(raise_on_error=False))

    @property
    def _client(self) -> Any:  # noqa: ANN401
        return self._scripts.connection.client


@asynccontextmanager
async def _faults(what: str) -> AsyncIterator[None]:
    try:
        yield
    except FAULTS as error:
        raise Unavailable(f"redis: {what}: {type(error).__name__}") from error


def _entries(stream: str, entries: Any) -> list[Entry]:  # noqa: ANN401
    """Entries as RESP2 and RESP3 give them; a deleted one comes without fields."""
    return [
        Entry(stream, entry_id, fields)
        for entry_id, fields in ([entries] if isinstance(entries, tuple) else entries)
        if fields
    ]
