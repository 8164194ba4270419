"""Answers on the wire."""

from starlette.types import Message, Send

from otp_service.sandbox import answers
from otp_service.sandbox.answers import Answer

MARK = "X-OTP-Sandbox"
"""A header of every response, which marks this site as a sandbox."""


def head(answer: Answer, length: int | None) -> Message:
    headers = {
        "Content-Type": answers.HTML_TYPE if answer.html else answers.JSON_TYPE,
        **answer.headers,
        MARK: "not a real site; no SMS leaves it",
    }
    if length is not None:
        headers["Content-Length"] = str(length)
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()],
    }


async def put(send: Send, answer: Answer, method: str = "GET") -> None:
    body = b"" if method == "HEAD" else answer.encoded()
    await send(head(answer, len(body)))
    await send({"type": "http.response.body", "body": body})
