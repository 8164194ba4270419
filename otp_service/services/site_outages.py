"""Faults that every call to the WSMS site meets: a warning in `/readyz` and the log until a call succeeds."""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from otp_service.telemetry import FAILED_CHECKS
from otp_service.wsms.call_results import CallResult, OutageReason
from otp_service.wsms.models import Capability

log = structlog.get_logger()

# One or two answers may be a plugin update, which takes the plugin away for a moment. With three the reason is known
# before the circuit breaker opens, which takes five and then keeps further calls from being made.
CALLS_IN_A_ROW = 3

_ADVICE = {
    OutageReason.NOT_AUTHORIZED: "the site does not accept the user name and application password",
    OutageReason.NO_ROUTE: "the site has no such route: WSMS is off or not version 7, or OTP_WSMS_URL is another site",
    OutageReason.ACCESS_DENIED: "another plugin or a firewall keeps the user from the REST API",
    OutageReason.MAINTENANCE: "WordPress is in maintenance mode",
    OutageReason.REDIRECTED: "the site redirects: compare OTP_WSMS_URL with its address",
    OutageReason.NOT_WSMS: "the answers are not those of WSMS: a firewall, or OTP_WSMS_URL is no WordPress site",
    OutageReason.CAPABILITY_MISSING: "the WordPress user lacks {capability}",
    OutageReason.GATEWAY_NOT_CONFIGURED: "WSMS has no SMS gateway: choose one in WordPress",
}


@dataclass(slots=True)
class _Row:
    """Failures in a row of calls that share something."""

    reason: OutageReason
    advice: str
    failures: int = 0

    @property
    def is_outage(self) -> bool:
        return self.failures >= CALLS_IN_A_ROW


class SiteOutages:
    """
    Counts failed calls in a row over all clients of the site. Never waits.

    A row ends with the first call that disproves it. Any success disproves most faults, but a missing capability
    only one that needs the same capability, and a missing gateway only one that reaches the gateway: listing the
    outbox succeeds without it.
    """

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        FAILED_CHECKS.labels("site").set(0)

    @property
    def warnings(self) -> Mapping[str, str]:
        """The warning, by name, or nothing."""
        outages = [f"{row.reason}: {row.advice}" for row in self._rows.values() if row.is_outage]
        return {"site": "; ".join(outages)} if outages else {}

    def note(self, result: CallResult) -> None:
        """Count the result of one call."""
        has_capability = result.succeeded or result.outage is OutageReason.GATEWAY_NOT_CONFIGURED
        if has_capability or result.outage is OutageReason.CAPABILITY_MISSING:
            self._end("site")  # the route is there and the credential accepted
        if has_capability:
            self._end(result.capability)
        if result.reached_gateway:
            self._end("gateway")
        if result.outage is not None:
            self._count(result.outage, result.capability)
        FAILED_CHECKS.labels("site").set(1 if self.warnings else 0)

    def _count(self, reason: OutageReason, capability: Capability) -> None:
        row = self._rows.setdefault(_row_of(reason, capability), _Row(reason, ""))
        began = not row.is_outage
        changed = row.reason is not reason
        row.reason, row.advice = reason, _ADVICE[reason].format(capability=capability)
        row.failures += 1
        if row.is_outage and (began or changed):
            log.warning("site.outage", reason=reason, failures=row.failures, advice=row.advice)

    def _end(self, name: str) -> None:
        row = self._rows.pop(name, None)
        if row is not None and row.is_outage:
            log.info("site.recovered", reason=row.reason, failures=row.failures)


def _row_of(reason: OutageReason, capability: Capability) -> str:
    match reason:
        case OutageReason.CAPABILITY_MISSING:
            return capability
        case OutageReason.GATEWAY_NOT_CONFIGURED:
            return "gateway"
    return "site"
