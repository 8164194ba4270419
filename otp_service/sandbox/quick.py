"""POST /send/quick, /send/count and GET /users/search: the dashboard's ways to send (contract 3.8)."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from otp_service.sandbox.answers import Answer, plugin_error, success
from otp_service.sandbox.call import Call
from otp_service.sandbox.php import Value, leading_int, text, truthy
from otp_service.sandbox.send import ADD_ON, NO_MESSAGE, NO_NUMBERS
from otp_service.sandbox.sending import SendError, balance, dispatch, expanded
from otp_service.sandbox.validation import Args

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

SEARCH_ARGS: Args = {
    "search": {"type": "string"},
    "per_page": {"type": "integer", "default": 20},
}


async def quick(site: "Site", call: Call) -> Answer:
    try:
        message = text(call.get("message"))
        if not truthy(message):
            raise SendError(site.say(NO_MESSAGE))
        numbers = list(dict.fromkeys(map(text, _numbers(site, call).all)))
        if not numbers:
            raise SendError(site.say(NO_NUMBERS))
        if truthy(call.get("schedule")):
            raise SendError(_scheduled(site, call))
        media = call.get("media_url")
        await dispatch(
            site,
            list(numbers),
            expanded(site, message),
            sender=text(call.get("from")),
            media=(text(media),) if truthy(media) else (),
            flash=truthy(call.get("flash")),
        )
    except SendError as error:
        return plugin_error(str(error))
    data = {"recipient_count": len(numbers), "credit": await balance(site)}
    return success(site.say("Successfully sent SMS!"), data)


def _scheduled(site: "Site", call: Call) -> str:
    try:
        start = datetime.fromisoformat(text(call.get("schedule")))
    except ValueError:
        return "Failed to parse time string"
    start = start if start.tzinfo else start.replace(tzinfo=site.zone)
    if start < site.now():
        return site.say("Selected start date must be in future")
    return ADD_ON.format("Repeating" if truthy(call.get("repeat")) else "Scheduled")


@dataclass(frozen=True)
class Recipients:
    """Numbers by where they come from."""

    groups: list[str]
    roles: list[str]
    users: list[str]
    numbers: list[Value]

    @property
    def all(self) -> list[Value]:
        return [*self.groups, *self.roles, *self.users, *self.numbers]


def _numbers(site: "Site", call: Call) -> Recipients:
    given = call.get("recipients")
    given = given if isinstance(given, dict) else {}

    def named(name: str) -> list[Value]:
        found = given.get(name)
        return found if isinstance(found, list) else []

    groups = [leading_int(one) for one in named("groups")]
    roles, users = named("roles"), {leading_int(one) for one in named("users")}
    return Recipients(
        site.subscribers.active_numbers(groups) if groups else [],
        [user.mobile for user in site.users.all() if user.role in roles and user.mobile],
        [user.mobile for user in site.users.all() if user.id in users and user.mobile],
        named("numbers"),
    )


async def count(site: "Site", call: Call) -> Answer:
    found = _numbers(site, call)
    data = {
        "groups": len(found.groups),
        "roles": len(found.roles),
        "users": len(found.users),
        "numbers": len(found.numbers),
        "total": len(set(map(text, found.all))),
    }
    return success("", data)


async def search_users(site: "Site", call: Call) -> Answer:
    wanted = call.get("search", "").casefold()
    users = [
        {
            "id": user.id,
            "name": user.login,
            "email": user.email,
            "mobile": user.mobile,
            "hasMobile": bool(user.mobile),
        }
        for user in site.users.all()
        if wanted in user.login.casefold() or wanted in user.email.casefold()
    ]
    return success("", {"users": users[: call.get("per_page")]})
