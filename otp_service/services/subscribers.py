"""
Subscribing and unsubscribing at the site, and the meaning of its refusals.

The site may verify a subscription by a code of its own or take it at once; which of the two it does, its answers tell.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import structlog

from otp_service.core.call_effects import effects_are_possible
from otp_service.core.challenge import OptInAddress
from otp_service.core.keyring import Keyring
from otp_service.errors import (
    ChallengeExhausted,
    OtpError,
    SiteMisconfigured,
    SubscriptionUndone,
    Unavailable,
)
from otp_service.services.activations import Activations
from otp_service.services.site_codes import SiteCodes
from otp_service.services.subscriber_rows import Subscriber, SubscriberRows, refusal_of
from otp_service.store.opt_ins import SUBSCRIBES_AT_ONCE, VERIFIES_TOO, OptIns, ReservedTry
from otp_service.wsms.errors import (
    NewsletterRefusal,
    NewsletterRefused,
    SiteDown,
    UnexpectedResponse,
    WsmsError,
)
from otp_service.wsms.models import SubscriptionStatus
from otp_service.wsms.newsletter import Newsletter

log = structlog.get_logger()


class NothingSent(Exception):
    """
    The site certainly sent no code.

    Attributes:
        told: What the caller is told.
        row_removed: Whether an earlier unconfirmed row was removed from the site's list before.
    """

    def __init__(self, told: OtpError, *, row_removed: bool) -> None:
        super().__init__()
        self.told = told
        self.row_removed = row_removed


Asked = Literal["asked", "subscribed", "failed"]  # as `OptIns.settle` takes them

_GROUP_SECONDS = 60.0
_MISFIT = {
    True: "the site subscribes people without a code: OTP_OPTIN_MODE=service fits it",
    False: "the site sends a code of its own: switch its verification off, or set OTP_OPTIN_MODE=wsms",
}


class Subscribers:
    """
    The list.

    Args:
        keyring: For the fingerprints of codes that the site may have taken.
        opt_ins: Told of each try that the site has decided, and of what it does that our mode does not fit.
        activations: Told of each call that may make the site send a code.
    """

    def __init__(
        self,
        *,
        keyring: Callable[[], Keyring],
        newsletter: Newsletter,
        opt_ins: OptIns,
        activations: Activations,
    ) -> None:
        self._rows = SubscriberRows(newsletter)
        self._codes = SiteCodes(keyring=keyring, newsletter=newsletter, opt_ins=opt_ins)
        self._known_groups: dict[int | None, float] = {}  # only groups that exist
        self._newsletter = newsletter
        self._opt_ins = opt_ins
        self._activations = activations

    async def require_fit(self, *, site_verifies: bool) -> None:
        """
        Refuse while the site was lately seen to do what the mode does not fit.

        Args:
            site_verifies: Whether the site is to verify by a code of its own (mode `wsms`), or not (mode `service`).

        Raises:
            SiteMisconfigured, Unavailable.
        """
        if misfit := await self.misfit(site_verifies=site_verifies):
            raise SiteMisconfigured(misfit)

    async def misfit(self, *, site_verifies: bool) -> str | None:
        """Return why opt-in is refused now, or None. Raises Unavailable."""
        seen = SUBSCRIBES_AT_ONCE if site_verifies else VERIFIES_TOO
        return _MISFIT[site_verifies] if await self._opt_ins.refuses(seen) else None

    async def check_group(self, name: str, group_id: int | None) -> None:
        """
        Refuse what the site would refuse a subscriber for, before a code goes out. A yes is remembered for a minute.

        Raises:
            InvalidRequest, Unavailable.
        """
        if self._known_groups.get(group_id, 0.0) > time.monotonic():
            return
        try:
            await self._newsletter.check_group(name, group_id)
        except WsmsError as error:
            raise refusal_of(error) from None
        self._known_groups[group_id] = time.monotonic() + _GROUP_SECONDS

    async def ask(self, subscriber: Subscriber, handle: str, *, pending_before: bool) -> Asked:
        """
        Make the site send its code, and return what came of it.

        Args:
            subscriber: Whom.
            handle: Of the request.
            pending_before: Whether the site may hold a row of an earlier request.

        Raises:
            NothingSent: for certain; its cause is what the caller is told.
            SiteMisconfigured: the site stored another number, and sent its code there.
            Unavailable: a code may be under way.
        """
        removed = False
        if pending_before and subscriber.group_id is not None:
            # Inside a group the site would add a second row whose code does not count (contract 3.2).
            try:
                await self.remove(subscriber.name, subscriber.mobile, subscriber.group_id)
            except OtpError as error:
                raise NothingSent(error, row_removed=False) from None
            removed = True
        try:
            status = await self._subscribe(subscriber, handle)
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.ALREADY_SUBSCRIBED:
                return "subscribed"
            if error.reason is NewsletterRefusal.UNRECOGNISED:
                if await self._has(subscriber):
                    return "subscribed"
                _log_undone(error)
                return "failed"
            raise NothingSent(refusal_of(error), row_removed=removed) from None
        except SiteDown as error:
            if error.maybe_done:
                raise refusal_of(error) from None
            raise NothingSent(refusal_of(error), row_removed=removed) from None
        except UnexpectedResponse as error:
            raise refusal_of(error) from None
        except WsmsError as error:
            raise NothingSent(refusal_of(error), row_removed=removed) from None
        if status is SubscriptionStatus.SUBSCRIBED:
            log.error("optin.site_does_not_verify", hint="set OTP_OPTIN_MODE=service")
            await self._opt_ins.remember(SUBSCRIBES_AT_ONCE)
            # Nobody has agreed to anything yet. The site had no row of this number in the group, or it would say so.
            await self.remove(subscriber.name, subscriber.mobile, subscriber.group_id)
            raise NothingSent(SiteMisconfigured(_MISFIT[True]), row_removed=True)
        await self._opt_ins.forget(SUBSCRIBES_AT_ONCE)
        await self._require_stored(subscriber, active=False)
        return "asked"

    async def confirm(
        self, address: OptInAddress, tried: ReservedTry, subscriber: Subscriber, activation: str
    ) -> None:
        """
        Let the site decide whether its code is right.

        Args:
            activation: What was typed.

        Raises:
            InvalidCode, ChallengeExhausted: it is not.
            RateLimited: The site refuses every code now; no try was spent.
            SiteMisconfigured: The site subscribed another number.
            InvalidRequest, Unavailable.
        """
        try:
            await self._codes.judge(address, tried, subscriber, activation)
        except ChallengeExhausted:
            if tried.last_guess:
                await self._end_all(address, subscriber)
            else:
                await self._rows.remove_pending(subscriber)
            raise
        try:
            await self._require_stored(subscriber, active=True)
        except Unavailable:
            # The site knows no pending row any more, so it will not find the same code again.
            await self._codes.settle_unsure(address, tried, activation)
            raise

    async def add(self, subscriber: Subscriber, handle: str) -> None:
        """
        Add a person that our own code has confirmed.

        Raises:
            DestinationRefused, InvalidRequest, SiteMisconfigured, SubscriptionUndone, Unavailable.
        """
        try:
            status = await self._subscribe(subscriber, handle)
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.UNRECOGNISED:
                if await self._has(subscriber):
                    return
                _log_undone(error)
                raise SubscriptionUndone("the site undid it") from None
            if error.reason is not NewsletterRefusal.ALREADY_SUBSCRIBED:
                raise refusal_of(error) from None
            status = SubscriptionStatus.SUBSCRIBED
        except WsmsError as error:
            raise refusal_of(error) from None
        if status is SubscriptionStatus.PENDING:
            log.error(
                "optin.site_verifies_too", hint="switch off newsletter_form_verify on the site"
            )
            await self._opt_ins.remember(VERIFIES_TOO)
            await self._rows.remove_pending(subscriber)
            raise SiteMisconfigured(_MISFIT[False])
        await self._opt_ins.forget(VERIFIES_TOO)
        await self._require_stored(subscriber, active=True)

    async def _end_all(self, address: OptInAddress, subscriber: Subscriber) -> None:
        """
        End every pending opt-in of this caller and number, and remove their rows: no code may be tried for now.

        Rows that other callers or the site's own form created stay: wrong codes at one form must not end sign-ups at
        another.
        """

        async def is_ours(group_id: int | None) -> bool:
            try:
                return await self._opt_ins.exhaust(replace(address, group_id=group_id))
            except Unavailable as error:
                log.warning("optin.pending_row_left", error=error.detail)
                return False

        await self._rows.remove_pending(subscriber, is_ours)

    async def _has(self, subscriber: Subscriber) -> bool:
        """Return whether the site has the person, where no text of it tells. Raises Unavailable."""
        try:
            return await self._rows.has(subscriber, active=True)
        except WsmsError as error:
            raise refusal_of(error) from None

    async def _require_stored(self, subscriber: Subscriber, *, active: bool) -> None:
        """Raise SiteMisconfigured when the site stored another number, Unavailable when it can't be asked."""
        try:
            await self._rows.require_stored(subscriber, active=active)
        except WsmsError as error:
            raise refusal_of(error) from None

    async def remove_all(self, name: str, spellings: Sequence[str], group_id: int | None) -> None:
        """Remove a number in each of these spellings. Raises as `remove`."""
        for mobile in spellings:
            await self.remove(name, mobile, group_id)

    async def remove(self, name: str, mobile: str, group_id: int | None) -> None:
        """
        Remove a number from one group, or from all. Again: the same.

        Raises:
            DestinationRefused, InvalidRequest, Unavailable.
        """
        effects_are_possible()
        try:
            await self._newsletter.unsubscribe(
                name=name, mobile=mobile, groups=() if group_id is None else (group_id,)
            )
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.NOT_FOUND:
                return
            if error.reason is NewsletterRefusal.UNRECOGNISED and await self._is_gone(mobile):
                return
            raise refusal_of(error) from None
        except WsmsError as error:
            raise refusal_of(error) from None

    async def _subscribe(self, subscriber: Subscriber, handle: str) -> SubscriptionStatus:
        """
        Make the site add the person, and possibly send a code of its own.

        Raises:
            WsmsError: the site's.
            Unavailable: Redis; the site was not asked.
        """
        await self._activations.begin(handle, subscriber.mobile)
        try:
            subscription = await self._newsletter.subscribe(
                name=subscriber.name,
                mobile=subscriber.mobile,
                group_id=subscriber.group_id,
                custom_fields=subscriber.custom_fields or None,
            )
        except (SiteDown, UnexpectedResponse) as error:
            if isinstance(error, SiteDown) and not error.maybe_done:
                await self._activations.end(handle, sent=False)
            raise  # else nobody knows: it is looked for
        except NewsletterRefused as error:
            # The outbox has the message of a gateway's refusal too.
            unrecognised = error.reason is NewsletterRefusal.UNRECOGNISED
            await self._activations.end(handle, sent=unrecognised)
            raise
        except WsmsError:
            await self._activations.end(handle, sent=False)
            raise
        status = subscription.status
        if status is SubscriptionStatus.UNRECOGNISED:  # a translated site: its rows tell
            try:
                active = await self._rows.newest_is_active(subscriber)
            except WsmsError as error:
                raise SiteDown(str(error)) from None  # what it did is not known
            status = SubscriptionStatus.SUBSCRIBED if active else SubscriptionStatus.PENDING
        await self._activations.end(handle, sent=status is SubscriptionStatus.PENDING)
        return status

    async def _is_gone(self, mobile: str) -> bool:
        """Ask the list where a translated site's text tells nothing."""
        try:
            rows = await self._newsletter.subscribers()
        except WsmsError as error:
            raise refusal_of(error) from None
        return all(row.mobile != mobile for row in rows)


def _log_undone(error: NewsletterRefused) -> None:
    log.warning("optin.subscription_undone", site_said=str(error))
