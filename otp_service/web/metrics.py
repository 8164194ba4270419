"""
The admin port: Prometheus metrics of all processes of this service.

It has a thread and an event loop of its own, so that summing up never delays a login; and the deadlines and bounds of
the API's connections, so that a client that is idle or does not read holds nothing for long.
"""

import asyncio
import socket
import threading
from typing import Any, cast

import uvicorn
from prometheus_client import CollectorRegistry, make_asgi_app
from prometheus_client.multiprocess import MultiProcessCollector
from uvicorn.server import ServerState

from otp_service.web.protocol import DeadlineProtocol

CONNECTIONS = 32  # a few Prometheus servers, and people who look


def start(host: str, port: int) -> None:
    """Serve the metrics of all processes in a thread until this process ends. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    threading.Thread(
        target=lambda: asyncio.run(serve(listening, registry)), name="metrics", daemon=True
    ).start()


async def serve(
    listening: socket.socket,
    registry: CollectorRegistry,
    protocol: type[DeadlineProtocol] = DeadlineProtocol,
) -> None:
    """Serve the metrics of a registry on this socket until cancelled."""
    config = uvicorn.Config(
        cast(Any, make_asgi_app(registry)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=10,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: protocol(config, state, {}), sock=listening, backlog=CONNECTIONS
    )
    await server.serve_forever()
