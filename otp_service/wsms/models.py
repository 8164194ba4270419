"""What the site's listings and reports hold, typed; tolerant where the plugin says any type."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from otp_service.wsms.outcome import Json


class Capability(StrEnum):
    """The WordPress capabilities that the plugin asks for."""

    SEND = "wpsms_sendsms"
    SUBSCRIBERS = "wpsms_subscribers"
    OUTBOX = "wpsms_outbox"
    SETTING = "wpsms_setting"


class SubscriptionStatus(StrEnum):
    """What a newsletter call left behind."""

    SUBSCRIBED = "subscribed"  # at once: double opt-in is off, or no gateway is chosen
    PENDING = "pending"  # the site says it sent an activation code; it does not know (3.2)
    UNRECOGNISED = "unrecognised"  # a translated or unknown text


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """
    The answer to a subscription.

    Attributes:
        by_text: Always True: nothing but the text tells subscribed from pending (contract 3.2).
    """

    status: SubscriptionStatus
    by_text: bool = True


@dataclass(frozen=True)
class Subscriber:
    """One row of the newsletter, active or not: the site does not say (contract 3.2)."""

    name: str
    mobile: str


@dataclass(frozen=True, kw_only=True)
class ListedSubscriber:
    """
    One row of the newsletter as the dashboard lists it.

    Attributes:
        mobile: As the site stored it.
        group_id: None when it is in no group.
        active: Whether it is confirmed.
    """

    id: int
    name: str = field(repr=False)
    mobile: str = field(repr=False)
    group_id: int | None
    active: bool


class OutboxStatus(StrEnum):
    """The plugin's view of its call to the provider, never a delivery report."""

    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """
    One message the plugin tried to send.

    Attributes:
        sent_at: Aware, in the site's zone, whole seconds. In the hour that a zone repeats in
            autumn the site does not say which one it means; the first is taken.
        recipients: Numbers as the plugin sent them.
        status: OutboxStatus, or whatever text the site gives.
        response: A PHP dump of the provider's answer, not JSON.
    """

    id: int
    sent_at: datetime
    sender: str
    recipients: tuple[str, ...]
    message: str = field(repr=False)
    status: str
    response: str = field(repr=False)
    media: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OutboxPage:
    """
    One page; `total`, `success` and `failed` count all rows that the filters let through.

    Attributes:
        site_time: The site's clock as it answered, aware, whole seconds; None if it did not tell.
    """

    rows: tuple[OutboxRow, ...]
    page: int
    per_page: int
    total: int
    total_pages: int
    success: int
    failed: int
    site_time: datetime | None = None


class WebhookEvent(StrEnum):
    """What the site can announce."""

    NEW_SMS = "new_sms"
    NEW_SUBSCRIBER = "new_subscriber"


@dataclass(frozen=True)
class NewSms:
    """
    An unsigned hint that the gateway took some message; anybody may have sent it (3.7).

    Attributes:
        api_response: What the gateway class returned: no recipient or text of its own.
    """

    api_response: Json = field(repr=False)


@dataclass(frozen=True)
class NewSubscriber:
    """An unsigned hint that a row was added to the newsletter, before any verification (3.7)."""

    name: str = field(repr=False)
    mobile: str = field(repr=False)
