"""/groups and /subscribers: the newer dashboard's view of the newsletter (contract 3.8)."""

from contextlib import suppress
from typing import TYPE_CHECKING

from otp_service.sandbox import newsletter
from otp_service.sandbox.answers import Answer, plugin_error, success
from otp_service.sandbox.call import Call
from otp_service.sandbox.mobile_numbers import InvalidNumber, stored_number
from otp_service.sandbox.php import PhpError, Value, leading_int
from otp_service.sandbox.sending import SendError
from otp_service.sandbox.subscribers import Subscriber
from otp_service.sandbox.validation import Args

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

GROUP_ARGS: Args = {"name": {"type": "string", "required": True}}
ORDER = {"default": "desc", "type": "string", "enum": ["asc", "desc"]}
LIST_ARGS: Args = {
    "page": {"default": 1, "type": "integer"},
    "per_page": {"default": 20, "type": "integer", "maximum": 100},
    "search": {"type": "string"},
    "group_id": {"type": "integer"},
    "status": {"type": "string", "enum": ["active", "inactive", "all"]},
    "country_code": {"type": "string"},
    "orderby": {
        "default": "date",
        "type": "string",
        "enum": ["date", "name", "mobile", "status"],
    },
    "order": ORDER,
}
CREATE_ARGS: Args = {
    "name": {"type": "string", "required": True},
    "mobile": {"type": "string", "required": True},
    "group_id": {"type": ["integer", "array"]},
    "status": {"type": "string", "default": "1", "enum": ["0", "1"]},
    "custom_fields": {"type": "object"},
}


async def groups(site: "Site", _: Call) -> Answer:
    rows = site.subscribers.rows()
    items = [
        {
            "id": group,
            "name": name,
            "subscriber_count": sum(row.group_id == group for row in rows),
            "active_count": sum(row.group_id == group and row.active for row in rows),
        }
        for group, name in site.subscribers.groups.items()
    ]
    return success(
        "Groups retrieved successfully",
        {"items": items, "pagination": _pagination(len(items), 1, len(items))},
    )


async def add_group(site: "Site", call: Call) -> Answer:
    """`data.id` holds the whole result of the plugin's own function, as the real one does."""
    name = call.get("name")
    if name in site.subscribers.groups.values():
        return plugin_error("A group with this name already exists")
    added = {
        "result": "success",
        "message": "Group successfully added.",
        "data": {"group_ID": str(site.subscribers.add_group(name))},
    }
    return success("Group created successfully", {"id": added, "name": name}, 201)


async def listing(site: "Site", call: Call) -> Answer:
    page, per_page = max(call.get("page"), 1), min(call.get("per_page"), 100)
    if per_page < 1:
        raise PhpError("DivisionByZeroError: Division by zero")
    rows = _filtered(site, call)
    keys = {
        "date": lambda row: row.date,
        "name": lambda row: row.name.casefold(),
        "mobile": lambda row: row.mobile,
        "status": lambda row: row.active,
    }
    rows.sort(key=keys[call.get("orderby")], reverse=call.get("order") == "desc")
    active = sum(row.active for row in rows)
    shown = rows[(page - 1) * per_page : page * per_page]
    return success(
        "Subscribers retrieved successfully",
        {
            "items": [_item(site, row) for row in shown],
            "pagination": _pagination(len(rows), page, per_page),
            "stats": {"total": len(rows), "active": active, "inactive": len(rows) - active},
        },
    )


def _filtered(site: "Site", call: Call) -> list[Subscriber]:
    wanted, group = call.get("search", "").casefold(), call.get("group_id", 0)
    status = call.get("status", "all")
    return [
        row
        for row in site.subscribers.rows()
        if (wanted in row.name.casefold() or wanted in row.mobile)
        and group in (0, row.group_id)
        and (status == "all" or row.active == (status == "active"))
    ]


def _pagination(total: int, page: int, per_page: int) -> dict[str, int]:
    pages = -(-total // per_page) if per_page else 0
    return {"total": total, "total_pages": pages, "current_page": page, "per_page": per_page}


def _item(site: "Site", row: Subscriber) -> dict[str, Value]:
    return {
        "id": row.id,
        "name": row.name,
        "mobile": row.mobile,
        "group_id": row.group_id,
        "group_name": site.subscribers.groups.get(row.group_id, ""),
        "status": "1" if row.active else "0",
        "date": str(row.date),
        "date_formatted": f"{row.date:%B} {row.date.day}, {row.date.year}",
        "custom_fields": row.custom_fields,
    }


async def create(site: "Site", call: Call) -> Answer:
    group = call.get("group_id", 0)
    group = leading_int(group[0]) if isinstance(group, list) and group else leading_int(group)
    try:
        number = stored_number(site, call.get("mobile"))
    except InvalidNumber as error:
        return plugin_error(site.say(str(error)))
    try:
        row = await newsletter.add(
            site,
            call.get("name"),
            number,
            group,
            pending=False,
            custom_fields=call.get("custom_fields"),
        )
    except newsletter.NewsletterError as error:
        return plugin_error(site.say(str(error)))
    row.active = call.get("status") == "1"
    if row.active:
        with suppress(SendError):
            await newsletter.welcome(site, number)
    return success("Subscriber created successfully", {"id": row.id}, 201)


async def single(site: "Site", call: Call) -> Answer:
    row = site.subscribers.get(leading_int(call.url["id"]))
    if row is None:
        return plugin_error("Subscriber not found", 404)
    return success("Subscriber retrieved successfully", _item(site, row))


async def delete(site: "Site", call: Call) -> Answer:
    if not site.subscribers.delete(leading_int(call.url["id"])):
        return plugin_error("Subscriber not found", 404)
    return success("Subscriber deleted successfully")
