"""Whether a send leaves a trace, and when the message is looked for afterwards (`flows.reconciliation` looks)."""

from dataclasses import dataclass

import structlog

from otp_service.channels.outbox import OutboxUnavailable
from otp_service.core.challenge import DeliveryStatus
from otp_service.store.traces import LONGEST_WAIT_MS
from otp_service.telemetry import OUTBOX_UNAVAILABLE

log = structlog.get_logger()

TRACE_SECONDS = (
    1800  # for which a message is looked for: WordPress' own queue takes five minutes, and some
)
FIRST_LOOK_SECONDS = (
    2.0  # after a send that ended nobody knows how; the site may still be busy with it
)
LEASE_SECONDS = 150  # longer than looking at one trace takes: four calls of 30 s at most
PATIENCE_MS = 600_000  # with the row of a message that was accepted: the site may store none
_FORBIDDEN_WAIT_MS = 60_000  # while a capability is missing: somebody has to do something first


@dataclass(frozen=True, slots=True)
class Tracing:
    """
    What is done after a send.

    Attributes:
        reconcile: Whether to find out what became of those that ended `unknown`.
        scrub: Whether to delete the row of each message.
    """

    reconcile: bool
    scrub: bool

    @property
    def on(self) -> bool:
        """Whether a send leaves a trace at all."""
        return self.reconcile or self.scrub

    def look_ms(self, delivery: DeliveryStatus) -> int | None:
        """Return after how long to look for a message that ended so; None: there is nothing to look for."""
        if delivery is DeliveryStatus.FAILED:
            return None  # it never reached the gateway, which writes the rows (contract 3.1)
        if delivery is DeliveryStatus.UNKNOWN:
            return int(FIRST_LOOK_SECONDS * 1000) if self.on else None
        return 0 if self.scrub else None


def pause_ms(age_ms: int, trouble: OutboxUnavailable | None) -> int:
    """Return how long to wait before the next look: as long again as has passed since the send, within bounds."""
    wait = min(max(age_ms, 2000), LONGEST_WAIT_MS)
    return max(wait, _FORBIDDEN_WAIT_MS) if trouble and trouble.forbidden else wait


class OutboxTroubles:
    """Says each trouble with the outbox loudly once, until a look succeeds; counts it every time."""

    def __init__(self, *, scrub: bool) -> None:
        self._scrub = scrub
        self._told: set[str] = set()

    def tell(self, error: OutboxUnavailable) -> None:
        OUTBOX_UNAVAILABLE.labels(error.why).inc()
        if error.why in self._told:
            return
        self._told.add(error.why)
        advice = "the user needs wpsms_outbox, and WSMS must be active" if error.forbidden else ""
        level = log.error if error.forbidden and self._scrub else log.warning
        level("outbox.unavailable", why=error.why, scrub=self._scrub, advice=advice)

    def over(self) -> None:
        """A look succeeded."""
        self._told.clear()
