"""What is sent again, how often, and until when, by both clients against a server that follows a script."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from typing import Any

import httpx
import pytest

from otp_service.client import (
    AsyncClient,
    Overloaded,
    RateLimited,
    Unavailable,
)
from otp_service.client.call import Call
from otp_service.client.retrying import Retrying
from tests.client.conftest import opened
from tests.client.scripted import DRIP, DROP, HANG, Reply, Scripted, problem

CANCELED = Reply(
    body={"challenge_id": "x", "status": "canceled", "ended_at": "2026-11-23T12:00:00.000Z"}
)
CONFIRMED = Reply(
    body={"factor_id": "x", "status": "confirmed", "confirmed_at": "2026-11-23T12:00:00.000Z"}
)
FACTORS = Reply(
    body={"subject": "ann", "factors": [], "methods": ["sms"], "recovery_codes_remaining": 0}
)
AWAY = problem(503, "unavailable", retry_after=0)
BUSY = problem(409, "idempotency_in_progress", retry_after=0)
both = pytest.mark.parametrize("kind", ["sync", "async"])


async def confirm(kind: str, server: Scripted, **options: Any) -> Any:
    """A call that takes a key."""
    async with opened(kind, server.url, **options) as otp:
        return await otp.confirm_totp(factor_id="x", code="123456")


@both
@pytest.mark.parametrize("first", [DROP, AWAY, BUSY, problem(503, "overloaded", retry_after=0)])
async def test_a_lost_call_is_sent_again_with_the_same_key(
    scripted: Scripted, kind: str, first: Reply | str
) -> None:
    scripted.script = [first, CONFIRMED]

    confirmed = await confirm(kind, scripted)

    assert confirmed.status == "confirmed"
    one, two = scripted.seen
    assert one == two
    assert one.key
    assert one.headers["authorization"] == "Bearer secret"


@both
async def test_every_call_has_a_key_of_its_own_unless_one_is_given(
    scripted: Scripted, kind: str
) -> None:
    scripted.script = [CONFIRMED]
    async with opened(kind, scripted.url) as otp:
        for _ in range(2):
            await otp.confirm_totp(factor_id="x", code="123456")
        await otp.confirm_totp(factor_id="x", code="123456", idempotency_key="mine")

    keys = [seen.key for seen in scripted.seen]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@both
@pytest.mark.parametrize(("retries", "sent"), [(0, 1), (1, 2), (2, 3)])
async def test_it_gives_up_after_as_many_retries_as_it_was_given(
    scripted: Scripted, kind: str, retries: int, sent: int
) -> None:
    scripted.script = [AWAY]

    with pytest.raises(Unavailable) as gone:
        await confirm(kind, scripted, retries=retries)

    assert len(scripted.seen) == sent
    assert {seen.key for seen in scripted.seen} == {gone.value.idempotency_key}
    assert (gone.value.status, gone.value.code) == (503, "unavailable")


@both
@pytest.mark.parametrize("first", [DROP, AWAY])
async def test_a_call_without_a_key_is_never_sent_twice(
    scripted: Scripted, kind: str, first: Reply | str
) -> None:
    scripted.script = [first, CANCELED]

    async with opened(kind, scripted.url) as otp:
        with pytest.raises(Unavailable) as lost:
            await otp.cancel(challenge_id="x")

    assert len(scripted.seen) == 1
    assert lost.value.idempotency_key is None


@both
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("redeem_proof", {"proof": "otpp_x"}),
        ("rename_factor", {"factor_id": "x", "name": "n"}),
        ("remove_factor", {"factor_id": "x"}),
        ("unsubscribe", {"name": "Ann", "mobile": "+14155550123"}),
    ],
)
async def test_nor_are_the_others_that_take_none(
    scripted: Scripted, kind: str, method: str, arguments: dict[str, str]
) -> None:
    scripted.script = [DROP]

    async with opened(kind, scripted.url) as otp:
        with pytest.raises(Unavailable):
            await getattr(otp, method)(**arguments)

    assert [seen.key for seen in scripted.seen] == [None]


@both
async def test_a_question_is_asked_again(scripted: Scripted, kind: str) -> None:
    scripted.script = [DROP, Reply(502, b"<html>", media_type="text/html"), FACTORS]

    async with opened(kind, scripted.url) as otp:
        found = await otp.factors(subject="ann")

    assert found.factors == ()
    assert [seen.path for seen in scripted.seen] == ["/factors?subject=ann"] * 3


@both
@pytest.mark.parametrize(
    "answer",
    [
        problem(429, "rate_limited", limit="cooldown", retry_after=0),
        problem(500, "internal"),
        problem(400, "invalid_code", attempts_remaining=3),
        problem(418, "of_tomorrow"),
    ],
)
async def test_an_answer_is_taken_for_one(scripted: Scripted, kind: str, answer: Reply) -> None:
    scripted.script = [answer]

    with pytest.raises(Exception, match=answer.body["code"]):
        await confirm(kind, scripted)

    assert len(scripted.seen) == 1


@both
async def test_it_does_not_wait_longer_than_it_has_time(scripted: Scripted, kind: str) -> None:
    scripted.script = [problem(503, "overloaded", retry_after=5)]

    with pytest.raises(Overloaded) as busy:
        await confirm(kind, scripted, timeout=3)

    assert len(scripted.seen) == 1
    assert busy.value.retry_after == 5


@both
@pytest.mark.parametrize("silence", [HANG, DRIP])
async def test_the_deadline_is_for_the_whole_call(
    scripted: Scripted, kind: str, silence: str
) -> None:
    scripted.script = [AWAY, silence]
    began = time.monotonic()

    with pytest.raises(Unavailable) as late:
        await confirm(kind, scripted, timeout=3)

    assert time.monotonic() - began < 20
    assert len(scripted.seen) == 2
    assert (late.value.status, late.value.code) == (None, "no_answer")
    assert late.value.idempotency_key == scripted.seen[1].key


@both
async def test_nobody_there_is_unavailable(kind: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and nobody listens
        async with opened(kind, f"http://127.0.0.1:{silent.getsockname()[1]}") as otp:
            with pytest.raises(Unavailable, match="ConnectError") as nobody:
                await otp.factors(subject="ann")

    assert nobody.value.retry_after is None


@both
async def test_a_line_that_is_reset_at_once_is_unavailable(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line = server.accept()[0]
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    line.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            async with opened(
                kind, f"http://127.0.0.1:{server.getsockname()[1]}", retries=0
            ) as otp:
                for _ in range(5):
                    with pytest.raises(Unavailable):
                        await otp.factors(subject="ann")
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


class Reset(httpx.AsyncBaseTransport):
    """What anyio on uvloop does now and then about a socket that is reset at once."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise AttributeError("'NoneType' object has no attribute 'getpeername'")


async def test_so_is_one_whose_reset_anyio_stumbles_over() -> None:
    async with AsyncClient("http://127.0.0.1:1", "secret", transport=Reset(), retries=0) as otp:
        with pytest.raises(Unavailable, match="AttributeError"):
            await otp.factors(subject="ann")


@both
async def test_wait_asks_the_service_to_wait_and_adds_to_the_deadline(
    scripted: Scripted, kind: str
) -> None:
    scripted.script = [problem(429, "rate_limited", limit="cooldown", retry_after=7)]

    async with opened(kind, scripted.url) as otp:
        with pytest.raises(RateLimited):
            await otp.request_code(to="+14155550123", purpose="login", wait=5)

    [seen] = scripted.seen
    assert seen.headers["prefer"] == "wait=5"
    assert seen.body == {"to": "+14155550123", "purpose": "login"}
    waiting = Call(method="POST", path="/", result=object, idempotency_key="k", wait=5)
    assert Retrying(waiting, retries=0, timeout=10, now=100).ends_at == 115


@both
async def test_a_function_is_asked_for_a_token_before_each_send(
    scripted: Scripted, kind: str
) -> None:
    """Also before a second try: the first token may have ended meanwhile."""
    scripted.script = [AWAY, CONFIRMED]
    told = iter(["one.a.b", "two.a.b\n"])

    async with opened(kind, scripted.url, lambda: next(told)) as otp:
        await otp.confirm_totp(factor_id="x", code="123456")

    seen = [request.headers["authorization"] for request in scripted.seen]
    assert seen == ["Bearer one.a.b", "Bearer two.a.b"]


async def test_a_token_may_be_awaited_and_has_the_calls_deadline(scripted: Scripted) -> None:
    scripted.script = [CONFIRMED]

    async def fresh() -> str:
        return "one.a.b"

    async def stuck() -> str:
        await asyncio.sleep(60)
        return "never"

    async with opened("async", scripted.url, fresh) as otp:
        await otp.confirm_totp(factor_id="x", code="123456")
    assert scripted.seen[0].headers["authorization"] == "Bearer one.a.b"
    async with opened("async", scripted.url, stuck, timeout=0.2, retries=0) as otp:
        with pytest.raises(Unavailable):
            await otp.confirm_totp(factor_id="x", code="123456")
    assert len(scripted.seen) == 1


@both
async def test_without_a_credential_nothing_is_said(scripted: Scripted, kind: str) -> None:
    """A certificate says who calls."""
    scripted.script = [CONFIRMED]
    async with opened(kind, scripted.url, None) as otp:
        await otp.confirm_totp(factor_id="x", code="123456")

    assert "authorization" not in scripted.seen[0].headers


@both
async def test_a_function_that_returns_no_token_says_so_without_it(
    scripted: Scripted, kind: str
) -> None:
    async with opened(kind, scripted.url, lambda: "se cret") as otp:
        with pytest.raises(ValueError, match="printable ASCII") as refused:
            await otp.confirm_totp(factor_id="x", code="123456")

    assert "cret" not in str(refused.value)
    assert scripted.seen == []
