"""From a list of numbers to the provider and the outbox: what the plugin does with every SMS (contract 3.1)."""

import re
from typing import TYPE_CHECKING

from otp_service.sandbox.gateways import CreditError, GatewayError, chosen
from otp_service.sandbox.php import Value, truthy, var_export
from otp_service.sandbox.provider import Sms
from otp_service.sandbox.webhooks import announce

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

BULK_LIMIT = 20
IN_BACKGROUND = (
    "SMS delivery is in progress as a background task; please review the Outbox for updates."
)
NO_NUMBER = (
    "Mobile number not found, please make sure the mobile field in settings page is configured."
)
BLANK_MESSAGE = "Message content cannot be empty. Please provide a valid SMS message."


class SendError(Exception):
    """The send failed as far as the plugin knows; the words become E1 400."""


async def dispatch(
    site: "Site",
    numbers: list[Value],
    message: str,
    *,
    sender: str = "",
    media: tuple[str, ...] = (),
    flash: bool = False,
) -> bool:
    """Sends now, or queues, or loses it. True if it went to the background queue."""
    if any(isinstance(number, (list, dict)) for number in numbers):
        # Nested lists end in a PHP error whose words the plugin passes on.
        raise SendError("trim(): Argument #1 ($string) must be of type string, array given")
    given = [str(number) for number in numbers]
    queued = site.faults.at_provider(("queued",), given) is not None
    method = site.settings.sms_delivery_method
    if queued or method == "api_queued_send" or len(given) >= BULK_LIMIT:
        # One by one into the background queue, which only WP-Cron empties (quirk 3).
        site.queue.extend(Sms([number], message, sender, media, flash) for number in given)
        return True
    if method == "api_async_send":
        return False  # The plugin's call to itself is refused for want of credentials: lost.
    await send_now(site, Sms(given, message, sender, media, flash))
    return False


async def send_now(site: "Site", sms: Sms) -> Value:
    """Through the gateway class, into the outbox, to the receivers of `new_sms`."""
    if all(not truthy(number.strip()) for number in sms.to):
        raise SendError(site.say(NO_NUMBER))
    if not sms.message.strip():
        raise SendError(site.say(BLANK_MESSAGE))
    gateway = chosen(site)
    numbers = _to_send(site, sms.to, bulk=gateway.bulk)
    sender = sms.sender or site.settings.gateway_sender_id
    if (
        not numbers
    ):  # All filtered out as not local: 200 and a row without a recipient all the same.
        _log(site, sms, [], sender, None, "success")
        return None
    spelled = gateway.numbers(numbers)
    try:
        response = await gateway.send(Sms(spelled, sms.message, sender, sms.media, sms.flash))
    except GatewayError as error:
        if error.has_row:
            shown = numbers if error.early else spelled
            _log(site, sms, shown, sender, error.logged, "error")
        raise SendError(site.say(str(error))) from None
    _log(site, sms, spelled, sender, response, "success")
    await announce(site, "new_sms", {"api_response": response})
    return response


async def balance(site: "Site") -> Value:
    """Asks the provider, and keeps what it says for GET /credit; 0 or the like when that fails."""
    try:
        found = await chosen(site).credit()
    except CreditError as error:
        found = error.stand_in
    site.stored_credit = found
    return found


async def run_cron(site: "Site") -> dict[str, int]:
    """WP-Cron: sends what waits in the background queue. How many were sent, and how many failed."""
    outcome = {"sent": 0, "failed": 0}
    while site.queue:
        try:
            await send_now(site, site.queue.popleft())
        except SendError:
            outcome["failed"] += 1
        else:
            outcome["sent"] += 1
    return outcome


def expanded(site: "Site", message: str) -> str:
    """The three variables that are filled in every text; nothing else is touched (quirk 6)."""
    for variable, value in (
        ("%site_name%", site.settings.name),
        ("%site_url%", site.settings.url),
        ("%site_version%", site.settings.wordpress_version),
    ):
        message = message.replace(variable, value)
    return message


def _to_send(site: "Site", given: list[str], *, bulk: bool) -> list[str]:
    """Blanks and `0` dropped, then everything but digits and plus, then duplicates; then the country code."""
    stripped = (re.sub(r"[^0-9+]", "", number) for number in given if number not in ("", "0"))
    numbers = list(dict.fromkeys(stripped))
    prefix = site.settings.mobile_county_code
    if prefix:
        numbers = [_with_country(number, prefix) for number in numbers if number]
    local = site.settings.send_only_local_numbers
    if local:
        numbers = [number for number in numbers if number.startswith(tuple(local))]
    if bulk:
        return numbers
    # A class for one number takes the element 0, which is gone where the first one was blank [078].
    return [""] if given[0] in ("", "0") and not (prefix or local) else numbers[:1]


def _with_country(number: str, prefix: str) -> str:
    """National numbers get the prefix; `0044...` loses its zeros and gets it too, which is wrong."""
    return number if number.startswith("+") else prefix + number.lstrip("0")


def _log(
    site: "Site", sms: Sms, numbers: list[str], sender: str, response: Value, status: str
) -> None:
    if site.settings.store_outbox_messages:
        site.outbox.write(
            site.local_time(),
            sender=sender,
            message=sms.message,
            recipients=numbers,
            response=var_export(response),
            status=status,
            media=list(sms.media),
        )
