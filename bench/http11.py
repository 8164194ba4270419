"""HTTP/1.1 in as few cycles as Python allows: a keep-alive client, and a provider that learns every code."""

import asyncio
import json
import re
from typing import Any, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CODE = re.compile(r"(?<![0-9])[0-9]{4,10}(?![0-9])")
_END = b"\r\n\r\n"


class _Messages(asyncio.Protocol):
    """Cuts what arrives into messages with a Content-Length."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour only

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(_END)) >= 0:
            head = self._buffer[: end + 2]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self.message(head, body)

    def message(self, head: bytes, body: bytes) -> None:
        raise NotImplementedError


class Client(_Messages):
    """One kept connection: one call at a time."""

    def __init__(self, credential: str) -> None:
        super().__init__()
        self._head = f"Host: otp.bench\r\nAuthorization: Bearer {credential}\r\n"
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def connect(cls, port: int, credential: str) -> "Client":
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(credential), "127.0.0.1", port)
        return client

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        content = json.dumps(body)
        status, answer = await self._call(
            f"POST {path} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n{content}"
        )
        return status, json.loads(answer)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        status, answer = await self._call(f"GET {path} HTTP/1.1\r\n{self._head}\r\n")
        return status, json.loads(answer)

    def close(self) -> None:
        self.transport.close()

    def message(self, head: bytes, body: bytes) -> None:
        assert self._answer is not None
        if not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the service closed the connection"))

    async def _call(self, text: str) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(text.encode())
        return await self._answer


class Provider:
    """A site that takes every SMS at once and hands its code to who waits for that number."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on a free port of loopback and return it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Site(self), "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def expect(self, number: str) -> asyncio.Future[str]:
        """Return what will be the code sent to that number."""
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        return future

    def took(self, number: str, message: str) -> None:
        future = self._waiting.pop(number, None)
        found = _CODE.search(message)
        if future is not None and found is not None and not future.done():
            future.set_result(found[0])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


def _answer(body: bytes) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Site(_Messages):
    _SENT = _answer(b'{"message":"Successfully send SMS!","error":[],"data":{"balance":4711}}')
    _CREDIT = _answer(b'{"credit":4711,"creditSupported":true}')

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider

    def message(self, head: bytes, body: bytes) -> None:
        if not head.startswith(b"POST "):
            self.transport.write(self._CREDIT)
            return
        self.transport.write(self._SENT)
        sent = json.loads(body)
        self._provider.took(sent["numbers"][0], sent["message"])
