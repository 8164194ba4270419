"""Starlette's routes, made from the table of operations."""

from collections.abc import Sequence
from functools import cache

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from otp_service.web import health, hooks, proofs
from otp_service.web.openapi.document import document
from otp_service.web.operations import Operation
from otp_service.web.routes import OPERATIONS


class ParameterRoute(Route):
    """A path with a parameter, which does not match a literal path of the table: GET /otp/request is no challenge."""

    _rows = frozenset(operation.path for operation in OPERATIONS)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope.get("path") in self._rows:
            return Match.NONE, {}
        return super().matches(scope)


class NotFoundRoute(BaseRoute):
    """The last route: 404 for every other path, without Starlette's redirect for slashes."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Match.PARTIAL, {}  # so that a path above without this method still is a 405

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(404)


def routes() -> list[BaseRoute]:
    """Return Starlette's routes."""
    by_path: dict[str, list[Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, []).append(operation)
    return [
        *(_route(path, operations) for path, operations in by_path.items()),
        Route("/healthz", health.alive, methods=["GET"], name="alive"),
        Route("/readyz", health.ready, methods=["GET"], name="ready"),
        Route("/.well-known/jwks.json", proofs.key_set, methods=["GET"], name="keys"),
        Route(hooks.PATH, hooks.take_hint, methods=["POST"], name="takeHint"),
        Route("/openapi.json", _contract(), methods=["GET"], name="contract"),
        NotFoundRoute(),
    ]


@cache
def _contract() -> health.Endpoint:
    """Return the endpoint of /openapi.json. The document is built once per process."""
    return health.contract(document(OPERATIONS))


class _Endpoint:
    """The operations of one path, as plain ASGI: `Operation` answers what goes wrong, and the outer layers the rest."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._by_method = {operation.method: operation for operation in operations}
        self.methods = list(self._by_method)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        operation = self._by_method["GET" if method == "HEAD" else method]
        response = await operation(Request(scope, receive, send))
        await response(scope, receive, send)


def _route(path: str, operations: Sequence[Operation]) -> Route:
    """One route for a path, so that a 405 tells of all its methods."""
    endpoint = _Endpoint(operations)
    kind = ParameterRoute if "{" in path else Route
    return kind(path, endpoint, methods=endpoint.methods, name=operations[0].name)
