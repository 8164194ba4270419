"""What can go wrong with a call to the site, as one tree; sends give a `SendOutcome` instead.

    WsmsError                    never raised directly
    ├── WsmsConfigurationError   the address or credential cannot be used; also a ValueError
    ├── InvalidParameter         one argument, refused here or by the site; also a ValueError
    ├── NotAuthorized            401: the credential, whatever is wrong with it
    ├── CapabilityMissing        403: the user exists but may not do this
    ├── NoSuchRoute              404 rest_no_route: plugin off, or version 8
    ├── RowNotFound              404 of the plugin: no such outbox row
    ├── SiteRefused              400 of the plugin: only a text says why
    │   ├── NewsletterRefused    with a reason read from that text
    │   └── GatewayRefused       the gateway test failed
    ├── RateLimited              429 of something in front of the plugin
    ├── SiteDown                 no connection, too late, 5xx, or the breaker is open
    ├── UnexpectedResponse           HTML, another shape, too large, a redirect
    └── OutboxIncomplete         the outbox cannot be listed without gaps

Every text is scrubbed: no message, number, code or credential is in `str(error)`.
"""

from enum import StrEnum


class WsmsError(Exception):
    """Never raised directly."""


class WsmsConfigurationError(WsmsError, ValueError):
    """The address or credential cannot be used; nothing was sent."""


class InvalidParameter(WsmsError, ValueError):
    """
    One argument is missing or malformed.

    Attributes:
        name: The argument's name, as the site calls it.
        at_site: True if the site said so (400, contract 2.1 E2), False if it was caught here.
    """

    def __init__(self, name: str, why: str, *, at_site: bool = False) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name
        self.at_site = at_site


class NotAuthorized(WsmsError):
    """
    The site did not accept the credential.

    Wrong password, unknown user, header eaten on the way and application passwords switched
    off all look the same (contract 2.2); `WsmsClient.check` tells some of them apart.
    """


class CapabilityMissing(WsmsError):
    """
    The user is known but lacks a capability.

    Attributes:
        capability: The one this call needs, e.g. "wpsms_outbox".
    """

    def __init__(self, capability: str) -> None:
        super().__init__(f"the WordPress user lacks {capability}")
        self.capability = capability


class NoSuchRoute(WsmsError):
    """The site knows no such call: plugin deactivated, or version 8 (contract 5)."""


class RowNotFound(WsmsError):
    """No outbox row has this id."""


class SiteRefused(WsmsError):
    """The plugin answered 400; its text may be translated, so never branch on it."""


class NewsletterRefusal(StrEnum):
    """Why the newsletter refused, as far as the plugin's English texts tell."""

    ALREADY_SUBSCRIBED = "already_subscribed"
    WRONG_CODE = "wrong_code"
    TOO_MANY_ATTEMPTS = "too_many_attempts"  # verify, from 7.2.6 on: also of the right code
    NOT_FOUND = "not_found"  # verify: also "already verified" and "invalid number"
    GROUP_REQUIRED = "group_required"
    INVALID_NUMBER = "invalid_number"
    INVALID_REQUEST = "invalid_request"
    UNRECOGNISED = "unrecognised"  # a translated or unknown text; from 7.2.7 on also the gateway's


class NewsletterRefused(SiteRefused):
    """
    The newsletter said no; all its refusals are 400 (contract 3.2 to 3.4).

    Attributes:
        reason: Read from the text, since nothing else tells them apart.
        by_text: Always True, as a reminder: a translated site gives `unrecognised`.
    """

    by_text = True

    def __init__(self, reason: NewsletterRefusal, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason


class GatewayRefused(SiteRefused):
    """The gateway test failed; the text is the provider's."""


class RateLimited(WsmsError):
    """
    Something in front of the plugin asks for patience (the plugin itself has no limit).

    Attributes:
        retry_after: Seconds, or None if it named none.
    """

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("the site, or something in front of it, limits the rate of calls")
        self.retry_after = retry_after


class SiteDown(WsmsError):
    """
    The site did not answer properly.

    Attributes:
        maybe_done: Whether the site may have carried the call out all the same. False only if
            no byte of the request was sent.
        retry_after: Seconds until the breaker lets a call through, else None.
    """

    def __init__(
        self, why: str, *, maybe_done: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(why)
        self.maybe_done = maybe_done
        self.retry_after = retry_after


class UnexpectedResponse(WsmsError):
    """What came back has none of the plugin's shapes; whether the call was carried out is open."""


class OutboxIncomplete(WsmsError):
    """More rows share one second than a page holds, and the site shuffled them (contract 3.5)."""
