"""Real servers on loopback: one that misbehaves on demand, and the sandbox; and clients of them."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from otp_service.sandbox.app import create_app
from otp_service.sandbox.site import Site
from otp_service.wsms import CircuitBreaker, WsmsClient

# Seconds after which a site that hangs is given up: enough to be asked on a busy machine, and no more.
SHORT = 2.0
PASSWORD = "abcd EFGH ijkl MNOP qrst UVWX"
NUMBER = "+14155550123"
SUCCESS = {"message": "Successfully send SMS!", "error": [], "data": {"balance": 4711}}
INDEX = {
    "name": "Rig Site",
    "namespaces": ["wpsms/v1", "wp/v2"],
    "authentication": {"application-passwords": {}},
    "timezone_string": "",
    "gmt_offset": 0,
}


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Talk:
    """One connection, from the side of a site that may do anything with it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def read(self) -> Seen | None:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Seen(method, target, headers, body)

    async def more(self) -> bytes:
        """Some of what comes next; nothing at the end."""
        return await self._reader.read(65536)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self,
        status: int = 200,
        body: bytes | dict[str, Any] | list[Any] = b"",
        headers: dict[str, str] | None = None,
    ) -> None:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        sent = {"Content-Type": "application/json; charset=UTF-8", **(headers or {})}
        sent.setdefault("Content-Length", str(len(body)))
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{k}: {v}" for k, v in sent.items())]
        await self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


Behaviour = Callable[[Talk, "OddSite"], Awaitable[None]]


@dataclass
class OddSite:
    """Counts connections and requests, and behaves as the test says."""

    port: int
    scheme: str = "http"
    behave: Behaviour | None = None
    connections: int = 0
    seen: list[Seen] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    index: dict[str, Any] = field(default_factory=lambda: dict(INDEX))

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def read(self, talk: Talk) -> Seen:
        seen = await talk.read()
        assert seen is not None
        self.seen.append(seen)
        self.asked.set()
        return seen

    def answers(
        self,
        status: int = 200,
        body: bytes | dict[str, Any] | list[Any] = b"",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Give this answer to every call; the public index is answered by itself."""

        async def behave(talk: Talk, site: OddSite) -> None:
            while True:
                seen = await site.read(talk)
                if seen.target.startswith("/wp-json/?_fields="):
                    await talk.answer(200, site.index)
                else:
                    await talk.answer(status, body, headers)

        self.behave = behave


@asynccontextmanager
async def odd_site(tls: ssl.SSLContext | None = None) -> AsyncIterator[OddSite]:
    site = OddSite(port=0, scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        site.connections += 1
        try:
            assert site.behave is not None
            await site.behave(Talk(reader, writer), site)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            tasks.discard(task)
            site.closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        site.ended.set()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


class Now:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def client_of(url: str, **settings: Any) -> WsmsClient:
    """A client that never waits between tries and has a breaker that never opens."""
    settings.setdefault("breaker", CircuitBreaker(failures=10_000))
    settings.setdefault("connect_backoff", (0.0, 0.0))
    settings.setdefault("deadline", 60.0)
    return WsmsClient(url, "otp", PASSWORD, **settings)


class _Quiet(uvicorn.Server):
    """Leaves signals alone, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(site: Site) -> AsyncIterator[str]:
    """The sandbox by uvicorn in this event loop; gives its address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(site), log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Quiet(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    await server.listening.wait()
    try:
        yield url
    finally:
        site.close()
        server.should_exit = True
        await task
        listening.close()
