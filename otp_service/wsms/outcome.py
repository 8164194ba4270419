"""How a send ended, as far as anybody can know.

    SendOutcome
    ├── Accepted   the site says that the gateway took the message; never that it arrived
    ├── Refused    certain: the message never reached the gateway
    └── Unknown    everything else; a second send may be a second SMS

The site answers 200 for messages that were never sent and 400 for messages that were
(contract 3.1, quirks 1 and 2), so `Accepted` and `Refused` are claimed only where the answer
proves them. No field ever holds the message, a number or a credential.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

# What json.loads gives. `object` because the plugin hands on whatever a gateway class returns.
Json: TypeAlias = object


class RefusedReason(StrEnum):
    """Why a message certainly was not handed to the gateway. Stable words."""

    NOT_AUTHORIZED = "not_authorized"  # 401: the credential
    CAPABILITY_MISSING = "capability_missing"  # 403: the user lacks wpsms_sendsms
    NO_ROUTE = "no_route"  # 404 rest_no_route: plugin off, or version 8
    INVALID_PARAMETER = "invalid_parameter"  # 400: a field is missing or mistyped
    INVALID_REQUEST = "invalid_request"  # 400: any other refusal of WordPress itself
    RATE_LIMITED = "rate_limited"  # 429 of something in front of the plugin
    MAINTENANCE = "maintenance"  # 503 wp_die: WordPress answers before any plugin runs
    EMPTY_MESSAGE = "empty_message"
    NO_RECIPIENTS = "no_recipients"  # nobody in the group, role or list has a number
    UNKNOWN_GROUP = "unknown_group"
    RECIPIENTS_UNAVAILABLE = "recipients_unavailable"  # WooCommerce or BuddyPress is absent
    SCHEDULE_REFUSED = "schedule_refused"  # no add-on, or a time in the past
    HANDLER_UNAVAILABLE = "handler_unavailable"  # the notification handler's plugin is absent
    GATEWAY_NOT_CONFIGURED = "gateway_not_configured"
    ROW_NOT_FOUND = "row_not_found"  # resend of an outbox row that is gone
    CONNECT_FAILED = "connect_failed"  # no byte of the request left this host
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    CIRCUIT_OPEN = "circuit_open"  # the breaker spared the site and us this call


class UnknownReason(StrEnum):
    """Why it is unknown whether a message was sent. Stable words."""

    GATEWAY_ERROR = "gateway_error"  # 400 with a text of the gateway, the provider or cURL
    TIMEOUT = "timeout"  # the deadline passed after bytes were sent
    CONNECTION_LOST = "connection_lost"
    SERVER_ERROR = "server_error"  # 5xx
    NOT_WSMS = "not_wsms"  # HTML, no JSON, another shape, an odd status
    TOO_LARGE = "too_large"
    REDIRECTED = "redirected"  # never followed
    BACKGROUND = "background"  # queued on the site; may be sent late or never


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """
    The site answered exactly as it does for a message its gateway took (contract 6.2).

    Attributes:
        balance: What the gateway says is left, as it says it: int, float, text such as
            "4711 EUR", bool, None, list or dict. `credit.parse_balance` reads it.
        text_known: The answer's text is the untranslated success text. When False, the site
            speaks another language, and a queued message cannot be told from a sent one.
    """

    balance: Json = None
    text_known: bool = True


@dataclass(frozen=True, kw_only=True)
class Refused:
    """
    The message certainly never reached the gateway.

    Attributes:
        detail: For the operator: short, scrubbed, never shown to an end user.
        by_text: Only a text of the plugin proves it; a translated site gives `Unknown` instead.
        retry_after: Seconds after which another try makes sense, where known.
    """

    reason: RefusedReason
    detail: str = ""
    by_text: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """
    The message may or may not go out; never send it again silently (contract 3.1, quirk 7).

    Attributes:
        detail: For the operator: short, scrubbed, never shown to an end user.
        by_text: The reason rests on a text of the plugin.
    """

    reason: UnknownReason
    detail: str = ""
    by_text: bool = False


SendOutcome: TypeAlias = Accepted | Refused | Unknown
