"""The stand-in site as one ASGI application: the REST API, the sandbox's own API, and the pages."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from otp_service.sandbox import control, pages
from otp_service.sandbox.asgi import WordPress
from otp_service.sandbox.site import Site


class FrontDoor:
    """`/`: the REST API when `rest_route` says so, as on sites without pretty links; else the phone."""

    def __init__(self, wordpress: WordPress) -> None:
        self._wordpress = wordpress

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if "rest_route" in request.query_params:
            await self._wordpress(scope, receive, send)
        elif request.method in ("GET", "HEAD"):
            await pages.page("phone.html")(scope, receive, send)
        else:
            await PlainTextResponse("Method Not Allowed", 405)(scope, receive, send)


class HostCheck:
    """
    Answers 421 to host names other than localhost, unless `hosts` has them. Addresses are let through.

    A page of another site could point its own name to 127.0.0.1 (DNS rebinding) and read the codes.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            name = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname or ""
            if not (_is_local(name) or name in self._hosts):
                app = PlainTextResponse("This host name is not allowed: see --allow-host.", 421)
        await app(scope, receive, send)


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def create_app(site: Site | None = None, *, hosts: Collection[str] = ()) -> Starlette:
    """
    Return a new site in memory, or the one given; `app.state.site` is that site.

    Args:
        site: The site, or None.
        hosts: Host names besides localhost to which it answers.
    """
    site = site or Site()
    wordpress = WordPress(site)
    front = FrontDoor(wordpress)

    async def readme(_: Request) -> Response:
        if site.settings.readme_hidden:
            return PlainTextResponse("Forbidden", 403)
        release = site.settings.wsms_version
        return PlainTextResponse(f"=== WSMS ===\nTested up to: 6.9\nStable tag: {release}\n")

    app = Starlette(
        routes=[
            Route("/wp-json", wordpress),
            Route("/wp-json/{route:path}", wordpress),
            Route("/wp-content/plugins/wp-sms/readme.txt", readme),
            Route("/", front),
            Route("/index.php", front),
            *control.routes(site),
            *pages.routes(site),
        ]
    )
    app.add_middleware(HostCheck, hosts=frozenset(hosts))
    app.router.redirect_slashes = False
    app.state.site = site
    return app
