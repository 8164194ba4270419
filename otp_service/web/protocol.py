"""
uvicorn's HTTP protocol with a deadline and a bound for everything that a client sends or does not read.

uvicorn alone waits for ever for a client that sends nothing, sends one byte at a time, or does not read its responses.
It holds a head of any size and any number of pipelined requests, takes the fields of a trailer for headers, and reads
the body of a request that asks for an upgrade as a second request. The reverse proxy in docker/ has deadlines and
bounds too; these are the second line. `otp_service.web.body` has a smaller deadline and limit, so that a slow or large
body gets a problem in time.

What is used of `HttpToolsProtocol` beside asyncio's and httptools' callbacks, to be checked with each new uvicorn:
- the attributes `parser`, `flow` (`read_paused`, `pause_reading`), `cycle` (`keep_alive`, `default_headers`,
  `disconnected`, `message_event`), `pipeline`, `connections`, `headers`, `url`, `limit_concurrency`,
  `timeout_keep_alive` and `timeout_keep_alive_task`;
- the methods `on_response_complete`, `send_400_response` and `_unset_keepalive_if_required`.
"""

import asyncio
import socket
import struct
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from otp_service.errors import BadRequest
from otp_service.telemetry import CONNECTIONS_CUT
from otp_service.web.raw_answers import RefusedConnection, problem_bytes

_PIECE = (
    1024  # parsed at once: so few requests fit in that the next look at the pipeline is in time
)
_NO_LINGER = struct.pack("ii", 1, 0)


class DeadlineProtocol(HttpToolsProtocol):
    """
    Closes a connection whose request is not complete in time, is too large, or whose responses are not read.

    uvicorn's `limit_concurrency` is the most connections of one process here; one more is answered 503 and closed.

    Attributes:
        head_seconds: From the connection, or the first byte after a response, to the end of a head.
        body_seconds: From there to the end of the body, whether the response is sent or not. A pipelined request is
            read after the response before it is sent, and has its time from then on.
        write_seconds: Until the client has taken all that was written. Covers closing: a transport that is closed
            waits for its unsent bytes.
        head_bytes: Of the target and all headers; more is a 400.
        head_lines: How many headers there may be; more is a 400.
        request_bytes: Of head, body and trailer as they came, give or take one read; more closes the connection.
        socket_bytes: Of each of the kernel's two buffers of a connection, which grow to megabytes by themselves.
    """

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 10.0
    write_seconds: ClassVar[float] = 10.0
    head_bytes: ClassVar[int] = 64 * 1024
    head_lines: ClassVar[int] = 100
    request_bytes: ClassVar[int] = 256 * 1024  # the largest body in chunks of one byte fits
    socket_bytes: ClassVar[int] = 64 * 1024

    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None
    _request: object | None = None  # the one that is coming in
    _answering: RequestResponseCycle | None = None
    _in_head = False
    _head_left = 0
    _request_left = 0
    _unparsed = b""  # what came behind a request that waits for its turn
    _without_upgrade: bytes | None = None  # a head to be parsed once more

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        # uvicorn's own answer comes only after a head was read, and as plain text.
        self._most_connections, self.limit_concurrency = self.limit_concurrency, None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        if self._most_connections is not None and len(self.connections) >= self._most_connections:
            CONNECTIONS_CUT.labels("full").inc()
            RefusedConnection.take_over(transport, self.connections, self._most_connections)
            return
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            peer.setsockopt(socket.SOL_SOCKET, buffer, self.socket_bytes)
        if hasattr(socket, "TCP_USER_TIMEOUT") and peer.family != socket.AF_UNIX:
            # For what the kernel still holds when the process has closed the connection.
            wait_ms = int(2000 * self.write_seconds)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, wait_ms)
        # With no room in the process's own buffer, writing is paused exactly while a byte is unsent.
        transport.set_write_buffer_limits(high=0)
        self._expect(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._forget_writing()
        self._unparsed = b""
        if (
            self._answering is not None
        ):  # uvicorn tells the newest request only, which may be a pipelined one
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._forget_writing()
        self._write_deadline = self.loop.call_later(self.write_seconds, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_writing()

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            # Any byte ends uvicorn's own wait for a further request; line breaks come and begin none.
            self._unset_keepalive_if_required()
            self._expect(self.head_seconds)
        self._parse(self._unparsed + data)

    def _parse(self, data: bytes) -> None:
        """Parse until a request waits for the response before it; keep the rest, and read no more."""
        rest, self._unparsed = memoryview(data), b""
        while rest and not self.transport.is_closing():
            if self.pipeline:
                self.flow.pause_reading()
                self._unparsed = bytes(rest)
                if len(rest) > self.request_bytes:
                    self._cut()
                return
            piece, rest = rest[:_PIECE], rest[_PIECE:]
            begun = self._request
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                head, self._without_upgrade = self._without_upgrade or b"", None
                self.parser = httptools.HttpRequestParser(self)
                rest = memoryview(head + piece[upgrade.args[0] :] + rest)
            except httptools.HttpParserError:
                self.send_400_response("the request is not HTTP/1.1, or its head is too large")
                return
            if begun is not None and self._request is begun:
                # No callback tells of a line without an end.
                self._request_left -= len(piece)
                if self._request_left < 0:
                    self._cut()

    def send_400_response(self, msg: str) -> None:
        self.transport.write(problem_bytes(BadRequest(msg)))
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._request, self._request_left = object(), self.request_bytes
        self._in_head, self._head_left = True, self.head_bytes
        if self._deadline is None:  # a request right behind another
            self._expect(self.head_seconds)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._spend(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            # A field of the trailer (RFC 9110 section 6.5.1): what a proxy sets, replaces or checks are headers only.
            return
        super().on_header(name, value)
        self._spend(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.parser.should_upgrade():
            self._ignore_upgrade()
            return
        super().on_headers_complete()  # stops reading if this request is pipelined
        if not self.pipeline:
            self._answering = self.cycle
        if self.cycle.keep_alive:
            self.cycle.default_headers = [*self.cycle.default_headers, self._keep_alive()]
        self._expect(self.body_seconds)

    def on_message_complete(self) -> None:
        if self._without_upgrade is not None:
            return  # only the parser thinks so
        self._request = None
        self._forget()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()  # reads again, and begins with the next
        if self._unparsed:
            self._parse(self._unparsed)
        if self._request is not None and self._deadline is None:
            self._expect(self.head_seconds if self._in_head else self.body_seconds)

    def _ignore_upgrade(self) -> None:
        """
        Keep the head as it was without `Upgrade`, which a server may ignore (RFC 9110 section 7.8).

        The parser takes what follows for another protocol, so a fresh one reads this head and then the body.
        """
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("no proxy")  # to the parser, which makes it a 400
        line = b"%s %s HTTP/%s" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        fields = [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self._without_upgrade = b"\r\n".join([line, *fields, b"", b""])

    def _keep_alive(self) -> tuple[bytes, bytes]:
        """How long a client may count on an idle connection: less than it really lasts, for what is on the way."""
        return b"keep-alive", b"timeout=%d" % max(1, self.timeout_keep_alive - 2)

    def _spend(self, size: int) -> None:
        self._head_left -= size
        if self._head_left < 0 or len(self.headers) > self.head_lines:
            raise ValueError("the head is too large")  # to the parser, which makes it a 400

    def _expect(self, seconds: float) -> None:
        self._forget()
        if not self.flow.read_paused:
            self._deadline = self.loop.call_later(seconds, self._cut)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _forget_writing(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _cut(self) -> None:
        """Close a connection that sends too slowly or too much."""
        CONNECTIONS_CUT.labels("request").inc()
        self.transport.close()

    def _abort(self) -> None:
        """Reset a connection whose client does not read: closed, its unsent bytes would stay in the kernel."""
        CONNECTIONS_CUT.labels("response").inc()
        peer = self.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
