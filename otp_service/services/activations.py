"""
Deletion of activation codes that the site sent from its outbox.

An activation's code is known to the site and the person alone, so its message is found by what else is known: it went
to this number alone, in the very seconds of our call, and its text holds one run of four digits. If the site drops the
number (`send_only_local_numbers`), the row has no recipient. Whatever fits besides leaves a doubt, and what is in doubt
is left alone and counted.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from otp_service.channels.outbox import OutboxUnavailable, Sent, WsmsOutbox
from otp_service.core.envelopes import open_number, seal_number
from otp_service.core.keyring import Keyring
from otp_service.core.seal import SealBroken
from otp_service.errors import Unavailable
from otp_service.services.delivery_lookups import (
    LEASE_SECONDS,
    PATIENCE_MS,
    TRACE_SECONDS,
    LookupPolicy,
    OutboxTroubles,
    pause_ms,
)
from otp_service.store.activations import ActivationLookups, OpenActivation
from otp_service.telemetry import SCRUBBED

log = structlog.get_logger()

LONGEST_CALL_SECONDS = 60.0  # of which nobody heard the end: two calls of the gateway, and some
_CODE = re.compile(r"(?<![0-9])[0-9]{4}(?![0-9])")


class Activations:
    """
    The messages of codes that the site drew.

    Args:
        tracing: Without scrubbing nothing is written down, and nothing looked for.
    """

    def __init__(
        self,
        *,
        tracing: LookupPolicy,
        keyring: Callable[[], Keyring],
        traces: ActivationLookups,
        outbox: WsmsOutbox,
    ) -> None:
        self._tracing = tracing
        self._keyring = keyring
        self._traces = traces
        self._outbox = outbox
        self._troubles = OutboxTroubles(scrub=tracing.scrub)

    async def begin(self, handle: str, e164: str) -> None:
        """Before the site is asked, so that whatever dies afterwards leaves a trace. Raises Unavailable."""
        if not self._tracing.scrub:
            return
        await self._traces.begin(
            handle,
            seal_number(self._keyring(), e164, _sealed_for(handle)),
            longest_ms=int(LONGEST_CALL_SECONDS * 1000),
            trace_ms=TRACE_SECONDS * 1000,
        )

    async def end(self, handle: str, *, sent: bool) -> None:
        """The site has answered, and `sent` a code or provably none. Never raises: the trace is looked at anyway."""
        if not self._tracing.scrub:
            return
        try:
            await (self._traces.end(handle) if sent else self._traces.forget(handle))
        except Unavailable as error:
            log.warning("activation.trace_left", error=error.detail)

    async def sweep(self) -> None:
        """
        Look at everything that is due now.

        Raises:
            Unavailable: Redis.
        """
        for handle in await self._traces.claim(lease_ms=LEASE_SECONDS * 1000):
            try:
                await self._look(handle)
            except Unavailable as error:
                log.warning("activation.interrupted", error=error.detail)
            except Exception:
                log.exception("activation.fault")

    async def _look(self, handle: str) -> None:
        opened = await self._traces.open(handle)
        if opened is None:
            return
        if not self._tracing.scrub:
            await self._traces.forget(handle)  # it was switched off
            return
        found, trouble = opened.rows, None
        try:
            found = found or await self._find(handle, opened)
            if len(found) == 1:
                if not opened.rows:
                    await self._traces.settle(handle, found[0])
                await self._outbox.delete(found[0])
            self._troubles.over()
        except OutboxUnavailable as error:
            trouble = error
            self._troubles.tell(error)
        if trouble is None and len(found) == 1:
            await self._traces.forget(handle)
            SCRUBBED.labels("deleted").inc()
            return
        await self._later(handle, opened, found, trouble)

    async def _find(self, handle: str, opened: OpenActivation) -> Sequence[int]:
        try:
            number = open_number(self._keyring(), opened.sealed, _sealed_for(handle))
        except SealBroken:
            log.warning("activation.key_gone")
            return ()
        sent = await self._outbox.find_within(
            number,
            began=_moment(opened.wall_at),
            ended=_moment(opened.wall_until),
            now=_moment(opened.wall_now),
        )
        sent = [one for one in sent if _holds_one_code(one)]
        if len(sent) == 1 and sent[0].dropped:
            log.warning("activation.dropped_by_site", hint="switch off send_only_local_numbers")
        return [one.row for one in sent]

    async def _later(
        self,
        handle: str,
        opened: OpenActivation,
        found: Sequence[int],
        trouble: OutboxUnavailable | None,
    ) -> None:
        """Wait as long again as has passed; in the end say why the row is still there."""
        over = opened.left_ms <= 0 if trouble else opened.age_ms > PATIENCE_MS
        if not over:
            await self._traces.put_off(handle, pause_ms(opened.age_ms, trouble))
            return
        await self._traces.forget(handle)
        outcome = "given_up" if trouble else "in_doubt" if found else "not_found"
        SCRUBBED.labels(outcome).inc()
        log.warning("outbox.not_scrubbed", outcome=outcome, activation=True)


def _holds_one_code(sent: Sent) -> bool:
    return len(_CODE.findall(sent.text)) == 1


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _sealed_for(handle: str) -> str:
    return f"opt-in:{handle}"
