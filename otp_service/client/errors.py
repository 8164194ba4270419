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
│   ├── StoreEmptied               the service lost its data: factors and credentials
│   └── ClockSkew                  authenticators are out of use; other methods work
└── UnexpectedResponse                whoever answered is none: look at the URL

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
    """An expected refusal."""


class InvalidCode(Refused):
    """
    The code is wrong, and attempts are left.

    Attributes:
        attempts_remaining: At least 1 for a challenge.
        clock_off: The code would be right at another time: the person's clock is off.
        already_used: The code was accepted before; no attempt was counted, and the next code works.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.attempts_remaining = int(data["attempts_remaining"])
        self.clock_off = data.get("hint") == "clock_off"
        self.already_used = data.get("hint") == "already_used"


class ChallengeEnded(Refused):
    """
    The challenge has ended.

    Attributes:
        ended_at: When.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.ended_at = datetime.fromisoformat(data["ended_at"])


class ChallengeUsed(ChallengeEnded):
    """The code has been accepted before."""


class ChallengeExpired(ChallengeEnded):
    """The code has expired."""


class ChallengeExhausted(ChallengeEnded):
    """All attempts are used up."""


class ChallengeCanceled(ChallengeEnded):
    """The challenge was canceled."""


class ChallengeReplaced(ChallengeEnded):
    """A newer request replaced the challenge."""


class ChallengeNotFound(Refused):
    """The challenge does not exist, is another caller's, or ended too long ago."""


class ChallengeMismatch(Refused):
    """Purpose or binding differ from the request; no attempt was counted."""


class CodeNotSent(Refused):
    """No code has been sent yet; no attempt was counted."""


class RateLimited(Refused):
    """
    A limit is reached; the refused call is not counted.

    Attributes:
        limit: Name of the limit.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.limit = str(data["limit"])


class SubjectBlocked(RateLimited):
    """Too many wrong codes for this subject; further attempts do not extend the block."""


class QuotaExceeded(RateLimited):
    """The send budget is used up."""


class DestinationRefused(Refused):
    """
    The destination is not allowed.

    Attributes:
        reason: `not_a_number`, `extension`, `cannot_receive_sms` or `region`.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.reason = str(data["reason"])


class FactorNotFound(Refused):
    """No such factor of this caller, or none to try."""


class FactorProofRequired(Refused):
    """The change needs a proof by an existing factor of the subject."""


class TooManyFactors(Refused):
    """The subject has the maximum number of factors."""


class AlreadyIssued(Refused):
    """
    The call with this key has shown its secrets, and they are not stored.

    Attributes:
        factor_id: The factor it made, if it made one.
        device_id: The device it remembered, if it did.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.factor_id: str | None = data.get("factor_id")
        self.device_id: str | None = data.get("device_id")


class ProofNotAccepted(Refused):
    """
    The proof cannot be used to remember a device; it is spent anyway.

    Attributes:
        reason: `inactive` (unknown, spent, expired, or of another caller), `subject` (of another person) or `method`
            (not one that a device may replace).
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.reason = str(data["reason"])


class DeviceNotFound(Refused):
    """No such device of this caller."""


class InvalidDevice(Refused):
    """The token belongs to no remembered device: ask for the second factor and delete the token."""


class DeviceMismatch(Refused):
    """The device was remembered for another purpose or binding; its token stays valid."""


class DeviceRotated(Refused):
    """A concurrent call used the token and got the new one: use that, and do not delete the token."""


class DeviceReused(Refused):
    """
    The token was used before: it was copied, or the response with the new token got lost. The device is revoked.

    Ask for the second factor, delete the token, and warn the person.

    Attributes:
        device_id: The device.
        ended_at: First detection.
    """

    def _read(self, data: Mapping[str, Any]) -> None:
        self.device_id = str(data["device_id"])
        self.ended_at = datetime.fromisoformat(data["ended_at"])


class ProofInactive(Refused):
    """
    The proof is unknown, spent, expired, or for another purpose, binding or audience.

    With a `ProofVerifier`, `detail` has the reason. Use it only for your log.
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
    """The key was used with another body."""


class Unavailable(OtpServiceError):
    """
    No response, or a 5xx. Never treat it as a success.

    The call may have been carried out; with `idempotency_key` it can be repeated safely.
    """


class Overloaded(Unavailable):
    """The service is overloaded; nothing was counted."""


class SubscriptionUndone(Unavailable):
    """The WordPress site undid the subscription: its gateway refused the welcome SMS. The code stays valid."""


class SiteMisconfigured(Unavailable):
    """The WordPress site does not fit the opt-in mode. Repeating the call does not help: tell the operator."""


class StoreEmptied(Unavailable):
    """
    The service lost its data: who has factors, and which credentials are valid. An operator must act.

    Codes by SMS work again with a new credential. Never skip the factor.
    """


class ClockSkew(Unavailable):
    """The clocks of service and Redis differ: authenticator codes are not verified or counted. Other methods work."""


class UnexpectedResponse(OtpServiceError):
    """The response is not from an otp_service: check the URL and proxies."""
