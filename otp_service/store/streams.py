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

ABANDONED_MS = 86_400_000  # who reads asks every few seconds


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a stream; pending for its reader until it is taken out."""

    stream: str
    entry_id: str
    fields: Mapping[str, str] = field(repr=False)


class Streams:
    """
    Reads and acknowledges entries.

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

    async def read(self, names: Sequence[str], *, count: int, block_ms: int) -> list[Entry]:
        """
        Return new entries, at most `count` of each stream, waiting up to `block_ms` for the first.

        The consumer group is made where it is missing: at the first read, and when the data was lost under our feet.

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
                if not _no_group(error):
                    raise
                await self._make_group(names)
                return []
        streams = answer.items() if isinstance(answer, dict) else answer or []
        return [
            entry
            for name, batches in streams
            for batch in batches
            for entry in _entries(name, batch)
        ]

    async def held(self) -> list[Entry]:
        """
        Return what is pending for this worker, oldest first, at most 16 of each stream.

        Raises:
            Unavailable: no stream could be looked at. A node that is away hides only its own.
        """
        # Reading them once more would make them young again, and no other worker could ever claim them.
        pending = await self._looked_at(
            "held",
            lambda calls, name: calls.xpending_range(
                name, self._group, "-", "+", 16, consumername=self._consumer
            ),
        )
        async with _faults("held"):
            return [
                entry
                for name, own in pending
                for each in own
                for entry in _entries(
                    name,
                    await self._client.xrange(name, each["message_id"], each["message_id"]),
                )
            ]

    async def claim_idle(self, *, idle_ms: int) -> list[Entry]:
        """
        Return entries that another worker took and left for `idle_ms`.

        Raises:
            Unavailable: no stream could be looked at. A node that is away hides only its own.
        """
        answers = await self._looked_at(
            "claim",
            lambda calls, name: calls.xautoclaim(
                name, self._group, self._consumer, idle_ms, start_id="0", count=16
            ),
        )
        return [entry for name, answer in answers for entry in _entries(name, answer[1])]

    async def give_back(self, entries: Sequence[tuple[str, str]]) -> None:
        """Leave entries (stream and id) that were not begun for the next sweep, at once. Raises Unavailable."""
        async with _faults("give_back"):
            for name, entry_id in entries:
                await self._client.xclaim(
                    name, self._group, self._consumer, 0, [entry_id], idle=3_600_000, justid=True
                )

    async def leave(self, *, abandoned_ms: int = ABANDONED_MS) -> None:
        """
        Take this consumer out of the groups where nothing is pending for it, and those not heard of for `abandoned_ms`.

        Raises:
            Unavailable: Redis.
        """
        own = {
            "group": self._group, "consumer": self._consumer, "abandoned_ms": abandoned_ms,
        }  # fmt: skip
        answers = await asyncio.gather(
            *(self._scripts.run("leave_group", [name], own) for name in self._names),
            return_exceptions=True,  # a node that is away keeps nobody from leaving the others
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def waiting(self) -> int:
        """Return how many entries there are, pending ones included. Raises Unavailable."""
        async with _faults("waiting"):
            return sum([int(await self._client.xlen(name)) for name in self._names])

    async def take_out(self, name: str, entry_id: str) -> None:
        """Take an entry off its stream: it is done. Raises Unavailable."""
        async with _faults("take_out"):
            await self._client.xack(name, self._group, entry_id)
            await self._client.xdel(name, entry_id)

    async def _make_group(self, names: Sequence[str]) -> None:
        answers = await self._each(
            lambda calls, name: calls.xgroup_create(name, self._group, id="0", mkstream=True), names
        )
        for answer in answers:
            if isinstance(answer, Exception) and "BUSYGROUP" not in str(answer):
                raise answer

    async def _looked_at(self, what: str, call: Callable[[Any, str], Any]) -> list[tuple[str, Any]]:
        """Do one command on every stream; return those that answered. Raises Unavailable when all are away."""
        async with _faults(what):
            answers = await self._each(call)
            faults = [a for a in answers if isinstance(a, Exception) and not _no_group(a)]
            if len(faults) == len(answers):
                raise faults[0]
        told = zip(self._names, answers, strict=True)
        return [(name, answer) for name, answer in told if not isinstance(answer, Exception)]

    async def _each(
        self, call: Callable[[Any, str], Any], names: Sequence[str] | None = None
    ) -> list[Any]:
        """Do one command on every stream; a failed one's answer is its exception."""
        names = self._names if names is None else names
        if self._scripts.connection.clustered:  # its pipeline fails whole when one node is away
            calls = (call(self._client, name) for name in names)
            return list(await asyncio.gather(*calls, return_exceptions=True))
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
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


def _no_group(error: Exception) -> bool:
    return isinstance(error, ResponseError) and "NOGROUP" in str(error)


def _entries(stream: str, entries: Any) -> list[Entry]:  # noqa: ANN401
    """Entries as RESP2 and RESP3 give them; a deleted one comes without fields."""
    return [
        Entry(stream, entry_id, fields)
        for entry_id, fields in ([entries] if isinstance(entries, tuple) else entries)
        if fields
    ]
