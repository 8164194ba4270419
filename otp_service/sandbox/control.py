"""The sandbox's own API below /sandbox: read the phones, break things, change the site, start afresh."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel, ConfigDict, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from otp_service.sandbox.faults import FAULT, FAULTS
from otp_service.sandbox.sending import run_cron
from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.strictness import Refused, checked, json_body, whole_number
from otp_service.sandbox.users import User

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

Action: TypeAlias = Callable[["Site", Request], Awaitable[Response]]


class UserChange(BaseModel):
    """`PUT /sandbox/users`: one account, new or changed; null leaves a field as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    login: str
    email: str | None = None
    role: str | None = None
    capabilities: list[str] | None = None
    application_passwords: list[str] | None = None
    mobile: str | None = None


async def get_messages(site: "Site", request: Request) -> Response:
    limit = whole_number(request, "limit")
    found = site.phone.messages(request.query_params.get("to"), limit)
    return JSONResponse({"messages": [message.as_json() for message in found]})


async def forget_messages(site: "Site", request: Request) -> Response:
    return JSONResponse({"forgotten": site.phone.forget(request.query_params.get("to"))})


async def get_faults(site: "Site", _: Request) -> Response:
    faults = [fault.model_dump(exclude_defaults=True) for fault in site.faults.all()]
    return JSONResponse({"faults": faults})


async def put_faults(site: "Site", request: Request) -> Response:
    """One fault, or a list of them, in place of all before."""
    given = await json_body(request)
    if isinstance(given, dict) and set(given) == {"faults"}:
        given = given["faults"]
    if isinstance(given, list):
        site.break_with(*checked(FAULTS, given))
    else:
        site.break_with(checked(FAULT, given))
    return await get_faults(site, request)


async def delete_faults(site: "Site", request: Request) -> Response:
    site.faults.replace([])
    return await get_faults(site, request)


async def get_settings(site: "Site", _: Request) -> Response:
    return JSONResponse(site.settings.model_dump())


async def put_settings(site: "Site", request: Request) -> Response:
    """Changes the fields that are named; the others stay."""
    given = await json_body(request)
    if not isinstance(given, dict):
        raise Refused({"field": "", "reason": "must be an object"})
    merged = {**site.settings.model_dump(), **given}
    site.settings = checked(TypeAdapter(SiteSettings), merged)
    return await get_settings(site, request)


async def get_users(site: "Site", _: Request) -> Response:
    """Without passwords."""
    shown = [
        {
            "id": user.id,
            "login": user.login,
            "email": user.email,
            "role": user.role,
            "capabilities": sorted(user.capabilities),
            "application_passwords": len(user.application_passwords),
            "mobile": user.mobile,
        }
        for user in site.users.all()
    ]
    return JSONResponse({"users": shown})


async def put_user(site: "Site", request: Request) -> Response:
    change = checked(TypeAdapter(UserChange), await json_body(request))
    user = site.users.get(change.login)
    if user is None:
        user = User(change.login)
        site.users.add(user)
    for name, value in change.model_dump(exclude={"login"}, exclude_none=True).items():
        setattr(user, name, set(value) if name == "capabilities" else value)
    return await get_users(site, request)


async def get_state(site: "Site", _: Request) -> Response:
    """Outbox, subscribers, groups and what waits in the background, as the second page shows them."""
    outbox = [
        {
            "id": row.id,
            "date": row.date.isoformat(" "),
            "sender": row.sender,
            "recipient": row.recipient,
            "message": row.message,
            "status": "failed" if row.status == "error" else row.status,
            "response": row.response,
            "media": row.media,
        }
        for row in reversed(site.outbox.rows())
    ]
    subscribers = [
        {
            "id": row.id,
            "date": row.date.isoformat(" "),
            "name": row.name,
            "mobile": row.mobile,
            "group": site.subscribers.groups.get(row.group_id),
            "active": row.active,
        }
        for row in reversed(site.subscribers.rows())
    ]
    return JSONResponse(
        {
            "outbox": outbox[:500],
            "outbox_total": len(outbox),
            "subscribers": subscribers[:500],
            "subscribers_total": len(subscribers),
            "groups": [{"id": k, "name": v} for k, v in site.subscribers.groups.items()],
            "webhooks": site.webhooks,
            "queued": len(site.queue),
            "credit": site.stored_credit,
            "faults": [fault.kind for fault in site.faults.all()],
        }
    )


async def add_group(site: "Site", request: Request) -> Response:
    given = await json_body(request)
    name = given.get("name") if isinstance(given, dict) and set(given) == {"name"} else None
    if not isinstance(name, str) or not name:
        raise Refused({"field": "name", "reason": "must be a text, and the only field"})
    return JSONResponse({"id": site.subscribers.add_group(name), "name": name}, 201)


async def cron(site: "Site", _: Request) -> Response:
    return JSONResponse(await run_cron(site))


async def reset(site: "Site", _: Request) -> Response:
    site.reset()
    return Response(status_code=204)


ACTIONS: tuple[tuple[str, str, Action], ...] = (
    ("GET", "/sandbox/messages", get_messages),
    ("DELETE", "/sandbox/messages", forget_messages),
    ("GET", "/sandbox/faults", get_faults),
    ("PUT", "/sandbox/faults", put_faults),
    ("DELETE", "/sandbox/faults", delete_faults),
    ("GET", "/sandbox/settings", get_settings),
    ("PUT", "/sandbox/settings", put_settings),
    ("GET", "/sandbox/users", get_users),
    ("PUT", "/sandbox/users", put_user),
    ("GET", "/sandbox/state", get_state),
    ("POST", "/sandbox/groups", add_group),
    ("POST", "/sandbox/cron", cron),
    ("POST", "/sandbox/reset", reset),
)


def routes(site: "Site") -> list[Route]:
    by_path: dict[str, dict[str, Action]] = {}
    for method, path, action in ACTIONS:
        by_path.setdefault(path, {})[method] = action
    return [_route(site, path, actions) for path, actions in by_path.items()]


def _route(site: "Site", path: str, actions: dict[str, Action]) -> Route:
    async def endpoint(request: Request) -> Response:
        if request.method not in ("GET", "HEAD") and _from_elsewhere(request):
            reason = "another page may not change the sandbox"
            return JSONResponse({"errors": [{"field": "Origin", "reason": reason}]}, 403)
        method = "GET" if request.method == "HEAD" else request.method
        try:
            response = await actions[method](site, request)
        except Refused as refused:
            response = JSONResponse({"errors": refused.errors}, 422)
        response.headers["Cache-Control"] = "no-store"
        return response

    return Route(path, endpoint, methods=list(actions))


def _from_elsewhere(request: Request) -> bool:
    """A browser says which page asks; only our own pages may."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")
