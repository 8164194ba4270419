"""Web pages: a phone that shows messages as they arrive, and the site's tables."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
HISTORY = 500
"""Messages a page gets when it opens."""
HEARTBEAT = 15.0
"""Seconds after which a silent stream says that it is still there."""


def page(name: str) -> Response:
    return FileResponse(STATIC / name, headers=HEADERS)


def routes(site: "Site") -> list[BaseRoute]:
    async def outbox(_: Request) -> Response:
        return page("outbox.html")

    async def stream(request: Request) -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        lines = events(site, request.headers.get("last-event-id", ""))
        return StreamingResponse(lines, media_type="text/event-stream", headers=headers)

    return [
        Route("/outbox", outbox),
        Route("/sandbox/stream", stream),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


def _last_seen(site: "Site", event_id: str) -> int:
    """Where a stream that was cut goes on; 0 when the id is none of this process."""
    token, _, seen = event_id.partition("-")
    known = token == site.phone.token and seen.isascii() and seen.isdigit()
    return int(seen) if known else 0


async def events(site: "Site", last_event_id: str = "") -> AsyncGenerator[str, None]:
    """Server-sent events: `forget` for an empty phone, `message` with one SMS as JSON.

    A stream begins with `forget` and what there is, unless it goes on from where it was cut.
    """
    newest = max((m.id for m in site.phone.messages(limit=1)), default=0)
    last_seen = _last_seen(site, last_event_id)
    if not 0 < last_seen <= newest:
        last_seen = 0
        yield "retry: 1000\nevent: forget\ndata: {}\n\n"
    after = max(last_seen, newest - HISTORY)
    batches = site.phone.watch(after)
    closing = asyncio.ensure_future(site.closing.wait())
    upcoming = asyncio.ensure_future(anext(batches))
    try:
        while True:
            done, _ = await asyncio.wait(
                {upcoming, closing}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED
            )
            if closing in done:
                return
            if not done:
                yield ": still here\n\n"
                continue
            batch = upcoming.result()
            if not batch:
                yield "event: forget\ndata: {}\n\n"
            for message in batch:
                data = json.dumps(message.as_json())
                yield f"id: {site.phone.token}-{message.id}\nevent: message\ndata: {data}\n\n"
            upcoming = asyncio.ensure_future(anext(batches))
    finally:
        closing.cancel()
        upcoming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upcoming
        await batches.aclose()
