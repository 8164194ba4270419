"""
Every no of the service as an exception, in one tree.

OtpServiceError                    never raised itself
├── Refused                        an expected no: read `code`, or catch one of
│   ├── InvalidCode                wrong, and tries are left
│   ├── ChallengeEnded             request a new code
│   │   ├── ChallengeUsed
│   │   ├── ChallengeExpired
│   │   ├── ChallengeExhausted
│   │   ├── ChallengeCanceled
│   │   └── ChallengeReplaced
│   ├── ChallengeNotFound          never existed, another caller's, or too long ago
│   ├── ChallengeMismatch          purpose or binding differ
│   ├── CodeNotSent                no code has left yet
│   ├── RateLimited                wait `retry_after` seconds
│   │   ├── SubjectBlocked         too many wrong codes
│   │   └── QuotaExceeded          the budget of sends is spent
│   ├── DestinationRefused         no code goes there
│   ├── FactorNotFound             no such factor, or none to try
│   ├── FactorProofRequired        verify a factor of the subject first, and give that proof
│   ├── TooManyFactors             remove one first
│   ├── AlreadyIssued              secrets are shown once
│   ├── InvalidDevice              the device is not remembered: ask for the second factor, drop the token
│   ├── DeviceRotated              a call beside this one got the new token: drop nothing
│   ├── DeviceReused               there is a copy of the token: the device is forgotten, tell the person
│   ├── DeviceMismatch             purpose or binding differ
│   ├── DeviceNotFound             no such device
│   ├── ProofNotAccepted           no device is remembered for this proof
│   ├── ProofInactive              unknown, spent, expired, or meant for another caller
│   ├── InvalidRequest             fields are missing, unknown or malformed
│   ├── MalformedRequest           the request could not be read at all
│   ├── Unauthorized               our credential
│   ├── InsufficientScope          our credential may not do this
│   ├── IdempotencyInProgress      the same key is still being worked on
│   └── IdempotencyKeyReused       the same key came with another body
├── Unavailable                    no answer, or one that decides nothing: never take it for a yes
│   ├── Overloaded                 too much at once; nothing was counted
│   ├── SubscriptionUndone         the site undid it since its gateway refused the SMS; the code stays good
│   ├── SiteMisconfigured          the WordPress site does not fit the mode of opt-in: tell the operator
│   ├── StoreEmptied               who has factors is not known; codes by SMS work
│   └── ClockSkew                  authenticators are out of use; other methods work
└── NotAnOtpService                whoever answered is none: look at the URL

A code that is not known here is a plain `Refused`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from otp_service.client.results import FieldError


class OtpServiceError(Exception):
    """
    The root; never raised itself.

    Attributes:
        code: The stable name of the refusal.
        title: What happened, for developers.
        detail: What to do.
        status: Of the answer; None when there was none.
        request_id: Names the call in the service's logs, if it was answered.
        retry_after: Seconds after which trying again makes sense, where known.
        data: All members of the problem (RFC 9457).
        idempotency_key: With it the very same call can be repeated later, if it took one.
    """

    idempotency_key: str | None = None

    def __init__(
        self, data: Mapping[str, Any], status: int | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(dict(data), status, request_id)  # what pickle makes it from
        self.data: Mapping[str, Any] = dict(data)
        self.status = status
        self.request_id = request_id
        self.code = str(data.get("code", ""))
        self.title = str(data.get("title", ""))
        self.detail = str(data.get("detail", ""))
        seconds = data.get("retry_after")
        self.retry_after: int | None = seconds if isinstance(seconds, int) else None
        self._read(data)

    def _read(self, data: Mapping[str, Any]) -> None:
        """Set a subclass' own attributes; KeyError, TypeError or ValueError when the members are not there."""

    def __str__(self) -> str:
        told = ": ".join(part for part in (self.code, self.title) if part)
        return f"{told} (request {self.request_id})" if self.request_id else told


class Refused(OtpServiceError):
    """An expected no."""


class InvalidCode(Refused):
    """
    Wrong, and tries are left.

    Attributes:
        attempts_remaining: At least 1 for a challenge.
        clock_off: The code would be right at another time: the person's clock is off.
        already_used: The code is right and was accepted before: no try was spent, the next code works.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.attempts_remaining = int(data["attempts_remaining"])
        self.clock_off = data.get("hint") == "clock_off"
        self.already_used = data.get("hint") == "already_used"


class ChallengeEnded(Refused):
    """
    Over.

    Attributes:
        ended_at: When.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.ended_at = datetime.fromisoformat(data["ended_at"])


class ChallengeUsed(ChallengeEnded):
    """The code has been accepted before."""


class ChallengeExpired(ChallengeEnded):
    """Its time is over."""


class ChallengeExhausted(ChallengeEnded):
    """The tries are used up."""


class ChallengeCanceled(ChallengeEnded):
    """It was canceled."""


class ChallengeReplaced(ChallengeEnded):
    """A newer request took its place."""


class ChallengeNotFound(Refused):
    """Never existed, another caller's, or too long ago."""


class ChallengeMismatch(Refused):
    """Purpose or binding are not those of the request; no try was spent."""


class CodeNotSent(Refused):
    """No code has left yet; no try was spent."""


class RateLimited(Refused):
    """
    A limit is reached; the refused call counted nothing.

    Attributes:
        limit: Which, by name.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.limit = str(data["limit"])


class SubjectBlocked(RateLimited):
    """Too many wrong codes for this subject; trying does not prolong it."""


class QuotaExceeded(RateLimited):
    """The budget of sends is spent."""


class DestinationRefused(Refused):
    """
    No code goes there.

    Attributes:
        reason: `not_a_number`, `extension`, `cannot_receive_sms` or `region`.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.reason = str(data["reason"])


class FactorNotFound(Refused):
    """No such factor of this caller, or none to try."""


class FactorProofRequired(Refused):
    """What a person gets in with is only changed with a proof by a factor that the subject has."""


class TooManyFactors(Refused):
    """The subject has as many as it may."""


class AlreadyIssued(Refused):
    """
    The call with this key has shown its secrets, and they are not kept.

    Attributes:
        factor_id: The factor it made, if it made one.
        device_id: The device it remembered, if it did.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.factor_id: str | None = data.get("factor_id")
        self.device_id: str | None = data.get("device_id")


class ProofNotAccepted(Refused):
    """
    No device is remembered for this proof, which is spent all the same.

    Attributes:
        reason: `inactive` (unknown, spent, expired, or of another caller), `subject` (of another person) or `method`
            (not one that a device may stand in for).
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.reason = str(data["reason"])


class DeviceNotFound(Refused):
    """No such device of this caller."""


class InvalidDevice(Refused):
    """The token is of no device that is remembered: ask for the second factor, and drop the token."""


class DeviceMismatch(Refused):
    """The device was remembered for another purpose or binding; its token stays good."""


class DeviceRotated(Refused):
    """A call beside this one used the token a moment ago and got the new one: use that, and drop nothing."""


class DeviceReused(Refused):
    """
    The token was used before, so there is a copy, or the answer with its successor got lost; the device is forgotten.

    Ask for the second factor, drop the token, and tell the person.

    Attributes:
        device_id: Which.
        ended_at: When that was seen first.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.device_id = str(data["device_id"])
        self.ended_at = datetime.fromisoformat(data["ended_at"])


class ProofInactive(Refused):
    """
    Unknown, spent, expired, for another purpose or binding, or meant for another caller: one answer for all.

    Where a `ProofVerifier` says it, `detail` has the reason, for your log and nobody else.
    """


class InvalidRequest(Refused):
    """
    Fields are missing, unknown or malformed.

    Attributes:
        errors: All of them at once.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.errors = tuple(FieldError(str(e["field"]), str(e["reason"])) for e in data["errors"])

    def __str__(self) -> str:
        return f"{super().__str__()}: {', '.join(error.field for error in self.errors)}"


class MalformedRequest(Refused):
    """The request could not be read at all, or there is nothing at this path: client and service do not match."""


class Unauthorized(Refused):
    """Our credential is missing or refused."""


class InsufficientScope(Refused):
    """Our credential may not do this."""


class IdempotencyInProgress(Refused):
    """The call with this key is still running, and was for longer than we had time."""


class IdempotencyKeyReused(Refused):
    """The key came with another body before."""


class Unavailable(OtpServiceError):
    """
    No answer, or one that decides nothing. Never take it for a yes.

    Whether the call was acted on is unknown; with `idempotency_key` the same call can be repeated without harm.
    """


class Overloaded(Unavailable):
    """Too much at once; nothing was counted."""


class SubscriptionUndone(Unavailable):
    """The WordPress site undid the subscription: its gateway refused the welcome SMS. The code stays good."""


class SiteMisconfigured(Unavailable):
    """The WordPress site does not fit the mode of opt-in. Repeating the call does not help: tell the operator."""


class StoreEmptied(Unavailable):
    """The service lost the data of people's factors; an operator must act. Codes by SMS work. Never skip the factor."""


class ClockSkew(Unavailable):
    """The service's clocks differ, so no code of an authenticator is judged; no try was spent. Other methods work."""


class NotAnOtpService(OtpServiceError):
    """The answer is none of an otp_service: look at the URL, and at proxies between."""
