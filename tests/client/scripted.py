"""A loopback server that does as it is told, one line of the script for each request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str | None = None

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


DROP = "drop"  # take the request, and close the connection without a word
HANG = "hang"  # take it, and say nothing until the test is over
DRIP = "drip"  # begin an answer that comes byte by byte


def problem(status: int, code: str, **members: Any) -> Reply:
    return Reply(status, {"code": code, "title": code, "status": status, **members})


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


class Scripted(ThreadingHTTPServer):
    """What comes next is in `script`; the last line stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Reply | str] = []
        self.seen: list[Seen] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next(self) -> Reply | str:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Scripted

    def answer(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        body = json.loads(self.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.command, self.path, headers, body))
        match self.server.next():
            case Reply() as reply:
                self._reply(reply)
            case "drop":
                self.close_connection = True
            case "hang":
                self.server.over.wait(30)
                self.close_connection = True
            case _:
                self._drip()

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def _reply(self, reply: Reply) -> None:
        content = reply.content()
        default = "application/problem+json" if reply.status >= 400 else "application/json"
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.media_type or default)
        self.send_header("Content-Length", str(len(content)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.close_connection = True
        while not self.server.over.wait(0.02):
            self.wfile.write(b" ")

    def log_message(self, *args: Any) -> None:
        """Nothing: the tests look at `seen`."""


@contextmanager
def scripted_server() -> Iterator[Scripted]:
    server = Scripted()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
