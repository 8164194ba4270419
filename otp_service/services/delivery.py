"""
The delivery worker: claim a job, draw the code, store its digest, send it, record the outcome.

A code exists in clear only inside `_send`, between drawing and handing over. The queue holds ids, so a job that was
never begun can be taken by anybody; begin_send.lua lets exactly one worker pass for each generation, so whatever dies
afterwards leaves `unknown` behind and never a second SMS.

A process that opens a challenge takes the queue's next job along when its own worker has a hand free (`Hands`): that is
the same job in the same queue, held as if it had been read, without asking Redis twice more.
"""

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from otp_service.channels.channel import Channel, Outcome
from otp_service.core import codes
from otp_service.core.challenge import ChallengeAddress, DeliveryStatus, address_of
from otp_service.core.codes import CodeContext
from otp_service.core.envelopes import Destination, seal_number
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.messages import Catalogue
from otp_service.core.seal import SealBroken
from otp_service.core.test_numbers import TEST_NUMBER, FixedCodeNumbers
from otp_service.errors import Unavailable
from otp_service.services.delivery_lookups import TRACE_SECONDS, LookupPolicy
from otp_service.services.hashing import HashPool
from otp_service.services.loops import end
from otp_service.store.deliveries import Deliveries, Dropped, InProgress, Job, NewLookup, Send
from otp_service.telemetry import DELIVERIES, DROPPED_JOBS

log = structlog.get_logger()

_FOREIGN_MS = 900_000  # no code waits for so long
BLOCK_MS = 1000
IDLE_MS = 15_000  # a job left for so long belonged to a worker that died
SWEEP_SECONDS = 5.0
MARGIN_SECONDS = 5.0  # between the channel's deadline and taking a send for lost


class InlineDispatcher(Protocol):
    """A worker of this process that can start a job at once."""

    @property
    def free(self) -> str:
        """The name of a consumer that can; "" when none can."""

    def claim_now(self, job: Job, send: Send | None) -> None:
        """Begin with a job that this consumer holds; `send` is what it needs where that is known."""


class DeliveryWorker:
    """
    Sends what is queued, `concurrency` at a time.

    Start it with `start`, end it with `stop`: what is in flight finishes, what was not begun stays queued.

    Attributes:
        sweep_seconds: How often it looks for jobs of workers that died.
    """

    sweep_seconds = SWEEP_SECONDS

    def __init__(
        self,
        *,
        keyring: Callable[[], Keyring],
        deliveries: Deliveries,
        hashes: HashPool,
        catalogue: Catalogue,
        channel: Channel,
        tracing: LookupPolicy,
        known_codes: FixedCodeNumbers,
        concurrency: int,
    ) -> None:
        self._keyring = keyring
        self._deliveries = deliveries
        self._hashes = hashes
        self._catalogue = catalogue
        self._channel = channel
        self._tracing = tracing
        self._known_codes = known_codes
        self._concurrency = concurrency
        self._free = asyncio.Semaphore(concurrency)
        # Codes of opt-ins take at most half of the places, so that login codes do not wait for a flood of sign-ups.
        self._behind = asyncio.Semaphore(max(1, concurrency // 2))
        self._stopping = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._sends: dict[str, asyncio.Task[None]] = {}
        self._unbegun: dict[str, Job] = {}

    async def start(self) -> None:
        """Begin to read the queues."""
        self._stopping.clear()
        groups = self._deliveries.reading_groups
        self._loops = [asyncio.create_task(self._read(group)) for group in groups]
        self._loops.append(asyncio.create_task(self._sweep()))

    async def stop(self) -> None:
        """Take no more jobs, finish those in flight, leave the rest for other workers."""
        self._stopping.set()
        await end(self._loops)
        for name in self._unbegun.keys() & self._sends.keys():
            self._sends[name].cancel()
        await asyncio.gather(*self._sends.values(), return_exceptions=True)
        unbegun, self._unbegun = list(self._unbegun.values()), {}
        with contextlib.suppress(Unavailable):
            await self._deliveries.give_back(unbegun)
            await self._deliveries.leave()

    async def _read(self, queues: Sequence[str]) -> None:
        while not self._stopping.is_set():
            try:
                async with self._free:
                    pass  # wait until at least one can begin, but take no place while waiting for jobs
                self._take(await self._deliveries.read(queues, block_ms=BLOCK_MS))
            except Exception as error:  # a loop that ends silently would leave every code unsent
                log.warning(
                    "delivery.read_failed", error=type(error).__name__, detail=_detail(error)
                )
                await asyncio.sleep(0.5)

    async def _sweep(self) -> None:
        while not self._stopping.is_set():
            try:
                self._take(await self._deliveries.claim_idle(idle_ms=IDLE_MS))
                # Also what was taken along, or read, by a call whose answer got lost.
                self._take(await self._deliveries.held())
            except Exception as error:
                log.warning(
                    "delivery.sweep_failed", error=type(error).__name__, detail=_detail(error)
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.sweep_seconds):
                    await self._stopping.wait()

    @property
    def free(self) -> str:
        idle = bool(self._loops) and not self._stopping.is_set() and not self._free.locked()
        return self._deliveries.consumer if idle else ""

    def claim_now(self, job: Job, send: Send | None) -> None:
        if not self._stopping.is_set():  # else somebody's sweep finds it
            self._begin(job, send)

    def _take(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._begin(job)

    def _begin(self, job: Job, send: Send | None = None) -> None:
        name = f"{job.queue}/{job.message_id}"
        if name in self._sends:
            return  # a sweep found what this very worker is still sending
        self._unbegun[name] = job
        # In no request's context: of who takes it along the log would name the request and the caller.
        task = asyncio.create_task(self._handle(name, job, send), context=contextvars.Context())
        self._sends[name] = task
        task.add_done_callback(lambda _: self._sends.pop(name))

    async def _handle(self, name: str, job: Job, send: Send | None) -> None:
        if self._free.locked() or (job.behind and self._behind.locked()):
            send = None  # by the time a hand is free its `now` is long over: the text says how many minutes are left
        async with self._behind if job.behind else contextlib.nullcontext(), self._free:
            self._unbegun.pop(name, None)
            try:
                await self.deliver(job, send)
            except Unavailable as error:
                # The job stays pending; whoever sweeps next finds it, or finds `sending` and calls it unknown.
                log.warning(
                    "delivery.interrupted", challenge_id=job.challenge_id, error=error.detail
                )
            except Exception:
                log.exception("delivery.fault", challenge_id=job.challenge_id)

    async def deliver(self, job: Job, send: Send | None = None) -> None:
        """
        Do one job.

        Args:
            job: Held by this worker.
            send: What it needs, if that is known; else Redis is asked. What has changed since, the fence sees.

        Raises:
            Unavailable: Redis; nothing was sent, or what was sent will be called unknown.
        """
        address = address_of(self._keyring(), job.challenge_id)
        if address is None:
            if job.age_ms(time.time()) < _FOREIGN_MS:
                raise Unavailable("of a key that this process does not know; it may be behind")
            await self._deliveries.discard(job)
            return
        taken = send or await self._deliveries.take(job, address)
        match taken:
            case Dropped(reason):
                DROPPED_JOBS.labels(reason).inc()
                log.info("delivery.dropped", challenge_id=job.challenge_id, reason=reason)
            case InProgress():
                pass
            case Send():
                begun = await self._send(job, address, taken)
                if not begun and send:
                    await self.deliver(job)  # to learn what became of it, and settle that

    async def _send(self, job: Job, address: ChallengeAddress, send: Send) -> bool:
        keyring = self._keyring()
        try:
            destination = Destination.open(keyring, send.sealed, job.challenge_id)
        except SealBroken as error:
            raise Unavailable(f"seal: {error}") from None
        pepper = keyring.active(Kind.PEPPER)
        context = CodeContext(
            send.caller, send.purpose, job.challenge_id, job.generation, send.binding
        )
        known = self._known_codes.code(
            send.caller, destination.to, digits=send.digits, now=send.now / 1000
        )
        code = known or codes.draw(send.digits)
        async with self._hashes.delivering() as hashing:
            digest = await hashing.digest(codes.message(pepper, context, code))
        text = self._catalogue.render(
            purpose=send.purpose,
            locale=send.locale,
            code=code,
            minutes=max(1, round((send.expires_at - send.now) / 60_000)),
            brand=destination.brand or None,
            origin=destination.origin,
            app_hash=destination.app_hash,
            context=destination.context,
        )
        sending_ms = int((self._channel.deadline + MARGIN_SECONDS) * 1000)
        if not await self._deliveries.begin(
            job,
            address,
            digest=digest,
            kid=pepper.kid,
            sending_ms=sending_ms,
            trace=None if known else self._trace(keyring, job, destination.to),
        ):
            return False  # whoever looks at the job next learns why, and counts it
        outcome = Outcome(DeliveryStatus.UNKNOWN, "internal")
        try:
            if known:
                outcome = Outcome(DeliveryStatus.ACCEPTED, TEST_NUMBER)
            else:
                outcome = await self._channel.deliver(
                    to=destination.to, text=text, sender=destination.sender
                )
        except Exception:
            log.exception("delivery.channel_fault", challenge_id=job.challenge_id)
        finally:
            del code, text
        DELIVERIES.labels(self._channel.name, outcome.status, outcome.reason).inc()
        log.info(
            "delivery.settled",
            challenge_id=job.challenge_id,
            caller=send.caller,
            status=outcome.status,
            reason=outcome.reason,
        )
        look_ms = None if known else self._tracing.look_ms(outcome.status)
        await self._deliveries.settle(job, address, outcome.status, outcome.reason, look_ms=look_ms)
        return True

    def _trace(self, keyring: Keyring, job: Job, to: str) -> NewLookup | None:
        if not self._tracing.on:
            return None
        sealed = seal_number(keyring, to, f"{job.challenge_id}:{job.generation}")
        return NewLookup(sealed, TRACE_SECONDS * 1000)


def _detail(error: Exception) -> str | None:
    """Ours say what broke in words that may be logged; what others say might hold anything."""
    return error.detail if isinstance(error, Unavailable) else None
