"""The rows of one person in the site's list of subscribers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from otp_service.core.recipients import is_same_number
from otp_service.errors import (
    DestinationRefused,
    FieldError,
    InvalidRequest,
    OtpError,
    SiteMisconfigured,
    Unavailable,
)
from otp_service.wsms.errors import (
    InvalidParameter,
    NewsletterRefusal,
    NewsletterRefused,
    WsmsError,
)
from otp_service.wsms.models import ListedSubscriber
from otp_service.wsms.newsletter import Newsletter

log = structlog.get_logger()

_OTHER_NUMBER = (
    "the site stored another number than the one to subscribe: empty mobile_county_code in WSMS, or serve only "
    "numbers that begin so"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A person in the site's list. `mobile` in E.164; one group, or None."""

    name: str = field(repr=False)
    mobile: str = field(repr=False)
    group_id: int | None
    custom_fields: Mapping[str, Any] = field(default_factory=dict, repr=False)


class SubscriberRows:
    """Reads and removes rows of the list."""

    def __init__(self, newsletter: Newsletter) -> None:
        self._newsletter = newsletter

    async def has(self, subscriber: Subscriber, *, active: bool) -> bool:
        """Return whether there is a row of the person's number and group, confirmed or not. Raises WsmsError."""
        rows = await self._in_group(subscriber)
        return any(
            row.active is active and is_same_number(row.mobile, subscriber.mobile) for row in rows
        )

    async def newest_is_active(self, subscriber: Subscriber) -> bool:
        """Return whether what the site has just stored is confirmed. Raises WsmsError."""
        rows = await self._in_group(subscriber)
        return max(rows, key=lambda row: row.id).active if rows else True

    async def require_stored(self, subscriber: Subscriber, *, active: bool) -> None:
        """
        Check that the site stored the person's number, in any spelling. Remove what it stored instead.

        WSMS rewrites numbers: with `mobile_county_code` +44 it stores +14155550123 as +4414155550123.

        Raises:
            SiteMisconfigured: It stored another one.
            WsmsError: The site's; what it stored is not known.
        """
        if await self.has(subscriber, active=active):
            return
        log.error("optin.other_number_stored", hint="empty mobile_county_code on the site")
        digits = subscriber.mobile.removeprefix("+")
        for row in await self._in_group(subscriber):
            if row.name == subscriber.name and row.mobile.endswith(digits):
                await self._newsletter.delete_row(row.id)
        raise SiteMisconfigured(_OTHER_NUMBER)

    async def remove_pending(
        self,
        subscriber: Subscriber,
        in_group: Callable[[int | None], Awaitable[bool]] | None = None,
    ) -> None:
        """
        Remove the unconfirmed rows of a person, lest the site's own public form go on with them.

        Never raises for the site: what is left there is logged.

        Args:
            subscriber: Their number and group.
            in_group: Returns whether the rows of another group go too.
        """
        try:
            rows = [
                row
                for row in await self._newsletter.find(subscriber.mobile)
                if not row.active and is_same_number(row.mobile, subscriber.mobile)
            ]
            groups = {subscriber.group_id}
            if in_group is not None:
                others = {row.group_id for row in rows} - groups
                groups |= {group for group in others if await in_group(group)}
            for row in rows:
                if row.group_id in groups:
                    await self._newsletter.delete_row(row.id)
        except WsmsError as error:
            log.warning("optin.pending_row_left", error=type(error).__name__)

    async def _in_group(self, subscriber: Subscriber) -> list[ListedSubscriber]:
        """Return the rows that may be of the person. Without a group any will do, as for the site. Raises WsmsError."""
        rows = await self._newsletter.find(subscriber.mobile)
        return [row for row in rows if subscriber.group_id in (None, row.group_id)]


def refusal_of(error: WsmsError) -> OtpError:
    """Return the error for a refusal of the site: the caller's mistake, or a temporary failure."""
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
