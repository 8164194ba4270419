"""
Metric series that exist from the start, at 0.

A counter that is born at its first event makes `increase()` miss that event and leaves an alert rule without data, so
every label set that is finite is created here. `docker/monitoring/alerts.yml` relies on it.
"""

from collections.abc import Iterable

from otp_service import telemetry
from otp_service.channels.outbox import OUTBOX_FAULTS
from otp_service.core.challenge import DeliveryStatus
from otp_service.wsms.credit import CreditKind
from otp_service.wsms.outcome import RefusedReason, UnknownReason

CHECKS = ("OTP_DURABILITY", "OTP_REDIS_URL", "clock", "keyring", "redis", "site")


def create_label_sets(
    *, channel: str, purposes: Iterable[str], regions: Iterable[str], refusals: Iterable[str]
) -> None:
    """
    Create every finite label set.

    Args:
        channel: The name of the channel that codes go out by.
        purposes: All that codes can be requested for.
        regions: Those to which codes go.
        refusals: Codes of refusals and faults; `internal` is added.
    """
    for check in CHECKS:
        telemetry.FAILED_CHECKS.labels(check)
    for purpose in purposes:
        for event in ("opened", "approved", "wrong_code", "exhausted"):
            telemetry.CHALLENGES.labels(purpose, event)
    for region in regions:
        for event in ("requested", "approved", "paused"):
            telemetry.REGIONS.labels(region, event)
        for event in ("paused", "resumed"):
            telemetry.REGION_PAUSES.labels(region, event)
    for code in (*refusals, "internal"):
        telemetry.REFUSALS.labels(code)
    _create_deliveries(channel)
    for metric, values in _ONE_LABEL.items():
        for value in values:
            metric.labels(value)


def _create_deliveries(channel: str) -> None:
    telemetry.BREAKER_OPEN.labels(channel)
    telemetry.DELIVERY_SECONDS.labels(channel)
    telemetry.DELIVERIES.labels(channel, DeliveryStatus.ACCEPTED, "")
    for refused in RefusedReason:
        telemetry.DELIVERIES.labels(channel, DeliveryStatus.FAILED, refused.value)
    for unknown in UnknownReason:
        telemetry.DELIVERIES.labels(channel, DeliveryStatus.UNKNOWN, unknown.value)


_ONE_LABEL = {
    telemetry.CREDIT_SEEN: (*CreditKind, "doubtful", "failed"),
    telemetry.DEVICES: ("remembered", "verified", "forgotten", "reused"),
    telemetry.DROPPED_JOBS: ("gone", "ended", "stale", "settled", "too_late", "lost"),
    telemetry.HASHES: ("verify", "issue", "draw", "reconcile"),
    telemetry.KEY_SET_FETCHES: ("good", "away", "unusable"),
    telemetry.LOG_LINES_DROPPED: ("blocked", "failed", "sampled"),
    telemetry.OUTBOX_UNAVAILABLE: OUTBOX_FAULTS,
    telemetry.RECONCILED: ("accepted", "failed", "not_found"),
    telemetry.SCRUBBED: ("deleted", "not_found", "in_doubt", "given_up"),
    telemetry.WEBHOOK_HINTS: ("new_sms", "new_subscriber"),
    telemetry.WEBHOOKS: ("delivered", "failed", "dead", "dropped"),
}
