"""The ways a wire can fail, on demand: delays, drops, rubbish, floods."""

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, cast

from starlette.types import Receive, Send

from otp_service.sandbox import answers
from otp_service.sandbox.answers import Answer
from otp_service.sandbox.call import Call
from otp_service.sandbox.faults import Fault
from otp_service.sandbox.wire import head, put
from otp_service.sandbox.wordpress import respond

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site


class Failing:
    """One call that goes wrong as `fault` says."""

    def __init__(
        self, site: "Site", fault: Fault, call: Call, receive: Receive, send: Send
    ) -> None:
        self._site = site
        self._fault = fault
        self._call = call
        self._receive = receive
        self._send = send

    async def run(self) -> None:
        if self._fault.delay:
            await self._site.sleep(self._fault.delay)
        sent: Answer | None = None
        if self._fault.sent or self._fault.kind == "drop_after":
            self._call.sources = []
            sent = await respond(self._site, self._call)
        match self._fault.kind:
            case "hang":
                await self._until_gone()
            case "drop_before" | "drop_after":
                await self._drop()
            case "huge":
                await self._flood()
            case "drip":
                await self._drip(sent or _harmless())
            case "truncated":
                await self._truncate(sent or _harmless())
            case _:
                await put(self._send, self._rubbish(), self._call.method)

    def _rubbish(self) -> Answer:
        fault = self._fault
        match fault.kind:
            case "html":
                page = "<!DOCTYPE html><title>Just a moment...</title><p>Checking your browser</p>"
                return Answer(fault.status or 200, fault.text or page, html=True)
            case "empty":
                return Answer(fault.status or 200, "", html=True)
            case "redirect":
                location = fault.location or "/moved-for-the-sandbox"
                return Answer(fault.status or 302, "", html=True, headers={"Location": location})
            case "wrong_shape":
                return Answer(fault.status or 200, {"success": True, "result": fault.value})
            case "maintenance":
                return _with_retry(answers.maintenance(self._call.wants_json), fault.retry_after)
        return _with_retry(_status(self._call, fault.status or 500), fault.retry_after)

    async def _until_gone(self) -> None:
        """Never answers; ends when the caller hangs up or the server stops."""
        gone = asyncio.ensure_future(self._receive())
        closing = asyncio.ensure_future(self._site.closing.wait())
        try:
            await asyncio.wait({gone, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            closing.cancel()
        if self._site.closing.is_set():
            await put(self._send, Answer(503, "the sandbox stops", html=True))

    async def _drop(self) -> None:
        """Cuts the TCP connection with a reset."""
        transport = self._transport()
        connection = transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                lingering = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        transport.abort()
        await self._receive()  # the disconnect, so that the server does not try to answer

    async def _flood(self) -> None:
        chunk = b" " * 65_536
        await self._send(head(Answer(self._fault.status or 200, None), None))
        left = self._fault.size
        while left > 0 and not self._site.closing.is_set():
            part = chunk[: min(left, len(chunk))]
            left -= len(part)
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self._send({"type": "http.response.body", "body": b"{}"})

    async def _drip(self, answer: Answer) -> None:
        body = answer.encoded()
        await self._send(head(answer, len(body)))
        for i in range(len(body)):
            if self._site.closing.is_set():
                break
            one = body[i : i + 1]
            await self._send({"type": "http.response.body", "body": one, "more_body": True})
            await self._site.sleep(self._fault.interval)
        await self._send({"type": "http.response.body", "body": b""})

    async def _truncate(self, answer: Answer) -> None:
        """Half of the body that Content-Length promises, then the end of the connection."""
        body = answer.encoded()
        await self._send(head(answer, len(body)))
        half = body[: len(body) // 2]
        await self._send({"type": "http.response.body", "body": half, "more_body": True})
        transport = self._transport()
        transport.close()
        await self._receive()

    def _transport(self) -> asyncio.Transport:
        """The server's own, since ASGI has no word for dropping a connection.

        Without one (an in-memory ASGI client) the error is raised instead.
        """
        found = getattr(getattr(self._receive, "__self__", None), "transport", None)
        if found is None:
            raise ConnectionResetError("dropped by the sandbox")
        return cast("asyncio.Transport", found)


def _harmless() -> Answer:
    return answers.success("Successfully send SMS!", {"balance": 4711})


def _with_retry(answer: Answer, retry_after: str | None) -> Answer:
    if retry_after is not None:
        answer.headers["Retry-After"] = retry_after
    return answer


def _status(call: Call, status: int) -> Answer:
    """What a site, or the web server before it, says with such a status."""
    match status:
        case 401 | 403:
            return answers.forbidden("Sorry, you are not allowed to do that.", known=status == 403)
        case 404:
            return answers.no_route()
        case 500:
            return answers.broken(
                answers.CRITICAL,
                500,
                code="internal_server_error",
                wants_json=call.wants_json,
                title="WordPress › Error",
            )
        case 204 | 304:
            return Answer(status, "", html=True)
    return Answer(status, f"<html><body><h1>{status}</h1></body></html>", html=True)
