"""Only what stands in a head is a header, and a head has a size: trailers, upgrades and floods get nothing in."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from otp_service.web import body
from otp_service.web.protocol import DeadlineProtocol
from tests.conftest import TO
from tests.web.conftest import Live, LiveStarter

GOOD = json.dumps({"to": TO, "purpose": "login"}).encode()
ASK = "POST /otp/request HTTP/1.1"


def chunked(data: bytes, trailer: str = "", *, size: int = 16384) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\n" + (f"{trailer}\r\n" if trailer else "").encode() + b"\r\n"


async def with_trailer(live: Live, trailer: str, **headers: str | None) -> int:
    """The status of a whole request that arrives at once, so that its trailer is there before it is looked at."""
    async with live.connection() as wire:
        wire.send(live.head(ASK, Transfer_Encoding="chunked", **headers) + chunked(GOOD, trailer))
        return (await wire.answer()).status


async def test_a_credential_in_a_trailer_is_none(live: Live) -> None:
    """C24, F13: a proxy replaces headers and hands trailers through, so nothing there may count."""
    own = f"Authorization: {live.credential['Authorization']}"

    assert await with_trailer(live, own, Authorization=None) == 401
    assert (
        await with_trailer(live, "Authorization: Bearer x") == 202
    )  # nor does it spoil what is good


async def test_uvicorn_alone_takes_a_trailer_for_headers(start_live: LiveStarter) -> None:
    """The negative control: and so it would take a certificate that no proxy has checked."""
    live = await start_live(HttpToolsProtocol, OTP_DELIVER="false")
    own = f"Authorization: {live.credential['Authorization']}"

    assert await with_trailer(live, own, Authorization=None) == 202


async def test_a_certificate_in_a_trailer_is_none(start_live: LiveStarter) -> None:
    """F15's kin: one that can't be read is refused as a header, and not looked at as a trailer."""
    behind_proxy = {"OTP_CALLER_CERTIFICATES": "true", "OTP_TRUSTED_PROXIES": "127.0.0.1"}
    live = await start_live(OTP_DELIVER="false", **behind_proxy)

    assert (await live.ask(ASK, GOOD, Client_Cert="junk")).status == 401
    assert await with_trailer(live, "Client-Cert: junk") == 202


UPGRADES = ["h2c", "websocket", "TLS/1.2"]


@pytest.mark.parametrize("pieces", [1, 2, 400])
@pytest.mark.parametrize("protocol", UPGRADES)
async def test_upgrade_is_ignored_and_body_read_once(
    live: Live, protocol: str, pieces: int
) -> None:
    """C24: RFC 9110 section 7.8; JDK's HttpClient and `curl --http2 -d` ask for h2c with each request."""
    head = live.head(
        ASK,
        Connection="keep-alive, Upgrade, HTTP2-Settings",
        Upgrade=protocol,
        HTTP2_Settings="AAMAAABkAAQAoAAAAAIAAAAA",
        Content_Length=str(len(GOOD)),
    )
    sent = head + GOOD
    size = -(-len(sent) // pieces)
    async with live.connection() as wire:
        for at in range(0, len(sent), size):
            wire.send(sent[at : at + size])
            await wire.writer.drain()
            await asyncio.sleep(0)
        first = await wire.answer()
        assert (first.status, "upgrade" in first.headers) == (202, False)

        wire.send(live.head("GET /healthz HTTP/1.1"))
        assert b"alive" in (await wire.answer()).body


@pytest.mark.parametrize("protocol", UPGRADES)
async def test_request_in_the_body_of_an_upgrade_is_a_body(live: Live, protocol: str) -> None:
    """C24: head and body come in two segments; the body is not read as a second request."""
    inner = live.head("GET /healthz HTTP/1.1")
    length = str(len(inner))
    for framing, sent in (
        ({"Content_Length": length}, inner),
        ({"Transfer_Encoding": "chunked"}, chunked(inner)),
    ):
        head = live.head(ASK, Connection="Upgrade", Upgrade=protocol, **framing)
        async with live.connection() as wire:
            wire.send(head)
            await wire.writer.drain()
            wire.send(sent)
            first = await wire.answer()
            assert (first.status, json.loads(first.body)["code"]) == (400, "invalid_json")
            wire.writer.write_eof()
            assert await wire.reader.read() == b""


async def test_upgrade_keeps_every_other_header(live: Live) -> None:
    """The head that is parsed again says the same: its credential, its id, a second head of the same name."""
    upgrade = {"Connection": "upgrade", "Upgrade": "h2c", "X-Request-Id": "kept-as-it-was"}
    heard = await live.ask(ASK, GOOD, raw_headers=upgrade)
    assert (heard.status, heard.headers["x-request-id"]) == (202, "kept-as-it-was")

    assert (await live.ask(ASK, GOOD, Authorization=None, raw_headers=upgrade)).status == 401
    twice = {**upgrade, "content-type": "application/json"}
    assert (await live.ask(ASK, GOOD, raw_headers=twice)).status == 415


async def test_upgrade_among_pipelined_requests_is_ignored(live: Live) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "h2c"}
    alone = live.head("GET /healthz HTTP/1.1")
    asking = live.head(ASK, Content_Length=str(len(GOOD)), **upgrade) + GOOD
    async with live.connection() as wire:
        wire.send(alone + asking + alone + asking + alone)
        statuses = [(await wire.answer()).status for _ in range(5)]
    assert statuses == [200, 202, 200, 429, 200]


async def test_connect_is_refused(live: Live) -> None:
    """What follows it would be a tunnel's."""
    async with live.connection() as wire:
        wire.send(live.head("CONNECT 127.0.0.1:6379 HTTP/1.1") + live.head("GET /healthz HTTP/1.1"))
        assert (await wire.answer()).status == 400
        assert await wire.closed()


@pytest.mark.parametrize("line", ["GET /healthz HTTP/1.0", "HEAD /healthz HTTP/1.0"])
async def test_http_1_0_needs_no_host(live: Live, line: str) -> None:
    """RFC 9112 section 3.2 asks for it in HTTP/1.1; load balancers' probes send none."""
    async with live.connection() as wire:
        wire.send(f"{line}\r\n\r\n".encode())
        heard = await wire.answer(head_only=line.startswith("HEAD"))
        assert (heard.status, heard.headers["connection"]) == (200, "close")
        assert await wire.closed()

    assert (await live.ask("GET /healthz HTTP/1.0", Host="a/b")).status == 400
    assert (await live.ask("GET /healthz HTTP/1.1", Host=None)).status == 400


async def test_kept_connection_tells_how_long_it_is_kept(live: Live) -> None:
    """Less than it is, so that no request meets a connection that is being closed."""
    told = (await live.ask("GET /healthz HTTP/1.1")).headers["keep-alive"]
    kept = uvicorn.Config("x").timeout_keep_alive  # as `live` has it
    assert 0 < int(told.removeprefix("timeout=")) < kept

    closing = await live.ask("GET /healthz HTTP/1.1", Connection="close")
    assert "keep-alive" not in closing.headers


async def test_request_that_cannot_be_parsed_gets_a_problem(live: Live) -> None:
    async with live.connection() as wire:
        wire.send(b"no request\r\n\r\n")
        heard = await wire.answer()
    assert (heard.status, heard.headers["connection"]) == (400, "close")
    assert heard.headers["content-type"] == "application/problem+json"
    assert json.loads(heard.body)["code"] == "bad_request"


async def test_http_2_by_prior_knowledge_is_refused(live: Live) -> None:
    """A02, C24: there is no multiplexing, and the preface is no request."""
    async with live.connection() as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")

        assert (await wire.answer()).status == 400
        assert await wire.closed()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Long": "a" * 70_000},
        {f"X-{n}": "a" * 700 for n in range(95)},
        {f"X-{n}": "" for n in range(101)},
    ],
)
async def test_a_head_that_is_too_large_is_refused(live: Live, headers: dict[str, str]) -> None:
    """C25."""
    head = live.head("GET /healthz HTTP/1.1", **headers)
    async with live.connection() as wire:
        wire.send(head)

        assert (await wire.answer()).status == 400
        assert await wire.closed()


async def test_a_target_that_is_too_long_is_refused(live: Live) -> None:
    """C25."""
    async with live.connection() as wire:
        wire.send(live.head(f"GET /{'a' * 70_000} HTTP/1.1"))

        assert (await wire.answer()).status == 400
        assert await wire.closed()


async def test_what_callers_really_send_is_not_too_large(live: Live) -> None:
    """C25's other side: a certificate, a long token, and whatever a mesh adds."""
    headers = {"X-Certificate": "a" * 30_000, **{f"X-{n}": "a" * 200 for n in range(60)}}

    assert (await live.ask("GET /healthz HTTP/1.1", raw_headers=headers)).status == 200


async def test_uvicorn_alone_holds_a_head_of_any_size(start_live: LiveStarter) -> None:
    """C25's negative control."""
    live = await start_live(HttpToolsProtocol, OTP_DELIVER="false")

    heard = await live.ask("GET /healthz HTTP/1.1", raw_headers={"X-Long": "a" * 1_000_000})
    assert heard.status == 200


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Endless: ",
        b"GET /",
        b"POST /otp/request HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Endless: ",
        b"POST /otp/request HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;endless=",
        b"POST /otp/request HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
    ],
    ids=["header", "target", "trailer", "extension", "body"],
)
async def test_a_line_without_an_end_is_cut_off(live: Live, begun: bytes) -> None:
    """C10, C25: in a head, a target, a trailer, a chunk's extension or a body that was refused long ago."""
    async with live.connection() as wire:
        wire.send(begun)
        sent = 0
        try:
            while sent < 100 * DeadlineProtocol.request_bytes and not wire.writer.is_closing():
                wire.send(b"a" * 32_768)
                await wire.writer.drain()
                sent += 32_768
        except ConnectionError:
            pass
        assert await wire.closed()
    assert sent < 50 * DeadlineProtocol.request_bytes  # what fits into the sockets on the way


async def test_the_largest_body_may_come_in_chunks_of_one_byte(live: Live) -> None:
    """What is bounded is waste: this is still within."""
    padded = GOOD + b" " * (body.MAX_BYTES - len(GOOD))
    async with live.connection() as wire:
        wire.send(live.head(ASK, Transfer_Encoding="chunked") + chunked(padded, size=1))

        assert (await wire.answer()).status == 202


async def test_many_requests_on_one_connection_are_each_measured_by_themselves(live: Live) -> None:
    """A long connection is no large request."""
    headers = {"X-Long": "a" * 30_000}
    async with live.connection() as wire:
        for _ in range(20):
            wire.send(live.head("GET /healthz HTTP/1.1", **headers))
            assert (await wire.answer()).status == 200
        wire.send(live.head("GET /healthz HTTP/1.1", **headers) * 20)  # one behind the other
        assert [(await wire.answer()).status for _ in range(20)] == [200] * 20


class Hasty(DeadlineProtocol):
    """As the real one, with a deadline that a test can wait for."""

    head_seconds = 1.0


async def test_hundreds_of_silent_connections_are_cut_off_and_keep_nobody_out(
    start_live: LiveStarter,
) -> None:
    """I09, C23: while they are open a call is answered, and then each of them is closed."""
    live = await start_live(Hasty, OTP_DELIVER="false")
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(live.connection()) for _ in range(300)]
        assert (await live.ask("GET /healthz HTTP/1.1")).status == 200
        assert all(await asyncio.gather(*(wire.closed() for wire in silent)))


@pytest.mark.parametrize("said", [b"\r\n" * 3, b"G"], ids=["line breaks", "a letter"])
async def test_a_kept_connection_that_begins_nothing_is_cut_off(
    start_live: LiveStarter, said: bytes
) -> None:
    """C23: a line break before a request is skipped, so it begins none, and yet it ended uvicorn's waiting."""
    live = await start_live(Hasty, OTP_DELIVER="false")
    async with live.connection() as wire:
        wire.send(live.head("GET /healthz HTTP/1.1"))
        assert (await wire.answer()).status == 200

        wire.send(said)

        assert await wire.closed()


@pytest.mark.parametrize(
    "line",
    [
        "GET http://evil.example/otp/request HTTP/1.1",
        "POST http://evil.example/otp/request HTTP/1.1",
        "GET //evil.example/healthz HTTP/1.1",
        "GET http://user:pass@127.0.0.1/nothing HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT 127.0.0.1:6379 HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET /otp/%2e%2e%2fhealthz HTTP/1.1",
        "GET /otp/..%2f..%2fhealthz HTTP/1.1",
        "GET /%00 HTTP/1.1",
        "GET /%ff%fe HTTP/1.1",
        "GET /otp/%E2%80%AE HTTP/1.1",
        "GET /healthz%23 HTTP/1.1",
        "GET /healthz HTTP/3.0",
        "TRACE /healthz HTTP/1.1",
        "PROPFIND /healthz HTTP/1.1",
        "DEBUG /healthz HTTP/1.1",
    ],
)
async def test_an_odd_target_leads_nowhere(live: Live, line: str) -> None:
    """C18, C19, C20: nothing is proxied, nothing is opened without its credential, and nothing breaks."""
    async with live.connection() as wire:
        wire.send(live.head(line, Authorization=None, Content_Length="0"))
        heard = await wire.answer(head_only=line.startswith(("CONNECT", "HEAD")))

    assert 400 <= heard.status < 500
    assert b"evil" not in heard.body
    assert b"alive" not in heard.body
