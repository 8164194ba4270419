"""Everything about the site that an administrator could change, switchable while it runs."""

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


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

    model_config = ConfigDict(extra="forbid", validate_assignment=True, strict=True)

    # WordPress
    name: str = "Sandbox Site"
    url: str = "http://127.0.0.1:8025"
    wordpress_version: str = "7.1"
    plugin_version: str = "7.2"
    locale: Literal["en_US", "de_DE"] = "en_US"
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """IANA name; the outbox writes local times without a zone (contract 3.5)."""
    plugin_active: bool = True
    capabilities_granted: bool = True
    """False: no administrator has opened wp-admin yet, so even they get 403 (contract 2.2)."""
    application_passwords: bool = True
    """False: plain http and not WP_ENVIRONMENT_TYPE local."""
    early_authentication: bool = False
    """Another plugin asks early who calls: wrong credentials give `incorrect_password` and the like."""
    maintenance: bool = False
    database_down: bool = False
    debug: bool = False
    """WP_DEBUG on, written to a log only."""
    debug_display: bool = False
    """WP_DEBUG on and shown: notices stand before the JSON of callers who did not ask for JSON."""

    # Gateway
    gateway_name: str = "mobilemessage"
    """mobilemessage (numeric credit), gatewayapi (text credit), smsbox (asks for the balance first),
    wali (not bulk, boolean credit), test (sends nothing, takes media), "" (none chosen); any other name
    is a class file that is not there, which is the same as none for sending."""
    gateway_username: str = "sandbox"
    gateway_password: str = "sandbox"  # noqa: S105  the stand-in provider's, not anybody's
    gateway_sender_id: str = "SANDBOX"
    balance: Any = 4711
    """What the provider says is left; the gateway class may give it as text or bool."""
    provider_timeout: float = Field(default=10.0, gt=0)
    """Seconds until the plugin gives up on its provider."""
    sms_delivery_method: Literal["api_direct_send", "api_async_send", "api_queued_send"] = (
        "api_direct_send"
    )
    store_outbox_messages: bool = True
    unstable_ties: bool = False
    """Rows within one second come in another order with every call, as MySQL may give them."""
    mobile_county_code: str = ""
    send_only_local_numbers: list[str] = []
    """Calling codes such as `+44`; other numbers are silently dropped, 200 all the same."""

    # Newsletter
    newsletter_form_verify: bool = False
    newsletter_form_groups: bool = False
    newsletter_form_welcome: bool = False
    newsletter_form_welcome_text: str = "Welcome %subscribe_name%!"
    international_mobile: bool = False
    international_mobile_only_countries: list[str] = []
    """ISO regions, e.g. `["US"]`; empty: all."""
    mobile_terms_minimum: int | None = None
    mobile_terms_maximum: int | None = None

    # Webhooks
    allow_private_webhooks: bool = False
    """Deliver to loopback and private addresses and over plain http, which the real plugin refuses."""
    webhook_timeout: float = Field(default=5.0, gt=0)
