"""GET /outbox with its filters, single rows, resending, bulk actions and export (contract 3.5)."""

from datetime import datetime
from typing import TYPE_CHECKING

from otp_service.sandbox.answers import Answer, plugin_error, success
from otp_service.sandbox.call import Call
from otp_service.sandbox.outbox import Row, ordered
from otp_service.sandbox.php import PhpError, Value, absint, leading_int, strip_tags, text
from otp_service.sandbox.provider import Sms
from otp_service.sandbox.routing import capabilities
from otp_service.sandbox.sending import SendError, balance, send_now
from otp_service.sandbox.users import SEND
from otp_service.sandbox.validation import Args

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

STATUSES = ["success", "failed", "all"]
FILTERS: Args = {
    "status": {"type": "string", "enum": STATUSES},
    "date_from": {"type": "string", "format": "date"},
    "date_to": {"type": "string", "format": "date"},
}
LIST_ARGS: Args = {
    "page": {"default": 1, "type": "integer", "sanitize": absint},
    "per_page": {"default": 20, "type": "integer", "maximum": 100, "sanitize": absint},
    "search": {"type": "string", "sanitize": lambda value: strip_tags(text(value))},
    **FILTERS,
    "orderby": {
        "default": "date",
        "type": "string",
        "enum": ["date", "sender", "recipient", "status"],
    },
    "order": {"default": "desc", "type": "string", "enum": ["asc", "desc"]},
}
BULK_ARGS: Args = {
    "action": {"type": "string", "enum": ["delete", "resend"], "required": True},
    "ids": {"type": "array", "required": True},
}
NOT_FOUND = "Message not found"
COLUMNS = ["ID", "Date", "Sender", "Recipient", "Message", "Status", "Response"]


async def listing(site: "Site", call: Call) -> Answer:
    """`page` 0 is before the first, an empty page; `per_page` 0 is a division by zero."""
    page, per_page = call.get("page"), min(call.get("per_page"), 100)
    found = _filtered(site, call)
    if per_page == 0:
        raise PhpError(
            "DivisionByZeroError: Division by zero",
            "wp-content/plugins/wp-sms/includes/api/v1/class-wpsms-api-outbox.php",
            275,
        )
    start = (page - 1) * per_page
    rows = ordered(
        found, call.get("orderby"), call.get("order"), unstable=site.settings.unstable_ties
    )
    sent = sum(row.status == "success" for row in found)
    return success(
        site.say("Outbox retrieved successfully"),
        {
            "items": [_item(row) for row in rows[start : start + per_page]] if start >= 0 else [],
            "pagination": {
                "total": len(found),
                "total_pages": -(-len(found) // per_page),
                "current_page": page,
                "per_page": per_page,
            },
            "stats": {"total": len(found), "success": sent, "failed": len(found) - sent},
        },
    )


def _filtered(site: "Site", call: Call) -> list[Row]:
    return site.outbox.find(
        search=call.get("search", ""),
        status=call.get("status", "all"),
        date_from=call.get("date_from", ""),
        date_to=call.get("date_to", ""),
    )


def _item(row: Row) -> dict[str, Value]:
    return {
        "id": row.id,
        "date": str(row.date),
        "date_formatted": written_out(row.date),
        "sender": row.sender,
        "recipient": row.recipient,
        "recipient_count": len(row.recipient.split(",")),
        "message": row.message,
        "status": _shown(row.status),
        "response": row.response,
        "media": row.media,
    }


def written_out(date: datetime) -> str:
    """`January 15, 2026, 12:00 am`."""
    hour = date.hour % 12 or 12
    half = "am" if date.hour < 12 else "pm"
    return f"{date:%B} {date.day}, {date.year}, {hour}:{date:%M} {half}"


def _shown(status: str) -> str:
    return "failed" if status == "error" else status


def _row(site: "Site", call: Call) -> Row | None:
    return site.outbox.get(leading_int(call.url["id"]))


async def single(site: "Site", call: Call) -> Answer:
    row = _row(site, call)
    if row is None:
        return plugin_error(site.say(NOT_FOUND), 404)
    recipients = row.recipient.split(",")
    return success("Message retrieved successfully", {**_item(row), "recipients": recipients})


async def delete(site: "Site", call: Call) -> Answer:
    if not site.outbox.delete(leading_int(call.url["id"])):
        return plugin_error(site.say(NOT_FOUND), 404)
    return success(site.say("Message deleted successfully"))


async def resend(site: "Site", call: Call) -> Answer:
    row = _row(site, call)
    if row is None:
        return plugin_error(site.say(NOT_FOUND), 404)
    try:
        await _send_again(site, row)
    except SendError as error:
        return plugin_error(str(error))
    return success(site.say("Message resent successfully"), {"credit": await balance(site)})


async def _send_again(site: "Site", row: Row) -> None:
    numbers = [number for number in row.recipient.split(",") if number.strip()]
    if not numbers:
        raise SendError("No valid recipients found")
    await send_now(site, Sms(numbers, row.message, row.sender, tuple(map(text, row.media))))


async def bulk(site: "Site", call: Call) -> Answer:
    ids = [absint(one) for one in call.get("ids", [])]
    if not ids:
        return plugin_error("No items selected")
    affected = 0
    if call.get("action") == "delete":
        affected = sum(site.outbox.delete(one) for one in ids)
    else:
        if call.user is None or SEND not in capabilities(site, call.user):
            return plugin_error("You do not have permission to send SMS", 403)
        for row in [row for one in ids if (row := site.outbox.get(one))]:
            try:
                await _send_again(site, row)
            except SendError:
                continue
            affected += 1
    return success(f"{affected} message(s) processed successfully", {"affected": affected})


async def export(site: "Site", call: Call) -> Answer:
    rows = ordered(_filtered(site, call), "date", "desc")
    table = [COLUMNS]
    for row in rows:
        shown = "Failed" if row.status == "error" else "Sent"
        date = str(row.date)
        table.append(
            [str(row.id), date, row.sender, row.recipient, row.message, shown, row.response]
        )
    filename = f"outbox-export-{site.local_time():%Y-%m-%d}.csv"
    data = {"data": table, "filename": filename, "count": len(rows)}
    return success("Export generated successfully", data)
