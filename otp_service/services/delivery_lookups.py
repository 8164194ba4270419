"""Whether a send leaves a trace, and when the message is looked for afterwards (`flows.reconciliation` looks)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from otp_service.channels.outbox import OutboxUnavailable
from otp_service.core.challenge import DeliveryStatus
from otp_service.errors import Unavailable
from otp_service.store.delivery_lookups import LONGEST_WAIT_MS
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
ROWS_MISSING_ADVICE = (
    "the site accepts messages and stores none: either nothing is sent (`sms_delivery_method` is `api_async_send`: set "
    "it to `api_direct_send`), or its outbox is off (`store_outbox_messages`)"
)
SAMPLE_SECONDS = 600.0  # between accepted messages that are looked for although nothing is deleted
_FORBIDDEN_WAIT_MS = 60_000  # while a capability is missing: somebody has to do something first


@dataclass(slots=True)
class LookupPolicy:
    """
    What is done after a send.

    Attributes:
        reconcile: Whether to find out what became of those that ended `unknown`.
        scrub: Whether to delete the row of each message.
    """

    reconcile: bool
    scrub: bool
    _next_sample: float = field(default=0.0, init=False, repr=False)

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
        if self.scrub:
            return 0
        if self.reconcile and time.monotonic() >= self._next_sample:
            # Whether the site stores rows at all is in no setting that can be read: a few accepted messages tell.
            self._next_sample = time.monotonic() + SAMPLE_SECONDS
            return int(FIRST_LOOK_SECONDS * 1000)
        return None


def pause_ms(age_ms: int, trouble: OutboxUnavailable | None) -> int:
    """Return how long to wait before the next look: as long again as has passed since the send, within bounds."""
    wait = min(max(age_ms, 2000), LONGEST_WAIT_MS)
    return max(wait, _FORBIDDEN_WAIT_MS) if trouble and trouble.forbidden else wait


class OutboxTroubles:
    """Logs each outbox fault once until a lookup succeeds, and counts every one."""

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


class RemembersMissing(Protocol):
    """Keeps for the doctor that accepted messages leave no row."""

    async def remember_missing(self) -> None:
        """Keep it for a day. Raises Unavailable."""


class MissingRows:
    """Warns when messages that the site accepted leave no row in its outbox, until one does again."""

    def __init__(self, store: RemembersMissing) -> None:
        self._store = store
        self._in_a_row = 0

    @property
    def warnings(self) -> Mapping[str, str]:
        """The warning, by name, or nothing."""
        return {"outbox": ROWS_MISSING_ADVICE} if self._in_a_row else {}

    def found(self) -> None:
        """A row was found."""
        self._in_a_row = 0

    async def not_found(self) -> None:
        """An accepted message left no row for ten minutes."""
        self._in_a_row += 1
        if self._in_a_row == 1:
            log.warning("outbox.rows_missing", advice=ROWS_MISSING_ADVICE)
        try:
            await self._store.remember_missing()
        except Unavailable as error:
            log.warning("outbox.not_remembered", error=error.detail)
