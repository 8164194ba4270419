"""Responses of the HTTP protocol itself: to connections over the limit and to unparsable requests."""

import asyncio
import json
import secrets
from collections.abc import MutableSet
from http import HTTPStatus
from typing import Any, ClassVar

from otp_service.errors import OtpError, Overloaded
from otp_service.web import problems
from otp_service.web.edge import HEADERS


class RefusedConnection(asyncio.Protocol):
    """
    Answers 503 to a connection over the limit, and closes it.

    Attributes:
        seconds: From the connection to its end. Within them the client may send its request and read the answer: a
            connection that is closed with bytes unread is reset, and the answer is lost.
        at_once: Connections of one process that are refused with an answer at the same time; others are reset.
    """

    seconds: ClassVar[float] = 2.0
    at_once: ClassVar[int] = 64

    def __init__(self, transport: Any, connections: MutableSet[Any]) -> None:  # noqa: ANN401
        self._transport = transport
        self._connections = connections
        self._answered = False
        connections.add(self)
        self._end = asyncio.get_running_loop().call_later(self.seconds, transport.abort)

    @classmethod
    def take_over(cls, transport: Any, connections: MutableSet[Any], most: int) -> None:  # noqa: ANN401
        """Refuse a new connection; `connections` are all of this process, of which `most` are served."""
        refused_now = len(connections) - most
        transport.set_protocol(cls(transport, connections))
        if refused_now >= cls.at_once:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._answered:
            self._answered = True
            self._transport.write(
                problem_bytes(Overloaded("This process has too many connections."))
            )
            self._transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._connections.discard(self)

    def shutdown(self) -> None:
        """What uvicorn calls on each connection when it stops."""
        self._transport.abort()


def problem_bytes(error: OtpError) -> bytes:
    """Return a whole response that closes the connection: the problem for an error."""
    status, members, headers = problems.problem(error)
    request_id = secrets.token_hex(16)
    body = json.dumps({**members, "instance": request_id}).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"content-type: {problems.MEDIA_TYPE}",
        f"content-length: {len(body)}",
        "connection: close",
        f"x-request-id: {request_id}",
        *(f"{name}: {value}" for name, value in headers.items()),
        *(f"{name.decode()}: {value.decode()}" for name, value in HEADERS),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
