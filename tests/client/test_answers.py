"""Answers of something else, and of a service that is older or newer than the client."""

import re
from pathlib import Path
from typing import Any

import pytest

from otp_service.client import (
    ChallengeNotFound,
    InvalidCode,
    Refused,
    Unavailable,
    UnexpectedResponse,
    results,
    wire,
)
from otp_service.client.code_calls import cancel, redeem_proof
from otp_service.client.factor_calls import remove_factor
from otp_service.client.results import Delivery
from otp_service.core import challenge
from tests.client.conftest import opened
from tests.client.scripted import Reply, Scripted, problem

FINE = {"challenge_id": "x", "status": "canceled", "ended_at": "2026-11-23T12:00:00.000Z"}


def read(reply: Reply, call: Any = None) -> Any:
    """Read it as the answer to a cancel."""
    kind = "application/problem+json" if reply.status >= 400 else "application/json"
    headers = {
        "content-type": reply.media_type or kind,
        "x-request-id": "the-request",
        **reply.headers,
    }
    answer = wire.Answer(status=reply.status, headers=headers, content=reply.content())
    return wire.read(call or cancel(challenge_id="x"), answer)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>hello", media_type="text/html"),
        Reply(200, FINE, media_type="text/plain"),
        Reply(200, FINE, media_type="application/problem+json"),
        Reply(200, b"{"),
        Reply(200, b"[" * 100_000),
        Reply(200, b"\xff\xfe{}"),
        Reply(200, []),
        Reply(200, {}),
        Reply(200, {**FINE, "status": "approved"}),
        Reply(200, {**FINE, "ended_at": "2026-11-23T12:00:00"}),
        Reply(200, {**FINE, "ended_at": "soon"}),
        Reply(200, b""),
        Reply(204, b""),
        Reply(302, b"", headers={"location": "https://elsewhere.example/"}),
        Reply(404, {"detail": "Not Found"}, media_type="application/json"),
        Reply(404, b"nothing here", media_type="text/plain"),
        Reply(403, {"title": "no code"}),
        Reply(500, b"oops", media_type="text/html"),
    ],
)
def test_what_no_otp_service_would_answer_is_said_to_be_that(reply: Reply) -> None:
    with pytest.raises(UnexpectedResponse, match=f"status {reply.status}"):
        read(reply)


def test_a_verification_that_says_no_by_a_success_is_no_yes() -> None:
    with pytest.raises(UnexpectedResponse, match="active"):
        read(Reply(200, {"active": "yes", "client_id": "c"}), redeem_proof(proof="otpp_x"))


def test_an_answer_without_a_body_has_none() -> None:
    call = remove_factor(factor_id="x")
    headers: dict[str, str] = {}

    assert wire.read(call, wire.Answer(status=204, headers=headers, content=b"")) is None


def test_members_of_a_newer_service_do_no_harm() -> None:
    assert read(Reply(200, {**FINE, "news": 1})).challenge_id == "x"


def test_an_unknown_refusal_is_a_refusal_with_all_it_says() -> None:
    with pytest.raises(Refused) as refused:
        read(problem(409, "of_tomorrow", detail="Sleep first.", retry_after=3, moon="full"))

    error = refused.value
    assert type(error) is Refused
    assert (error.code, error.detail, error.retry_after) == ("of_tomorrow", "Sleep first.", 3)
    assert error.data["moon"] == "full"
    assert (error.status, error.request_id) == (409, "the-request")
    assert str(error) == "of_tomorrow: of_tomorrow (request the-request)"


def test_a_refusal_without_the_data_of_its_class_is_a_plain_one() -> None:
    with pytest.raises(Refused) as refused:
        read(problem(400, "invalid_code"))

    assert not isinstance(refused.value, InvalidCode)


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (Reply(503, b"<html>", headers={"retry-after": "7"}, media_type="text/html"), 7),
        (Reply(504, b"", headers={"retry-after": "Mon, 23 Nov 2026 12:00:00 GMT"}), None),
        (problem(503, "of_tomorrow"), None),
        (problem(500, "internal"), None),
    ],
)
def test_who_cannot_decide_is_unavailable_whoever_says_so(
    reply: Reply, seconds: int | None
) -> None:
    with pytest.raises(Unavailable) as away:
        read(reply)

    assert away.value.retry_after == seconds


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_redirect_is_not_followed_with_the_credential(
    scripted: Scripted, kind: str
) -> None:
    scripted.script = [Reply(307, b"", headers={"Location": f"{scripted.url}/elsewhere"})]

    async with opened(kind, scripted.url) as otp:
        with pytest.raises(UnexpectedResponse):
            await otp.cancel(challenge_id="x")

    assert [seen.path for seen in scripted.seen] == ["/otp/cancel"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_endless_answer_is_cut(scripted: Scripted, kind: str) -> None:
    scripted.script = [Reply(200, b" " * (wire.MAX_ANSWER_BYTES + 1))]

    async with opened(kind, scripted.url) as otp:
        with pytest.raises(UnexpectedResponse, match="no end"):
            await otp.cancel(challenge_id="x")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_service_behind_a_path_is_found(scripted: Scripted, kind: str) -> None:
    scripted.script = [Reply(200, FINE)]

    async with opened(kind, f"{scripted.url}/second/factor/") as otp:
        await otp.cancel(challenge_id="x")

    assert scripted.seen[0].path == "/second/factor/otp/cancel"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_id_stays_one_segment_of_the_path(scripted: Scripted, kind: str) -> None:
    scripted.script = [problem(404, "challenge_not_found")]

    async with opened(kind, f"{scripted.url}/otp-service") as otp:
        for odd in ("..", "../x", "a?b#c"):
            with pytest.raises(ChallengeNotFound):
                await otp.challenge(challenge_id=odd)

    paths = [seen.path for seen in scripted.seen]
    assert paths == [f"/otp-service/otp/{s}" for s in ("%2E%2E", "%2E%2E%2Fx", "a%3Fb%23c")]


@pytest.mark.parametrize(
    ("status", "reason", "may"),
    [
        ("failed", "no_route", False),
        ("failed", "dropped_by_site", False),
        ("failed", "reported_by_site", True),
        ("failed", "refused_by_site", True),
        ("unknown", "timeout", True),
        ("accepted", None, True),
        ("queued", None, False),
        ("none", None, False),
    ],
)
def test_a_delivery_says_whether_it_may_have_arrived(
    status: str, reason: str | None, may: bool
) -> None:
    assert Delivery(status=status, reason=reason).may_have_arrived is may


def test_reasons_that_may_have_arrived_are_the_same_everywhere(root: Path) -> None:
    """The client has its own copy; the contract, README and CHANGELOG name each of them."""
    assert results.MAY_HAVE_ARRIVED == challenge.MAY_HAVE_ARRIVED
    exception = re.compile(r"(?:Exception: a `failed` delivery|Only with|except) [^.,;]*")
    for name in ("README.md", "CHANGELOG.md", "openapi.json"):
        [told] = [
            each for each in exception.findall((root / name).read_text()) if "_by_site" in each
        ]
        assert {*re.findall("`([a-z_]+_by_site)`", told)} == challenge.MAY_HAVE_ARRIVED, name
