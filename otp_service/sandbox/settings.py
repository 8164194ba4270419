"""Everything about the site that an administrator could change, switchable while it runs."""

from typing import Annotated, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

WsmsVersion: TypeAlias = Literal["7.2", "7.2.8", "8"]
NEWEST_VERSION: WsmsVersion = "7.2.8"


def _known_zone(name: str) -> str:
    try:
        return name if name == "UTC" else ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a time zone that this machine knows") from None


class SiteSettings(BaseModel):
    """The site's switches, with the names the plugin's own settings have where it has one.

    Given as constructor data (`Site(settings=SiteSettings(...))`) or by `PUT /sandbox/settings`,
    which changes the fields it names and refuses unknown ones.
    """

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, strict=True, use_attribute_docstrings=True
    )

    # WordPress
    name: str = "Sandbox Site"
    """The site's name, `%site_name%` in messages."""
    url: str = "http://127.0.0.1:8025"
    """The site's address, `%site_url%` in messages."""
    wordpress_version: str = "7.1"
    """WordPress' version, `%site_version%` in messages."""
    wsms_version: WsmsVersion = NEWEST_VERSION
    """The plugin's release. `7.2.8` refuses every code of a number for 15 minutes after ten wrong ones, compares codes
    as text, and undoes a subscription whose SMS the gateway refuses. `7.2` does none of this.
    `8` has the namespace `wsms/v1` only: every route of version 7 is missing."""
    locale: Literal["en_US", "de_DE"] = "en_US"
    """The language of the plugin's texts."""
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """IANA name. The outbox writes local times without a zone."""
    readme_hidden: bool = False
    """The web server hides the plugin's readme, which names its release."""
    plugin_active: bool = True
    """Off: the plugin's routes are missing."""
    capabilities_granted: bool = True
    """Off: no administrator has opened wp-admin yet, so even administrators get 403."""
    application_passwords: bool = True
    """Off: WordPress takes no application passwords, as over plain http."""
    early_authentication: bool = False
    """Another plugin asks early who calls: wrong credentials give `incorrect_password` and the like."""
    maintenance: bool = False
    """WordPress answers 503 before any plugin runs."""
    database_down: bool = False
    """WordPress answers 500: no database."""
    debug: bool = False
    """WP_DEBUG, written to a log only."""
    debug_display: bool = False
    """WP_DEBUG, shown: notices stand before the JSON of callers who did not ask for JSON."""

    # Gateway
    gateway_name: str = "mobilemessage"
    """`mobilemessage` (numeric credit), `gatewayapi` (text credit), `smsbox` (asks for the balance first), `wali` (one
    number a send, boolean credit), `test` (sends nothing, takes media), empty (none chosen). Another name is a gateway
    whose file is missing: it sends nothing."""
    gateway_username: str = "sandbox"
    """The gateway's user name. Empty: it refuses to send."""
    gateway_password: str = "sandbox"  # noqa: S105  the stand-in provider's, not anybody's
    """The gateway's password. Empty: it refuses to send."""
    gateway_sender_id: str = "SANDBOX"
    """The sender of messages that name none."""
    balance: Any = 4711
    """What the provider says is left; the gateway class may give it as text or bool."""
    provider_timeout: float = Field(default=10.0, gt=0)
    """Seconds until the plugin gives up on its provider."""
    sms_delivery_method: Literal["api_direct_send", "api_async_send", "api_queued_send"] = (
        "api_direct_send"
    )
    """`api_async_send` loses messages of callers with application passwords, `api_queued_send` keeps them for
    WP-Cron."""
    store_outbox_messages: bool = True
    """Whether messages are kept in the outbox."""
    unstable_ties: bool = False
    """Rows within one second come in another order with every call, as MySQL may give them."""
    mobile_county_code: str = ""
    """Such as `+44`: put before each number that does not begin so, also before `+1…`."""
    send_only_local_numbers: list[str] = []
    """Calling codes such as `+44`. Other numbers are dropped silently, with status 200."""

    # Newsletter
    newsletter_form_verify: bool = False
    """New subscribers confirm by a code of the site."""
    newsletter_form_groups: bool = False
    """A group is required."""
    newsletter_form_welcome: bool = False
    """New subscribers get a welcome SMS."""
    newsletter_form_welcome_text: str = "Welcome %subscribe_name%!"
    """Its text."""
    international_mobile: bool = False
    """Numbers must begin with `+` and a calling code."""
    international_mobile_only_countries: list[str] = []
    """ISO regions, e.g. `["US"]`. Empty: all."""
    mobile_terms_minimum: int | None = None
    """The shortest number, in characters with `+`. Without both bounds: 8 to 15."""
    mobile_terms_maximum: int | None = None
    """The longest number."""

    # Webhooks
    allow_private_webhooks: bool = False
    """Deliver to loopback and private addresses and over plain http, which the real plugin refuses."""
    webhook_timeout: float = Field(default=5.0, gt=0)
    """Seconds until the plugin gives up on a receiver."""
