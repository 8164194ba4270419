"""
uvicorn's HTTP protocol with deadlines for what a client sends.

uvicorn waits for ever for a client that connects and says nothing, or one byte at a time; also for the rest of a body
after its answer was given. The reverse proxy in docker/ has such deadlines too; this is the second line. In time
for a polite answer is `otp_service.web.body`, whose deadline is shorter than the one for a body here.
"""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class DeadlineProtocol(HttpToolsProtocol):
    """
    Closes a connection whose next request is not whole in time.

    Attributes:
        head_seconds: From the connection, or the first byte of a further request, to the end of its head.
        body_seconds: From there to the end of its body, answered or not.
    """

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 10.0

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        super().connection_made(transport)
        self._expect(self.head_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:  # a further request on a kept connection
            self._expect(self.head_seconds)

    def on_headers_complete(self) -> None:
        self._expect(self.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._forget()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _expect(self, seconds: float) -> None:
        self._forget()
        self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
