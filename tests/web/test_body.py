"""A body is read strictly: it has one meaning or none, and whatever it is, the answer is never a 500."""

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from otp_service.errors import (
    BodyTimeout,
    FieldError,
    InvalidJson,
    InvalidRequest,
    NotJson,
    Refusal,
    TooLarge,
)
from otp_service.store import keys
from otp_service.web import body
from otp_service.web.models import RequestModel
from otp_service.web.optin_models import OptInRequestBody
from otp_service.web.otp_models import CodeRequestBody, VerifyBody
from otp_service.web.protocol import DeadlineProtocol
from tests.conftest import TO, Service
from tests.web.conftest import Live, LiveStarter

GOOD = b'{"to": "+14155550123", "purpose": "login"}'
fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=400)


def request_of(chunks: Iterable[bytes], *headers: tuple[str, str], ends: bool = True) -> Request:
    """A POST whose body arrives in these chunks; without `ends` nothing comes after them."""
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if left:
            chunk = left.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(left) or not ends}
        await asyncio.Event().wait()
        raise AssertionError

    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    if not any(name == b"content-type" for name, _ in sent):
        sent.append((b"content-type", b"application/json"))
    return Request({"type": "http", "method": "POST", "path": "/", "headers": sent}, receive)


async def read(data: bytes, *headers: tuple[str, str]) -> CodeRequestBody:
    return await body.read(request_of([data], *headers), CodeRequestBody)


# What is wrong with a field


@pytest.mark.parametrize(
    ("model", "field", "value", "reason"),
    [
        (CodeRequestBody, "to", 14155550123, "must be a valid string"),
        (CodeRequestBody, "to", "", "must have at least 1 character"),
        (CodeRequestBody, "channel", "fax", "must be 'sms' or 'auto'"),
        (CodeRequestBody, "binding", "", "must have at least 1 character"),
        (
            CodeRequestBody,
            "binding",
            "a\nb",
            "must have no control characters, line breaks or changes of direction",
        ),
        (CodeRequestBody, "context", [], "must be an object"),
        (
            OptInRequestBody,
            "custom_fields",
            {"city": ["Berlin"]},
            "must be a string, a whole number, true or false",
        ),
    ],
)
def test_a_reason_says_what_the_field_must_be(
    model: type[RequestModel], field: str, value: object, reason: str
) -> None:
    needed = {"to": TO, "purpose": "login"}
    if model is OptInRequestBody:
        needed = {"name": "Ann", "mobile": TO}
    with pytest.raises(InvalidRequest) as refused:
        body.check(needed | {field: value}, model)

    [error] = refused.value.errors
    assert (error.field.partition(".")[0], error.reason) == (field, reason)


async def test_thousands_of_unknown_fields_get_a_short_refusal(quiet: Service) -> None:
    """14 kB of them; the same inside of a field."""
    many = {f"{n:x}": 1 for n in range(1800)}
    for sent in (many, {**json.loads(GOOD), "context": many}, {"to": [1] * 6000}):
        data = json.dumps(sent, separators=(",", ":")).encode()
        assert 10_000 < len(data) < body.MAX_BYTES
        headers = {"Content-Type": "application/json"}
        answer = await quiet.http.post("/otp/request", content=data, headers=headers)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error == {"field": "body", "reason": "must have at most 256 members in all"}


def test_at_most_twenty_errors_are_told() -> None:
    with pytest.raises(InvalidRequest) as refused:
        body.check({f"x{n}": n for n in range(200)}, CodeRequestBody)
    told = refused.value.errors
    assert {error.field for error in told[:20]} <= {"to", "purpose", *(f"x{n}" for n in range(200))}
    assert len(told) == 21
    assert told[20].field == "body"
    assert re.fullmatch("has 18[0-9] more errors", told[20].reason)


# What bytes mean


@fuzzed
@given(st.binary(max_size=300))
@example(b"")
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes_are_an_object_or_a_refusal(data: bytes) -> None:
    """C12, C13: nothing else is ever raised."""
    try:
        value = body.decode(data)
    except InvalidJson:
        return
    assert type(value) is dict


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@fuzzed
@given(JSON, st.booleans())
def test_what_is_read_is_what_any_json_reader_reads(value: object, ascii_only: bool) -> None:
    """N-062: the strict reader never gives another meaning, it only refuses more."""
    try:
        data = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    try:
        read = body.decode(data)
    except InvalidJson:
        return

    assert read == json.loads(data)


@fuzzed
@given(st.dictionaries(st.sampled_from([*CodeRequestBody.model_fields, "x"]), JSON, max_size=6))
def test_any_object_is_a_body_or_a_refusal(value: dict[str, Any]) -> None:
    """Q5: checking fields raises nothing but refusals, and those can be told in JSON."""
    for model in (CodeRequestBody, VerifyBody):
        try:
            body.check(value, model)
            wrong: tuple[FieldError, ...] = (FieldError("none", "at all"),)
        except InvalidRequest as refused:
            wrong = refused.errors
        assert wrong
        assert all(len(error.field) <= 64 and error.reason for error in wrong)


@pytest.mark.parametrize(
    "text",
    [
        '{"code": "111111", "code": "222222"}',
        '{"a": {"b": 1, "b": 1}}',
        '{"a": [{"b": 1, "b": 2}]}',
        '{"a": 1, "\\u0061": 2}',
    ],
)
def test_a_name_that_occurs_twice_is_refused(text: str) -> None:
    """C06: readers differ on whether the first or the last one counts; also when one is spelled by escapes."""
    with pytest.raises(InvalidJson, match="twice"):
        body.decode(text.encode())


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_are_refused(word: str) -> None:
    """C07."""
    with pytest.raises(InvalidJson):
        body.decode(f'{{"a": {word}}}'.encode())


@pytest.mark.parametrize(
    "number", ["1" * 65, "-" + "1" * 64, "1" * 5000, "0." + "1" * 63, "1" * 62 + "e10"]
)
def test_numbers_of_more_than_64_characters_are_refused(number: str) -> None:
    """C09: Python alone gives up at 4300 digits, with a ValueError that was a 500."""
    with pytest.raises(InvalidJson, match="64"):
        body.decode(f'{{"a": {number}}}'.encode())


def test_numbers_of_64_characters_are_read() -> None:
    assert body.decode(b'{"a": ' + b"1" * 64 + b"}") == {"a": int("1" * 64)}


def nested(levels: int, *, lists: bool) -> bytes:
    inner = levels - 1
    if lists:
        return b'{"a": ' + b"[" * inner + b"]" * inner + b"}"
    return b'{"a":' * inner + b"{}" + b"}" * inner


@pytest.mark.parametrize("lists", [True, False])
def test_eight_levels_are_read_and_nine_are_not(lists: bool) -> None:
    """C08."""
    assert isinstance(body.decode(nested(8, lists=lists)), dict)
    with pytest.raises(InvalidJson, match="8 levels"):
        body.decode(nested(9, lists=lists))


@pytest.mark.parametrize("data", [b"[" * 5000, b'{"a":' * 2700, nested(5000, lists=True)])
def test_deep_nesting_is_a_refusal_and_no_recursion_error(data: bytes) -> None:
    """C08."""
    with pytest.raises(InvalidJson):
        body.decode(data)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_other_encodings_and_byte_order_marks_are_refused(coding: str) -> None:
    """C12: json.loads alone takes them all."""
    with pytest.raises(InvalidJson):
        body.decode(GOOD.decode().encode(coding))


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": "\xff"}',
        b'{"a": "\xc0\xaf"}',  # an overlong slash
        b'{"a": "\xed\xa0\x80"}',  # half a surrogate pair in UTF-8
        b'{"a": "\\ud800"}',
        b'{"a": ["\\udfff"]}',
        b'{"\\ud800": 1}',
        b'{"a": {"b": "\\ude00\\ud83d"}}',  # the halves in the wrong order
    ],
)
def test_bad_utf_8_and_lone_surrogates_are_refused(data: bytes) -> None:
    """C12: they would pass, and break what encodes them later."""
    with pytest.raises(InvalidJson):
        body.decode(data)


def test_a_surrogate_pair_is_the_character_it_means() -> None:
    assert body.decode(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"[]", b"[{}]", b'"a"', b"1", b"null", b"true", b"{", b"{}{}", b"{} x", b"{'a':1}"],
)
def test_what_is_no_object_is_refused(data: bytes) -> None:
    """C13."""
    with pytest.raises(InvalidJson):
        body.decode(data)


# What a body is declared to be


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; charset",
        "application/json; version=1",
        "application/json; charset=",
        "application/json; charset=utf-8-sig",
        "application/json; charset=utf-7",
        "application/json; =utf-8",
        "application/json; charset=utf-8; version=1",
        "application/jsonp",
        "application/json-seq",
        "application/problem+json",
        "application/json, text/plain",
        "text/json",
    ],
)
async def test_other_media_types_are_refused(content_type: str) -> None:
    """C14: text/plain with JSON in it needs no CORS preflight."""
    with pytest.raises(NotJson):
        await read(GOOD, ("content-type", content_type))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        " application/json ",
        "application/json;",
        "application/json; ; charset=utf-8 ;",
        "application/json; charset=utf8",
        "application/json;charset=UTF_8",
        "application/json; charset='utf-8'",
        'application/json; Charset = "utf-8"',
        'application/json; charset="utf\\-8"',
    ],
)
async def test_json_in_utf_8_is_read_however_it_is_spelled(content_type: str) -> None:
    assert (await read(GOOD, ("content-type", content_type))).to == TO


async def test_two_content_types_are_refused() -> None:
    """C14: which of the two counts is up to every reader."""
    with pytest.raises(NotJson):
        await read(GOOD, ("content-type", "application/json"), ("content-type", "text/plain"))


@pytest.mark.parametrize("codings", [["gzip"], ["br"], ["identity", "gzip"], ["identity, gzip"]])
async def test_a_content_coding_is_refused(codings: list[str]) -> None:
    """C11: nothing is ever inflated."""
    with pytest.raises(NotJson):
        await read(GOOD, *(("content-encoding", coding) for coding in codings))


async def test_the_coding_that_changes_nothing_is_accepted() -> None:
    assert (await read(GOOD, ("content-encoding", "Identity"))).to == TO


# How much, and how fast


async def test_the_largest_body_is_read_and_one_byte_more_is_not() -> None:
    padded = GOOD + b" " * (body.MAX_BYTES - len(GOOD))

    assert (await read(padded)).to == TO
    with pytest.raises(TooLarge):
        await read(padded + b" ")


async def test_a_declared_length_is_refused_before_a_byte_is_read() -> None:
    """C10."""
    request = request_of([], ("content-length", str(body.MAX_BYTES + 1)), ends=False)
    with pytest.raises(TooLarge):
        await body.read(request, CodeRequestBody)


async def test_no_more_than_the_limit_is_read_of_a_body_without_a_length() -> None:
    """C10: a chunked body may have no end."""
    taken = 0

    def endless() -> Iterable[bytes]:
        nonlocal taken
        while taken < 10 * body.MAX_BYTES:
            taken += 1024
            yield b" " * 1024

    source = iter(endless())

    async def receive() -> dict[str, Any]:
        chunk = next(source, b"")
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    scope = request_of([]).scope
    with pytest.raises(TooLarge):
        await body.read(Request(scope, receive), CodeRequestBody)
    assert taken == body.MAX_BYTES + 1024


@pytest.mark.parametrize("length", ["\xb2", "-1", "1e3", " ", "0" * 5000])
async def test_a_length_that_is_none_is_no_crash(length: str) -> None:
    assert (await read(GOOD, ("content-length", length))).to == TO


async def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    """C22."""
    request = request_of([b'{"to":'], ends=False)
    with pytest.raises(BodyTimeout, match=r"0\.02 s"):
        await body.read(request, CodeRequestBody, deadline=0.02)


async def test_a_client_that_leaves_in_the_middle_is_a_refusal() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(InvalidJson):
        await body.read(Request(request_of([]).scope, receive), CodeRequestBody)


@fuzzed
@given(st.lists(st.binary(max_size=6), max_size=8))
def test_where_a_body_is_cut_on_its_way_changes_nothing(chunks: list[bytes]) -> None:
    data = b"".join(chunks)

    async def outcomes() -> list[object]:
        found: list[object] = []
        for parts in (chunks or [b""], [data]):
            try:
                found.append(await body.read(request_of(parts), CodeRequestBody))
            except Refusal as refused:
                found.append((type(refused), str(refused)))
        return found

    whole, cut = asyncio.run(outcomes())
    assert whole == cut


# Over the service


async def queued(service: Service) -> int:
    """How many codes wait to go out."""
    client: Any = service.container.scripts.connection.client
    return sum([int(await client.xlen(queue)) for queue in keys.queues()])


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"", {}, 400, "invalid_json"),
        (b"[]", {}, 400, "invalid_json"),
        (b"[" * 9000, {}, 400, "invalid_json"),
        (b'{"code": NaN}', {}, 400, "invalid_json"),
        (b"\xef\xbb\xbf" + GOOD, {}, 400, "invalid_json"),
        (b" " * 16385, {}, 413, "too_large"),
        (GOOD, {"Content-Type": "text/plain"}, 415, "not_json"),
        (GOOD, {"Content-Encoding": "gzip"}, 415, "not_json"),
        (b"{}", {}, 422, "invalid_request"),
        (GOOD[:-1] + b', "verified": true}', {}, 422, "invalid_request"),
    ],
)
@pytest.mark.parametrize("path", ["/otp/request", "/otp/verify"])
async def test_what_can_not_be_read_is_a_problem(
    quiet: Service, path: str, data: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    sent = {"Content-Type": "application/json", **headers}

    answer = await quiet.http.post(path, content=data, headers=sent)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await queued(quiet) == 0


async def test_every_field_that_is_wrong_is_told_at_once_and_no_value_is_repeated(
    quiet: Service,
) -> None:
    """N-080: `detail` and `errors` are for the developer, and end up in logs of callers."""
    answer = await quiet.post("/otp/request", to=4155550123, purpose="L0GIN!", extra="marker-1")

    told = {error["field"]: error["reason"] for error in answer.json()["errors"]}
    assert set(told) == {"to", "purpose", "extra"}
    assert told["extra"] == "is not a field of this call"
    for value in ("4155550123", "L0GIN!", "marker-1"):
        assert value not in answer.text


# Over a socket


async def test_a_length_that_lies_gets_no_second_request_in(live: Live) -> None:
    """C10, C24: the bytes beyond the declared length are another request, and a bad one."""
    head = live.head("POST /otp/request HTTP/1.1", Content_Length="2")
    async with live.connection() as wire:
        wire.send(head + GOOD)

        assert (await wire.answer()).status in (400, 422)
        assert await wire.closed()
    assert await queued(live.service) == 0


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 6", b"{}   "),
        ("Content-Length: +5", b"{}   "),
        ("Content-Length: 5, 5", b"{}   "),
        ("Content-Length: -1", b""),
        ("Content-Length: \xb2", b""),
        ("Transfer-Encoding: chunked", b"g\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: xchunked", b"2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding : chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        ("Content-Length : 2", b"{}"),
    ],
)
async def test_a_body_with_two_ends_is_refused_and_the_connection_closed(
    live: Live, framing: str, data: bytes
) -> None:
    """C24, N-065."""
    head = live.head("POST /otp/request HTTP/1.1")[:-2] + framing.encode("latin-1") + b"\r\n\r\n"
    async with live.connection() as wire:
        wire.send(head + data)

        assert (await wire.answer()).status == 400
        assert await wire.closed()


async def test_a_large_declared_body_is_refused_unread(live: Live) -> None:
    """C10."""
    heard = await live.ask("POST /otp/request HTTP/1.1", Content_Length="60000000")

    assert heard.status == 413
    assert json.loads(heard.body)["code"] == "too_large"


class Hasty(DeadlineProtocol):
    """As the real one, with deadlines that a test can wait for."""

    head_seconds = 2.0
    body_seconds = 2.0


async def test_an_endless_chunked_body_is_refused_and_then_cut_off(start_live: LiveStarter) -> None:
    """C10: the answer comes after 16 KiB, and who goes on sending is not listened to for ever."""
    live = await start_live(Hasty, OTP_DELIVER="false")
    head = live.head("POST /otp/request HTTP/1.1", Transfer_Encoding="chunked")
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    async with live.connection() as wire:
        wire.send(head + chunk * 17)

        assert (await wire.answer()).status == 413
        wire.send(chunk)
        assert await wire.closed()


@pytest.mark.parametrize("credential", [True, False])
async def test_a_body_that_trickles_in_is_cut_off(
    start_live: LiveStarter, credential: bool
) -> None:
    """C22: also after the answer was given, which for a stranger is at once."""
    live = await start_live(Hasty, OTP_DELIVER="false")
    left_out = {} if credential else {"Authorization": None}
    head = live.head("POST /otp/request HTTP/1.1", Content_Length="1000", **left_out)
    async with live.connection() as wire:
        wire.send(head + b"{")
        if not credential:
            assert (await wire.answer()).status == 401
        wire.send(b'"')

        assert await wire.closed()


async def test_a_head_that_trickles_in_and_silence_are_cut_off(start_live: LiveStarter) -> None:
    """C21, C23."""
    live = await start_live(Hasty, OTP_DELIVER="false")
    async with live.connection() as silent, live.connection() as slow, live.connection() as second:
        slow.send(b"POST /otp/request HTTP/1.1\r\nHost: x\r\n")
        second.send(live.head("GET /healthz HTTP/1.1"))
        assert (await second.answer()).status == 200
        second.send(b"GET /heal")  # a further request on a kept connection

        assert all([await wire.closed() for wire in (silent, slow, second)])


async def test_the_deadlines_leave_a_call_that_waits_alone(start_live: LiveStarter) -> None:
    """A whole request may take as long as `Prefer: wait` asks: its body has arrived."""
    live = await start_live(Hasty)
    live.service.sandbox.fail(kind="slow", delay=2.5)
    heard = await live.ask("POST /otp/request HTTP/1.1", GOOD, raw_headers={"Prefer": "wait=30"})

    assert heard.status == 202
    assert json.loads(heard.body)["delivery"]["status"] == "accepted"


@pytest.mark.parametrize("late", ["a body", "a head", "nothing"])
async def test_what_comes_behind_a_call_that_waits_has_its_time_once_it_is_read(
    start_live: LiveStarter, late: str
) -> None:
    """The reading stopped with the head behind that call, so nothing of the rest could be in time before."""
    live = await start_live(Hasty)
    live.service.sandbox.fail(kind="slow", delay=2.5)
    length = str(len(GOOD))
    waiting = live.head("POST /otp/request HTTP/1.1", Content_Length=length, Prefer="wait=30")
    behind = live.head("POST /otp/verify HTTP/1.1", Content_Length=length)
    early = behind + GOOD + behind[:99] if late == "a head" else behind
    async with live.connection() as wire:
        wire.send(waiting + GOOD + early)

        assert json.loads((await wire.answer()).body)["delivery"]["status"] == "accepted"
        if late != "nothing":
            wire.send(GOOD if late == "a body" else behind[99:] + GOOD)
            for _ in range(1 if late == "a body" else 2):
                assert (await wire.answer()).status == 422
        else:
            assert await wire.reader.read() == b"", "cut off before its handler tires of it"


def test_the_answer_to_a_slow_body_comes_before_the_connection_is_closed() -> None:
    assert 2 * body.DEADLINE_SECONDS <= DeadlineProtocol.body_seconds <= 10
    assert DeadlineProtocol.head_seconds <= 10
