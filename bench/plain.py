"""The ceiling of a call that hashes nothing: Starlette, a JSON body, one script call, a JSON answer."""

import os
import socket

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SCRIPT = "return redis.call('HINCRBY', KEYS[1], 'count', 1)"


def app(redis_url: str) -> Starlette:
    redis = Redis.from_url(redis_url, max_connections=64)
    script = redis.register_script(SCRIPT)

    async def answer(request: Request) -> JSONResponse:
        body = await request.json()
        return JSONResponse({"count": await script(keys=[f"bench:{body['subject']}"])})

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


if __name__ == "__main__":
    # As `otp-service serve` runs, but for what that adds.
    config = uvicorn.Config(
        app(os.environ["BENCH_REDIS_URL"]), loop="uvloop", http="httptools", ws="none",
        lifespan="off", log_config=None, access_log=False, server_header=False,
    )  # fmt: skip
    listening = socket.socket(fileno=int(os.environ["BENCH_FD"]))
    uvicorn.Server(config).run(sockets=[listening])
