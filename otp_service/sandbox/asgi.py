"""The ASGI side of the REST API: reads a request, asks for the fault that is due, answers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from otp_service.sandbox.answers import Answer
from otp_service.sandbox.call import Call
from otp_service.sandbox.failing import Failing
from otp_service.sandbox.faults import Fault
from otp_service.sandbox.php import Value, parse_form, text
from otp_service.sandbox.wire import put
from otp_service.sandbox.wordpress import respond

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

BODY_LIMIT = 1_048_576


class WordPress:
    """The ASGI side of the REST API, both spellings: `/wp-json/...` and `?rest_route=/...`."""

    def __init__(self, site: "Site") -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            await put(send, Answer(413, "Payload Too Large", html=True), scope["method"])
            return
        call = read_call(scope, body)
        fault = self._fault(call)
        if fault is None:
            await put(send, await respond(self._site, call), call.method)
        else:
            await Failing(self._site, fault, call, receive, send).run()

    def _fault(self, call: Call) -> Fault | None:
        endpoint = call.route.removeprefix("/wpsms/v1/")
        if endpoint == call.route or not self._site.faults.all():
            return None
        call.read_parameters()
        return self._site.faults.at_site(endpoint, _numbers(call))


def read_call(scope: Scope, body: bytes) -> Call:
    query = scope["query_string"].decode("latin-1")
    path: str = scope["path"]
    if path.startswith("/wp-json"):
        route = path.removeprefix("/wp-json")
    else:
        route = text(parse_form(query).get("rest_route", ""))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    client = scope.get("client") or ("", 0)
    return Call(
        scope["method"], "/" + route.strip("/"), headers, query, body, remote_addr=client[0]
    )


def _numbers(call: Call) -> Iterable[str]:
    numbers: Value = call.raw("numbers") or call.raw("mobile") or []
    if isinstance(numbers, str):
        return numbers.replace(",", " ").split()
    return [text(one) for one in numbers] if isinstance(numbers, list) else [text(numbers)]


async def _body(receive: Receive) -> bytes | None:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > BODY_LIMIT:
            return None
        if not message.get("more_body"):
            return b"".join(parts)
