"""Errors for the verdicts of scripts."""

from collections.abc import Mapping
from typing import Any

from otp_service.core.challenge import Status
from otp_service.errors import (
    ChallengeCanceled,
    ChallengeEnded,
    ChallengeExhausted,
    ChallengeExpired,
    ChallengeMismatch,
    ChallengeNotFound,
    ChallengeReplaced,
    ChallengeUsed,
    CodeNotSent,
    FieldError,
    InvalidRequest,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    SubjectBlocked,
    Unavailable,
)

_UNTIL_FREED = (
    86_400  # seconds told to a caller whose subject's factor is disabled: waiting alone won't help
)
_RETRY_NOT_SENT = 2

_ENDED: Mapping[str, type[ChallengeEnded]] = {
    Status.APPROVED: ChallengeUsed,
    Status.EXPIRED: ChallengeExpired,
    Status.EXHAUSTED: ChallengeExhausted,
    Status.CANCELED: ChallengeCanceled,
    Status.REPLACED: ChallengeReplaced,
}


def refusal(answer: Mapping[str, Any]) -> Exception:
    """Return what a script's verdict means that is no success."""
    match answer["verdict"]:
        case "not_found":
            return ChallengeNotFound()
        case "mismatch":
            return ChallengeMismatch()
        case "ended":
            return ended(Status(answer["status"]), int(answer["ended_at"]))
        case "not_sent":
            return CodeNotSent(_RETRY_NOT_SENT)
        case "blocked":
            return blocked(answer)
        case "limited":
            return limited(answer)
        case "overloaded":
            own = "This caller's share of the delivery queue is in use."
            full = "The delivery queue is full."
            return Overloaded(own if answer["why"] == "share" else full, retry_after=5)
        case other:
            return Unavailable(f"redis: unknown verdict {other!r}")


def wrong_length(answer: Mapping[str, Any]) -> InvalidRequest:
    """Return the refusal of a code that can't be the right one for its length; it has cost no try."""
    return InvalidRequest(FieldError("code", f"must have {int(answer['digits'])} digits"))


def ended(status: Status, at: int) -> ChallengeEnded:
    """Return the refusal that tells how a challenge ended. `at` in Unix milliseconds; not for `pending`."""
    return _ENDED[status](at)


def blocked(answer: Mapping[str, Any]) -> SubjectBlocked:
    """Return the refusal for a script's verdict `blocked`."""
    until, now = int(answer["until_ms"]), int(answer["now"])
    wait = _UNTIL_FREED if until < 0 else seconds(until - now)
    return SubjectBlocked("failures", wait)


def limited(answer: Mapping[str, Any]) -> RateLimited:
    """Return the refusal for a script's verdict `limited`."""
    kind = QuotaExceeded if answer["limit"] == "caller_budget" else RateLimited
    window = answer.get("window_ms")
    return kind(
        answer["limit"], seconds(answer["wait_ms"]), None if window is None else seconds(window)
    )


def seconds(ms: float) -> int:
    """Return whole seconds, at least 1, after which `ms` milliseconds are over."""
    return max(1, -(-int(ms) // 1000))
