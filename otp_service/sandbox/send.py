"""POST /send: whom to reach, when, and what comes back (contract 3.1)."""

import re
from datetime import datetime
from typing import TYPE_CHECKING

from otp_service.sandbox.answers import Answer, plugin_error, success
from otp_service.sandbox.call import Call
from otp_service.sandbox.php import Value, leading_int, text, truthy
from otp_service.sandbox.sending import IN_BACKGROUND, SendError, balance, dispatch, expanded
from otp_service.sandbox.validation import Args

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

HANDLERS = [
    "WooCommerceOrderNotification",
    "WooCommerceAdminOrderNotification",
    "WooCommerceProductNotification",
    "WooCommerceCouponNotification",
    "WooCommerceCustomerNotification",
    "WordPressPostNotification",
    "WordPressUserNotification",
    "AwesomeSupportTicketNotification",
    "WordPressCommentNotification",
    "SubscriberNotification",
]

ARGS: Args = {
    "sender": {"type": "string", "required": True},
    "recipients": {
        "type": "string",
        "enum": ["subscribers", "users", "roles", "wc-customers", "bp-users", "numbers"],
        "required": True,
    },
    "group_ids": {"type": "array"},
    "role_ids": {"type": "array"},
    "numbers": {"type": "array", "format": "uri"},
    "message": {"type": "string", "required": True},
    "flash": {"type": "boolean"},
    "media_urls": {"type": "array"},
    "schedule": {"type": "string", "format": "date-time"},
    "repeat": {"type": "object"},
    "notification_handler": {"type": "string", "enum": HANDLERS},
    "handler_id": {"type": "int"},
}

ADD_ON = (
    "{} SMS requires the WP SMS Pro add-on."
    " Please install and activate the add-on to use this feature."
)
NO_NUMBERS = "Could not find any mobile numbers."
NO_MESSAGE = "The message body can not be empty."


async def send(site: "Site", call: Call) -> Answer:
    """Checks in the plugin's order: recipients, message, schedule, handler, and only then the gateway."""
    try:
        numbers = _recipients(site, call)
        if not numbers:
            raise SendError(site.say(NO_NUMBERS))
        message = call.get("message", "")
        if not truthy(message):
            raise SendError(site.say(NO_MESSAGE))
        if "schedule" in call.params:
            raise SendError(_scheduled(site, call))
        message = _filled_by_handler(site, call, message)
        queued = await dispatch(
            site,
            numbers,
            message,
            sender=call.get("sender", ""),
            media=_media(call),
            flash=bool(call.get("flash", False)),
        )
    except SendError as error:
        return _failed(call, str(error))
    words = IN_BACKGROUND if queued else "Successfully send SMS!"
    return success(site.say(words), {"balance": await balance(site)})


def _failed(call: Call, words: str) -> Answer:
    answer = plugin_error(words)
    if words == "Array":
        answer.notices.append("<b>Warning</b>:  Array to string conversion")
    return answer


def _recipients(site: "Site", call: Call) -> list[Value]:
    match call.get("recipients"):
        case "numbers":
            found = _required(site, call, "numbers")
        case "subscribers":
            found = _subscribers(site, call)
        case "roles":
            roles = _required(site, call, "role_ids")
            found = [u.mobile for u in site.users.all() if u.role in roles and u.mobile]
        case "users":
            wanted = _required(site, call, "users")
            ids = {leading_int(one) for one in (wanted if isinstance(wanted, list) else [wanted])}
            found = [u.mobile for u in site.users.all() if u.id in ids and u.mobile]
        case "wc-customers":
            raise SendError(site.say("WooCommerce or WP-SMS Pro is not enabled"))
        case _:
            raise SendError(site.say("BuddyPress or WP SMS Pro is not enabled"))
    unique: dict[str, Value] = {}
    for number in found:
        unique.setdefault(text(number), number)
    return list(unique.values())


def _required(site: "Site", call: Call, name: str) -> list[Value]:
    found: list[Value] = call.get(name, [])
    if not found:
        raise SendError(f"Parameter {name} is required")
    return found


def _subscribers(site: "Site", call: Call) -> list[Value]:
    """Groups are asked for only on sites that have some; an unknown one makes the plugin say `Array`."""
    group_ids = [leading_int(one) for one in call.get("group_ids", [])]
    if site.subscribers.groups:
        if not group_ids:
            raise SendError("Parameter group_ids is required")
        if any(one not in site.subscribers.groups for one in group_ids):
            raise SendError("Array")
    return list(site.subscribers.active_numbers(group_ids))


def _scheduled(site: "Site", call: Call) -> str:
    """Scheduling is an add-on's affair, so every such call ends as an error, and nothing is sent."""
    start = _site_time(site, call.get("schedule"))
    repeat = call.get("repeat")
    if start < site.now():
        return site.say("Selected start date must be in future")
    if repeat is None:
        return site.say(ADD_ON.format("Scheduled"))
    end = repeat.get("endDate") if isinstance(repeat, dict) else None
    if isinstance(end, str) and end:
        try:
            if _site_time(site, end) < start:
                return site.say("Selected end date must be after start date")
        except ValueError:
            return f"Failed to parse time string ({end}) at position 0 ({end[0]})"
    return site.say(ADD_ON.format("Repeating"))


def _site_time(site: "Site", written: str) -> datetime:
    """Times are the site's own unless they name a zone."""
    found = datetime.fromisoformat(written.upper())
    return found if found.tzinfo else found.replace(tzinfo=site.zone)


def _media(call: Call) -> tuple[str, ...]:
    urls = call.get("media_urls", [])
    return tuple(one for one in urls if isinstance(one, str) and truthy(one))


def _filled_by_handler(site: "Site", call: Call, message: str) -> str:
    """Variables of the chosen handler and no others; one whose plugin is absent fails with PHP's words."""
    handler, subject = call.get("notification_handler"), leading_int(call.get("handler_id", 0))
    if handler is None:
        return expanded(site, message)
    if handler.startswith("WooCommerce"):
        function = "wc_get_" + re.sub(r"WooCommerce(Admin)?|Notification", "", handler).lower()
        raise SendError(f"Call to undefined function WP_SMS\\Notification\\Handler\\{function}()")
    values: dict[str, str] = {}
    if handler == "WordPressUserNotification" and (user := site.users.by_id(subject)):
        values = {"%user_login%": user.login, "%user_email%": user.email}
    elif handler == "SubscriberNotification":
        row = site.subscribers.get(subject)
        values = {
            "%subscriber_name%": row.name if row else "",
            "%subscriber_mobile%": row.mobile if row else "",
        }
    for variable, value in values.items():
        message = message.replace(variable, value)
    return message
