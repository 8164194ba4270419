"""Liveness, readiness and openapi.json."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from otp_service.web.models import Alive, Readiness
from otp_service.web.service import Service

Endpoint = Callable[[Request], Awaitable[Response]]


async def alive(request: Request) -> Response:
    """The process answers; nothing else is looked at."""
    return JSONResponse(Alive(status="alive").model_dump())


async def ready(request: Request) -> Response:
    """Whether a code could be requested and verified now; 503 with reasons if not."""
    service: Service = request.state["service"]
    reasons, warnings = await service.readiness()
    readiness = Readiness(
        status="not_ready" if reasons else "ready", reasons=dict(reasons), warnings=dict(warnings)
    )
    return JSONResponse(readiness.model_dump(), 503 if reasons else 200)


def contract(document: dict[str, Any]) -> Endpoint:
    """Return the endpoint that serves openapi.json."""
    data = json.dumps(document, ensure_ascii=False).encode()

    async def serve(request: Request) -> Response:
        return Response(data, media_type="application/json")

    return serve
