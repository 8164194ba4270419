"""
Reconciliation of unknown deliveries with the site's outbox, and deletion of code messages there.

A trace (`store.traces`) leads to the message's row in the site's outbox: the row goes to that number alone, was written
in the time of the send, and its text holds digits that match the digest of the code. No text and no code is kept on
our side for that. The row turns `unknown` into `accepted` or `failed`, never into a second SMS; where scrubbing is on
the row is deleted then, and seen to be gone. Whatever dies in between leaves the trace, and it is taken up again.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from otp_service.channels.outbox import OutboxUnavailable, Sent, WsmsOutbox
from otp_service.core import codes
from otp_service.core.challenge import REPORTED_BY_SITE, DeliveryStatus
from otp_service.core.codes import CodeContext
from otp_service.core.envelopes import open_number
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.seal import SealBroken
from otp_service.errors import Unavailable
from otp_service.services.activations import Activations
from otp_service.services.delivery_lookups import (
    LEASE_SECONDS,
    PATIENCE_MS,
    TRACE_SECONDS,
    LookupPolicy,
    MissingRows,
    OutboxTroubles,
    pause_ms,
)
from otp_service.services.hashing import HashPool
from otp_service.services.loops import end
from otp_service.store.delivery_lookups import DeliveryLookup, DeliveryLookups, OpenLookup, Sending
from otp_service.telemetry import RECONCILED, SCRUBBED

log = structlog.get_logger()

SWEEP_SECONDS = 2.0
DROPPED_BY_SITE = "dropped_by_site"  # certainly not sent: the site sends to other countries only
_CANDIDATES = 12  # codes that are compared with a digest in one look
_DIGITS = re.compile(r"(?<![0-9])[0-9]{4,10}(?![0-9])")


class Reconciliation:
    """
    Looks up due deliveries, a few at a time. Start it with `start`, end it with `stop`.

    Args:
        activations: Whose traces are looked at with them.
        concurrency: Traces at once.
    """

    def __init__(
        self,
        *,
        tracing: LookupPolicy,
        keyring: Callable[[], Keyring],
        traces: DeliveryLookups,
        hashes: HashPool,
        outbox: WsmsOutbox,
        activations: Activations,
        concurrency: int = 4,
    ) -> None:
        self._tracing = tracing
        self._keyring = keyring
        self._traces = traces
        self._hashes = hashes
        self._outbox = outbox
        self._activations = activations
        self._free = asyncio.Semaphore(concurrency)
        self._hurried = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._troubles = OutboxTroubles(scrub=tracing.scrub)
        self._missing = MissingRows(traces)

    @property
    def warnings(self) -> Mapping[str, str]:
        """What the outbox deserves a look for, by name."""
        return self._missing.warnings

    async def start(self) -> None:
        """Begin to look, if sends leave traces at all."""
        if self._tracing.on:
            self._loops = [asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """Leave off; what was begun is taken up again after its lease, by whomever."""
        await end(self._loops)

    def wake(self) -> None:
        """Look at what is due now, not at the next sweep."""
        self._hurried.set()

    async def _run(self) -> None:
        while True:
            self._hurried.clear()
            try:
                await self.sweep()
            except Exception as error:  # a loop that ends silently would leave codes in WordPress
                log.warning("reconciliation.sweep_failed", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._hurried.wait()

    async def sweep(self) -> None:
        """
        Look at everything that is due now.

        Raises:
            Unavailable: Redis.
        """
        claimed = self._traces.claim(self._keyring(), lease_ms=LEASE_SECONDS * 1000)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._activations.sweep())
            async for trace in claimed:
                await self._free.acquire()
                group.create_task(self._handle(trace))

    async def _handle(self, trace: DeliveryLookup) -> None:
        try:
            await self._look(trace)
        except Unavailable as error:
            log.warning("reconciliation.interrupted", error=error.detail, **_named(trace))
        except Exception:
            log.exception("reconciliation.fault", **_named(trace))
        finally:
            self._free.release()

    async def _look(self, trace: DeliveryLookup) -> None:
        opened = await self._traces.open(trace)
        if opened is None:
            return
        if isinstance(opened, Sending):
            await self._traces.put_off(trace, opened.wait_ms)
            return
        if not self._tracing.scrub and (
            opened.rows or opened.delivery not in (DeliveryStatus.UNKNOWN, DeliveryStatus.ACCEPTED)
        ):
            await self._traces.forget(trace)  # known meanwhile, or scrubbing was switched off
            return
        rows, trouble = opened.rows, None
        try:
            if not rows and (rows := await self._settle(trace, opened)):
                self._missing.found()
            if rows and self._tracing.scrub:
                await self._scrub(trace, rows)
            self._troubles.over()
        except OutboxUnavailable as error:
            trouble = error
            self._troubles.tell(error)
        if trouble or not rows:
            await self._later(trace, opened, found=bool(rows), trouble=trouble)

    async def _settle(self, trace: DeliveryLookup, opened: OpenLookup) -> Sequence[int]:
        """Return the rows that hold the code, after writing what they say of its delivery; empty if there is none."""
        found = await self._find(trace, opened)
        statuses = {sent.status for sent in found}
        if not found:
            return ()
        rows = [sent.row for sent in found]
        known = next(
            (s for s in (DeliveryStatus.ACCEPTED, DeliveryStatus.FAILED) if s in statuses), None
        )
        reason = REPORTED_BY_SITE if known is DeliveryStatus.FAILED else ""
        if all(sent.dropped for sent in found):
            known, reason = DeliveryStatus.FAILED, DROPPED_BY_SITE
        settled = await self._traces.settle(
            trace,
            known,
            reason,
            certain=reason == DROPPED_BY_SITE,
            rows=rows if self._tracing.scrub else (),
        )
        if settled and known:
            RECONCILED.labels(known).inc()
            log.info("delivery.reconciled", status=known, **_named(trace))
        return rows

    async def _find(self, trace: DeliveryLookup, opened: OpenLookup) -> list[Sent]:
        pepper = self._keyring().find(Kind.PEPPER, opened.kid)
        try:
            number = open_number(self._keyring(), opened.sealed, trace.name)
        except SealBroken:
            pepper = None
        if pepper is None:
            log.warning("reconciliation.key_gone", **_named(trace))
            return []
        began = datetime.fromtimestamp(opened.wall_at / 1000, UTC)
        context = CodeContext(
            opened.caller,
            opened.purpose,
            trace.address.challenge_id,
            trace.generation,
            opened.binding,
        )
        matching: list[Sent] = []
        compared: dict[str, bool] = {}
        for sent in await self._outbox.find(
            number, since=began, until=began + timedelta(seconds=TRACE_SECONDS)
        ):
            for code in dict.fromkeys(_DIGITS.findall(sent.text)):
                if code not in compared and len(compared) < _CANDIDATES:
                    message = codes.message(pepper, context, code)
                    async with self._hashes.reconciling() as hashing:
                        compared[code] = await hashing.matches(opened.digest, message)
                if compared.get(code):
                    matching.append(sent)
                    break
        return matching

    async def _scrub(self, trace: DeliveryLookup, rows: Sequence[int]) -> None:
        for row in rows:
            await self._outbox.delete(row)
        await self._traces.forget(trace)
        SCRUBBED.labels("deleted").inc(len(rows))

    async def _later(
        self,
        trace: DeliveryLookup,
        opened: OpenLookup,
        *,
        found: bool,
        trouble: OutboxUnavailable | None,
    ) -> None:
        """Wait, until the trace's end."""
        missing = not trouble and opened.delivery is DeliveryStatus.ACCEPTED
        over = opened.left_ms <= 0 and (opened.rows or not found)
        if not over and not (missing and opened.age_ms > PATIENCE_MS):
            await self._traces.put_off(trace, pause_ms(opened.age_ms, trouble))
            return
        await self._traces.forget(trace)
        if missing:
            await self._missing.not_found()
        if opened.delivery is DeliveryStatus.UNKNOWN:
            RECONCILED.labels("not_found").inc()
        if self._tracing.scrub:
            outcome = "given_up" if trouble else "not_found"
            SCRUBBED.labels(outcome).inc()
            log.warning("outbox.not_scrubbed", outcome=outcome, **_named(trace))


def _named(trace: DeliveryLookup) -> dict[str, object]:
    return {"challenge_id": trace.address.challenge_id, "generation": trace.generation}
