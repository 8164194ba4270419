"""From an answer's bytes to a result or an exception. No I/O: both clients read alike."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from otp_service.client import errors
from otp_service.client.call import Call
from otp_service.client.errors import OtpServiceError, Refused, Unavailable, UnexpectedResponse
from otp_service.client.results import Proven

T = TypeVar("T")

MAX_ANSWER_BYTES = 1 << 20
_PROBLEM = "application/problem+json"
_NOBODY_HOME = (502, 503, 504)  # also of a proxy whose service is away

BY_CODE: Mapping[str, type[OtpServiceError]] = {
    "already_issued": errors.AlreadyIssued,
    "bad_request": errors.MalformedRequest,
    "body_timeout": errors.MalformedRequest,
    "challenge_canceled": errors.ChallengeCanceled,
    "challenge_exhausted": errors.ChallengeExhausted,
    "challenge_expired": errors.ChallengeExpired,
    "challenge_mismatch": errors.ChallengeMismatch,
    "challenge_not_found": errors.ChallengeNotFound,
    "challenge_replaced": errors.ChallengeReplaced,
    "challenge_used": errors.ChallengeUsed,
    "clock_skew": errors.ClockSkew,
    "site_misconfigured": errors.SiteMisconfigured,
    "subscription_undone": errors.SubscriptionUndone,
    "store_emptied": errors.StoreEmptied,
    "code_not_sent": errors.CodeNotSent,
    "destination_refused": errors.DestinationRefused,
    "device_mismatch": errors.DeviceMismatch,
    "device_not_found": errors.DeviceNotFound,
    "device_reused": errors.DeviceReused,
    "device_rotated": errors.DeviceRotated,
    "factor_not_found": errors.FactorNotFound,
    "factor_proof_required": errors.FactorProofRequired,
    "idempotency_in_progress": errors.IdempotencyInProgress,
    "idempotency_key_reused": errors.IdempotencyKeyReused,
    "insufficient_scope": errors.InsufficientScope,
    "internal": errors.Unavailable,
    "invalid_code": errors.InvalidCode,
    "invalid_device": errors.InvalidDevice,
    "invalid_json": errors.MalformedRequest,
    "invalid_request": errors.InvalidRequest,
    "method_not_allowed": errors.MalformedRequest,
    "not_acceptable": errors.MalformedRequest,
    "not_found": errors.MalformedRequest,
    "not_json": errors.MalformedRequest,
    "overloaded": errors.Overloaded,
    "proof_inactive": errors.ProofInactive,
    "proof_not_accepted": errors.ProofNotAccepted,
    "quota_exceeded": errors.QuotaExceeded,
    "rate_limited": errors.RateLimited,
    "subject_blocked": errors.SubjectBlocked,
    "too_large": errors.MalformedRequest,
    "too_many_factors": errors.TooManyFactors,
    "unauthorized": errors.Unauthorized,
    "unavailable": errors.Unavailable,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


def read(call: Call[T], answer: Answer) -> T:
    """
    Return the result.

    Raises:
        OtpServiceError: one of its leaves, for everything that is no whole success.
    """
    request_id = answer.headers.get("x-request-id")
    members = _members(answer)
    if answer.status >= 400:
        raise _refusal(members, answer, request_id)
    if call.result is Proven and members is not None and members.get("active") is False:
        told = {"code": "proof_inactive", "title": "The proof proves nothing"}
        raise errors.ProofInactive(told, answer.status, request_id)
    expected = None if call.result is type(None) else members
    if not 200 <= answer.status < 300 or (members is None and expected is not None):
        raise _stranger(answer, "neither a success nor a problem")
    try:
        kind: Any = call.result
        result: T = _adapter(kind).validate_python(expected)
    except ValidationError as error:
        where = sorted({".".join(str(part) for part in e["loc"]) for e in error.errors()})
        raise _stranger(answer, f"unexpected members: {', '.join(where)}") from None
    return result


def no_answer(reason: str) -> Unavailable:
    """Return the error for a call that timed out."""
    return Unavailable({"code": "no_answer", "title": reason})


def too_long(status: int) -> UnexpectedResponse:
    """Return the error for an answer of more than `MAX_ANSWER_BYTES`."""
    return UnexpectedResponse({"code": "no_otp_service", "title": "the answer has no end"}, status)


def _members(answer: Answer) -> dict[str, Any] | None:
    """Return the answer's JSON object; None where there is none."""
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ("application/json", _PROBLEM):
        return None
    if (media_type == _PROBLEM) != (answer.status >= 400):
        return None
    try:
        found = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refusal(
    members: dict[str, Any] | None, answer: Answer, request_id: str | None
) -> OtpServiceError:
    problem = members if members is not None and isinstance(members.get("code"), str) else None
    header = answer.headers.get("retry-after", "")
    seconds = {"retry_after": int(header[:9])} if header.isascii() and header.isdigit() else {}
    if problem is None:
        if answer.status not in _NOBODY_HOME:
            return _stranger(answer, "an error, but no problem document")
        told = {"code": "unavailable", "title": f"status {answer.status}", **seconds}
        return Unavailable(told, answer.status, request_id)
    told = {**seconds, **problem}
    fallback = Unavailable if answer.status >= 500 else Refused
    kind = BY_CODE.get(problem["code"], fallback)
    try:
        return kind(told, answer.status, request_id)
    except (KeyError, TypeError, ValueError):
        return fallback(told, answer.status, request_id)  # without the data its class has


def _stranger(answer: Answer, why: str) -> UnexpectedResponse:
    media_type = answer.headers.get("content-type", "no media type")[:60]
    title = f"status {answer.status}, {media_type}: {why}"
    told = {"code": "no_otp_service", "title": title}
    return UnexpectedResponse(told, answer.status, answer.headers.get("x-request-id"))


@cache
def _adapter(result: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    return TypeAdapter(result)
