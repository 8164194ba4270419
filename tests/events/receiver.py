"""A real HTTP endpoint on loopback, as a caller would run one."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def verify(self, secret: str) -> dict[str, Any]:
        """As users do it."""
        return dict(Webhook(secret).verify(self.body, self.headers))


@dataclass
class Receiver:
    """
    `statuses` are answered in turn, the last one again and again; 0 hangs until the other side gives up or `released`.
    """

    port: int = 0
    scheme: str = "http"
    statuses: list[int] = field(default_factory=lambda: [204])
    headers: str = ""
    body: bytes = b""
    received: list[Received] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?key=1"

    @property
    def types(self) -> list[str]:
        return [each.json["type"] for each in self.received]

    async def wait_for(self, count: int, timeout: float = 60) -> list[Received]:
        """The first `count` messages, once they are there."""
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= count)
        return self.received[:count]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().splitlines()
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                headers = {name.lower(): value for name, value in headers.items()}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.received.append(Received(lines[0].split()[1], headers, body.decode()))
                async with self._arrived:
                    self._arrived.notify_all()
                status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                if not status:
                    await _first(reader.read(), self.released.wait())
                    return
                writer.write(
                    f"HTTP/1.1 {status} Whatever\r\n{self.headers}"
                    f"content-length: {len(self.body)}\r\n\r\n".encode()
                    + self.body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()


async def _first(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Wait for one of them."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None, **about: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(scheme="https" if tls else "http", **about)
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
