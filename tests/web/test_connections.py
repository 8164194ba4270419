"""A connection costs a bounded amount for a bounded time, whether its client is silent, greedy or does not read."""

import asyncio
import json
import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import pytest
from prometheus_client import REGISTRY

from otp_service.telemetry import CONNECTIONS_CUT
from otp_service.web import metrics
from otp_service.web.protocol import DeadlineProtocol
from otp_service.web.raw_answers import RefusedConnection
from tests.conftest import TO
from tests.reliability.harness import eventually
from tests.web.conftest import Live, LiveStarter, Wire

PAGE = "GET /openapi.json HTTP/1.1"
ALIVE = "GET /healthz HTTP/1.1"


class Hasty(DeadlineProtocol):
    """As the real one, with deadlines that a test can wait for."""

    head_seconds = 1.0
    write_seconds = 1.0


class Counted(DeadlineProtocol):
    """As the real one; notes the most requests that were parsed ahead."""

    most_ahead = 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        type(self).most_ahead = max(self.most_ahead, len(self.pipeline))


class Watched(Hasty):
    """Notes which connections the process holds."""

    seen: ClassVar[set[DeadlineProtocol]] = set()
    open: ClassVar[set[DeadlineProtocol]] = set()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.seen.add(self)
        self.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.open.discard(self)


def cut(reason: str) -> float:
    """How many connections this process has closed for that reason."""
    return REGISTRY.get_sample_value("otp_http_connections_cut_total", {"reason": reason}) or 0


def mute_client(port: int, sent: bytes) -> socket.socket:
    """A client that sends and never reads."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(sent)
    client.setblocking(False)
    return client


async def reset(client: socket.socket) -> bool:
    """Wait until the other side has reset or closed the connection, without reading."""
    waiting = select.poll()
    waiting.register(client, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
    return bool(await asyncio.to_thread(waiting.poll, 60_000))


async def test_clients_that_do_not_read_are_cut_off(start_live: LiveStarter) -> None:
    """I09: while they hold their connections others are served, and then none of them is left."""
    live = await start_live(Hasty, OTP_DELIVER="false")
    before = cut("response")
    clients = [mute_client(live.port, live.head(PAGE) * 20) for _ in range(40)]
    try:
        assert (await live.ask(ALIVE)).status == 200
        assert all(await asyncio.gather(*(reset(client) for client in clients)))
        assert cut("response") - before == len(clients)
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_few_unsent_bytes_are_cut_off(start_live: LiveStarter, connection: str) -> None:
    """
    I09: a closed transport too waits for its unsent bytes; uvicorn alone would let it wait for ever.

    Each client asks for a little more than the one before, so with some of them only a little is unsent.
    """
    Watched.seen.clear()
    Watched.open.clear()
    live = await start_live(Watched, OTP_DELIVER="false")
    clients = [socket.socket() for _ in range(24)]
    try:
        for n, client in enumerate(clients, 1):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", live.port))
            last = live.head(ALIVE, Connection=connection)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(client, live.head(ALIVE) * 20 * n + last)
        await eventually(lambda: len(Watched.seen) == 24 and not Watched.open, "all closed")
    finally:
        for client in clients:
            client.close()
    assert (await live.ask(ALIVE)).status == 200


async def test_slow_reader_that_makes_progress_is_served(start_live: LiveStarter) -> None:
    """The control: twenty pages, taken one after another, come whole."""
    live = await start_live(Hasty, OTP_DELIVER="false")
    async with live.connection() as wire:
        wire.send(live.head(PAGE) * 20)
        bodies = [(await wire.answer()).body for _ in range(20)]
    assert json.loads(bodies[-1])["openapi"]
    assert len(set(bodies)) == 1


async def test_pipelined_requests_are_parsed_few_at_a_time(start_live: LiveStarter) -> None:
    """I09: all are answered, in order, but few exist at the same time."""
    live = await start_live(Counted, OTP_DELIVER="false")
    Counted.most_ahead = 0
    some = [
        f"GET /otp/{n:034d} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {n:08d}\r\n\r\n"
        for n in range(2000)
    ]
    async with live.connection() as wire:
        wire.send("".join(some).encode())
        ids = [(await wire.answer()).headers["x-request-id"] for _ in some]
    assert ids == [f"{n:08d}" for n in range(2000)]
    assert 0 < Counted.most_ahead <= 20


async def test_pipelined_bodies_arrive_whole(live: Live) -> None:
    """What is kept back for its turn loses no byte, wherever heads and bodies are split."""
    body = json.dumps({"to": TO, "purpose": "none", "client_ref": "r" * 60}).encode()
    request = live.head("POST /otp/request HTTP/1.1", Content_Length=str(len(body))) + body
    async with live.connection() as wire:
        sent = request * 40
        for at in range(0, len(sent), 1500):
            wire.send(sent[at : at + 1500])
            await wire.writer.drain()
        answers = [await wire.answer() for _ in range(40)]
    assert {json.loads(answer.body)["errors"][0]["field"] for answer in answers} == {"purpose"}


async def test_connection_over_the_limit_gets_503(start_live: LiveStarter) -> None:
    """I09."""
    live = await start_live(OTP_DELIVER="false", OTP_HTTP_CONNECTIONS="16")
    before = cut("full")
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(live.connection()) for _ in range(16)]
        for wire in held:
            wire.send(live.head(ALIVE))
            assert (await wire.answer()).status == 200

        async with live.connection() as refused:
            refused.send(live.head(ALIVE))
            heard = await refused.answer()
            assert await refused.closed()
        assert heard.status == 503
        assert json.loads(heard.body)["code"] == "overloaded"
        assert heard.headers["connection"] == "close"
        assert int(heard.headers["retry-after"]) >= 1
        assert heard.headers["cache-control"] == "no-store"
        assert cut("full") > before

        held[0].writer.close()
        held[1].send(live.head(ALIVE))
        assert (await held[1].answer()).status == 200  # who is in is served
        while (await live.ask(ALIVE)).status != 200:
            pass  # as soon as the place is free


async def test_refused_connections_end_by_themselves(
    start_live: LiveStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent ones are closed soon, and more than a few at once get no answer."""
    monkeypatch.setattr(RefusedConnection, "seconds", 0.5)
    live = await start_live(OTP_DELIVER="false", OTP_HTTP_CONNECTIONS="16")
    async with AsyncExitStack() as stack:
        for _ in range(16):
            wire = await stack.enter_async_context(live.connection())
            wire.send(live.head(ALIVE))
            assert (await wire.answer()).status == 200
        refused = [
            await stack.enter_async_context(live.connection())
            for _ in range(RefusedConnection.at_once + 20)
        ]
        assert all(await asyncio.gather(*(wire.closed() for wire in refused)))


# The admin port


@asynccontextmanager
async def admin_port() -> AsyncIterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(metrics.serve(listening, REGISTRY, Hasty))
    try:
        yield listening.getsockname()[1]
    finally:
        serving.cancel()


async def metrics_page(port: int) -> tuple[int, bytes]:
    wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
    wire.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(60):
        data = await wire.reader.read()
    wire.writer.close()
    return int(data.split()[1]), data


async def test_admin_port_serves_metrics_meanwhile() -> None:
    """I09: idle connections and clients that do not read are cut off, and neither delays a scrape."""
    CONNECTIONS_CUT.labels("full")
    async with admin_port() as port, AsyncExitStack() as stack:
        idle = [Wire(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(10)]
        for wire in idle:
            stack.callback(wire.writer.close)
        mute = [mute_client(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200) for _ in range(10)]
        try:
            status, page = await metrics_page(port)
            assert (status, b"otp_http_connections_cut_total" in page) == (200, True)
            assert all(await asyncio.gather(*(wire.closed() for wire in idle)))
            assert all(await asyncio.gather(*(reset(client) for client in mute)))
        finally:
            for client in mute:
                client.close()


async def test_admin_port_refuses_over_its_limit() -> None:
    async with admin_port() as port, AsyncExitStack() as stack:
        for _ in range(metrics.CONNECTIONS):
            wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
            stack.callback(wire.writer.close)
        status, _ = await metrics_page(port)
        assert status == 503


# Files


def test_more_connections_than_open_files_are_refused(environment: dict[str, str]) -> None:
    """Else they end at whatever connection or log file happens to come last."""
    ended = subprocess.run(
        [sys.executable, "-m", "otp_service", "serve"],
        env={**os.environ, **environment, "OTP_HTTP_CONNECTIONS": "4000"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode != 0
    assert "OTP_HTTP_CONNECTIONS: 4000 need" in ended.stderr
