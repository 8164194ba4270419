"""
Errors over HTTP: RFC 9457 problems, one row for each leaf of `otp_service.errors`.

A caller keys on `code`; `type` is the same as a URI. `detail` is for the developer and never holds what was sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from otp_service import errors
from otp_service.errors import OtpError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:otp-service:problem:"


@dataclass(frozen=True, slots=True)
class Row:
    """Status, title and what to do."""

    status: int
    title: str
    detail: str = ""


TABLE: dict[type[OtpError], Row] = {
    errors.BadRequest: Row(400, "The request is malformed"),
    errors.InvalidJson: Row(400, "The body is not a JSON object"),
    errors.TooLarge: Row(413, "The body is too large"),
    errors.NotJson: Row(415, "The body is not declared as JSON"),
    errors.NotAcceptable: Row(406, "The response is JSON, which Accept excludes"),
    errors.BodyTimeout: Row(408, "The request body timed out"),
    errors.NoSuchResource: Row(404, "The path does not exist"),
    errors.MethodNotAllowed: Row(405, "The method is not allowed for this path"),
    errors.InvalidRequest: Row(422, "Fields are missing, unknown or malformed", "See errors."),
    errors.DestinationRefused: Row(422, "The destination is not allowed"),
    errors.Unauthorized: Row(
        401,
        "The caller's credential is missing or invalid",
        "Send Authorization: Bearer <credential>.",
    ),
    errors.InsufficientScope: Row(403, "The credential lacks a scope"),
    errors.InvalidCode: Row(
        400, "The code is wrong", "Let the person try again, or resend the code."
    ),
    errors.FactorNotFound: Row(
        404, "The factor does not exist", "Enrol one, or use another method."
    ),
    errors.FactorProofRequired: Row(
        409,
        "The change needs a proof by an existing factor of the subject",
        "Verify an authenticator or a recovery code of the subject, and send its proof as `proof`.",
    ),
    errors.TooManyFactors: Row(
        409, "The subject has the maximum number of factors", "Remove one first."
    ),
    errors.AlreadyIssued: Row(
        409,
        "The secrets of this call were already shown",
        "They are shown once and not stored. Remove what the call created, or repeat it with another Idempotency-Key.",
    ),
    errors.ProofNotAccepted: Row(
        400,
        "The proof cannot be used to remember a device",
        "See reason. The proof is spent. Verify a new code with the same caller and subject, and use its proof.",
    ),
    errors.DeviceNotFound: Row(404, "The device does not exist"),
    errors.InvalidDevice: Row(
        400, "The device is not remembered", "Ask for the second factor and delete the token."
    ),
    errors.DeviceMismatch: Row(
        409,
        "The device was remembered for another purpose or binding",
        "Send the original purpose and binding, or ask for the second factor. The token stays valid.",
    ),
    errors.DeviceRotated: Row(
        409,
        "A concurrent call used the token",
        "Use the new token that it got, or ask for the second factor. Do not delete the token.",
    ),
    errors.DeviceReused: Row(
        410,
        "The token was used before, so it may have been copied; the device is revoked",
        "Ask for the second factor, delete the token, and warn the person.",
    ),
    errors.ChallengeNotFound: Row(404, "The challenge does not exist", "Request a new code."),
    errors.ChallengeMismatch: Row(
        409,
        "The challenge was created for another purpose or binding",
        "Send the purpose and binding of the request. No attempt was counted.",
    ),
    errors.CodeNotSent: Row(
        409,
        "No code has been sent yet",
        "Wait for the delivery, or resend. No attempt was counted.",
    ),
    errors.ChallengeUsed: Row(410, "The code has been used", "Request a new code."),
    errors.ChallengeExpired: Row(410, "The code has expired", "Request a new code."),
    errors.ChallengeExhausted: Row(410, "All attempts are used up", "Request a new code."),
    errors.ChallengeCanceled: Row(410, "The challenge was canceled", "Request a new code."),
    errors.ChallengeReplaced: Row(
        410, "A newer request replaced the challenge", "Verify against the newest challenge."
    ),
    errors.RateLimited: Row(429, "A limit is reached", "Try again after retry_after seconds."),
    errors.SubjectBlocked: Row(
        429,
        "Too many wrong codes for this subject",
        "Wait, or use another factor, unless all factors are blocked. Further attempts do not extend the block.",
    ),
    errors.QuotaExceeded: Row(
        429, "The send budget is used up", "Try again after retry_after seconds."
    ),
    errors.IdempotencyInProgress: Row(
        409,
        "The call with this Idempotency-Key is still running",
        "Repeat it after retry_after seconds.",
    ),
    errors.IdempotencyKeyReused: Row(
        422, "The Idempotency-Key was used with another body", "Use a new key for a new call."
    ),
    errors.Overloaded: Row(
        503,
        "The service is overloaded",
        "Nothing was counted. Try again after retry_after seconds.",
    ),
    errors.StoreEmptied: Row(
        503,
        "Redis lost its data",
        "Redis came back empty, without factors and callers. The operator must restore it "
        "or accept the loss. Codes by SMS work again as soon as the caller has a new credential.",
    ),
    errors.ClockSkew: Row(
        503,
        "Authenticator codes cannot be verified now",
        "The clocks of the service and of Redis differ. No attempt was counted. Use another method or try again later.",
    ),
    errors.SiteMisconfigured: Row(
        503,
        "The WordPress site is not set up for this opt-in",
        "Nothing was accepted. Do not repeat the call: tell the operator what to change.",
    ),
    errors.SubscriptionUndone: Row(
        503,
        "The WordPress site undid the subscription",
        "WSMS does so when its gateway refuses the welcome SMS. The code stays valid: repeat the call when the gateway "
        "works.",
    ),
    errors.Unavailable: Row(
        503,
        "The service is unavailable",
        "The call may have been carried out. Repeat it with the same Idempotency-Key, or read the state first.",
    ),
}

NOTHING_DONE = "Nothing was counted, sent or changed. Try again after retry_after seconds."

INTERNAL = Row(500, "Internal error", "It is logged with this request's id.")


def leaves(root: type[OtpError] = OtpError) -> Iterator[type[OtpError]]:
    """Yield every error that is raised itself: those with a `code`."""
    for child in root.__subclasses__():
        if "code" in vars(child):
            yield child
        yield from leaves(child)


def problem(error: OtpError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return status, members and headers."""
    row = TABLE[type(error)]
    members = {
        "type": TYPE_PREFIX + error.code,
        "title": row.title,
        "status": row.status,
        "detail": row.detail or getattr(error, "detail", "") or row.title,
        "code": error.code,
    }
    headers: dict[str, str] = {}
    match error:
        case errors.InvalidRequest():
            members["errors"] = [{"field": e.field, "reason": e.reason} for e in error.errors]
        case errors.DestinationRefused() | errors.ProofNotAccepted():
            members["reason"] = error.reason
        case errors.Unauthorized():
            challenge = 'Bearer realm="otp_service"'
            headers["WWW-Authenticate"] = (
                f'{challenge}, error="invalid_token"' if error.presented else challenge
            )
        case errors.InsufficientScope():
            members["detail"] = f"It needs the scope {error.scope}."
            headers["WWW-Authenticate"] = (
                f'Bearer realm="otp_service", error="insufficient_scope", scope="{error.scope}"'
            )
        case errors.InvalidCode():
            members["attempts_remaining"] = error.attempts_remaining
            if error.hint:
                members["hint"] = error.hint
            if error.hint == "already_used":
                members["detail"] = str(error)
        case errors.AlreadyIssued():
            members["factor_id"] = error.factor_id
            if error.device_id is not None:
                members["device_id"] = error.device_id
        case errors.DeviceReused():
            members["device_id"] = error.device_id
            members["ended_at"] = rfc3339(error.ended_at)
        case errors.ChallengeEnded():
            members["ended_at"] = rfc3339(error.ended_at)
        case errors.SiteMisconfigured():
            members["detail"] = f"{row.detail} Cause: {error.detail}."
        case errors.Overloaded():
            members["detail"] = f"{error.detail} {row.detail}"
        case errors.RateLimited():
            members["limit"] = error.limit
            if error.limit in OWN_LIMITS:
                policy = policy_name(error.limit, error.window)
                headers["RateLimit"] = f"{policy};r=0;t={error.retry_after}"
        case errors.Unavailable() if error.nothing_done:
            members["detail"] = NOTHING_DONE
        case errors.MethodNotAllowed():
            headers["Allow"] = error.allowed
        case _:
            pass
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        members["retry_after"] = retry_after
        headers["Retry-After"] = str(retry_after)
    return row.status, members, headers


# Limits that count a caller's own doing only: what is said of them tells nothing about other callers.
OWN_LIMITS = frozenset(
    {
        "cooldown",
        "recipient",
        "number_block",
        "client_ip",
        "caller_budget",
        "region",
        "challenge_sends",
        "live_challenges",
        "challenges",
        "recovery_codes",
        "unblock",
        "timeline",
    }
)


def policy_name(limit: str, window: int | None) -> str:
    """Return what RateLimit-Policy and RateLimit call a limit, quoted; `window` in seconds, if it has one."""
    return f'"{limit}"' if window is None else f'"{limit}-{window}"'


def rfc3339(unix_ms: int) -> str:
    """Return the time in UTC with milliseconds."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
