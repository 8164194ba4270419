"""
The site's list of subscribers: who is to be on it, who no more, and what its no means for an opt-in.

The site may verify a subscription by a code of its own or take it at once; which of the two it does, its answers tell.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from otp_service.core.call_effects import effects_are_possible
from otp_service.core.challenge import OptInAddress, Status, fingerprint
from otp_service.core.keyring import Keyring, Kind
from otp_service.errors import (
    ChallengeExhausted,
    DestinationRefused,
    FieldError,
    InvalidCode,
    InvalidRequest,
    OtpError,
    RateLimited,
    SiteMisconfigured,
    SubscriptionUndone,
    Unavailable,
)
from otp_service.flows.activations import Activations
from otp_service.store.opt_ins import SUBSCRIBES_AT_ONCE, VERIFIES_TOO, OptIns, ReservedTry
from otp_service.wsms.errors import (
    InvalidParameter,
    NewsletterRefusal,
    NewsletterRefused,
    NotAWsmsAnswer,
    SiteDown,
    WsmsError,
)
from otp_service.wsms.models import ListedSubscriber, SubscriptionStatus
from otp_service.wsms.newsletter import Newsletter

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """Somebody as the site's list knows people. `mobile` in E.164; one group, or None."""

    name: str = field(repr=False)
    mobile: str = field(repr=False)
    group_id: int | None
    custom_fields: Mapping[str, Any] = field(default_factory=dict, repr=False)


class NothingSent(Exception):
    """
    The site was certainly not made to send a code.

    Attributes:
        told: What the caller is told.
        row_removed: Whether an earlier unconfirmed row was removed from the site's list before.
    """

    def __init__(self, told: OtpError, *, row_removed: bool) -> None:
        super().__init__()
        self.told = told
        self.row_removed = row_removed


Asked = Literal["asked", "subscribed", "failed"]  # as `OptIns.settle` takes them

SITE_CODES_LIMIT = "site_codes"
_BUSY_SECONDS = 60  # of the site's 15 minutes, for a cause that the service cannot see
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
        self._keyring = keyring
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
            raise _refusal(error) from None
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
                if await self._is_subscribed(subscriber):
                    return "subscribed"
                _log_undone(error)
                return "failed"
            raise NothingSent(_refusal(error), row_removed=removed) from None
        except SiteDown as error:
            if error.maybe_done:
                raise _refusal(error) from None
            raise NothingSent(_refusal(error), row_removed=removed) from None
        except NotAWsmsAnswer as error:
            raise _refusal(error) from None
        except WsmsError as error:
            raise NothingSent(_refusal(error), row_removed=removed) from None
        if status is SubscriptionStatus.SUBSCRIBED:
            log.error("optin.site_does_not_verify", hint="set OTP_OPTIN_MODE=service")
            await self._opt_ins.remember(SUBSCRIBES_AT_ONCE)
            # Nobody has agreed to anything yet. The site had no row of this number in the group, or it would say so.
            await self.remove(subscriber.name, subscriber.mobile, subscriber.group_id)
            raise NothingSent(SiteMisconfigured(_MISFIT[True]), row_removed=True)
        await self._opt_ins.forget(SUBSCRIBES_AT_ONCE)
        return "asked"

    async def confirm(
        self, address: OptInAddress, tried: ReservedTry, subscriber: Subscriber, activation: str
    ) -> None:
        """
        Let the site decide whether its code is right.

        Args:
            activation: What was typed.

        The site may refuse every code for a while (WSMS 7.2.6 and later, after ten wrong ones). Its text may be
        translated, so the count kept here decides first: then the site is not asked, and no guess is judged for free.

        Raises:
            InvalidCode, ChallengeExhausted: it is not.
            RateLimited: The site refuses every code now; no try was spent.
            InvalidRequest, Unavailable.
        """
        code = self._fingerprint(tried.handle, activation)
        number = self._site_number(subscriber.mobile)
        if wait := await self._opt_ins.site_wait(number):
            await self._give_back(address, tried)
            raise RateLimited(SITE_CODES_LIMIT, wait)
        try:
            if tried.subscribed:
                raise NewsletterRefused(NewsletterRefusal.NOT_FOUND, "no code was sent")
            await self._newsletter.verify(
                name=subscriber.name,
                mobile=subscriber.mobile,
                activation=activation,
                group_id=subscriber.group_id,
            )
            with suppress(Unavailable):  # the code was right all the same
                await self._opt_ins.forget_site_codes(number)
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.TOO_MANY_ATTEMPTS:
                # Others have typed wrong codes, or the site judged another code of the number at the same time.
                await self._give_back(address, tried)
                raise RateLimited(SITE_CODES_LIMIT, _BUSY_SECONDS) from None
            if error.reason is not NewsletterRefusal.NOT_FOUND:
                await self._opt_ins.count_site_code(number)
            if tried.unsure == code and error.reason is NewsletterRefusal.NOT_FOUND:
                return  # the try whose answer was lost had confirmed it: the site knows no pending row any more
            if tried.attempts_left > 0:
                raise InvalidCode(tried.attempts_left) from None
            ended_at = await self._opt_ins.settle(address, Status.EXHAUSTED, handle=tried.handle)
            await self._remove_pending(subscriber)
            raise ChallengeExhausted(ended_at or tried.requested_at) from None
        except SiteDown as error:
            if error.maybe_done:
                await self._opt_ins.settle(address, "unsure", handle=tried.handle, code=code)
            else:
                await self._give_back(address, tried)
            raise _refusal(error) from None
        except NotAWsmsAnswer as error:
            await self._opt_ins.settle(address, "unsure", handle=tried.handle, code=code)
            raise _refusal(error) from None
        except WsmsError as error:
            await self._give_back(address, tried)
            raise _refusal(error) from None

    async def _give_back(self, address: OptInAddress, tried: ReservedTry) -> None:
        """Take the try back: the site has not judged the code. Raises Unavailable."""
        await self._opt_ins.settle(address, "unasked", handle=tried.handle, attempt=tried.attempt)

    async def add(self, subscriber: Subscriber, handle: str) -> None:
        """
        Add a person that our own code has confirmed.

        Raises:
            DestinationRefused, InvalidRequest, SiteMisconfigured, SubscriptionUndone, Unavailable.
        """
        try:
            status = await self._subscribe(subscriber, handle)
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.ALREADY_SUBSCRIBED:
                return
            if error.reason is NewsletterRefusal.UNRECOGNISED:
                if await self._is_subscribed(subscriber):
                    return
                _log_undone(error)
                raise SubscriptionUndone("the site undid it") from None
            raise _refusal(error) from None
        except WsmsError as error:
            raise _refusal(error) from None
        if status is SubscriptionStatus.PENDING:
            log.error(
                "optin.site_verifies_too", hint="switch off newsletter_form_verify on the site"
            )
            await self._opt_ins.remember(VERIFIES_TOO)
            await self._remove_pending(subscriber)
            raise SiteMisconfigured(_MISFIT[False])
        await self._opt_ins.forget(VERIFIES_TOO)

    async def _remove_pending(self, subscriber: Subscriber) -> None:
        """
        Remove the unconfirmed rows of a person, lest the site's own public form go on with them.

        Never raises for the site: what is left there is logged.
        """
        try:
            for row in await self._pending(subscriber):
                await self._newsletter.delete_row(row.id)
        except WsmsError as error:
            log.warning("optin.pending_row_left", error=type(error).__name__)

    async def _pending(self, subscriber: Subscriber) -> list[ListedSubscriber]:
        """Return the unconfirmed rows of a person in one group, or of those in none. Raises WsmsError."""
        rows = await self._newsletter.find(subscriber.mobile)
        wanted = (subscriber.mobile, subscriber.group_id, False)
        return [row for row in rows if (row.mobile, row.group_id, row.active) == wanted]

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
            raise _refusal(error) from None
        except WsmsError as error:
            raise _refusal(error) from None

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
        except (SiteDown, NotAWsmsAnswer) as error:
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
                pending = await self._pending(subscriber)
            except WsmsError as error:
                raise SiteDown(str(error)) from None  # what it did is not known
            status = SubscriptionStatus.PENDING if pending else SubscriptionStatus.SUBSCRIBED
        await self._activations.end(handle, sent=status is SubscriptionStatus.PENDING)
        return status

    async def _is_subscribed(self, subscriber: Subscriber) -> bool:
        """
        Return whether the site has the person, where a text of any language may mean that or the contrary.

        Raises:
            Unavailable: The site.
        """
        try:
            rows = await self._newsletter.find(subscriber.mobile)
        except WsmsError as error:
            raise _refusal(error) from None
        return any(row.active and _is_of(row, subscriber) for row in rows)

    def _site_number(self, e164: str) -> str:
        phone = self._keyring().active(Kind.PHONE)
        return fingerprint(phone, "opt-in-site-codes/v1", e164)

    def _fingerprint(self, handle: str, activation: str) -> str:
        name = self._keyring().active(Kind.NAME)
        return fingerprint(name, "opt-in-code/v1", handle, activation)

    async def _is_gone(self, mobile: str) -> bool:
        """Ask the list where a translated site's text tells nothing."""
        try:
            rows = await self._newsletter.subscribers()
        except WsmsError as error:
            raise _refusal(error) from None
        return all(row.mobile != mobile for row in rows)


def _is_of(row: ListedSubscriber, subscriber: Subscriber) -> bool:
    """Return whether a row is of this number and group. Without a group any will do, as for the site."""
    in_group = subscriber.group_id in (None, row.group_id)
    return in_group and row.mobile == subscriber.mobile


def _log_undone(error: NewsletterRefused) -> None:
    log.warning("optin.subscription_undone", site_said=str(error))


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
