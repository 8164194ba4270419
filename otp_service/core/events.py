"""
Events: what callers are told of by webhook, in the shape of Standard Webhooks 1.0.0.

A payload is `{"type", "timestamp", "data"}` with ids and the caller's own names only: never a number, a code or a key.
"""

import base64
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from standardwebhooks import Webhook

from otp_service.core.envelopes import About

MAX_BODY_BYTES = 20_000  # Standard Webhooks: payloads below 20 kB


class EventType(StrEnum):
    """What may happen."""

    CHALLENGE_CREATED = "challenge.created"
    CHALLENGE_APPROVED = "challenge.approved"
    CHALLENGE_BLOCKED = "challenge.blocked"
    DELIVERY_ACCEPTED = "delivery.accepted"
    DELIVERY_FAILED = "delivery.failed"
    DELIVERY_UNKNOWN = "delivery.unknown"
    FACTOR_CONFIRMED = "factor.confirmed"
    FACTOR_REMOVED = "factor.removed"
    FACTOR_BLOCKED = "factor.blocked"
    RECOVERY_CODES_ISSUED = "recovery_codes.issued"
    RECOVERY_CODE_USED = "recovery_code.used"
    DEVICE_REMEMBERED = "device.remembered"
    DEVICE_FORGOTTEN = "device.forgotten"
    DEVICE_REUSED = "device.reused"
    OPTIN_CONFIRMED = "optin.confirmed"
    CREDIT_LOW = "credit.low"
    WSMS_SMS = "wsms.sms"
    WSMS_SUBSCRIBER = "wsms.subscriber"


PING = "ping"  # what `otp-service webhooks test` sends
# Of the site and not of one caller: only for endpoints that name them.
ON_REQUEST = frozenset({EventType.CREDIT_LOW, EventType.WSMS_SMS, EventType.WSMS_SUBSCRIBER})
EVENTS = tuple(EventType)


@dataclass(frozen=True, slots=True)
class Message:
    """
    One event for one caller, ready to be signed.

    Attributes:
        id: `msg_` and 32 hex digits: the `webhook-id`, the same in every try and at every endpoint.
        body: JSON, as it is sent.
    """

    id: str
    type: str
    body: str = field(repr=False)


def body(event: str, at_ms: int, data: Mapping[str, Any]) -> str:
    """
    Return the payload. `at_ms` is when it happened, Unix milliseconds.

    Raises:
        ValueError: it would be 20 kB or more.
    """
    text = json.dumps(
        {"type": event, "timestamp": rfc3339(at_ms), "data": dict(data)},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    if len(text.encode()) >= MAX_BODY_BYTES:
        raise ValueError(f"an event of type {event} is too large")
    return text


def challenge_data(fields: Mapping[str, str], about: About) -> dict[str, Any]:
    """Return what a payload says of a challenge. `fields` are those of an entry that `_event.lua` wrote."""
    data: dict[str, Any] = {
        "challenge_id": fields["id"],
        "caller": fields["caller"],
        "purpose": fields["purpose"],
        "subject": about.subject,
        "client_ref": about.client_ref,
    }
    group, _, status = fields["type"].partition(".")
    if group == "delivery":
        data["delivery"] = {
            "status": status,
            "reason": fields["reason"] or None,
            "generation": int(fields["generation"]),
        }
    if "expires_at" in fields:
        data["expires_at"] = rfc3339(int(fields["expires_at"]))
    if "attempts" in fields:
        data["attempts"] = int(fields["attempts"])
    return data | _block(fields)


def subject_data(fields: Mapping[str, str], about: About) -> dict[str, Any]:
    """Return what a payload says of what happened without a challenge. `fields` as for `challenge_data`."""
    data: dict[str, Any] = {"caller": fields["caller"], "subject": about.subject}
    if "factor" in fields:
        data["factor"] = {"type": fields["factor"], "factor_id": fields.get("factor_id")}
    if "device_id" in fields:
        data["device"] = {"device_id": fields["device_id"]}
    if "remaining" in fields:
        data["remaining"] = int(fields["remaining"])
    return data | _block(fields)


def _block(fields: Mapping[str, str]) -> dict[str, Any]:
    """Until when, where there is a block; null: until an operator or another factor ends it."""
    if "blocked_until" not in fields:
        return {}
    until = int(fields["blocked_until"])
    return {"blocked_until": rfc3339(until) if until >= 0 else None}


def new_secret() -> str:
    """Return a new signing secret: `whsec_` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def headers(keys: Sequence[str], message: Message, *, now: float) -> dict[str, str]:
    """
    Return the headers of one try: the signatures of all secrets, the newest first, separated by spaces.

    Args:
        keys: `whsec_…`, one or, while they are rotated, two.
        message: What is sent.
        now: Unix seconds of this try.
    """
    at = datetime.fromtimestamp(int(now), UTC)
    return {
        "content-type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(
            Webhook(secret).sign(message.id, at, message.body) for secret in keys
        ),
    }


def unknown_types(names: Iterable[str]) -> list[str]:
    """Return what is no event type."""
    return sorted(set(names) - set(EVENTS))


def rfc3339(at_ms: int) -> str:
    """Return Unix milliseconds as UTC text with milliseconds."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
