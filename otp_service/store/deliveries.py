"""Delivery jobs: a stream of ids in each bucket, one consumer group, and a fence before each send."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError, ResponseError

from otp_service.core.challenge import ChallengeAddress, DeliveryStatus
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import Connection
from otp_service.store.scripts import Scripts

GROUP = "delivery"


@dataclass(frozen=True, slots=True)
class Job:
    """An entry of a queue: which challenge wants its code of which generation sent."""

    queue: str
    message_id: str
    challenge_id: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """What a send needs. `sealed` is the recipient; `expires_at` and `now` are Unix milliseconds."""

    caller: str
    purpose: str
    binding: str
    locale: str
    digits: int
    sealed: str
    expires_at: int
    now: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Nothing is to be sent for this job any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class NewTrace:
    """What a send leaves so that its message can be found at the provider: the sealed number, and for how long."""

    sealed: str
    life_ms: int


class InProgress:
    """Somebody is sending it just now."""


class Deliveries:
    """The queue as its workers see it."""

    def __init__(self, scripts: Scripts, blocking: Connection, *, consumer: str) -> None:
        self._scripts = scripts
        self._blocking = blocking
        self._consumer = consumer

    @property
    def reading_groups(self) -> list[list[str]]:
        """The queues in groups that one blocking read may name: one on a single node, one each on Redis Cluster."""
        return self._scripts.connection.by_slot(keys.queues())

    async def prepare(self) -> None:
        """Create the queues' consumer group where it is missing. Raises Unavailable."""
        async with _faults("prepare"):
            for queue in keys.queues():
                try:
                    await self._client.xgroup_create(queue, GROUP, id="0", mkstream=True)
                except ResponseError as error:
                    if "BUSYGROUP" not in str(error):
                        raise

    async def read(self, queues: Sequence[str], *, block_ms: int) -> list[Job]:
        """
        Return new jobs, at most one of each queue, waiting up to `block_ms` for the first.

        Raises:
            Unavailable: Redis.
        """
        client: Any = self._blocking.client
        async with _faults("read"):
            try:
                answer = await client.xreadgroup(
                    GROUP, self._consumer, dict.fromkeys(queues, ">"), count=1, block=block_ms
                )
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                await self.prepare()  # the data was lost under our feet
                return []
        streams = answer.items() if isinstance(answer, dict) else answer or []
        return [
            job for queue, batches in streams for batch in batches for job in _jobs(queue, batch)
        ]

    async def claim_idle(self, *, idle_ms: int) -> list[Job]:
        """Return jobs that another worker took and left for `idle_ms`. Raises Unavailable."""
        found: list[Job] = []
        async with _faults("claim"):
            for queue in keys.queues():
                answer = await self._client.xautoclaim(
                    queue, GROUP, self._consumer, idle_ms, start_id="0", count=16
                )
                found += _jobs(queue, answer[1])
        return found

    async def give_back(self, jobs: Sequence[Job]) -> None:
        """Leave jobs that were not begun for the next worker that sweeps, at once. Raises Unavailable."""
        async with _faults("give_back"):
            for job in jobs:
                await self._client.xclaim(
                    job.queue,
                    GROUP,
                    self._consumer,
                    0,
                    [job.message_id],
                    idle=3_600_000,
                    justid=True,
                )

    async def leave(self) -> None:
        """Take this consumer out of the groups where nothing is pending for it. Raises Unavailable."""
        async with _faults("leave"):
            for queue in keys.queues():
                pending = await self._client.xpending_range(
                    queue, GROUP, "-", "+", 1, consumername=self._consumer
                )
                if not pending:
                    await self._client.xgroup_delconsumer(queue, GROUP, self._consumer)

    async def waiting(self) -> int:
        """Return how many jobs are queued or being sent. Raises Unavailable."""
        async with _faults("waiting"):
            return sum([int(await self._client.xlen(queue)) for queue in keys.queues()])

    async def take(self, job: Job, address: ChallengeAddress) -> Send | Dropped | InProgress:
        """Return what the job's send needs, or settle it. Marks nothing on `Send`. Raises Unavailable."""
        answer = await self._scripts.run(
            "take_job",
            [
                keys.challenge(address),
                keys.secret(address),
                keys.subject(address.subject),
                job.queue,
                keys.events(address.subject.bucket),
            ],
            {
                "id": job.challenge_id,
                "generation": job.generation,
                "group": GROUP,
                "message_id": job.message_id,
            },
        )
        match answer["verdict"]:
            case "send":
                return Send(
                    caller=answer["caller"],
                    purpose=answer["purpose"],
                    binding=answer["binding"],
                    locale=answer["locale"],
                    digits=int(answer["digits"]),
                    sealed=answer["sealed"],
                    expires_at=int(answer["expires_at"]),
                    now=int(answer["now"]),
                )
            case "dropped":
                return Dropped(answer["reason"])
            case _:
                return InProgress()

    async def begin(
        self,
        job: Job,
        address: ChallengeAddress,
        *,
        digest: str,
        kid: str,
        sending_ms: int,
        trace: NewTrace | None = None,
    ) -> bool:
        """
        Store the digest and pass the fence; False when another was first or it is too late.

        Args:
            job: Taken.
            address: Of its challenge.
            digest: Of the code that is about to leave.
            kid: The pepper's.
            sending_ms: Until when the send is over, one way or another.
            trace: What is to be left for `flows.reconciliation`, if anything.

        Raises:
            Unavailable: Redis.
        """
        answer = await self._scripts.run(
            "begin_send",
            [
                keys.challenge(address),
                keys.secret(address),
                keys.subject(address.subject),
                *_trace_keys(job, address),
            ],
            {
                "id": job.challenge_id,
                "generation": job.generation,
                "digest": digest,
                "kid": kid,
                "sending_ms": sending_ms,
                "trace_ms": trace.life_ms if trace else 0,
                "number": trace.sealed if trace else "",
            },
            durable=True,
        )
        return bool(answer["verdict"] == "sending")

    async def settle(
        self,
        job: Job,
        address: ChallengeAddress,
        delivery: DeliveryStatus,
        reason: str,
        *,
        look_ms: int | None = None,
    ) -> bool:
        """
        Write how it went; False when that interests nobody any more.

        Args:
            job: Begun.
            address: Of its challenge.
            delivery: Accepted, failed or unknown.
            reason: A stable word, or "".
            look_ms: After how long to look for the message at the provider; None: never, the trace goes.

        Raises:
            Unavailable: Redis.
        """
        answer = await self._scripts.run(
            "settle_send",
            [
                keys.challenge(address),
                keys.secret(address),
                job.queue,
                *_trace_keys(job, address),
                keys.events(address.subject.bucket),
            ],
            {
                "id": job.challenge_id,
                "generation": job.generation,
                "delivery": delivery,
                "reason": reason,
                "group": GROUP,
                "message_id": job.message_id,
                "look_ms": -1 if look_ms is None else look_ms,
            },
        )
        return bool(answer["verdict"] == "settled")

    async def discard(self, job: Job) -> None:
        """Take an entry off the queue that is no job of ours. Raises Unavailable."""
        async with _faults("discard"):
            await self._client.xack(job.queue, GROUP, job.message_id)
            await self._client.xdel(job.queue, job.message_id)

    @property
    def _client(self) -> Any:  # noqa: ANN401
        return self._scripts.connection.client


def _trace_keys(job: Job, address: ChallengeAddress) -> list[str]:
    return [keys.trace(address, job.generation), keys.traces(address.subject.bucket)]


@asynccontextmanager
async def _faults(what: str) -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise Unavailable(f"redis: {what}: {type(error).__name__}") from error


def _jobs(queue: str, entries: Any) -> list[Job]:  # noqa: ANN401
    """Entries as RESP2 and RESP3 give them; a deleted one comes without fields."""
    return [
        Job(queue, message_id, str(fields.get("id")), int(fields.get("generation", 0)))
        for message_id, fields in ([entries] if isinstance(entries, tuple) else entries)
        if fields
    ]
