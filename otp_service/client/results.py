"""
What the service answers, as frozen dataclasses.

Times (`_at`) are aware datetimes in UTC, spans (`_in`) whole seconds. Words such as `status` are plain strings:
a later service may know more of them. What must not reach a log stays out of every repr.
"""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import AwareDatetime

MAY_HAVE_ARRIVED = frozenset({"reported_by_site", "refused_by_site"})  # reasons of `failed`


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """
    What became of the message.

    Attributes:
        status: `none` (nothing is sent: the person reads the code off an app), `queued`, `sending`, `accepted` (the
            site took it, which is no receipt of the phone), `failed` (see `may_have_arrived`; resend) or `unknown`
            (it may or may not have gone out).
        reason: Why, where known.
    """

    status: str
    reason: str | None = None

    @property
    def may_have_arrived(self) -> bool:
        """False only if the message was certainly not sent. Some providers send an SMS and report an error."""
        if self.status == "failed":
            return self.reason in MAY_HAVE_ARRIVED
        return self.status in ("accepted", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """
    A code is on its way, or the person reads one off an authenticator app.

    Attributes:
        channel: `sms` or `totp`.
        to: The recipient, masked; None where nothing is sent.
        expires_in: Seconds.
        resend_in: Seconds until a resend may pass; None when it can't any more.
    """

    challenge_id: str
    status: str
    purpose: str
    channel: str
    to: str | None
    expires_at: AwareDatetime
    expires_in: int
    resend_in: int | None
    sends_remaining: int
    attempts_remaining: int
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeStatus:
    """
    How a challenge stands or ended.

    Attributes:
        status: `pending`, `approved`, `expired`, `exhausted`, `canceled` or `replaced`.
        client_ref: The mark given with the request.
        expires_in: Seconds; 0 after the end.
        ended_at: None while it is pending.
    """

    challenge_id: str
    status: str
    purpose: str
    channel: str
    client_ref: str | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    expires_in: int
    ended_at: AwareDatetime | None
    attempts_remaining: int
    sends_remaining: int
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled:
    """The challenge is over; its code is not accepted."""

    challenge_id: str
    status: Literal["canceled"]
    ended_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """
    Somebody showed a factor; never answered itself.

    Attributes:
        subject: The caller's id of the person, if one was given.
        amr: Authentication methods (RFC 8176), such as `("sms",)`.
        proof: Opaque, redeemed once by `redeem_proof`, a secret until then; or a JWT, if that was asked for.
        proof_expires_in: Seconds.
    """

    verified: Literal[True]
    purpose: str
    subject: str | None
    amr: tuple[str, ...]
    verified_at: AwareDatetime
    proof: str = field(repr=False)
    proof_expires_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Verified):
    """The code was right. `method` is `sms` or `totp`."""

    challenge_id: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """
    What a proof proves.

    Attributes:
        iss: Who made it.
        aud: The caller that it is for.
        jti: Its id.
        client_id: The caller that verified.
        sub: That caller's id of the person, if it gave one.
        binding: base64url(SHA-256) of what it is bound to; None for nothing.
        challenge_id: Of a code that was sent; None for other methods.
        method: `sms`, `totp`, `recovery_code` or `device`.
        auth_time: When the person showed the factor.
        exp: When the proof would have ended.
    """

    active: Literal[True]
    iss: str
    aud: str
    jti: str
    client_id: str
    sub: str | None = None
    purpose: str
    binding: str | None = None
    challenge_id: str | None = None
    method: str
    amr: tuple[str, ...] = ()
    auth_time: AwareDatetime
    iat: AwareDatetime
    exp: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OptInAsked:
    """
    The person has been asked.

    Attributes:
        status: `pending`, also of a number that is subscribed: it tells no stranger who is.
        mobile: Masked.
        expires_in: Seconds.
        resend_in: Seconds until asking again may pass; None when it can't.
        delivery: `failed` with the reason `refused_by_site`: the SMS may have arrived, but no code is valid; ask again.
    """

    status: Literal["pending"]
    mobile: str
    expires_in: int
    resend_in: int | None
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class OptInSubscribed:
    """
    The person has confirmed.

    Attributes:
        mobile: Masked.
        receipt: Proof of consent to keep: a JWS (ES256, typ consent-receipt+jws).
    """

    status: Literal["subscribed"]
    mobile: str
    group_id: int | None
    confirmed_at: AwareDatetime
    receipt: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptInUnsubscribed:
    """The subscription is over. `mobile` is masked."""

    status: Literal["unsubscribed"]
    mobile: str


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field: its name, dotted where nested, and a sentence for the developer."""

    field: str
    reason: str
