"""
The outermost middleware: request id, access log, common headers, and internal errors.

Plain ASGI. A log line names the route and never the path as sent, a query, a header or a body.
"""

import re
import secrets
import time
from http import HTTPMethod

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otp_service.errors import BadRequest, MethodNotAllowed, NoSuchResource
from otp_service.log_sampling import SampledLines
from otp_service.telemetry import REFUSALS, REQUEST_SECONDS, REQUESTS
from otp_service.web import problems
from otp_service.web.operations import refuse

log = structlog.get_logger()
_OF_STRANGERS = SampledLines()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # among them the line feed that a pattern's `$` overlooks
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_METHODS = frozenset(HTTPMethod)

NOTHING_HERE = "see /openapi.json for what there is"

# As ASGI has them: names in lower case.
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
)


class RequestContextMiddleware:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        scope["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *(row for row in HEADERS if row[0] not in own),
                ]
            await send(message)

        try:
            if not _has_good_host(scope, headers):
                bad = refuse(BadRequest("the Host header is missing or malformed"), Request(scope))
                await bad(scope, receive, answer)
            elif _CONTROL.search(scope["path"]):
                await refuse(NoSuchResource(NOTHING_HERE), Request(scope))(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        except Exception:
            log.exception("http.fault")
            REFUSALS.labels("internal").inc()
            if status:
                raise
            await _internal(scope)(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            REQUESTS.labels(method, route, status).inc()
            REQUEST_SECONDS.labels(route).observe(seconds)
            known = "caller" in structlog.contextvars.get_contextvars()
            (log if known else _OF_STRANGERS).info(
                "http.request",
                method=method,
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
            )


def _has_good_host(scope: Scope, headers: Headers) -> bool:
    """Whether there is one Host that can be one; HTTP/1.0 knows none (RFC 9112 section 3.2)."""
    hosts = headers.getlist("host")
    if not hosts and scope["http_version"] == "1.0":
        return True
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


async def http_exception(request: Request, error: Exception) -> Response:
    """Return the problem for what the router says no to."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return refuse(MethodNotAllowed(f"the path has {allowed}", allowed), request)
    return refuse(NoSuchResource(NOTHING_HERE), request)


def _internal(scope: Scope) -> Response:
    row = problems.INTERNAL
    members = {
        "type": problems.TYPE_PREFIX + "internal",
        "title": row.title,
        "status": row.status,
        "detail": row.detail,
        "code": "internal",
        "instance": scope["request_id"],
    }
    return JSONResponse(members, row.status, media_type=problems.MEDIA_TYPE)
