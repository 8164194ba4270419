"""The newsletter: subscribe, list, verify, unsubscribe, with the plugin's traps (contract 3.2 to 3.4)."""

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from otp_service.sandbox.answers import Answer, plugin_error, success
from otp_service.sandbox.call import Call
from otp_service.sandbox.mobile_numbers import InvalidNumber, stored_number
from otp_service.sandbox.php import PhpError, Value, leading_int, loosely_equal, text, trim, truthy
from otp_service.sandbox.sending import SendError, dispatch
from otp_service.sandbox.subscribers import Subscriber
from otp_service.sandbox.validation import Args, Invalid
from otp_service.sandbox.webhooks import announce

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

SUBSCRIBED = "Your mobile number has been successfully subscribed."
PENDING = "To activate your subscription, the activation has been sent to your number."
UNSUBSCRIBED = "Your mobile number has been successfully unsubscribed."
NAME_AND_NUMBER = "Name and Mobile Number are required!"
DUPLICATE = "This mobile is already registered, please choose another one."
TOO_LONG = (
    "Failed to add subscriber, please deactivate and then activate WP SMS and then try again."
)
NO_GROUP = "Please select a specific group."
VALUES_MISSING = "The required parameters must be valued!"
WRONG_CODE = "Activation code is wrong!"
TOO_MANY = "Too many attempts. Please try again later."
NOT_FOUND = "Not found the number!"
GROUP_FORMAT = "Invalid group_id format!"
NOT_THERE = "The mobile number does not exist in the specified group(s)!"


class NewsletterError(Exception):
    """What the plugin refuses, in its own words; E1 400."""


def known_group(site: "Site", value: Value) -> Invalid | bool:
    """The argument check of `group_id`: every group named must exist."""
    named = list(value.values()) if isinstance(value, dict) else value
    for one in named if isinstance(named, list) else [named]:
        if leading_int(one) not in site.subscribers.groups:
            return Invalid("subscribe", f"Group ID #{text(one)} is not valid")
    return True


SUBSCRIBE_ARGS: Args = {
    "name": {"required": True},
    "mobile": {"required": True},
    "group_id": {"type": ["integer", "array"], "validate": known_group},
    "custom_fields": {},
}
LIST_ARGS: Args = {"group_id": {}}
NUMBER_ARGS: Args = {"name": {"required": True}, "mobile": {"required": True}}
VERIFY_ARGS: Args = {**NUMBER_ARGS, "activation": {"required": True}}


async def listing(site: "Site", _: Call) -> Answer:
    """S3: every row, pending ones too; no paging, no status, `group_id` ignored."""
    return Answer(200, [{"name": r.name, "mobile": r.mobile} for r in site.subscribers.rows()])


async def subscribe(site: "Site", call: Call) -> Answer:
    group = call.get("group_id", 0)
    try:
        if site.settings.newsletter_form_groups and not group:
            raise NewsletterError(NO_GROUP)
        number = _number(site, call, empty_is=NAME_AND_NUMBER)
        if isinstance(group, list):
            raise PhpError("json_decode(): Argument #1 ($json) must be of type string, array given")
        return success(site.say(await _subscribe(site, call, number, group)))
    except NewsletterError as error:
        return plugin_error(site.say(str(error)))


async def _subscribe(site: "Site", call: Call, number: str, group: int) -> str:
    if not truthy(call.get("name")):
        raise NewsletterError(NAME_AND_NUMBER)
    _drop_pending(site, number)
    row = await add(
        site,
        call.get("name"),
        number,
        group,
        pending=_double_opt_in(site),
        custom_fields=call.get("custom_fields"),
    )
    try:
        if row.active:
            await welcome(site, number)
        else:
            words = site.say("Your activation code: %s") % row.activate_key
            await dispatch(site, [number], words)
    except SendError as error:
        if site.settings.wsms_version != "7.2":
            site.subscribers.delete(row.id)
            raise NewsletterError(str(error)) from None
    return SUBSCRIBED if row.active else PENDING


def _double_opt_in(site: "Site") -> bool:
    """Without a gateway chosen people are subscribed unverified, whatever the setting says."""
    return site.settings.newsletter_form_verify and bool(site.settings.gateway_name)


def _drop_pending(site: "Site", number: str) -> None:
    """A pending row outside groups is replaced (with all rows of its number); one inside a group stays,
    so that afterwards the old code is the valid one (contract 3.2).
    """
    rows = site.subscribers.of(number)
    if any(not row.active and row.group_id == 0 for row in rows):
        for row in rows:
            site.subscribers.delete(row.id)


async def add(
    site: "Site",
    name: Value,
    number: str,
    group: int,
    *,
    pending: bool,
    custom_fields: Value = None,
) -> Subscriber:
    """Write a row, announce it and return it; raises NewsletterError."""
    first = next(iter(site.subscribers.of(number, group)), None)
    if first is not None and first.active:
        raise NewsletterError(DUPLICATE)
    stored_name = "" if isinstance(name, (list, dict)) else text(name)
    row = site.subscribers.add(
        site.local_time(),
        stored_name,
        number,
        active=not pending,
        activate_key=str(site.draw_code()) if pending else None,
        group_id=group,
        custom_fields=custom_fields,
    )
    if row is None:
        raise NewsletterError(TOO_LONG)
    await announce(site, "new_subscriber", {"name": row.name, "mobile": row.mobile})
    return row


async def verify(site: "Site", call: Call) -> Answer:
    groups = _groups(call.get("group_id"))
    try:
        number = _number(site, call, empty_is=NOT_FOUND) if groups else ""
        for group in groups:
            await _verify(site, call, number, group)
    except NewsletterError as error:
        answer = plugin_error(site.say(str(error)))
        _doing_it_wrong(site, call, answer)
        return answer
    return success(site.say(SUBSCRIBED))


async def _verify(site: "Site", call: Call, number: str, group: int) -> None:
    activation = call.get("activation")
    if isinstance(activation, (list, dict)):
        raise PhpError("trim(): Argument #1 ($string) must be of type string, array given")
    code = trim(text(activation))
    if not truthy(call.get("name")) or not truthy(code):
        raise NewsletterError(VALUES_MISSING)
    waiting = next((row for row in site.subscribers.of(number, group) if not row.active), None)
    if waiting is None:
        raise NewsletterError(NOT_FOUND)
    _compare(site, call, number, waiting.activate_key or "")
    for row in site.subscribers.like(number, group):
        row.active = True
    with suppress(SendError):
        await welcome(site, number)


def _compare(site: "Site", call: Call, number: str, right: str) -> None:
    typed = text(call.get("activation"))
    if site.settings.wsms_version == "7.2":
        if not loosely_equal(trim(typed), right):
            raise NewsletterError(WRONG_CODE)
        return
    if site.throttle.refuses(call.remote_addr, number):
        raise NewsletterError(TOO_MANY)
    if typed != right:
        site.throttle.count(call.remote_addr, number)
        raise NewsletterError(WRONG_CODE)
    site.throttle.forget(call.remote_addr, number)


def _groups(given: Value) -> list[int]:
    """One group, a list, or a list as JSON text. The empty list is none at all: nothing is verified,
    and the answer is 200 (contract 3.3).
    """
    if isinstance(given, str):
        try:
            decoded = json.loads(given)
        except (ValueError, RecursionError):
            decoded = given
        given = decoded if isinstance(decoded, list) else given
    if isinstance(given, dict):
        given = list(given.values())
    return [leading_int(one) for one in (given if isinstance(given, list) else [given])]


def _doing_it_wrong(site: "Site", call: Call, answer: Answer) -> None:
    """An invalid number reaches the database as an object, about which WP_DEBUG complains."""
    try:
        stored_number(site, call.get("mobile"))
    except InvalidNumber:
        if site.settings.debug or site.settings.debug_display:
            complaint = "wpdb::prepare (since 4.8.2; Unsupported value type (object).)"
            answer.headers["X-WP-DoingItWrong"] = complaint


async def unsubscribe(site: "Site", call: Call) -> Answer:
    group = call.get("group_id", 0)
    try:
        if not truthy(call.get("name")):
            raise NewsletterError(NAME_AND_NUMBER)
        number = _number(site, call, empty_is=NOT_THERE, invalid_is=NOT_THERE)
        if site.settings.newsletter_form_groups and not truthy(group):
            raise NewsletterError(NO_GROUP)
        if isinstance(group, dict):
            group = list(group.values())
        for one in group if isinstance(group, list) else [group]:
            _unsubscribe(site, number, one)
    except NewsletterError as error:
        return plugin_error(site.say(str(error)))
    return success(site.say(UNSUBSCRIBED))


def _unsubscribe(site: "Site", number: str, group: Value) -> None:
    """Only JSON text such as `[1,2]` names groups; nothing names all (contract 3.4)."""
    groups: Value = [0]
    if truthy(group):
        try:
            groups = json.loads(text(group))
        except (ValueError, RecursionError):
            groups = None
        if not isinstance(groups, (list, dict)):
            raise NewsletterError(GROUP_FORMAT)
    gone = [row for one in groups for row in site.subscribers.of(number, leading_int(one))]
    if not gone:
        raise NewsletterError(NOT_THERE)
    for row in gone:
        site.subscribers.delete(row.id)


def _number(site: "Site", call: Call, *, empty_is: str, invalid_is: str | None = None) -> str:
    given = call.get("mobile")
    if not isinstance(given, (list, dict)) and not truthy(given):
        raise NewsletterError(empty_is)
    try:
        return stored_number(site, given)
    except InvalidNumber as error:
        if empty_is == NAME_AND_NUMBER:
            raise NewsletterError(str(error)) from None
        raise NewsletterError(invalid_is or NOT_FOUND) from None


async def welcome(site: "Site", number: str) -> None:
    """Send the welcome SMS if the site is set to; raises SendError."""
    if site.settings.newsletter_form_welcome:
        await dispatch(site, [number], site.settings.newsletter_form_welcome_text)
