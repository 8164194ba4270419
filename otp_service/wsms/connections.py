"""
The connections to one site, as a transport of httpx: httpcore's own, kept and lent out with as little as that takes.

httpcore's pool looks at every connection for every other one at each request, and asks the kernel after each; its
streams write head and body apart, with a turn of the loop between. Under load that is most of what a send costs.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import httpcore
import httpx

Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
_FAULTS = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


class Connections(httpx.AsyncBaseTransport):
    """
    At most so many connections to one origin; who wants one more waits for it.

    A request that has to wait reports `pool.wait` to its trace, and `pool.connection` when the wait is over.

    Args:
        tls: What certificates are checked with.
        at_most: Connections at once.
        kept: Seconds that a free one is kept.
    """

    def __init__(self, *, tls: ssl.SSLContext, at_most: int, kept: float) -> None:
        self._tls = tls
        self._kept = kept
        self._network = _Network()
        self._places = asyncio.Semaphore(at_most)
        self._free: deque[httpcore.AsyncHTTPConnection] = deque()  # the last used at the right
        self._ended = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        await self._acquire_place(request.extensions.get("trace"))
        connection = None
        try:
            connection = await self._take(asked.url.origin)
            answer = await connection.handle_async_request(asked)
            if _is_held_back(answer):
                raise httpcore.RemoteProtocolError("an answer before its request was written")
        except BaseException as error:
            self._places.release()
            if connection is not None:
                await connection.aclose()  # who is cancelled before it begins leaves it open
            if isinstance(error, _FAULTS):
                raise _named_by_httpx(error) from error
            raise
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, partial(self._give_back, connection)),
        )

    async def aclose(self) -> None:
        self._ended = True
        while self._free:
            await self._free.pop().aclose()

    async def _acquire_place(self, trace: Trace | None) -> None:
        if not self._places.locked() or trace is None:
            await self._places.acquire()
            return
        await trace("pool.wait", {})
        await self._places.acquire()
        await trace("pool.connection", {})

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        while self._free and self._free[0].has_expired():  # too long unused, or ended by the site
            await self._free.popleft().aclose()
        while self._free:
            connection = self._free.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(
            origin, self._tls, keepalive_expiry=self._kept, network_backend=self._network
        )

    async def _give_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        self._places.release()
        if connection.is_idle() and not self._ended:
            self._free.append(connection)
        else:
            await connection.aclose()


class _Body(httpx.AsyncByteStream):
    """An answer's body; closing it gives the connection back, or ends it when something is still to come."""

    def __init__(self, answer: httpcore.Response, give_back: Callable[[], Awaitable[None]]) -> None:
        self._answer = answer
        self._give_back = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._answer.aiter_stream():
                yield part
        except _FAULTS as error:
            raise _named_by_httpx(error) from error

    async def aclose(self) -> None:
        try:
            await self._answer.aclose()
        finally:
            await self._give_back()


class _Network(httpcore.AsyncNetworkBackend):
    """httpcore's own network, with streams that write less often."""

    def __init__(self) -> None:
        self._anyio = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(
            await self._anyio.connect_tcp(host, port, timeout, local_address, socket_options)
        )


class _Stream(httpcore.AsyncNetworkStream):
    """A stream whose writing waits for the next read, so that a request goes out in one piece."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.unwritten = b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.unwritten += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.unwritten:
            unwritten, self.unwritten = self.unwritten, b""
            with suppress(httpcore.WriteError):  # as httpcore has it: the answer may tell why
                await self._stream.write(unwritten, timeout)
        return await self._stream.read(max_bytes, timeout)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            await self._stream.aclose()  # httpcore does not when it is cancelled
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401
        return self._stream.get_extra_info(info)


def _is_held_back(answer: httpcore.Response) -> bool:
    """Whether the request was not even written: then what follows an earlier answer was taken for its own."""
    stream = answer.extensions["network_stream"]
    return isinstance(stream, _Stream) and bool(stream.unwritten)


def _named_by_httpx(error: Exception) -> Exception:
    """The same fault as httpx calls it: both have the same names."""
    named: Exception = getattr(httpx, type(error).__name__)(str(error))
    return named
