"""The outbox: what the plugin tried to send, texts and codes included (contract 3.5).

A hint, not a ledger: rows may be absent (storage off, long messages, some gateways, 90 days),
times are local to the site, and the status is the plugin's view of the provider call.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import date, datetime, tzinfo
from typing import Literal

from otp_service.wsms.calls import Calls, CircuitOpen
from otp_service.wsms.errors import InvalidParameter, UnexpectedResponse
from otp_service.wsms.models import Capability, OutboxPage, OutboxRow, OutboxStatus
from otp_service.wsms.outcome import Json, SendOutcome
from otp_service.wsms.sending import require_text
from otp_service.wsms.site import Site
from otp_service.wsms.sweep import LARGEST_PAGE, Sweep
from otp_service.wsms.verdict import outcome_of_answer, outcome_of_failure
from otp_service.wsms.wire import Lost, NotSent

OrderBy = Literal["date", "sender", "recipient", "status"]
Order = Literal["asc", "desc"]


class Outbox:
    """GET /outbox and its rows. All calls need wpsms_outbox, resend wpsms_sendsms."""

    def __init__(self, calls: Calls, site: Site) -> None:
        self._calls = calls
        self._site = site

    async def page(
        self,
        page: int = 1,
        *,
        per_page: int = 20,
        search: str = "",
        status: OutboxStatus | None = None,
        since: date | None = None,
        until: date | None = None,
        orderby: OrderBy = "date",
        order: Order = "desc",
    ) -> OutboxPage:
        """
        Return one page; rows of one second may be on two pages or on none, see `rows`.

        Args:
            page: From 1.
            per_page: 1 to 100.
            search: Part of message, recipient or sender. Markup in it finds everything.
            status: Both if None.
            since: First day, in the site's zone.
            until: Last day, inclusive.
            orderby: What to sort by; only "date" is a time.
            order: "desc" is newest first.

        Raises:
            InvalidParameter: A value the site would misread.
            WsmsError: See `errors`.
        """
        if page < 1 or not 1 <= per_page <= LARGEST_PAGE:
            raise InvalidParameter("per_page", "page must be 1 or more, per_page 1 to 100")
        query = {
            "page": str(page),
            "per_page": str(per_page),
            "orderby": orderby,
            "order": order,
            "status": "all" if status is None else str(OutboxStatus(status)),
        }
        if search:
            query["search"] = require_text("search", search)
        for name, day in (("date_from", since), ("date_to", until)):
            if isinstance(day, datetime):
                raise InvalidParameter(name, "must be a day; the site knows no hours here")
            if day is not None:
                query[name] = day.isoformat()
        zone = await self._site.zone()
        success = await self._calls.succeed(
            "GET", "/outbox", capability=Capability.OUTBOX, query=query, listing=True
        )
        return _page(success.data, zone, success.site_time)

    async def rows(
        self,
        *,
        search: str = "",
        status: OutboxStatus | None = None,
        since: date | None = None,
        until: date | None = None,
        order: Order = "desc",
        page_size: int = LARGEST_PAGE,
        progress: Callable[[int, int], None] | None = None,
    ) -> AsyncGenerator[OutboxRow, None]:
        """
        Yield every row that the filters of `page` let through exactly once, ordered by time.

        Rows sent or deleted meanwhile disturb nothing else; deleting each row as it comes is
        fine. `progress` is told how many rows are known, and of how many.

        Raises:
            OutboxIncomplete: More than 100 rows share a second and the site shuffles them.
            WsmsError: See `errors`.
        """

        async def read(number: int, size: int) -> OutboxPage:
            return await self.page(
                number,
                per_page=size,
                search=search,
                status=status,
                since=since,
                until=until,
                order=order,
            )

        sweep = Sweep(read, newest_first=order == "desc", size=page_size, progress=progress)
        async with aclosing(sweep.rows()) as rows:
            async for row in rows:
                yield row

    async def row(self, row_id: int) -> OutboxRow:
        """
        Return one row.

        Raises:
            RowNotFound: Deleted, or never there.
            WsmsError: See `errors`.
        """
        path, zone = _path(row_id), await self._site.zone()
        success = await self._calls.succeed("GET", path, capability=Capability.OUTBOX, listing=True)
        return _row(success.data, zone)

    async def delete(self, row_id: int) -> None:
        """Delete one row for good. Raises as `row` does."""
        await self._calls.succeed("DELETE", _path(row_id), capability=Capability.OUTBOX)

    async def resend(self, row_id: int, *, deadline: float | None = None) -> SendOutcome:
        """
        Send the row's message to its recipients again, as a new row; the outcome as for a send.

        Never do this with a code: the old text goes out again.
        """
        path = _path(row_id) + "/resend"
        try:
            answer = await self._calls.exchange(
                "POST", path, capability=Capability.SEND, deadline=deadline
            )
        except (CircuitOpen, NotSent, Lost) as failure:
            return outcome_of_failure(failure)
        return outcome_of_answer(answer, {}, self._calls.scrub, left="credit")


def _path(row_id: int) -> str:
    if type(row_id) is not int or row_id < 1:
        raise InvalidParameter("id", "must be a positive integer")
    return f"/outbox/{row_id}"


def _page(data: dict[str, Json], zone: tzinfo, site_time: datetime | None) -> OutboxPage:
    match data:
        case {
            "items": list(items),
            "pagination": {
                "total": int(total),
                "total_pages": int(pages),
                "current_page": int(page),
                "per_page": int(per_page),
            },
            **rest,
        }:
            stats = rest.get("stats")
            counts = stats if isinstance(stats, dict) else {}
            return OutboxPage(
                rows=tuple(_row(item, zone) for item in items),
                page=page,
                per_page=per_page,
                total=total,
                total_pages=pages,
                success=_count(counts.get("success")),
                failed=_count(counts.get("failed")),
                site_time=site_time,
            )
    raise UnexpectedResponse("status 200, but no outbox page")


def _row(item: Json, zone: tzinfo) -> OutboxRow:
    match item:
        case {
            "id": int(row_id),
            "date": str(local),
            "recipient": str(recipient),
            "message": str(message),
            "status": str(status),
            **rest,
        }:
            media = rest.get("media")
            return OutboxRow(
                id=row_id,
                sent_at=_moment(local, zone),
                sender=str(rest.get("sender") or ""),
                recipients=tuple(n.strip() for n in recipient.split(",") if n.strip()),
                message=message,
                status=status,
                response=str(rest.get("response") or ""),
                media=tuple(str(m) for m in media) if isinstance(media, list) else (),
            )
    raise UnexpectedResponse("an outbox row in another shape than WSMS gives")


def _moment(local: str, zone: tzinfo) -> datetime:
    try:
        return datetime.strptime(local, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone)
    except ValueError:
        raise UnexpectedResponse("an outbox row without a time") from None


def _count(value: Json) -> int:
    return value if isinstance(value, int) else 0
