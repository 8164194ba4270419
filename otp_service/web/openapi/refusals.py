"""What the contract says of refusals: a response for each status, with an example of each problem."""

from collections.abc import Iterable, Sequence
from typing import Any

from otp_service import errors
from otp_service.errors import OtpError
from otp_service.web import models, problems
from otp_service.web.openapi.schemas import REF

REPLAYED = "`true` when the answer was given before."
FAULTS = (errors.Overloaded, errors.Unavailable, errors.StoreEmptied)

_EXAMPLES: dict[type[OtpError], OtpError] = {
    errors.InvalidRequest: errors.InvalidRequest(errors.FieldError("to", "is required")),
    errors.DestinationRefused: errors.DestinationRefused(
        "cannot_receive_sms", "numbers of this type receive no SMS, or at a price of their own"
    ),
    errors.Unauthorized: errors.Unauthorized(presented=True),
    errors.InsufficientScope: errors.InsufficientScope("otp:request"),
    errors.InvalidCode: errors.InvalidCode(4),
    errors.AlreadyIssued: errors.AlreadyIssued(models.EXAMPLE_ID),
    errors.ProofNotAccepted: errors.ProofNotAccepted("inactive"),
    errors.DeviceReused: errors.DeviceReused(models.EXAMPLE_ID, 1_795_435_200_000),
    errors.CodeNotSent: errors.CodeNotSent(2),
    errors.RateLimited: errors.RateLimited("cooldown", 30),
    errors.SubjectBlocked: errors.SubjectBlocked("failures", 1800),
    errors.QuotaExceeded: errors.QuotaExceeded("caller_budget", 3600),
    errors.IdempotencyInProgress: errors.IdempotencyInProgress(2),
    errors.Overloaded: errors.Overloaded("The hash capacity is in use."),
    errors.StoreEmptied: errors.StoreEmptied("the store came back empty"),
    errors.ClockSkew: errors.ClockSkew("the clocks differ by 60 s"),
    errors.SiteMisconfigured: errors.SiteMisconfigured("the site verifies too"),
    errors.SubscriptionUndone: errors.SubscriptionUndone("the site undid it"),
    errors.Unavailable: errors.Unavailable("redis is away"),
}

PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `type` is the same as a URI; `instance` is the request's id.",
    "required": ["type", "title", "status", "detail", "code", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
        "reason": {
            "type": "string",
            "description": "Of destination_refused, and of proof_not_accepted: inactive, subject or method.",
        },
        "limit": {"type": "string", "description": "Of rate_limited and its kin: which."},
        "attempts_remaining": {"type": "integer", "minimum": 0},
        "hint": {
            "enum": ["clock_off", "already_used"],
            "description": "Of invalid_code. already_used: the authenticator's code is right and was accepted before; "
            "no try was spent, the next code works. clock_off, for callers with the scope factors:diagnose: the code "
            "is right at another time, so the person's clock is off.",
        },
        "factor_id": {"type": ["string", "null"], "description": "Of already_issued."},
        "device_id": {"type": "string", "description": "Of device_reused, and of already_issued."},
        "ended_at": {"type": "string", "format": "date-time"},
        "retry_after": {"type": "integer", "minimum": 0, "description": "Seconds; as Retry-After."},
    },
    "additionalProperties": False,
}

_HEADERS = {
    "Retry-After": "Seconds after which trying again makes sense.",
    "WWW-Authenticate": "RFC 6750.",
    "RateLimit": "The limit that refused, named as in RateLimit-Policy, if it counts only this caller's own doing.",
    "Allow": "The methods the path has.",
}


def responses(
    refusals: Iterable[type[OtpError]], *, replayed: tuple[type[OtpError], ...] = ()
) -> dict[str, Any]:
    """
    Return the responses by status.

    Args:
        refusals: What may be answered, besides a method that is not served.
        replayed: Those of them that are given again for a repeated key.
    """
    by_status: dict[int, list[type[OtpError]]] = {}
    for refusal in refusals:
        by_status.setdefault(problems.TABLE[refusal].status, []).append(refusal)
    by_status.setdefault(405, []).append(errors.MethodNotAllowed)
    by_code = {str(status): _problems(found) for status, found in sorted(by_status.items())}
    for refusal in {*replayed} & {*refusals}:
        headers = by_code[str(problems.TABLE[refusal].status)]["headers"]
        headers["Idempotency-Replayed"] = header(REPLAYED)
    return by_code


def _problems(found: Sequence[type[OtpError]]) -> dict[str, Any]:
    examples, headers = {}, {"X-Request-Id": header("The request's id, also in the logs.")}
    for refusal in found:
        _, members, names = problems.problem(_instance(refusal))
        members["instance"] = "0f8fad5bd9cb469fa16570867728950e"
        examples[refusal.code] = {"summary": members["title"], "value": members}
        headers |= {name: header(_HEADERS[name]) for name in names}
    codes = ", ".join(f"`{refusal.code}`" for refusal in found)
    return {
        "description": f"Code: {codes}.",
        "headers": headers,
        "content": {
            problems.MEDIA_TYPE: {
                "schema": {"$ref": REF.format(model="Problem")},
                "examples": examples,
            }
        },
    }


def _instance(refusal: type[OtpError]) -> OtpError:
    if refusal in _EXAMPLES:
        return _EXAMPLES[refusal]
    if issubclass(refusal, errors.MethodNotAllowed):
        return refusal("only POST is served here", "POST")
    if issubclass(refusal, errors.MalformedRequest):
        return refusal(problems.TABLE[refusal].title)
    if issubclass(refusal, errors.ChallengeEnded):
        return refusal(1_795_435_200_000)
    return refusal()


def header(text: str) -> dict[str, Any]:
    """Return a response's header, described."""
    return {"description": text, "schema": {"type": "string"}}
