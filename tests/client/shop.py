"""A shop whose till asks for a proof, by the middleware or by the dependency."""

from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from otp_service.client import AsyncClient, AsyncProofVerifier
from otp_service.client.asgi import (
    ProofMiddleware,
    ProofRefused,
    answer_proof_refused,
    require_proof,
)


def logged_in(request: HTTPConnection) -> str | None:
    """Who is logged in, in these tests by a header."""
    return request.headers.get("x-user")


async def pay(request: Request) -> Response:
    proven = request.state.otp_proof
    return JSONResponse({"paid by": proven.sub, "method": proven.method})


def application(client: AsyncClient | AsyncProofVerifier, how: str, **options: Any) -> Starlette:
    asked = {"purpose": "payment", "subject": logged_in, **options}
    if how == "middleware":
        guard = Middleware(ProofMiddleware, client=client, **asked)
        return Starlette(
            routes=[Mount("/", routes=[Route("/pay", pay, methods=["POST"])], middleware=[guard])]
        )
    required = require_proof(client, **asked)

    async def guarded(request: Request) -> Response:
        assert await required(request) is request.state.otp_proof
        return await pay(request)

    return Starlette(
        routes=[Route("/pay", guarded, methods=["POST"])],
        exception_handlers={ProofRefused: answer_proof_refused},
    )


async def post(app: Starlette, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as http:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await http.post("/pay", headers=sent)
