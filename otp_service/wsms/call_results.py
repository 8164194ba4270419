"""What the answer to one call says about the site as a whole; the outage watch reads it."""

from dataclasses import dataclass
from enum import StrEnum

from otp_service.wsms.answer import Answer
from otp_service.wsms.models import Capability
from otp_service.wsms.outcome import RefusedReason
from otp_service.wsms.refusal_texts import reason_of_text


class OutageReason(StrEnum):
    """Faults of a site that do not depend on the single call. Stable words, those of a send where it has one."""

    NOT_AUTHORIZED = "not_authorized"  # 401
    NO_ROUTE = "no_route"  # 404 rest_no_route: plugin off, or version 8
    ACCESS_DENIED = "access_denied"  # 403 of another plugin, or of a firewall in JSON
    MAINTENANCE = "maintenance"
    REDIRECTED = "redirected"
    NOT_WSMS = "not_wsms"  # an HTML page or another shape, below status 500
    CAPABILITY_MISSING = "capability_missing"  # 403 of WordPress: only calls that need the same one
    GATEWAY_NOT_CONFIGURED = "gateway_not_configured"  # only calls that send


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """
    One answered call.

    Attributes:
        capability: What the call needs.
        outage: The fault, or None.
        succeeded: Whether the plugin did what was asked. Neither a fault nor a success is e.g. a 500, or a 400 of
            WordPress, which checks parameters before it checks who calls.
        reached_gateway: Whether the plugin got as far as calling its gateway.
    """

    capability: Capability
    outage: OutageReason | None = None
    succeeded: bool = False
    reached_gateway: bool = False


def result_of(answer: Answer, capability: Capability) -> CallResult:
    """Return what an answer to a call that needs this capability says about the site."""
    is_send = capability is Capability.SEND
    text = answer.plugin_error
    if answer.success or (answer.status in {200, 201} and not is_send and answer.json is not None):
        return CallResult(capability=capability, succeeded=True, reached_gateway=is_send)
    if text is not None and answer.status < 500:
        refused = reason_of_text(text)
        if refused is RefusedReason.GATEWAY_NOT_CONFIGURED:
            return CallResult(capability=capability, outage=OutageReason.GATEWAY_NOT_CONFIGURED)
        # The plugin's own refusal of this one call: route, credential and capability are all right.
        return CallResult(
            capability=capability, succeeded=True, reached_gateway=is_send and refused is None
        )
    return CallResult(capability=capability, outage=_outage(answer))


def _outage(answer: Answer) -> OutageReason | None:
    wordpress = answer.wordpress_error
    if answer.is_maintenance:
        return OutageReason.MAINTENANCE
    if answer.status >= 500 or answer.status == 429:
        return None  # the circuit breaker counts these
    if answer.status == 401:
        return OutageReason.NOT_AUTHORIZED
    if 300 <= answer.status < 400:
        return OutageReason.REDIRECTED
    if wordpress is None:
        return OutageReason.NOT_WSMS
    match answer.status, wordpress.code:
        case 403, "rest_forbidden":
            return OutageReason.CAPABILITY_MISSING
        case 403, _:
            return OutageReason.ACCESS_DENIED
        case 404, "rest_no_route":
            return OutageReason.NO_ROUTE
    return None
