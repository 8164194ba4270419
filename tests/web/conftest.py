"""The service behind a real socket, with uvicorn and our protocol, for what ASGI alone can't show."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn

from otp_service.app import create_app
from otp_service.settings.environment import load
from otp_service.web.protocol import DeadlineProtocol
from tests.conftest import Sandbox, Service, Starter


@dataclass(frozen=True)
class Heard:
    """One answer as it came over the wire; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Live:
    """A port with the service behind it."""

    port: int
    service: Service
    credential: dict[str, str] = field(repr=False)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Wire"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        wire = Wire(reader, writer)
        try:
            yield wire
        finally:
            writer.close()

    def head(self, line: str, **headers: str | None) -> bytes:
        """A request's head, authenticated and as JSON unless told otherwise; None leaves a header out."""
        sent: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self.port}",
            "Content-Type": "application/json",
            **self.credential,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"{name}: {value}" for name, value in sent.items() if value is not None]
        return "\r\n".join([line, *lines, "", ""]).encode("latin-1")

    async def ask(
        self,
        line: str,
        body: bytes = b"",
        *,
        raw_headers: dict[str, str | None] | None = None,
        **headers: str | None,
    ) -> Heard:
        """One request on a connection of its own."""
        if body:
            headers.setdefault("Content_Length", str(len(body)))
        async with self.connection() as wire:
            wire.send(self.head(line, **headers, **(raw_headers or {})) + body)
            return await wire.answer(head_only=line.startswith("HEAD "))


@dataclass
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, head_only: bool = False) -> Heard:
        """The next answer; fails after 10 s without one."""
        async with asyncio.timeout(60):
            status_line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            pairs = (line.partition(": ") for line in lines if line)
            headers = {name.lower(): value for name, _, value in pairs}
            length = 0 if head_only else int(headers.get("content-length", 0))
            body = await self.reader.readexactly(length)
            return Heard(int(status_line.split()[1]), headers, body)

    async def closed(self) -> bool:
        """Whether the other side closes within 10 s; what it still sends is read."""
        try:
            async with asyncio.timeout(60):
                while await self.reader.read(65536):
                    pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def running_live(
    environment: dict[str, str], sandbox: Sandbox, protocol: type[asyncio.Protocol]
) -> AsyncIterator[Live]:
    """uvicorn as `otp-service serve` configures it, in this event loop."""
    settings = load(environment)
    app = create_app(settings)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=settings.http_connections,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if serving.done():
        await serving
    try:
        port = listening.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            service = Service(app.state.container, http, settings, sandbox)
            credential = await service.caller("shop")
            http.headers.update(credential)
            yield Live(port, service, credential)
    finally:
        server.should_exit = True
        await serving
        listening.close()


LiveStarter = Callable[..., Awaitable[Live]]


@pytest.fixture
async def start_live(environment: dict[str, str], sandbox: Sandbox) -> AsyncIterator[LiveStarter]:
    """Start one: `await start_live(protocol, OTP_X=...)`."""
    async with AsyncExitStack() as stack:

        async def start(
            protocol: type[asyncio.Protocol] = DeadlineProtocol, **changes: Any
        ) -> Live:
            running = running_live({**environment, **changes}, sandbox, protocol)
            return await stack.enter_async_context(running)

        yield start


@pytest.fixture
async def live(start_live: LiveStarter) -> Live:
    """One that delivers nothing."""
    return await start_live(OTP_DELIVER="false")


@pytest.fixture
async def quiet(start_service: Starter) -> Service:
    """The service, which delivers nothing: for what is decided before any code is drawn."""
    return await start_service(OTP_DELIVER="false")
