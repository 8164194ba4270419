"""
Double opt-in, as a sign-up form sees it: request, verify, unsubscribe, with the words of WSMS' newsletter.

Two modes. In `wsms` the site draws and checks the code, and before it stand what it lacks: expiry, tries, limits, one
spelling of a number, one group. In `service` the code is ours, and only its confirmation adds the subscriber.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from otp_service.core.challenge import Status, SubjectAddress, subject_address
from otp_service.core.envelopes import KeptOptIn
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.policy import OPT_IN, Policy
from otp_service.core.receipts import Confirmed, Consent, receipt
from otp_service.core.recipients import Recipient
from otp_service.core.seal import SealBroken
from otp_service.errors import ChallengeNotFound, FieldError, InvalidRequest, Unavailable
from otp_service.flows.opt_in_codes import OptInCodes
from otp_service.flows.process_bounds import NewsletterCapacity, SendCeiling
from otp_service.flows.send_limits import send_limits, served_recipient
from otp_service.flows.subscribers import Subscriber, Subscribers
from otp_service.store.opt_ins import OptIns

log = structlog.get_logger()

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


class OptIn:
    """
    The story of a double opt-in.

    Args:
        codes: None when the site draws the codes (mode `wsms`), else ours (mode `service`).
        capacity: Of calls to the site.
        ceiling: On the sends of this process; our own codes are counted there by `codes`.
        issuer: Who signs the receipts.
        announce: Told of each confirmation: caller, event type, data.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        opt_ins: OptIns,
        subscribers: Subscribers,
        codes: OptInCodes | None,
        capacity: NewsletterCapacity,
        ceiling: SendCeiling,
        issuer: str,
        announce: Announce,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._opt_ins = opt_ins
        self._subscribers = subscribers
        self._codes = codes
        self._capacity = capacity
        self._ceiling = ceiling
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
        with self._capacity.acquire(), self._ceiling.one_send():
            return await self._request_site(caller, wish, recipient, address, policy, handle)

    async def _request_site(
        self,
        caller: str,
        wish: Wish,
        recipient: Recipient,
        address: SubjectAddress,
        policy: Policy,
        handle: str,
    ) -> Asked:
        phones = self._keyring().in_order(Kind.PHONE)
        limits = send_limits(
            policy,
            phones,
            caller=caller,
            recipient=recipient,
            client_ip=wish.client_ip,
            purpose=OPT_IN,
        )
        kept = KeptOptIn(consent=wish.consent)
        opened = await self._opt_ins.open(
            address,
            limits,
            handle=handle,
            consent=kept.seal(self._keyring(), address),
            max_attempts=self._policy.optin_attempts,
            ttl_ms=self._policy.optin_ttl * 1000,
            retention_ms=self._policy.retention * 1000,
        )
        subscriber = Subscriber(
            name=wish.name,
            mobile=recipient.e164,
            group_id=wish.group_id,
            custom_fields=wish.custom_fields,
        )
        if not opened.again and await self._subscribers.ask(
            subscriber, handle, pending_before=opened.pending_before
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
        self,
        caller: str,
        *,
        name: str,
        mobile: str,
        activation: str,
        group_id: int | None,
        handle: str,
    ) -> Subscribed:
        """
        Confirm with the code that the person got.

        Args:
            caller: Who asks; the one that requested.
            name: Handed to the site, compared with nothing.
            mobile: A number as typed.
            activation: ASCII digits, normalised.
            group_id: As requested.
            handle: Of `new_handle`; the same again after success succeeds again.

        Raises:
            ChallengeNotFound, ChallengeEnded, InvalidRequest: no try was spent.
            Overloaded: no try was spent.
            InvalidCode, ChallengeExhausted: a try was spent.
            Unavailable: a try may have been spent; the same code may be tried again.
        """
        with self._capacity.acquire():
            return await self._verify(caller, name, mobile, activation, group_id, handle)

    async def _verify(
        self,
        caller: str,
        name: str,
        mobile: str,
        activation: str,
        group_id: int | None,
        handle: str,
    ) -> Subscribed:
        recipient = served_recipient(self._policy, mobile)
        address = self._address(caller, recipient, group_id)
        if self._codes is None and len(activation) != 4:
            raise InvalidRequest(FieldError("activation", "must have 4 digits"))
        tried = await self._opt_ins.reserve(address, attempt_id=handle)
        try:
            kept = KeptOptIn.open(self._keyring(), tried.consent, address)
        except SealBroken:
            raise ChallengeNotFound from None  # its key was taken away
        subscriber = Subscriber(
            name=name, mobile=recipient.e164, group_id=group_id, custom_fields=kept.custom_fields
        )
        confirmed_at = tried.approved_at
        if confirmed_at is None:
            if self._codes is not None and kept.challenge_id is not None:
                await self._codes.verify(caller, kept.challenge_id, activation)
                await self._subscribers.add(subscriber, tried.handle)
            else:
                await self._subscribers.confirm(address, tried, subscriber, activation)
            confirmed_at = await self._opt_ins.settle(
                address, Status.APPROVED, handle=tried.handle, attempt_id=handle
            )
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
            DestinationRefused, InvalidRequest, Overloaded, Unavailable.
        """
        recipient = served_recipient(self._policy, mobile)
        with self._capacity.acquire():
            await self._subscribers.remove(name, recipient.e164, group_id)
        address = self._address(caller, recipient, group_id)
        await self._opt_ins.settle(address, Status.CANCELED, handle="")
        log.info("optin.unsubscribed", caller=caller)
        return recipient.masked

    async def _request_own(
        self,
        codes: OptInCodes,
        caller: str,
        wish: Wish,
        recipient: Recipient,
        address: SubjectAddress,
        policy: Policy,
        handle: str,
    ) -> Asked:
        issued = await codes.request(
            caller,
            address,
            to=recipient.e164,
            locale=wish.consent.locale,
            client_ip=wish.client_ip,
            policy=policy,
            handle=handle,
        )
        kept = KeptOptIn(
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

    def _address(self, caller: str, recipient: Recipient, group_id: int | None) -> SubjectAddress:
        return subject_address(self._keyring(), caller, f"opt-in:{recipient.e164}:{group_id or 0}")
