"""Whatever the network does, a send ends in time, goes out at most once and claims nothing unproven."""

import asyncio
import contextlib
import gc
import gzip
import json
import socket
import ssl
import struct
import threading
import time

import httpx
import pytest
from odd_sites import NUMBER, SHORT, SUCCESS, OddSite, Talk, client_of

from otp_service.wsms import (
    Accepted,
    Circuit,
    CircuitBreaker,
    Refused,
    RefusedReason,
    SendOutcome,
    Unknown,
    UnknownReason,
    WsmsClient,
)
from otp_service.wsms.connections import Connections


async def send(client: WsmsClient, **more: object) -> SendOutcome:
    return await client.send(message="Your code is 123456", numbers=NUMBER, **more)


async def test_the_exact_success_shape_is_accepted(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(200, SUCCESS)

    assert await send(client) == Accepted(balance=4711)
    (seen,) = odd.seen
    assert (seen.method, seen.target) == ("POST", "/wp-json/wpsms/v1/send")
    assert seen.json == {
        "sender": "",
        "recipients": "numbers",
        "numbers": [NUMBER],
        "message": "Your code is 123456",
    }
    assert seen.headers["accept"] == "application/json"
    assert seen.headers["authorization"].startswith("Basic ")


async def test_a_site_that_takes_the_request_and_hangs_is_unknown_after_the_deadline(
    odd: OddSite, client: WsmsClient
) -> None:
    """X26; the message may well have gone out, so there is exactly one request."""

    async def hang(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        await site.ended.wait()

    odd.behave = hang

    outcome = await send(client, deadline=SHORT)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.TIMEOUT
    assert len(odd.seen) == 1
    assert odd.connections == 1


@pytest.mark.parametrize(
    "anyio_backend", ["asyncio", ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)
async def test_a_site_that_resets_each_connection_at_once_is_a_failure_of_the_network(
    anyio_backend: object,
) -> None:
    """Where in the connecting the reset hits is a race; under uvloop one such moment is no error of the transport."""
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))

    def reset_all() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    def drag() -> None:  # so that the reset is there whenever the loop looks
        nonlocal dragging
        time.sleep(0.0005)
        dragging = loop.call_soon(drag)

    resetting = threading.Thread(target=reset_all)
    resetting.start()
    dragging = loop.call_soon(drag)
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with client_of(url, connect_backoff=()) as client:
            outcomes = [await send(client) for _ in range(100)]
    finally:
        dragging.cancel()
        listening.shutdown(socket.SHUT_RDWR)
        resetting.join()
        listening.close()

    assert {(type(o), getattr(o, "reason", None)) for o in outcomes} <= {
        (Refused, RefusedReason.CONNECT_FAILED),
        (Unknown, UnknownReason.CONNECTION_LOST),
    }


async def test_dripping_bytes_do_not_stretch_the_deadline(odd: OddSite, client: WsmsClient) -> None:
    """X28: the deadline counts from the start, not from the last byte."""

    async def drip(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        await talk.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await talk.write(b" ")
            await asyncio.sleep(0.01)

    odd.behave = drip
    began = asyncio.get_running_loop().time()

    outcome = await send(client, deadline=SHORT)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.TIMEOUT
    assert asyncio.get_running_loop().time() - began < 20


async def test_a_connection_dropped_after_the_request_was_read_is_unknown_and_not_retried(
    odd: OddSite, client: WsmsClient
) -> None:
    """X27."""

    async def drop(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        talk.writer.transport.abort()

    odd.behave = drop

    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.CONNECTION_LOST
    assert odd.connections == 1


async def test_a_connection_dropped_before_the_request_was_read_is_unknown_too(
    odd: OddSite, client: WsmsClient
) -> None:
    """Bytes were written; from here nobody can tell who read them."""

    async def drop(talk: Talk, site: OddSite) -> None:
        talk.writer.transport.abort()

    odd.behave = drop

    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.CONNECTION_LOST
    assert odd.connections == 1


async def test_a_truncated_body_is_unknown(odd: OddSite, client: WsmsClient) -> None:
    async def cut(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        await talk.answer(200, b'{"message":"Succ', {"Content-Length": "70"})

    odd.behave = cut

    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.CONNECTION_LOST


async def test_an_endless_body_is_read_no_further_than_the_cap(
    odd: OddSite, client: WsmsClient
) -> None:
    """G06: 50 MB or more are announced; the connection is closed after 64 KiB and a little."""
    written = 0

    async def flood(talk: Talk, site: OddSite) -> None:
        nonlocal written
        await site.read(talk)
        await talk.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50000000\r\n\r\n"
        )
        while True:
            await talk.write(b" " * 65536)
            written += 65536

    odd.behave = flood

    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.TOO_LARGE
    assert written < 20_000_000  # what fits into the sockets' buffers


@pytest.mark.parametrize(
    ("status", "body", "content_type", "reason"),
    [
        (200, b"<html>ok</html>", "text/html", "not_wsms"),
        (200, b"", "application/json", "not_wsms"),
        (200, b"", "text/html", "not_wsms"),
        (200, b"null", "application/json", "not_wsms"),
        (200, b"[]", "application/json", "not_wsms"),
        (200, b"[" * 60_000, "application/json", "not_wsms"),
        (200, b"\xff\xfe", "application/json", "not_wsms"),
        (200, b'{"success":true}', "application/json", "not_wsms"),
        (200, b'{"message":"Successfully send SMS!"}', "application/json", "not_wsms"),
        (200, b'{"message":"","error":[],"data":{"balance":1}}', "application/json", "not_wsms"),
        (200, b'{"message":"m","error":[1],"data":{"balance":1}}', "application/json", "not_wsms"),
        (200, b'{"message":"m","error":{},"data":{"balance":1}}', "application/json", "not_wsms"),
        (200, b'{"message":"m","error":[],"data":[]}', "application/json", "not_wsms"),
        (200, b'{"message":"m","error":[],"data":{"balance":1}}', "text/html", "not_wsms"),
        (201, b'{"message":"m","error":[],"data":{"balance":1}}', "application/json", "not_wsms"),
        (204, b"", "application/json", "not_wsms"),
        (202, b"", "application/json", "not_wsms"),
        (400, b"<h1>Bad Request</h1>", "text/html", "not_wsms"),
        (400, b'{"error":{"code":500,"message":"x"}}', "application/json", "not_wsms"),
        (403, b"<h1>Forbidden by a firewall</h1>", "text/html", "not_wsms"),
        (404, b"<h1>Not Found</h1>", "text/html", "not_wsms"),
        (405, b"", "text/html", "not_wsms"),
        (413, b"", "text/html", "not_wsms"),
        (418, b"{}", "application/json", "not_wsms"),
        (500, b"", "text/html", "server_error"),
        (502, b"<h1>Bad Gateway</h1>", "text/html", "server_error"),
        (503, b"", "text/html", "server_error"),
        (504, b"", "text/html", "server_error"),
    ],
)
async def test_an_answer_of_another_shape_is_unknown(
    odd: OddSite, client: WsmsClient, status: int, body: bytes, content_type: str, reason: str
) -> None:
    """X24, X29 and G06: only the exact shapes of the plugin prove anything."""
    headers = {"Content-Type": content_type}
    if status == 204:
        headers["Content-Length"] = "0"
    odd.answers(status, body, headers)

    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == reason
    assert len(odd.seen) == 1


async def test_a_compressed_answer_is_not_unpacked(odd: OddSite, client: WsmsClient) -> None:
    """We ask for identity; unpacking would let 64 KiB become 64 MiB."""
    packed = gzip.compress(json.dumps(SUCCESS).encode())
    odd.answers(200, packed, {"Content-Encoding": "gzip"})

    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert odd.seen[0].headers["accept-encoding"] == "identity"


async def test_a_401_by_anybody_is_refused(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(401, b"<h1>Who are you?</h1>", {"Content-Type": "text/html"})

    assert await send(client) == Refused(reason=RefusedReason.NOT_AUTHORIZED)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("Mon, 23 Nov 2026 10:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
async def test_a_429_is_refused_and_says_for_how_long(
    odd: OddSite, client: WsmsClient, header: str, seconds: float | None
) -> None:
    """X31: the plugin itself never answers 429, so the request was turned away before it."""
    odd.answers(429, b"", {"Retry-After": header, "Date": "Mon, 23 Nov 2026 10:00:00 GMT"})

    assert await send(client) == Refused(reason=RefusedReason.RATE_LIMITED, retry_after=seconds)


async def test_a_429_in_the_plugins_own_shape_proves_nothing(
    odd: OddSite, client: WsmsClient
) -> None:
    odd.answers(429, {"error": {"code": 429, "message": "provider is busy"}})

    assert isinstance(await send(client), Unknown)


async def test_a_closed_port_is_refused(odd: OddSite, client: WsmsClient) -> None:
    """X25: not sent, and sure of it."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and nobody listens
        async with client_of(f"http://127.0.0.1:{silent.getsockname()[1]}") as nowhere:
            outcome = await send(nowhere)

    assert isinstance(outcome, Refused)
    assert outcome.reason is RefusedReason.CONNECT_FAILED


async def test_a_host_without_an_address_is_refused() -> None:
    async with client_of("https://nowhere.invalid") as nowhere:
        outcome = await send(nowhere)

    assert isinstance(outcome, Refused)
    assert outcome.reason is RefusedReason.CONNECT_FAILED


async def test_a_connection_that_never_comes_about_is_tried_three_times_in_all(
    odd: OddSite,
) -> None:
    """A site that drops every TLS handshake sees three, and no byte of the request."""

    async def drop(talk: Talk, site: OddSite) -> None:
        talk.writer.transport.abort()

    odd.behave = drop
    async with client_of(odd.url.replace("http:", "https:")) as client:
        outcome = await send(client)

    assert isinstance(outcome, Refused)
    assert outcome.reason is RefusedReason.CONNECT_FAILED
    assert odd.connections == 3


async def test_the_second_try_to_connect_can_succeed() -> None:
    """Control for the retry: it is worth something."""
    tries: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        if len(tries) == 1:
            raise httpx.ConnectError("not yet")
        return httpx.Response(200, json=SUCCESS)

    transport = httpx.MockTransport(answer)
    async with client_of("https://example.org", transport=transport) as client:
        outcome = await send(client)

    assert isinstance(outcome, Accepted)
    assert len(tries) == 2


async def test_a_transport_without_a_trace_proves_nothing_about_a_timeout() -> None:
    """Only our own pool's trace is evidence; without it a timeout is unknown."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    transport = httpx.MockTransport(answer)
    async with client_of("https://example.org", transport=transport) as client:
        outcome = await send(client, deadline=0.05)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.TIMEOUT


async def test_waiting_for_a_free_connection_past_the_deadline_is_refused(odd: OddSite) -> None:
    """Nothing of the second message was written, and the trace proves it."""

    async def hang(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        await site.ended.wait()

    odd.behave = hang
    async with client_of(odd.url, pool_size=1) as client:
        first = asyncio.create_task(send(client))
        await odd.asked.wait()
        second = await send(client, deadline=0.1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    assert isinstance(second, Refused)
    assert second.reason is RefusedReason.CONNECT_FAILED
    assert len(odd.seen) == 1


async def _hang(talk: Talk, site: OddSite) -> None:
    await site.read(talk)
    await site.ended.wait()


async def test_waiting_for_our_own_pool_is_no_failure_of_the_site(odd: OddSite) -> None:
    odd.behave = _hang
    breaker = CircuitBreaker(failures=1)
    async with client_of(odd.url, pool_size=1, breaker=breaker) as client:
        first = asyncio.create_task(send(client))
        await odd.asked.wait()
        waited = [await send(client, deadline=0.1) for _ in range(3)]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    assert {getattr(outcome, "detail", "") for outcome in waited} == {
        "all our connections to the site were busy until the deadline"
    }
    assert breaker.state is Circuit.CLOSED


async def test_a_timeout_after_a_wait_is_no_failure_of_the_site(odd: OddSite) -> None:
    """The second call gets its connection late, and the site less time than the deadline."""
    odd.behave = _hang
    breaker = CircuitBreaker(failures=1)
    async with client_of(odd.url, pool_size=1, breaker=breaker) as client:
        first = asyncio.create_task(send(client))
        await odd.asked.wait()
        odd.asked.clear()
        second = asyncio.create_task(send(client, deadline=SHORT))
        await asyncio.sleep(0)  # the second call waits for the connection
        first.cancel()
        await odd.asked.wait()
        outcome = await second
        await asyncio.gather(first, return_exceptions=True)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.TIMEOUT
    assert breaker.state is Circuit.CLOSED


async def test_a_timeout_without_a_wait_opens_the_breaker(odd: OddSite) -> None:
    odd.behave = _hang
    breaker = CircuitBreaker(failures=1)
    async with client_of(odd.url, pool_size=1, breaker=breaker) as client:
        await send(client, deadline=SHORT)

    assert breaker.state is Circuit.OPEN


async def test_connections_are_kept_and_a_closed_one_is_replaced(
    odd: OddSite, client: WsmsClient
) -> None:
    async def two_then_close(talk: Talk, site: OddSite) -> None:
        for _ in range(2):
            await site.read(talk)
            await talk.answer(200, SUCCESS)

    odd.behave = two_then_close

    outcomes = [await send(client) for _ in range(2)]
    assert odd.connections == 1
    await odd.closed.wait()
    outcomes.append(await send(client))

    assert odd.connections == 2
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)


async def test_a_connection_unused_for_too_long_is_ended_and_not_used_again(odd: OddSite) -> None:
    """A site is about to close it: what is written to it then may or may not have been read."""
    odd.answers(200, SUCCESS)
    patient, hasty = (
        Connections(tls=ssl.create_default_context(), at_most=2, kept=kept) for kept in (60, 0)
    )

    for transport, opened in ((patient, 1), (hasty, 3)):
        async with client_of(odd.url, transport=transport) as client:
            for _ in range(2):
                assert isinstance(await send(client), Accepted)
        assert odd.connections == opened


@pytest.mark.parametrize("why", ["the deadline", "a cancellation", "an endless answer"])
async def test_a_call_that_is_given_up_leaves_its_place_to_the_next(odd: OddSite, why: str) -> None:
    """With one place in all; and what may still come over its connection never reaches another call."""

    async def no_end(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        if why == "an endless answer":
            await talk.answer(200, SUCCESS, {"Content-Length": "1000000"})
            await talk.write(b" " * 100_000)
        await site.ended.wait()

    odd.behave = no_end
    async with client_of(odd.url, pool_size=1) as client:
        first = asyncio.create_task(send(client, deadline=SHORT if why == "the deadline" else 60))
        if why == "a cancellation":
            await odd.asked.wait()
            first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        odd.answers(200, SUCCESS)

        assert isinstance(await send(client), Accepted)


@pytest.mark.parametrize("kept", [True, False], ids=["on a kept connection", "on a new one"])
async def test_a_call_that_is_cancelled_at_any_step_leaves_no_connection_behind(
    odd: OddSite, kept: bool
) -> None:
    """There and then, and not only when garbage is collected."""
    opened: set[Talk] = set()
    none_left = asyncio.Event()

    async def answer_all(talk: Talk, site: OddSite) -> None:
        opened.add(talk)
        none_left.clear()
        try:
            while True:
                await site.read(talk)
                await talk.answer(200, SUCCESS, {} if kept else {"Connection": "close"})
        finally:
            opened.discard(talk)
            if not opened:
                none_left.set()

    odd.behave = answer_all
    tasks = []
    async with client_of(odd.url, pool_size=1) as client:
        for steps in range(20):
            assert isinstance(await send(client), Accepted)
            task = asyncio.create_task(send(client))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            tasks.append(task)
        assert isinstance(await send(client), Accepted)

    async with asyncio.timeout(30):
        await none_left.wait()
    assert any(task.cancelled() for task in tasks)


async def test_a_tls_handshake_that_is_given_up_ends_its_connection(odd: OddSite) -> None:
    """There and then: else as many stay open as there are calls until garbage is collected."""

    async def say_nothing(talk: Talk, site: OddSite) -> None:
        while await talk.more():
            pass

    odd.behave = say_nothing
    collecting = gc.isenabled()
    gc.disable()
    try:
        async with client_of(odd.url.replace("http:", "https:"), connect_timeout=60.0) as client:
            outcome = await send(client, deadline=SHORT)
            async with asyncio.timeout(30):
                await odd.closed.wait()
    finally:
        if collecting:
            gc.enable()

    assert isinstance(outcome, Refused)
    assert outcome.reason is RefusedReason.CONNECT_FAILED


async def test_what_follows_an_answer_is_never_told_of_the_next_message(odd: OddSite) -> None:
    """It came before the message was even written: who took it for an answer would never again tell the right one."""

    async def answer_twice(talk: Talk, site: OddSite) -> None:
        body = json.dumps(SUCCESS).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        await site.read(talk)
        await talk.write(2 * (head % len(body) + body))
        while True:
            await site.read(talk)
            await talk.answer(402, b"")

    odd.behave = answer_twice
    async with client_of(odd.url, pool_size=1) as client:
        assert isinstance(await send(client), Accepted)
        outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.CONNECTION_LOST


async def test_a_kept_connection_that_dies_under_a_request_is_unknown_and_not_retried(
    odd: OddSite, client: WsmsClient
) -> None:
    """A retry would be a second SMS."""

    async def one_then_drop(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        await talk.answer(200, SUCCESS)
        await site.read(talk)
        talk.writer.transport.abort()

    odd.behave = one_then_drop

    assert isinstance(await send(client), Accepted)
    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.CONNECTION_LOST
    assert len(odd.seen) == 2


async def test_cancelling_a_send_cancels_it(odd: OddSite, client: WsmsClient) -> None:
    async def hang(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        await site.ended.wait()

    odd.behave = hang
    task = asyncio.create_task(send(client))
    await odd.asked.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
