"""GET /credit, and the gateway test that refreshes what it shows (contract 3.6)."""

from typing import TYPE_CHECKING

from otp_service.sandbox.answers import Answer, plugin_error, success
from otp_service.sandbox.call import Call
from otp_service.sandbox.gateways import CreditError, NoGateway, chosen
from otp_service.sandbox.php import text

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site


async def credit(site: "Site", _: Call) -> Answer:
    """S2: what the last send left, as text; null when nothing is stored. The provider is not asked."""
    stored = site.stored_credit
    if stored in ("", "N/A", None) or stored is False:
        return Answer(200, {"credit": None, "creditSupported": False})
    shown = stored if isinstance(stored, (list, dict)) else text(stored)
    return Answer(200, {"credit": shown, "creditSupported": True})


async def gateway_test(site: "Site", _: Call) -> Answer:
    """Asks the provider now. The words of success are ours: they were not recorded."""
    gateway = chosen(site)
    if isinstance(gateway, NoGateway):
        return success(
            "Gateway connection successful", {"credit": None, "gateway": "", "rawResponse": "NULL"}
        )
    try:
        found = await gateway.credit()
    except CreditError:
        return plugin_error("Failed to get success response, provider is down")
    site.stored_credit = found
    return success("Gateway connection successful", {"credit": found})
