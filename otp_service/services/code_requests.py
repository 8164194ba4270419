"""A request for a code, and the challenge that it created."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from otp_service.core.challenge import ChallengeAddress, DeliveryStatus
from otp_service.store.challenge_creation import CreatedChallenge
from otp_service.store.challenges import View
from otp_service.store.limits import WindowState


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRequest:
    """
    A request for a code.

    Attributes:
        to: A number as typed; "" for none.
        subject: The caller's id of the person, or None: then the number stands for the person.
        binding: What the verification must repeat, such as a hash of the caller's session; "" for none.
        locale: A language tag, or None.
        client_ip: The end user's address as the caller knows it, or None.
        client_ref: The caller's own mark, handed back when the challenge is looked at.
        context: Values shown in the message, checked by `core.messages.check_context`.
    """

    to: str = field(repr=False)
    purpose: str
    subject: str | None = field(default=None, repr=False)
    binding: str = ""
    locale: str | None = None
    client_ip: str | None = field(default=None, repr=False)
    client_ref: str | None = None
    context: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCode:
    """
    A created challenge whose code is queued or sent.

    Attributes:
        to: Masked; None where nothing is sent.
        expires_at: Unix milliseconds.
        expires_in: Seconds.
        resend_in: Seconds until a resend passes every limit known now; None when it can't any more.
        sends_remaining: Codes that may still be sent for this challenge and recipient.
        windows: The caller's own limits on this recipient.
    """

    challenge_id: str
    purpose: str
    channel: str
    to: str | None
    expires_at: int
    expires_in: int
    resend_in: int | None
    sends_remaining: int
    attempts_remaining: int
    delivery: DeliveryStatus
    delivery_reason: str
    windows: Sequence[WindowState]

    @classmethod
    def of(
        cls, address: ChallengeAddress, opened: CreatedChallenge, *, channel: str, to: str
    ) -> Self:
        """Return what holds after a challenge was opened or a code resent."""
        per_recipient = [window.remaining for window in opened.windows]
        sends = min([opened.sends_left, *per_recipient])
        expires_in_ms = opened.expires_at - opened.now
        reachable = opened.sends_left > 0 and opened.next_ms < expires_in_ms
        return cls(
            challenge_id=address.challenge_id,
            purpose=opened.purpose,
            channel=channel,
            to=to,
            expires_at=opened.expires_at,
            expires_in=expires_in_ms // 1000,
            resend_in=-(-opened.next_ms // 1000) if reachable else None,
            sends_remaining=sends,
            attempts_remaining=opened.attempts_left,
            delivery=DeliveryStatus.QUEUED,
            delivery_reason="",
            windows=opened.windows,
        )

    @classmethod
    def of_view(cls, address: ChallengeAddress, view: View, *, to: str | None) -> Self:
        """Return how a challenge stands that is there already, of which the limits are not asked."""
        return cls(
            challenge_id=address.challenge_id,
            purpose=view.purpose,
            channel=view.channel,
            to=to,
            expires_at=view.expires_at,
            expires_in=max(0, view.expires_at - view.now) // 1000,
            resend_in=None,
            sends_remaining=view.sends_left,
            attempts_remaining=view.attempts_left,
            delivery=view.delivery,
            delivery_reason=view.delivery_reason,
            windows=(),
        )
