"""
Double opt-in, as a sign-up form sees it: request, verify, unsubscribe, with the words of WSMS' newsletter.

Two modes. In `wsms` the site draws and checks the code, and before it stand what it lacks: expiry, tries, limits, one
spelling of a number, one group. In `service` the code is ours, and only its confirmation adds the subscriber.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from otp_service.core.challenge import (
    REFUSED_BY_SITE,
    DeliveryStatus,
    OptInAddress,
    Status,
    subject_address,
)
from otp_service.core.envelopes import KeptOptIn
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.policy import OPT_IN, Policy
from otp_service.core.receipts import Confirmed, Consent, receipt
from otp_service.core.recipients import Recipient, RecipientRefused, listed_spellings, mask
from otp_service.core.seal import SealBroken
from otp_service.errors import (
    ChallengeNotFound,
    DestinationRefused,
    FieldError,
    InvalidRequest,
    SiteMisconfigured,
    Unavailable,
)
from otp_service.services.opt_in_codes import OptInCodes
from otp_service.services.process_bounds import NewsletterCapacity, SendCeiling
from otp_service.services.send_limits import send_limits, served_recipient
from otp_service.services.subscriber_rows import Subscriber
from otp_service.services.subscribers import NothingSent, Subscribers
from otp_service.store.opt_ins import OptIns, ReservedTry

log = structlog.get_logger()

Announce = Callable[[str, str, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptInRequest:
    """
    A request to subscribe a person. `consent.requested_at` is set by the service.

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
class PendingOptIn:
    """
    An opt-in that waits for its code. Times in seconds.

    Attributes:
        mobile: Masked.
        resend_in: None when it can't be sent again.
        delivery: Of the code.
        reason: Why, or "".
    """

    mobile: str
    expires_in: int
    resend_in: int | None
    delivery: DeliveryStatus
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """A confirmed opt-in. `mobile` is masked, `confirmed_at` in Unix milliseconds."""

    mobile: str
    group_id: int | None
    confirmed_at: int
    receipt: str


class OptIn:
    """
    Runs double opt-ins.

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

    async def request(
        self, caller: str, request: OptInRequest, *, policy: Policy, handle: str
    ) -> PendingOptIn:
        """
        Ask the person to confirm by a code.

        Args:
            caller: Who asks.
            request: Who wants to be subscribed to what.
            policy: The caller's.
            handle: Of `new_handle`; the same again sends nothing.

        Raises:
            DestinationRefused, InvalidRequest: the number or a field is refused, by us or by the site.
            RateLimited, QuotaExceeded: and nothing was counted.
            SubjectBlocked, Overloaded, Unavailable.
        """
        recipient = served_recipient(policy, request.mobile)
        address = self._address(caller, recipient.e164, request.group_id)
        await self._subscribers.require_fit(site_verifies=self._codes is None)
        if self._codes is not None:
            with self._capacity.asking(caller):
                await self._subscribers.check_group(request.name, request.group_id)
            return await self._request_own(
                self._codes, caller, request, recipient, address, policy, handle
            )
        with self._capacity.asking(caller), self._ceiling.one_send():
            return await self._request_site(caller, request, recipient, address, policy, handle)

    async def _request_site(
        self,
        caller: str,
        request: OptInRequest,
        recipient: Recipient,
        address: OptInAddress,
        policy: Policy,
        handle: str,
    ) -> PendingOptIn:
        phones = self._keyring().in_order(Kind.PHONE)
        limits = send_limits(
            policy,
            phones,
            caller=caller,
            recipient=recipient,
            client_ip=request.client_ip,
            purpose=OPT_IN,
        )
        kept = KeptOptIn(consent=request.consent)
        opened = await self._opt_ins.open(
            address,
            limits,
            handle=handle,
            consent=kept.seal(self._keyring(), address),
            max_attempts=self._policy.optin_attempts,
            ttl_ms=self._policy.optin_ttl * 1000,
            retention_ms=self._policy.retention * 1000,
            asked=False,
        )
        subscriber = Subscriber(
            name=request.name,
            mobile=recipient.e164,
            group_id=request.group_id,
            custom_fields=request.custom_fields,
        )
        resend_in = -(-opened.next_ms // 1000)
        failed = opened.failed
        if not opened.again:
            try:
                said = await self._subscribers.ask(
                    subscriber, handle, pending_before=opened.pending_before
                )
            except NothingSent as nothing:
                with suppress(
                    Unavailable
                ):  # then it stays charged; what the site said matters more
                    await self._opt_ins.undo(
                        address,
                        limits,
                        opened,
                        handle=handle,
                        retention_ms=self._policy.retention * 1000,
                        restore=not nothing.row_removed,
                    )
                raise nothing.told from None
            except SiteMisconfigured:  # an SMS went out, to another number
                await self._opt_ins.settle(address, "failed", handle=handle)
                raise
            except Unavailable as error:
                # A code may be under way, so the same call again is a send of its own, and waits as one.
                raise Unavailable(error.detail, max(error.retry_after or 1, resend_in)) from None
            # For a number that was subscribed before the answer is the same: a public form must not tell who is.
            await self._opt_ins.settle(address, said, handle=handle)
            failed = said == "failed"
        log.info("optin.requested", caller=caller, again=opened.again)
        return PendingOptIn(
            mobile=recipient.masked,
            expires_in=max(0, opened.expires_at - opened.now) // 1000,
            resend_in=resend_in,
            delivery=DeliveryStatus.FAILED if failed else DeliveryStatus.ACCEPTED,
            reason=REFUSED_BY_SITE if failed else "",
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
            handle: Of `new_handle`; the same again after success succeeds again, and costs no other try.

        Raises:
            SiteMisconfigured, SubjectBlocked, RateLimited, CodeNotSent: no try was spent.
            ChallengeNotFound, ChallengeEnded, InvalidRequest: no try was spent.
            SubscriptionUndone: The same code may be tried again.
            Overloaded: no try was spent.
            InvalidCode, ChallengeExhausted: a try was spent.
            Unavailable: a try may have been spent; the same code may be tried again.
        """
        recipient = served_recipient(self._policy, mobile)
        address = self._address(caller, recipient.e164, group_id)
        if self._codes is None and len(activation) != 4:
            raise InvalidRequest(FieldError("activation", "must have 4 digits"))
        await self._subscribers.require_fit(site_verifies=self._codes is None)
        with self._capacity.answering(caller):
            tried = await self._opt_ins.reserve(
                address, attempt=handle, counted=self._codes is None
            )
            kept = self._kept(tried, address)
            confirmed_at = tried.approved_at
            if confirmed_at is None:
                subscriber = Subscriber(
                    name=name,
                    mobile=recipient.e164,
                    group_id=group_id,
                    custom_fields=kept.custom_fields,
                )
                confirmed_at = await self._confirm(
                    caller, address, tried, kept, subscriber, activation
                )
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

    def _kept(self, tried: ReservedTry, address: OptInAddress) -> KeptOptIn:
        try:
            kept = KeptOptIn.open(self._keyring(), tried.consent, address)
        except SealBroken:
            raise ChallengeNotFound from None  # its key was taken away
        if (kept.challenge_id is None) != (self._codes is None):
            raise ChallengeNotFound  # of another mode
        return kept

    async def _confirm(
        self,
        caller: str,
        address: OptInAddress,
        tried: ReservedTry,
        kept: KeptOptIn,
        subscriber: Subscriber,
        activation: str,
    ) -> int:
        """Let the code be checked, write that it was right, and return when. Raises as `verify`."""
        if self._codes is not None and kept.challenge_id is not None:
            await self._codes.verify(caller, address, kept.challenge_id, activation)
            await self._subscribers.add(subscriber, tried.handle)
        else:
            await self._subscribers.confirm(address, tried, subscriber, activation)
        confirmed_at = await self._opt_ins.settle(address, Status.APPROVED, handle=tried.handle)
        if confirmed_at is None:
            raise Unavailable("another request came between")
        return confirmed_at

    async def unsubscribe(
        self, caller: str, *, name: str, mobile: str, group_id: int | None
    ) -> str:
        """
        Remove a number from one group, or from all; return it masked. Again: the same.

        Whatever is on the site's list can leave it: regions and kinds of numbers do not matter.

        Raises:
            DestinationRefused, InvalidRequest, Overloaded, Unavailable.
        """
        try:
            spellings = listed_spellings(mobile, default_region=self._policy.default_region)
        except RecipientRefused as error:
            raise DestinationRefused(error.reason.value, str(error)) from None
        with self._capacity.answering(caller):
            await self._subscribers.remove_all(name, spellings, group_id)
        if spellings[0].startswith("+"):  # else nobody was asked: requests need a calling code
            address = self._address(caller, spellings[0], group_id)
            await self._opt_ins.settle(address, Status.CANCELED, handle="")
        log.info("optin.unsubscribed", caller=caller)
        return mask(spellings[0])

    async def _request_own(
        self,
        codes: OptInCodes,
        caller: str,
        request: OptInRequest,
        recipient: Recipient,
        address: OptInAddress,
        policy: Policy,
        handle: str,
    ) -> PendingOptIn:
        issued = await codes.request(
            caller,
            address,
            to=recipient.e164,
            locale=request.consent.locale,
            client_ip=request.client_ip,
            policy=policy,
            handle=handle,
        )
        kept = KeptOptIn(
            consent=request.consent,
            custom_fields=request.custom_fields,
            challenge_id=issued.challenge_id,
        )
        await self._opt_ins.open(
            address,
            [],
            handle=handle,
            consent=kept.seal(self._keyring(), address),
            max_attempts=0,  # its challenge counts them
            ttl_ms=self._policy.retention * 1000,
            retention_ms=self._policy.retention * 1000,
            asked=True,
        )
        return PendingOptIn(
            mobile=recipient.masked,
            expires_in=issued.expires_in,
            resend_in=issued.resend_in,
            delivery=issued.delivery,
            reason=issued.delivery_reason,
        )

    def _address(self, caller: str, e164: str, group_id: int | None) -> OptInAddress:
        return OptInAddress(subject_address(self._keyring(), caller, f"opt-in:{e164}"), group_id)
