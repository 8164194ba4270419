"""
Everything the service says no with, as one tree.

OtpError                          never raised itself
├── Refusal                       an expected no: the caller can read `code` and act on it
│   ├── MalformedRequest          the request could not be read at all
│   │   ├── BadRequest            a Host that is none, a query string where nothing is asked in one
│   │   ├── InvalidJson           not JSON, not an object, duplicate names, bad UTF-8, too deep
│   │   ├── TooLarge              the body is over the limit
│   │   ├── NotJson               another media type, charset or content coding
│   │   ├── NotAcceptable         the caller accepts no JSON
│   │   ├── BodyTimeout           the body did not arrive in time
│   │   ├── NoSuchResource        no such path
│   │   └── MethodNotAllowed      the path has other methods
│   ├── InvalidRequest            fields missing, unknown, mistyped or malformed
│   ├── DestinationRefused        the number is none we send to
│   ├── Unauthorized              the caller's credential
│   ├── InsufficientScope         the credential may not do this
│   ├── InvalidCode               wrong, and tries are left
│   ├── FactorNotFound            no such factor of this caller, or none to try
│   ├── FactorProofRequired       the change needs a proof with a factor that the subject has
│   ├── TooManyFactors            the subject has as many as it may
│   ├── AlreadyIssued             secrets are shown once: the same call again shows none
│   ├── ProofNotAccepted          the proof is none that a device may be remembered for
│   ├── DeviceNotFound            no such device of this caller
│   ├── InvalidDevice             the token is of no device that is remembered
│   ├── DeviceMismatch            purpose or binding differ
│   ├── DeviceRotated             a newer token has just taken its place
│   ├── DeviceReused              an old token came again: nothing of the device is good any more
│   ├── ChallengeNotFound         never existed, another caller's, or past retention
│   ├── ChallengeMismatch         purpose or binding differ
│   ├── CodeNotSent               no code has been drawn yet
│   ├── ChallengeEnded            over, and how
│   │   ├── ChallengeUsed
│   │   ├── ChallengeExpired
│   │   ├── ChallengeExhausted
│   │   ├── ChallengeCanceled
│   │   └── ChallengeReplaced
│   ├── RateLimited               a sliding limit; waiting helps
│   │   ├── SubjectBlocked        too many wrong codes
│   │   └── QuotaExceeded         the caller's or the process's budget of sends
│   ├── IdempotencyInProgress     the same key is being worked on
│   └── IdempotencyKeyReused      the same key with another body
└── Fault                         not the caller's doing; nobody was let in
    ├── Overloaded                shed before anything was counted
    ├── SiteMisconfigured         the site's settings do not fit this opt-in
    ├── SubscriptionUndone        the site undid it, as WSMS does when its gateway refuses the SMS
    ├── StoreEmptied              the store came back empty: who has factors is not known
    └── Unavailable               Redis or the provider is away: closed, never open

No HTTP here: `otp_service.web.problems` gives each leaf its status, and a test fails when one has none.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal


class OtpError(Exception):
    """The root; never raised itself."""

    code: ClassVar[str]


class Refusal(OtpError):
    """An expected no. `code` is stable; the attributes are the caller's to read."""


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
    """Fields are missing, unknown, mistyped or malformed; all of them are told at once."""

    code = "invalid_request"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(", ".join(error.field for error in errors))
        self.errors = errors


class DestinationRefused(Refusal):
    """
    The number is none we send to.

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
    The caller's credential, and nothing else.

    Attributes:
        presented: Whether a credential came at all (RFC 6750 section 3.1 wants no error code if not).
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
        hint: Why a code of an authenticator is refused that looks right: `clock_off` (right at another time) or
            `already_used` (right, and accepted before: no try was spent); None otherwise.
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
    What a person gets in with is only changed with a proof by a factor that the subject has.

    None was shown, or one that is spent, expired, another subject's, or not of an authenticator or a recovery code.
    """

    code = "factor_proof_required"


class TooManyFactors(Refusal):
    code = "too_many_factors"


class AlreadyIssued(Refusal):
    """
    The call with this Idempotency-Key has shown its secrets; they are not kept, so they can't be shown again.

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
    The proof is none that a device may be remembered for; it is spent all the same.

    Attributes:
        reason: `inactive` (unknown, spent, expired, or meant for another caller), `subject` (of another person, or of
            none) or `method` (not one that a device may stand in for).
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
    """The device was remembered for another purpose or binding; its token stays good."""

    code = "device_mismatch"


class DeviceRotated(Refusal):
    """Another call used the token a moment ago; its successor is good, and nothing is lost."""

    code = "device_rotated"


class DeviceReused(Refusal):
    """
    A token that was used before came again, so there are two holders of what one may hold: the device is forgotten.

    Attributes:
        device_id: Which.
        ended_at: When that was seen first; Unix milliseconds.
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
    """Purpose or binding are not those of the request; no guess was burned."""

    code = "challenge_mismatch"


class CodeNotSent(Refusal):
    """
    No code has been drawn yet; no guess was burned.

    Attributes:
        retry_after: Seconds after which trying again makes sense.
    """

    code = "code_not_sent"

    def __init__(self, retry_after: int) -> None:
        super().__init__("no code yet")
        self.retry_after = retry_after


class ChallengeEnded(Refusal):
    """
    The challenge is over.

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
    A sliding limit is reached; the refused call counted nothing.

    Attributes:
        limit: Which, by name.
        retry_after: Seconds, at least 1, after which no limit known now stands in the way.
        window: Seconds in which it counts; None where it has no window, such as a cooldown.
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
    Not the caller's doing. Nobody was let in, and no limit was loosened.

    Attributes:
        retry_after: Seconds; None where repeating the call does not help.
    """

    def __init__(self, detail: str, retry_after: int | None = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class Overloaded(Fault):
    """Shed before anything was counted."""

    code = "overloaded"


class SiteMisconfigured(Fault):
    """The WordPress site's settings do not fit this opt-in; repeating the call does not help."""

    code = "site_misconfigured"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=None)


class SubscriptionUndone(Fault):
    """The site undid a subscription, since its gateway refused the welcome SMS. The code stays good."""

    code = "subscription_undone"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=None)


class Unavailable(Fault):
    """
    Redis or the provider is away, or there is no memory for a hash.

    Attributes:
        nothing_done: Whether the whole call certainly counted, spent, sent and changed nothing. The operation knows
            (`core.call_effects`); until it has said so, the call may have been carried out.
        script_ran: False where the one script that failed certainly did nothing.
    """

    code = "unavailable"
    nothing_done = False
    script_ran = True


class StoreEmptied(Fault):
    """The store was in use and came back empty: who has factors is not known. Nothing was counted."""

    code = "store_emptied"


class ClockSkew(Fault):
    """Redis' clock and this process's differ too much to judge a code of an authenticator. Nothing was counted."""

    code = "clock_skew"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=60)
