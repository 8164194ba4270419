"""What a send asks for: who gets it and when, checked, and the body of POST /send.

The checks are those whose absence the site would punish with another meaning: `repeat` without
`schedule` goes out at once, a number with blanks becomes two, a list of 20 is queued
(contract 3.1). They raise `InvalidParameter`; nothing is sent.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Literal, TypeAlias

from otp_service.wsms.errors import InvalidParameter
from otp_service.wsms.outcome import Json

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# From 20 numbers on the plugin queues, and its queue loses its credential (quirk 3).
MOST_NUMBERS = 19


@dataclass(frozen=True)
class Subscribers:
    """All active subscribers of these groups; without groups all subscribers, if the site has no groups."""

    groups: Sequence[int] = ()


@dataclass(frozen=True)
class Users:
    """WordPress users by id, those of them who have a mobile number."""

    ids: Sequence[int]


@dataclass(frozen=True)
class Roles:
    """All users of these WordPress roles, e.g. "administrator"."""

    names: Sequence[str]


@dataclass(frozen=True)
class WooCommerceCustomers:
    """All customers; needs WooCommerce on the site."""


@dataclass(frozen=True)
class BuddyPressUsers:
    """All BuddyPress users; needs BuddyPress and the Pro add-on."""


Recipients: TypeAlias = Subscribers | Users | Roles | WooCommerceCustomers | BuddyPressUsers


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """
    Send again and again; needs the Pro add-on, and a schedule.

    Attributes:
        every: How many units lie between two sends, at least 1.
        until: Aware; None repeats for ever.
    """

    every: int
    unit: Literal["minute", "hour", "day", "week", "month"]
    until: datetime | None = None


class Handler(StrEnum):
    """Which notification's variables (%user_login%, ...) the message may use."""

    WOOCOMMERCE_ORDER = "WooCommerceOrderNotification"
    WOOCOMMERCE_ADMIN_ORDER = "WooCommerceAdminOrderNotification"
    WOOCOMMERCE_PRODUCT = "WooCommerceProductNotification"
    WOOCOMMERCE_COUPON = "WooCommerceCouponNotification"
    WOOCOMMERCE_CUSTOMER = "WooCommerceCustomerNotification"
    WORDPRESS_POST = "WordPressPostNotification"
    WORDPRESS_USER = "WordPressUserNotification"
    AWESOME_SUPPORT_TICKET = "AwesomeSupportTicketNotification"
    WORDPRESS_COMMENT = "WordPressCommentNotification"
    SUBSCRIBER = "SubscriberNotification"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When to send; `zone` is the site's, since the plugin reads local times without one."""

    schedule: datetime
    repeat: Repeat | None
    zone: tzinfo

    def fields(self) -> dict[str, Json]:
        """Return `schedule` and `repeat` as POST /send wants them."""
        fields: dict[str, Json] = {"schedule": self._local("schedule", self.schedule)}
        if self.repeat is not None:
            repeat: dict[str, Json] = {
                "interval": {"value": self.repeat.every, "unit": self.repeat.unit}
            }
            if self.repeat.until is not None:
                repeat["endDate"] = self._local("repeat", self.repeat.until)
            fields["repeat"] = repeat
        return fields

    def _local(self, name: str, moment: datetime) -> str:
        require_aware(name, moment)
        return moment.astimezone(self.zone).strftime("%Y-%m-%dT%H:%M:%S")


def require_aware(name: str, moment: datetime) -> None:
    """Refuse a datetime without a time zone, which is ambiguous."""
    if moment.utcoffset() is None:
        raise InvalidParameter(name, "must be a datetime with a zone")


def require_timing(schedule: datetime | None, repeat: Repeat | None) -> None:
    """Check what can be checked before the site's zone is known."""
    if repeat is not None and schedule is None:
        raise InvalidParameter("repeat", "needs a schedule; the site would send at once")
    if schedule is not None:
        require_aware("schedule", schedule)
    if repeat is None or schedule is None:
        return
    if repeat.every < 1:
        raise InvalidParameter("repeat", "every must be at least 1")
    if repeat.until is not None:
        require_aware("repeat", repeat.until)
        if repeat.until < schedule:
            raise InvalidParameter("repeat", "ends before it begins")


def require_text(name: str, text: str) -> str:
    """Refuse text that cannot be UTF-8, such as half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(name, "holds half a surrogate pair") from None
    return text


def require_e164(name: str, number: str) -> str:
    """Refuse anything but one number as `+` and 7 to 15 digits: the site would guess."""
    if not isinstance(number, str) or not _E164.fullmatch(number):
        raise InvalidParameter(name, "must be E.164: + and 7 to 15 ASCII digits")
    return number


def recipient_fields(
    numbers: str | Sequence[str] | None, recipients: Recipients | None
) -> dict[str, Json]:
    """Return `recipients` and the list that goes with it."""
    if (numbers is None) == (recipients is None):
        raise InvalidParameter("recipients", "give either numbers or recipients")
    match recipients:
        case None:
            listed = [numbers] if isinstance(numbers, str) else list(numbers or ())
            if not listed:
                raise InvalidParameter("numbers", "is empty")
            if len(listed) > MOST_NUMBERS:
                raise InvalidParameter("numbers", f"more than {MOST_NUMBERS} would be queued")
            for number in listed:
                require_e164("numbers", number)
            return {"recipients": "numbers", "numbers": listed}
        case Subscribers(groups=groups):
            ids = {"group_ids": _ids("group_ids", groups)} if groups else {}
            return {"recipients": "subscribers", **ids}
        case Users(ids=users):
            return {"recipients": "users", "users": _ids("users", users)}
        case Roles(names=names):
            if not names or isinstance(names, str) or not all(names):
                raise InvalidParameter("role_ids", "must be a list of role names")
            return {"recipients": "roles", "role_ids": list(names)}
        case WooCommerceCustomers():
            return {"recipients": "wc-customers"}
        case BuddyPressUsers():
            return {"recipients": "bp-users"}


def message_fields(
    *,
    message: str,
    sender: str,
    flash: bool,
    media_urls: Sequence[str],
    handler: Handler | None,
    handler_id: int | None,
) -> dict[str, Json]:
    """Return everything but recipients and timing. Optional fields are left out, never null."""
    if not message.strip() or message == "0":  # PHP takes "0" for nothing
        raise InvalidParameter("message", "is empty")
    fields: dict[str, Json] = {
        "sender": require_text("sender", sender),
        "message": require_text("message", message),
    }
    if flash:
        fields["flash"] = True
    if media_urls:
        if isinstance(media_urls, str):
            raise InvalidParameter("media_urls", "must be a list of URLs")
        fields["media_urls"] = [require_text("media_urls", url) for url in media_urls]
    if (handler is None) != (handler_id is None):
        raise InvalidParameter("handler_id", "handler and handler_id go together")
    if handler is not None:
        fields["notification_handler"] = str(handler)
        fields["handler_id"] = handler_id
    return fields


def secrets_of(fields: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the texts of a body that no detail may repeat."""
    numbers = fields.get("numbers")
    return (
        str(fields.get("message", "")),
        *(str(n) for n in (numbers if isinstance(numbers, list) else ())),
    )


def _ids(name: str, ids: Sequence[int]) -> list[int]:
    listed = list(ids)
    if not listed or not all(type(i) is int and i > 0 for i in listed):
        raise InvalidParameter(name, "must be a list of positive ids")
    return listed
