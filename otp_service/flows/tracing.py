"""Whether a send leaves a trace, and when the message is looked for afterwards (`flows.reconciliation` looks)."""

from dataclasses import dataclass

from otp_service.core.challenge import DeliveryStatus

TRACE_SECONDS = (
    1800  # for which a message is looked for: WordPress' own queue takes five minutes, and some
)
FIRST_LOOK_SECONDS = (
    2.0  # after a send that ended nobody knows how; the site may still be busy with it
)


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
