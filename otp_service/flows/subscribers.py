"""
The site's list of subscribers: who is to be on it, who no more, and what its no means for an opt-in.

The site may verify a subscription by a code of its own or take it at once; which of the two it does, its answers tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from otp_service.core.call_effects import effects_are_possible
from otp_service.core.challenge import Status, SubjectAddress
from otp_service.errors import (
    ChallengeExhausted,
    DestinationRefused,
    FieldError,
    InvalidCode,
    InvalidRequest,
    OtpError,
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
from otp_service.wsms.models import SubscriptionStatus
from otp_service.wsms.newsletter import Newsletter

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """Somebody as the site's list knows people. `mobile` in E.164; one group, or None."""

    name: str = field(repr=False)
    mobile: str = field(repr=False)
    group_id: int | None
    custom_fields: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Subscribers:
    """
    The list.

    Args:
        opt_ins: Told of each try that the site has decided, and of what it does that our mode does not fit.
        activations: Told of each call that may make the site send a code.
    """

    def __init__(
        self, *, newsletter: Newsletter, opt_ins: OptIns, activations: Activations
    ) -> None:
        self._newsletter = newsletter
        self._opt_ins = opt_ins
        self._activations = activations

    async def ask(self, subscriber: Subscriber, handle: str, *, pending_before: bool) -> bool:
        """
        Make the site send its code; return whether it subscribed the person at once, or had it already.

        Args:
            subscriber: Whom.
            handle: Of the request.
            pending_before: Whether the site holds a row of an earlier request.

        Raises:
            DestinationRefused, InvalidRequest, Unavailable.
        """
        if pending_before and subscriber.group_id is not None:
            # Inside a group the site would add a second row whose code does not count (contract 3.2).
            await self.remove(subscriber.name, subscriber.mobile, subscriber.group_id)
        try:
            status = await self._subscribe(subscriber, handle)
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

    async def confirm(
        self, address: SubjectAddress, tried: ReservedTry, subscriber: Subscriber, activation: str
    ) -> None:
        """
        Let the site decide whether its code is right.

        Raises:
            InvalidCode, ChallengeExhausted: it is not.
            InvalidRequest, Unavailable.
        """
        try:
            await self._newsletter.verify(
                name=subscriber.name,
                mobile=subscriber.mobile,
                activation=activation,
                group_id=subscriber.group_id,
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

    async def add(self, subscriber: Subscriber, handle: str) -> None:
        """
        Add a person that our own code has confirmed.

        Raises:
            DestinationRefused, InvalidRequest, Unavailable.
        """
        try:
            status = await self._subscribe(subscriber, handle)
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

    async def remove(self, name: str, e164: str, group_id: int | None) -> None:
        """
        Remove a number from one group, or from all. Again: the same.

        Raises:
            DestinationRefused, InvalidRequest, Unavailable.
        """
        effects_are_possible()
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
        except WsmsError:
            await self._activations.end(handle, sent=False)
            raise
        sent = subscription.status is not SubscriptionStatus.SUBSCRIBED
        await self._activations.end(handle, sent=sent)
        return subscription.status

    async def _is_gone(self, e164: str) -> bool:
        """Ask the list where a translated site's text tells nothing."""
        try:
            rows = await self._newsletter.subscribers()
        except WsmsError as error:
            raise _refusal(error) from None
        return all(row.mobile != e164 for row in rows)


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
