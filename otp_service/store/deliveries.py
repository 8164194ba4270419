"""Delivery jobs: a stream of ids in each bucket, one consumer group, and a fence before each send."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otp_service.core.challenge import ChallengeAddress, DeliveryStatus
from otp_service.store import keys
from otp_service.store.connection import Connection
from otp_service.store.scripts import Scripts
from otp_service.store.streams import ABANDONED_MS, Entry, Streams

GROUP = "delivery"


@dataclass(frozen=True, slots=True)
class Job:
    """
    An entry of a queue: which challenge wants its code of which generation sent.

    Attributes:
        behind: Whether login codes go first: it is the code of an opt-in.
    """

    queue: str
    message_id: str
    challenge_id: str
    generation: int
    behind: bool = False

    @classmethod
    def of(cls, queue: str, message_id: str, fields: Mapping[str, Any]) -> "Job":
        """Return what an entry says: `id`, `generation` and `behind`."""
        return cls(
            queue,
            message_id,
            str(fields.get("id")),
            int(fields.get("generation", 0)),
            bool(fields.get("behind")),
        )

    def age_ms(self, now: float) -> float:
        """How long it has been waiting. `now` in Unix seconds."""
        return now * 1000 - int(self.message_id.partition("-")[0])


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
    """A job for which nothing may be sent any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class NewLookup:
    """What a send leaves so that its message can be found at the provider: the sealed number, and for how long."""

    sealed: str
    life_ms: int


class InProgress:
    """Another worker is sending it."""


class Deliveries:
    """
    Claims, fences and settles delivery jobs.

    Attributes:
        consumer: This worker's name in the queue's group, nobody else's.
    """

    def __init__(self, scripts: Scripts, blocking: Connection, *, consumer: str) -> None:
        self.consumer = consumer
        self._scripts = scripts
        self._streams = Streams(
            scripts, blocking, names=keys.queues(), group=GROUP, consumer=consumer
        )

    @property
    def reading_groups(self) -> list[list[str]]:
        """The queues in groups that one blocking read may name: one on a single node, one each on Redis Cluster."""
        return self._streams.reading_groups

    async def read(self, queues: Sequence[str], *, block_ms: int) -> list[Job]:
        """Return new jobs, at most one of each queue, waiting up to `block_ms` for the first. Raises Unavailable."""
        return _jobs(await self._streams.read(queues, count=1, block_ms=block_ms))

    async def held(self) -> list[Job]:
        """Return jobs that are this worker's, also those it never heard of. Raises Unavailable."""
        return _jobs(await self._streams.held())

    async def claim_idle(self, *, idle_ms: int) -> list[Job]:
        """Return jobs that another worker took and left for `idle_ms`. Raises Unavailable."""
        return _jobs(await self._streams.claim_idle(idle_ms=idle_ms))

    async def give_back(self, jobs: Sequence[Job]) -> None:
        """Leave jobs that were not begun for the next worker that sweeps, at once. Raises Unavailable."""
        await self._streams.give_back([(job.queue, job.message_id) for job in jobs])

    async def leave(self, *, abandoned_ms: int = ABANDONED_MS) -> None:
        """As `Streams.leave`. Raises Unavailable."""
        await self._streams.leave(abandoned_ms=abandoned_ms)

    async def waiting(self) -> int:
        """Return how many jobs are queued or being sent. Raises Unavailable."""
        return await self._streams.waiting()

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
                keys.timeline(address.subject),
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
        trace: NewLookup | None = None,
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
                keys.timeline(address.subject),
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
                keys.timeline(address.subject),
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
        await self._streams.take_out(job.queue, job.message_id)


def _trace_keys(job: Job, address: ChallengeAddress) -> list[str]:
    return [keys.trace(address, job.generation), keys.traces(address.subject.bucket)]


def _jobs(entries: Sequence[Entry]) -> list[Job]:
    return [Job.of(entry.stream, entry.entry_id, entry.fields) for entry in entries]
