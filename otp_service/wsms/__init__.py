"""The WSMS REST API (WordPress SMS plugin, version 7.2) as a typed asyncio client."""

import logging

from otp_service.wsms.breaker import Circuit, CircuitBreaker
from otp_service.wsms.client import WsmsClient
from otp_service.wsms.credit import Credit, CreditKind, CreditSource, parse_balance
from otp_service.wsms.errors import (
    CapabilityMissing,
    GatewayRefused,
    InvalidParameter,
    NewsletterRefusal,
    NewsletterRefused,
    NoSuchRoute,
    NotAuthorized,
    OutboxIncomplete,
    RateLimited,
    RowNotFound,
    SiteDown,
    SiteRefused,
    UnexpectedResponse,
    WsmsConfigurationError,
    WsmsError,
)
from otp_service.wsms.models import (
    Capability,
    NewSms,
    NewSubscriber,
    OutboxPage,
    OutboxRow,
    OutboxStatus,
    Subscriber,
    Subscription,
    SubscriptionStatus,
    WebhookEvent,
)
from otp_service.wsms.outcome import (
    Accepted,
    Json,
    Refused,
    RefusedReason,
    SendOutcome,
    Unknown,
    UnknownReason,
)
from otp_service.wsms.sending import (
    BuddyPressUsers,
    Handler,
    Recipients,
    Repeat,
    Roles,
    Subscribers,
    Users,
    WooCommerceCustomers,
)
from otp_service.wsms.site import SiteIndex, SiteReport
from otp_service.wsms.webhooks import parse_delivery

# At INFO httpx logs every URL, and an outbox search holds a number; at DEBUG httpcore logs more.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)

__all__ = [
    "Accepted",
    "BuddyPressUsers",
    "Capability",
    "CapabilityMissing",
    "Circuit",
    "CircuitBreaker",
    "Credit",
    "CreditKind",
    "CreditSource",
    "GatewayRefused",
    "Handler",
    "InvalidParameter",
    "Json",
    "NewSms",
    "NewSubscriber",
    "NewsletterRefusal",
    "NewsletterRefused",
    "NoSuchRoute",
    "NotAuthorized",
    "OutboxIncomplete",
    "OutboxPage",
    "OutboxRow",
    "OutboxStatus",
    "RateLimited",
    "Recipients",
    "Refused",
    "RefusedReason",
    "Repeat",
    "Roles",
    "RowNotFound",
    "SendOutcome",
    "SiteDown",
    "SiteIndex",
    "SiteRefused",
    "SiteReport",
    "Subscriber",
    "Subscribers",
    "Subscription",
    "SubscriptionStatus",
    "UnexpectedResponse",
    "Unknown",
    "UnknownReason",
    "Users",
    "WebhookEvent",
    "WooCommerceCustomers",
    "WsmsClient",
    "WsmsConfigurationError",
    "WsmsError",
    "parse_balance",
    "parse_delivery",
]
