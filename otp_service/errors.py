"""
All errors of the service, as one tree.

OtpError                          never raised itself
├── Refusal                       an expected refusal: the caller can act on `code`
│   ├── MalformedRequest          the request could not be read at all
│   │   ├── BadRequest            an invalid Host, or an unexpected query string
│   │   ├── InvalidJson           not JSON, not an object, duplicate names, bad UTF-8, too deep
│   │   ├── TooLarge              the body is over the limit
│   │   ├── NotJson               another media type, charset or content coding
│   │   ├── NotAcceptable         the caller accepts no JSON
│   │   ├── BodyTimeout           the body did not arrive in time
│   │   ├── NoSuchResource        no such path
│   │   └── MethodNotAllowed      the path has other methods
│   ├── InvalidRequest            fields missing, unknown, mistyped or malformed
│   ├── DestinationRefused        the number is not allowed
│   ├── Unauthorized              the caller's credential is missing or invalid
│   ├── InsufficientScope         the credential lacks a scope
│   ├── InvalidCode               wrong, and attempts are left
│   ├── FactorNotFound            no such factor of this caller, or none to try
│   ├── FactorProofRequired       the change needs a proof with a factor that the subject has
│   ├── TooManyFactors            the subject has the maximum number
│   ├── AlreadyIssued             secrets are shown once: the same call again shows none
│   ├── ProofNotAccepted          the proof cannot be used to remember a device
│   ├── DeviceNotFound            no such device of this caller
│   ├── InvalidDevice             the token belongs to no remembered device
│   ├── DeviceMismatch            purpose or binding differ
│   ├── DeviceRotated             a concurrent call used the token
│   ├── DeviceReused              a used token was presented again: the device is revoked
│   ├── ChallengeNotFound         never existed, another caller's, or past retention
│   ├── ChallengeMismatch         purpose or binding differ
│   ├── CodeNotSent               no code has been sent yet
│   ├── ChallengeEnded            the challenge ended, and how
│   │   ├── ChallengeUsed
│   │   ├── ChallengeExpired
│   │   ├── ChallengeExhausted
│   │   ├── ChallengeCanceled
│   │   └── ChallengeReplaced
│   ├── RateLimited               a sliding-window limit; waiting helps
│   │   ├── SubjectBlocked        too many wrong codes
│   │   └── QuotaExceeded         the caller's or the process's budget of sends
│   ├── IdempotencyInProgress     the same key is being worked on
│   └── IdempotencyKeyReused      the same key with another body
└── Fault                         not caused by the caller; never a success
    ├── Overloaded                shed before anything was counted
    ├── SiteMisconfigured         the site's settings do not fit this opt-in
    ├── SubscriptionUndone        the site undid it, as WSMS does when its gateway refuses the SMS
    ├── StoreEmptied              Redis came back empty: the factors are unknown
    └── Unavailable               Redis or the provider is unreachable: fail closed

No HTTP here: `otp_service.web.problems` gives each leaf its status, and a test fails when one has none.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal


class OtpError(Exception):
    """The root; never raised itself."""

    code: ClassVar[str]


class Refusal(OtpError):
    """An expected refusal. `code` is stable; the attributes are for the caller."""


class MalformedRequest(Refusal):
    """The request could not be read."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(MalformedRequest):
    code = "bad_request"


class InvalidJson(MalformedRequest):
    code = "invalid_json"


class TooLarge(MalformedRequest):
    code = "too_large"


class NotJson(MalformedRequest):
    code = "not_json"


class NotAcceptable(MalformedRequest):
    code = "not_acceptable"


class BodyTimeout(MalformedRequest):
    code = "body_timeout"


class NoSuchResource(MalformedRequest):
    code = "not_found"


class MethodNotAllowed(MalformedRequest):
    code = "method_not_allowed"

    def __init__(self, detail: str, allowed: str = "") -> None:
        super().__init__(detail)
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class FieldError:
    """
    What is wrong with one field.

    Attributes:
        field: Its name, dotted where nested; `Idempotency-Key` and the like for headers.
        reason: A sentence for the developer; never repeats what was sent.
    """

    field: str
    reason: str


class InvalidRequest(Refusal):
    """Fields are missing, unknown, mistyped or malformed; all are reported at once."""

    code = "invalid_request"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(", ".join(error.field for error in errors))
        self.errors = errors


class DestinationRefused(Refusal):
    """
    The number is not allowed.

    Attributes:
        reason: `not_a_number`, `extension`, `cannot_receive_sms` or `region`.
    """

    code = "destination_refused"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Unauthorized(Refusal):
    """
    The caller's credential is missing or invalid.

    Attributes:
        presented: Whether a credential was sent (RFC 6750 section 3.1: no error code if not).
    """

    code = "unauthorized"

    def __init__(self, *, presented: bool) -> None:
        super().__init__("credential refused" if presented else "credential missing")
        self.presented = presented


class InsufficientScope(Refusal):
    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope


class InvalidCode(Refusal):
    """
    A wrong code.

    Attributes:
        hint: Why an authenticator code is refused: `clock_off` (right at another time) or `already_used`
            (accepted before; no attempt was counted); None otherwise.
    """

    code = "invalid_code"

    def __init__(
        self,
        attempts_remaining: int,
        *,
        hint: Literal["clock_off", "already_used"] | None = None,
    ) -> None:
        used = hint == "already_used"
        super().__init__("Already used: wait for the next code." if used else "wrong code")
        self.attempts_remaining = attempts_remaining
        self.hint = hint


class FactorNotFound(Refusal):
    """Never existed, another caller's, removed, or nothing there to try: one answer."""

    code = "factor_not_found"


class FactorProofRequired(Refusal):
    """
    Factors can only be changed with a proof by an existing factor of the subject.

    The proof is missing, spent, expired, another subject's, or not by an authenticator or a recovery code.
    """

    code = "factor_proof_required"


class TooManyFactors(Refusal):
    code = "too_many_factors"


class AlreadyIssued(Refusal):
    """
    The call with this Idempotency-Key has shown its secrets; they are not stored, so they can't be shown again.

    Attributes:
        factor_id: The factor it made, if it made one.
        device_id: The device it remembered, if it did.
    """

    code = "already_issued"

    def __init__(self, factor_id: str | None, device_id: str | None = None) -> None:
        super().__init__("issued before")
        self.factor_id = factor_id
        self.device_id = device_id


class ProofNotAccepted(Refusal):
    """
    The proof cannot be used to remember a device; it is spent anyway.

    Attributes:
        reason: `inactive` (unknown, spent, expired, or meant for another caller), `subject` (of another person, or of
            none) or `method` (not one that a device may replace).
    """

    code = "proof_not_accepted"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeviceNotFound(Refusal):
    """Never existed, another caller's, expired or forgotten: one answer."""

    code = "device_not_found"


class InvalidDevice(Refusal):
    """The token is malformed, made up, another caller's or subject's, expired or forgotten: one answer."""

    code = "invalid_device"


class DeviceMismatch(Refusal):
    """The device was remembered for another purpose or binding; its token stays valid."""

    code = "device_mismatch"


class DeviceRotated(Refusal):
    """A concurrent call used the token; the new token is valid."""

    code = "device_rotated"


class DeviceReused(Refusal):
    """
    A used token was presented again, so it may have been copied: the device is revoked.

    Attributes:
        device_id: The device.
        ended_at: First detection; Unix milliseconds.
    """

    code = "device_reused"

    def __init__(self, device_id: str, ended_at: int) -> None:
        super().__init__(device_id)
        self.device_id = device_id
        self.ended_at = ended_at


class ChallengeNotFound(Refusal):
    """Never existed, another caller's, or past retention: one answer for all three."""

    code = "challenge_not_found"


class ChallengeMismatch(Refusal):
    """Purpose or binding differ from the request; no attempt was counted."""

    code = "challenge_mismatch"


class CodeNotSent(Refusal):
    """
    No code has been sent yet; no attempt was counted.

    Attributes:
        retry_after: Seconds to wait before another attempt.
    """

    code = "code_not_sent"

    def __init__(self, retry_after: int) -> None:
        super().__init__("no code yet")
        self.retry_after = retry_after


class ChallengeEnded(Refusal):
    """
    The challenge has ended.

    Attributes:
        ended_at: Unix milliseconds.
    """

    def __init__(self, ended_at: int) -> None:
        super().__init__(self.code)
        self.ended_at = ended_at


class ChallengeUsed(ChallengeEnded):
    code = "challenge_used"


class ChallengeExpired(ChallengeEnded):
    code = "challenge_expired"


class ChallengeExhausted(ChallengeEnded):
    code = "challenge_exhausted"


class ChallengeCanceled(ChallengeEnded):
    code = "challenge_canceled"


class ChallengeReplaced(ChallengeEnded):
    code = "challenge_replaced"


class RateLimited(Refusal):
    """
    A sliding-window limit is reached; the refused call is not counted.

    Attributes:
        limit: Name of the limit.
        retry_after: Seconds, at least 1, until every limit allows the call.
        window: Seconds of its window; None for a limit without one, such as a cooldown.
    """

    code = "rate_limited"

    def __init__(self, limit: str, retry_after: int, window: int | None = None) -> None:
        super().__init__(limit)
        self.limit = limit
        self.retry_after = retry_after
        self.window = window


class SubjectBlocked(RateLimited):
    """Too many wrong codes for this subject; trying does not extend the block."""

    code = "subject_blocked"


class QuotaExceeded(RateLimited):
    """The caller's daily budget of sends, or the ceiling of this process."""

    code = "quota_exceeded"


class IdempotencyInProgress(Refusal):
    code = "idempotency_in_progress"

    def __init__(self, retry_after: int) -> None:
        super().__init__("in progress")
        self.retry_after = retry_after


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"


class Fault(OtpError):
    """
    Not caused by the caller. No code was accepted, and no limit was loosened.

    Attributes:
        retry_after: Seconds; None if repeating the call does not help.
    """

    def __init__(self, detail: str, retry_after: int | None = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class Overloaded(Fault):
    """Refused before anything was counted."""

    code = "overloaded"


class SiteMisconfigured(Fault):
    """The WordPress site's settings do not fit this opt-in; repeating the call does not help."""

    code = "site_misconfigured"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=None)


class SubscriptionUndone(Fault):
    """The site undid a subscription, since its gateway refused the welcome SMS. The code stays valid."""

    code = "subscription_undone"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=None)


class Unavailable(Fault):
    """
    Redis or the provider is unreachable, or there is no memory for a hash.

    Attributes:
        nothing_done: Whether the whole call certainly counted, spent, sent and changed nothing. The operation sets it
            (`core.call_effects`); until then, the call may have been carried out.
        script_ran: False where the one script that failed certainly did nothing.
    """

    code = "unavailable"
    nothing_done = False
    script_ran = True


class StoreEmptied(Fault):
    """Redis was in use and came back empty: the factors and the callers are unknown. Nothing was counted."""

    code = "store_emptied"


class ClockSkew(Fault):
    """Redis' clock and this process's differ too much to verify authenticator codes. Nothing was counted."""

    code = "clock_skew"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=60)
