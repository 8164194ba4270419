"""
uvicorn's HTTP protocol with deadlines and bounds for what a client sends.

uvicorn waits for ever for a client that connects and says nothing, or one byte at a time; also for the rest of a body
after its answer was given. It holds a head of any size, and takes the fields of a trailer for headers. The reverse
proxy in docker/ has such deadlines and bounds too; this is the second line. In time for a polite answer is
`otp_service.web.body`, whose deadline and limit are smaller than those for a body here.
"""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class DeadlineProtocol(HttpToolsProtocol):
    """
    Closes a connection whose next request is not whole in time, or too large.

    Attributes:
        head_seconds: From the connection, or the first byte that comes after an answer, to the end of a head.
        body_seconds: From there to the end of its body, answered or not. What comes behind a request that is being
            answered is not read until that is done, and has its time from then on.
        head_bytes: Of the target and all headers; more is a 400.
        head_lines: How many headers there may be; more is a 400.
        request_bytes: Of head, body and trailer as they came, give or take one read; more closes the connection.
    """

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 10.0
    head_bytes: ClassVar[int] = 64 * 1024
    head_lines: ClassVar[int] = 100
    request_bytes: ClassVar[int] = 256 * 1024  # the largest body in chunks of one byte fits

    _deadline: asyncio.TimerHandle | None = None
    _request: object | None = None  # the one that is coming in
    _in_head = False
    _head_left = 0
    _request_left = 0

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            # Whatever comes ends uvicorn's own waiting for a further request; line breaks come and begin none.
            self._expect(self.head_seconds)
        begun = self._request
        super().data_received(data)
        if begun is not None and self._request is begun:
            # A line without an end is told by no other call.
            self._request_left -= len(data)
            if self._request_left < 0:
                self.transport.close()

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        super().connection_made(transport)
        self._expect(self.head_seconds)

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
        super().on_headers_complete()  # behind another request it ends the reading
        self._expect(self.body_seconds)

    def on_message_complete(self) -> None:
        self._request = None
        self._forget()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # goes on reading
        if self._request is not None and self._deadline is None:
            self._expect(self.head_seconds if self._in_head else self.body_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _spend(self, size: int) -> None:
        self._head_left -= size
        if self._head_left < 0 or len(self.headers) > self.head_lines:
            raise ValueError("the head is too large")  # to the parser, which makes it a 400

    def _expect(self, seconds: float) -> None:
        self._forget()
        if not self.flow.read_paused:
            self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
