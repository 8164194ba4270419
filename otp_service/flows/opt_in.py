"""
Double opt-in, as a sign-up form sees it: request, verify, unsubscribe, with the words of WSMS' newsletter.

Two modes. In `wsms` the site draws and checks the code, and before it stand what it lacks: expiry, tries, limits, one
spelling of a number, one group. In `service` the code is ours, and only its confirmation adds the subscriber.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import structlog

from otp_service.core.challenge import Status, SubjectAddress, fingerprint, subject_address
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.policy import Policy
from otp_service.core.receipts import Confirmed, Consent, receipt
from otp_service.core.recipients import Recipient
from otp_service.core.seal import SealBroken, seal, unseal
from otp_service.errors import (
    ChallengeExhausted,
    ChallengeNotFound,
    DestinationRefused,
    FieldError,
    InvalidCode,
    InvalidRequest,
    OtpError,
    Unavailable,
)
from otp_service.flows.activations import Activations
from otp_service.flows.one_time_code import CodeRequest, OneTimeCodes
from otp_service.flows.send_limits import send_limits, served_recipient
from otp_service.store.opt_ins import SUBSCRIBES_AT_ONCE, VERIFIES_TOO, OptIns, ReservedTry
from otp_service.wsms.errors import (
    InvalidParameter,
    NewsletterRefusal,
    NewsletterRefused,
    NotAWsmsAnswer,
    SiteDown,
    WsmsError,
)
from otp_service.wsms.models import SubscriptionStatus
from otp_service.wsms.newsletter import Newsletter

log = structlog.get_logger()

PURPOSE = "opt_in"
_MANY = 1_000  # tries of a record whose code is ours: its challenge counts them

Announce = Callable[[str, str, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """
    A person's wish to be subscribed. `consent.requested_at` is set by the service.

    Attributes:
        mobile: A number as typed.
        group_id: One group, or None.
        custom_fields: As the site's form defines them.
    """

    name: str = field(repr=False)
    mobile: str = field(repr=False)
    group_id: int | None = None
    custom_fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    client_ip: str | None = field(default=None, repr=False)
    consent: Consent = field(default_factory=Consent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of a wish: waiting for the code, or subscribed at once. Times in seconds; None when subscribed."""

    subscribed: bool
    mobile: str
    expires_in: int | None
    resend_in: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """A confirmed opt-in. `mobile` is masked, `confirmed_at` in Unix milliseconds."""

    mobile: str
    group_id: int | None
    confirmed_at: int
    receipt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What is sealed in a record until the code comes back."""

    consent: Consent
    custom_fields: Mapping[str, Any]
    challenge_id: str | None

    def seal(self, keyring: Keyring, address: SubjectAddress) -> str:
        return seal(keyring, json.dumps(asdict(self)), belongs_to=f"opt-in:{address.pseudonym}")

    @classmethod
    def open(cls, keyring: Keyring, sealed: str, address: SubjectAddress) -> Self:
        told = json.loads(unseal(keyring, sealed, belongs_to=f"opt-in:{address.pseudonym}"))
        return cls(**{**told, "consent": Consent(**told["consent"])})


class OptIn:
    """
    The story of a double opt-in.

    Args:
        codes: None when the site draws the codes (mode `wsms`), else ours (mode `service`).
        activations: Told of each call that may make the site send a code.
        issuer: Who signs the receipts.
        announce: Told of each confirmation: caller, event type, data.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        opt_ins: OptIns,
        newsletter: Newsletter,
        codes: OneTimeCodes | None,
        activations: Activations,
        issuer: str,
        announce: Announce,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._opt_ins = opt_ins
        self._newsletter = newsletter
        self._codes = codes
        self._activations = activations
        self._issuer = issuer
        self._announce = announce

    async def request(self, caller: str, wish: Wish, *, policy: Policy, handle: str) -> Asked:
        """
        Ask the person to confirm by a code.

        Args:
            caller: Who asks.
            wish: What for.
            policy: The caller's.
            handle: Of `new_handle`; the same again sends nothing.

        Raises:
            DestinationRefused, InvalidRequest: the number or a field is refused, by us or by the site.
            RateLimited, QuotaExceeded: and nothing was counted.
            SubjectBlocked, Overloaded, Unavailable.
        """
        recipient = served_recipient(policy, wish.mobile)
        address = self._address(caller, recipient, wish.group_id)
        if self._codes is not None:
            return await self._request_own(
                self._codes, caller, wish, recipient, address, policy, handle
            )
        phones = self._keyring().in_order(Kind.PHONE)
        limits = send_limits(
            policy, phones, caller=caller, recipient=recipient, client_ip=wish.client_ip
        )
        kept = _Kept(consent=wish.consent, custom_fields={}, challenge_id=None)
        opened = await self._opt_ins.open(
            address,
            limits,
            handle=handle,
            consent=kept.seal(self._keyring(), address),
            max_attempts=self._policy.optin_attempts,
            ttl_ms=self._policy.optin_ttl * 1000,
            retention_ms=self._policy.retention * 1000,
        )
        if not opened.again and await self._ask_site(
            replace(wish, mobile=recipient.e164), handle, pending_before=opened.pending_before
        ):
            await self._opt_ins.settle(address, Status.APPROVED, handle=handle)
            return Asked(subscribed=True, mobile=recipient.masked, expires_in=None, resend_in=None)
        log.info("optin.requested", caller=caller, again=opened.again)
        return Asked(
            subscribed=False,
            mobile=recipient.masked,
            expires_in=max(0, opened.expires_at - opened.now) // 1000,
            resend_in=-(-opened.next_ms // 1000),
        )

    async def verify(
        self, caller: str, *, name: str, mobile: str, activation: str, group_id: int | None
    ) -> Subscribed:
        """
        Confirm with the code that the person got.

        Args:
            caller: Who asks; the one that requested.
            name: Handed to the site, compared with nothing.
            mobile: A number as typed.
            activation: ASCII digits, normalised.
            group_id: As requested.

        Raises:
            ChallengeNotFound, ChallengeEnded, InvalidRequest: no try was spent.
            InvalidCode, ChallengeExhausted: a try was spent.
            Unavailable: a try may have been spent; the same code may be tried again.
        """
        recipient = served_recipient(self._policy, mobile)
        address = self._address(caller, recipient, group_id)
        if self._codes is None and len(activation) != 4:
            raise InvalidRequest(FieldError("activation", "must have 4 digits"))
        tried = await self._opt_ins.reserve(address)
        try:
            kept = _Kept.open(self._keyring(), tried.consent, address)
        except SealBroken:
            raise ChallengeNotFound from None  # its key was taken away
        wish = Wish(
            name=name, mobile=recipient.e164, group_id=group_id, custom_fields=kept.custom_fields
        )
        if self._codes is not None and kept.challenge_id is not None:
            await self._verify_own(self._codes, caller, kept.challenge_id, activation)
            await self._add(wish, tried.handle)
        else:
            await self._verify_at_site(address, tried, wish, activation)
        confirmed_at = await self._opt_ins.settle(address, Status.APPROVED, handle=tried.handle)
        if confirmed_at is None:
            raise Unavailable("another request came between")
        consent = Consent(
            text_sha256=kept.consent.text_sha256,
            version=kept.consent.version,
            locale=kept.consent.locale,
            requested_at=tried.requested_at,
        )
        confirmed = Confirmed(
            caller=caller,
            e164=recipient.e164,
            group_id=group_id,
            consent=consent,
            confirmed_at=confirmed_at,
        )
        signed = receipt(self._keyring(), confirmed, issuer=self._issuer, receipt_id=tried.handle)
        log.info("optin.confirmed", caller=caller)
        await self._announce(caller, "optin.confirmed", {"group_id": group_id, "receipt": signed})
        return Subscribed(
            mobile=recipient.masked,
            group_id=group_id,
            confirmed_at=confirmed_at,
            receipt=signed,
        )

    async def unsubscribe(
        self, caller: str, *, name: str, mobile: str, group_id: int | None
    ) -> str:
        """
        Remove a number from one group, or from all; return it masked. Again: the same.

        Raises:
            DestinationRefused, InvalidRequest, Unavailable.
        """
        recipient = served_recipient(self._policy, mobile)
        await self._remove(name, recipient.e164, group_id)
        address = self._address(caller, recipient, group_id)
        await self._opt_ins.settle(address, Status.CANCELED, handle="")
        log.info("optin.unsubscribed", caller=caller)
        return recipient.masked

    async def _request_own(
        self,
        codes: OneTimeCodes,
        caller: str,
        wish: Wish,
        recipient: Recipient,
        address: SubjectAddress,
        policy: Policy,
        handle: str,
    ) -> Asked:
        ask = CodeRequest(
            to=recipient.e164,
            purpose=PURPOSE,
            subject=self._subject(address),
            locale=wish.consent.locale,
            client_ip=wish.client_ip,
        )
        issued = await codes.request(caller, ask, policy=policy, handle=handle)
        kept = _Kept(
            consent=wish.consent,
            custom_fields=wish.custom_fields,
            challenge_id=issued.challenge_id,
        )
        await self._opt_ins.open(
            address,
            [],
            handle=handle,
            consent=kept.seal(self._keyring(), address),
            max_attempts=_MANY,
            ttl_ms=self._policy.retention * 1000,
            retention_ms=self._policy.retention * 1000,
        )
        return Asked(
            subscribed=False,
            mobile=recipient.masked,
            expires_in=issued.expires_in,
            resend_in=issued.resend_in,
        )

    async def _verify_own(
        self, codes: OneTimeCodes, caller: str, challenge_id: str, activation: str
    ) -> None:
        """
        Let our own challenge decide.

        The handle is made of the code itself: when the site was away after the code had been accepted, the same code
        again goes on where it broke off, until the subscriber is there; afterwards the record has ended.
        """
        name = self._keyring().active(Kind.NAME)
        handle = fingerprint(name, "opt-in-try/v1", challenge_id, activation)
        await codes.verify(
            caller,
            challenge_id,
            activation,
            purpose=PURPOSE,
            binding="",
            handle=handle,
        )

    async def _ask_site(self, wish: Wish, handle: str, *, pending_before: bool) -> bool:
        """Return whether the site subscribed the person at once, or had it already."""
        if pending_before and wish.group_id is not None:
            # Inside a group the site would add a second row whose code does not count (contract 3.2).
            await self._remove(wish.name, wish.mobile, wish.group_id)
        try:
            status = await self._subscribe(wish, handle)
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.ALREADY_SUBSCRIBED:
                return True
            raise _refusal(error) from None
        except SiteDown as error:
            if error.maybe_done:
                return False  # the code may be under way: the person finds out
            raise _refusal(error) from None
        except WsmsError as error:
            raise _refusal(error) from None
        if status is SubscriptionStatus.SUBSCRIBED:
            log.warning("optin.site_does_not_verify")
            await self._opt_ins.remember(SUBSCRIBES_AT_ONCE)
        return status is SubscriptionStatus.SUBSCRIBED

    async def _subscribe(self, wish: Wish, handle: str) -> SubscriptionStatus:
        """
        Make the site add the person, and possibly send a code of its own.

        Raises:
            WsmsError: the site's.
            Unavailable: Redis; the site was not asked.
        """
        await self._activations.begin(handle, wish.mobile)
        try:
            subscription = await self._newsletter.subscribe(
                name=wish.name,
                mobile=wish.mobile,
                group_id=wish.group_id,
                custom_fields=wish.custom_fields or None,
            )
        except (SiteDown, NotAWsmsAnswer) as error:
            if isinstance(error, SiteDown) and not error.maybe_done:
                await self._activations.end(handle, sent=False)
            raise  # else nobody knows: it is looked for
        except WsmsError:
            await self._activations.end(handle, sent=False)
            raise
        sent = subscription.status is not SubscriptionStatus.SUBSCRIBED
        await self._activations.end(handle, sent=sent)
        return subscription.status

    async def _verify_at_site(
        self, address: SubjectAddress, tried: ReservedTry, wish: Wish, activation: str
    ) -> None:
        try:
            await self._newsletter.verify(
                name=wish.name,
                mobile=wish.mobile,
                activation=activation,
                group_id=wish.group_id,
            )
        except NewsletterRefused as error:
            if tried.unsure and error.reason is NewsletterRefusal.NOT_FOUND:
                return  # the try whose answer was lost had confirmed it: the site knows no pending row any more
            if tried.attempts_left > 0:
                raise InvalidCode(tried.attempts_left) from None
            ended_at = await self._opt_ins.settle(address, Status.EXHAUSTED, handle=tried.handle)
            raise ChallengeExhausted(ended_at or tried.requested_at) from None
        except SiteDown as error:
            if error.maybe_done:
                await self._opt_ins.settle(address, "unsure", handle=tried.handle)
            raise _refusal(error) from None
        except WsmsError as error:
            raise _refusal(error) from None

    async def _add(self, wish: Wish, handle: str) -> None:
        """Add a person that our own code has confirmed."""
        try:
            status = await self._subscribe(wish, handle)
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.ALREADY_SUBSCRIBED:
                return
            raise _refusal(error) from None
        except WsmsError as error:
            raise _refusal(error) from None
        if status is SubscriptionStatus.PENDING:
            log.error(
                "optin.site_verifies_too", hint="switch off newsletter_form_verify on the site"
            )
            await self._opt_ins.remember(VERIFIES_TOO)
            raise Unavailable(
                "the site sends an activation of its own: OTP_OPTIN_MODE=wsms fits it"
            )

    async def _remove(self, name: str, e164: str, group_id: int | None) -> None:
        try:
            await self._newsletter.unsubscribe(
                name=name, mobile=e164, groups=() if group_id is None else (group_id,)
            )
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.NOT_FOUND:
                return
            if error.reason is NewsletterRefusal.UNRECOGNISED and await self._is_gone(e164):
                return
            raise _refusal(error) from None
        except WsmsError as error:
            raise _refusal(error) from None

    async def _is_gone(self, e164: str) -> bool:
        """Ask the list where a translated site's text tells nothing."""
        try:
            rows = await self._newsletter.subscribers()
        except WsmsError as error:
            raise _refusal(error) from None
        return all(row.mobile != e164 for row in rows)

    def _subject(self, address: SubjectAddress) -> str:
        """What the caller's events call the person: a name of the pseudonym, which itself leaves the house nowhere."""
        name = self._keyring().active(Kind.NAME)
        return f"optin:{fingerprint(name, 'opt-in-subject/v1', address.pseudonym)}"

    def _address(self, caller: str, recipient: Recipient, group_id: int | None) -> SubjectAddress:
        return subject_address(self._keyring(), caller, f"opt-in:{recipient.e164}:{group_id or 0}")


def _refusal(error: WsmsError) -> OtpError:
    """Return what a caller is told of the site's no: its own mistake, or that we can't go on now."""
    match error:
        case NewsletterRefused(reason=NewsletterRefusal.GROUP_REQUIRED):
            return InvalidRequest(FieldError("group_id", "is required by the site"))
        case NewsletterRefused(reason=NewsletterRefusal.INVALID_NUMBER):
            return DestinationRefused("site", "the site takes no such number")
        case InvalidParameter(name=name) if name in ("name", "group_id", "custom_fields"):
            return InvalidRequest(FieldError(name, "is refused by the site"))
        case _:
            log.warning("optin.site_fault", error=type(error).__name__)
            return Unavailable("the WSMS site can't do it now", retry_after=5)
