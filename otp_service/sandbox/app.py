"""The stand-in site as one ASGI application: the REST API, the sandbox's own API, and the pages."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

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


def create_app(site: Site | None = None) -> Starlette:
    """A new site in memory, or the one given; `app.state.site` is that site."""
    site = site or Site()
    wordpress = WordPress(site)
    front = FrontDoor(wordpress)
    app = Starlette(
        routes=[
            Route("/wp-json", wordpress),
            Route("/wp-json/{route:path}", wordpress),
            Route("/", front),
            Route("/index.php", front),
            *control.routes(site),
            *pages.routes(site),
        ]
    )
    app.router.redirect_slashes = False
    app.state.site = site
    return app
