"""The same opt-in call again, after the site's answer was a failure or got lost."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from otp_service.connections import site_client
from tests.conftest import TO, Sandbox, Service, Starter
from tests.optin.test_opt_in import PERSON, active, until_message
from tests.web.hands import redis

NOTHING_DONE: list[Mapping[str, Any]] = [{"kind": "status", "status": 401}, {"kind": "maintenance"}]
UNCERTAIN: list[Mapping[str, Any]] = [
    {"kind": "html"},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 500},
    {"kind": "drop_before"},
    {"kind": "drop_after"},
]


def named(fault: Mapping[str, Any]) -> str:
    return f"{fault['kind']}{fault.get('status', '')}"


async def call(service: Service, path: str, key: str, **more: Any) -> httpx.Response:
    return await service.http.post(path, json={**PERSON, **more}, headers={"Idempotency-Key": key})


async def forget_answers(service: Service) -> None:
    """As if the process had died before it kept its answers."""
    for key in await redis(service).keys("otp:idempotent:*"):
        await redis(service).hdel(key, "answer")
        await redis(service).hset(key, "busy_until", 0)


@pytest.fixture
async def site_draws(start_service: Starter, sandbox: Sandbox) -> Service:
    sandbox.settings(newsletter_form_verify=True)
    return await start_service(OTP_OPTIN_MODE="wsms")


@pytest.fixture
async def own_code(start_service: Starter) -> Service:
    return await start_service(OTP_OPTIN_MODE="service")


@pytest.mark.parametrize("fault", NOTHING_DONE, ids=named)
async def test_a_request_that_the_site_never_took_is_made_again(
    site_draws: Service, fault: Mapping[str, Any]
) -> None:
    site_draws.sandbox.fail(**fault, endpoint="newsletter", times=1)

    first = await call(site_draws, "/optin/request", "k1")
    second = await call(site_draws, "/optin/request", "k1")

    assert (first.status_code, second.status_code) == (503, 202)
    assert len(site_draws.sandbox.messages()) == 1
    assert (await call(site_draws, "/optin/verify", "k2", activation=site_draws.code())).is_success


@pytest.mark.parametrize("fault", UNCERTAIN, ids=named)
async def test_a_request_with_a_lost_answer_waits_and_is_made_again(
    site_draws: Service, fault: Mapping[str, Any]
) -> None:
    """A code may be under way, so another one is a send of its own, which the cooldown bounds."""
    site_draws.sandbox.fail(**fault, endpoint="newsletter", times=1)

    first = await call(site_draws, "/optin/request", "k1")
    at_once = await call(site_draws, "/optin/request", "k1")
    sent = len(site_draws.sandbox.messages())
    site_draws.advance(int(first.headers["retry-after"]))
    later = await call(site_draws, "/optin/request", "k1")

    assert (first.status_code, first.headers["retry-after"]) == (503, "30")
    assert (at_once.status_code, at_once.json()["limit"]) == (429, "cooldown")
    assert later.status_code == 202
    assert len(site_draws.sandbox.messages()) == sent + 1
    assert (await call(site_draws, "/optin/verify", "k2", activation=site_draws.code())).is_success


async def test_a_request_whose_answer_was_not_kept_sends_nothing_more(site_draws: Service) -> None:
    await call(site_draws, "/optin/request", "k1")
    await forget_answers(site_draws)

    again = await call(site_draws, "/optin/request", "k1")

    assert again.status_code == 202
    assert again.json()["resend_in"] == 30
    assert len(site_draws.sandbox.messages()) == 1


@pytest.mark.parametrize("fault", NOTHING_DONE + UNCERTAIN, ids=named)
@pytest.mark.parametrize("mode", ["wsms", "service"])
async def test_a_right_code_with_a_lost_answer_succeeds_again(
    start_service: Starter, sandbox: Sandbox, fault: Mapping[str, Any], mode: str
) -> None:
    sandbox.settings(newsletter_form_verify=mode == "wsms")
    service = await start_service(OTP_OPTIN_MODE=mode)
    await call(service, "/optin/request", "k1")
    await until_message(service)
    code = service.code()
    sandbox.fail(**fault, endpoint="newsletter/verify" if mode == "wsms" else "newsletter", times=1)

    first = await call(service, "/optin/verify", "k2", activation=code)
    second = await call(service, "/optin/verify", "k2", activation=code)

    assert (first.status_code, second.status_code) == (503, 200)
    assert second.json()["receipt"]
    assert active(sandbox) == {TO: True}


@pytest.mark.parametrize("mode", ["wsms", "service"])
async def test_a_right_code_whose_answer_was_not_kept_succeeds_again(
    start_service: Starter, sandbox: Sandbox, mode: str
) -> None:
    sandbox.settings(newsletter_form_verify=mode == "wsms")
    service = await start_service(OTP_OPTIN_MODE=mode)
    await call(service, "/optin/request", "k1")
    await until_message(service)
    code = service.code()
    first = await call(service, "/optin/verify", "k2", activation=code)
    await forget_answers(service)

    second = await call(service, "/optin/verify", "k2", activation=code)
    third = await call(service, "/optin/verify", "k3", activation=code)

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json()["confirmed_at"] == first.json()["confirmed_at"]
    assert third.json()["code"] == "challenge_used"


async def test_an_outage_at_the_check_costs_no_tries(site_draws: Service) -> None:
    await call(site_draws, "/optin/request", "k1")
    site_draws.sandbox.fail(kind="status", status=401, endpoint="newsletter/verify", times=12)

    away = [
        await call(site_draws, "/optin/verify", f"v{n}", activation=site_draws.code())
        for n in range(4)
    ]
    site_draws.sandbox.ask("PUT", "faults", json=[])
    wrong = await call(site_draws, "/optin/verify", "w", activation=site_draws.wrong_code())
    right = await call(site_draws, "/optin/verify", "r", activation=site_draws.code())

    assert {answer.status_code for answer in away} == {503}
    assert wrong.json()["attempts_remaining"] == 4
    assert right.status_code == 200


async def test_one_key_is_one_try_however_often_it_comes(site_draws: Service) -> None:
    await call(site_draws, "/optin/request", "k1")
    site_draws.sandbox.fail(kind="drop_before", endpoint="newsletter/verify", times=4)
    for _ in range(4):
        await call(site_draws, "/optin/verify", "same", activation=site_draws.code())

    wrong = await call(site_draws, "/optin/verify", "w", activation=site_draws.wrong_code())

    assert wrong.json()["attempts_remaining"] == 3


async def test_a_lost_answer_to_a_wrong_code_confirms_no_other(site_draws: Service) -> None:
    """The row is gone, but no right code has made it go."""
    await call(site_draws, "/optin/request", "k1")
    site_draws.sandbox.fail(kind="drop_after", endpoint="newsletter/verify", times=1)
    wrong = site_draws.wrong_code()
    assert (await call(site_draws, "/optin/verify", "w", activation=wrong)).status_code == 503
    row = site_draws.sandbox.state()["subscribers"][0]["id"]
    async with site_client(site_draws.settings) as site:
        await site.newsletter.delete_row(row)

    answer = await call(site_draws, "/optin/verify", "r", activation=site_draws.code())

    assert answer.json()["code"] == "invalid_code"


@pytest.mark.parametrize("fault", NOTHING_DONE + UNCERTAIN, ids=named)
async def test_an_unsubscription_with_a_lost_answer_succeeds_again(
    own_code: Service, fault: Mapping[str, Any]
) -> None:
    await call(own_code, "/optin/request", "k1")
    await until_message(own_code)
    await call(own_code, "/optin/verify", "k2", activation=own_code.code())
    own_code.sandbox.fail(**fault, endpoint="newsletter/unsubscribe", times=1)

    first = await own_code.post("/optin/unsubscribe", **PERSON)
    second = await own_code.post("/optin/unsubscribe", **PERSON)

    assert (first.status_code, second.status_code) == (503, 200)
    assert active(own_code.sandbox) == {}


async def test_a_refused_request_leaves_the_earlier_one_alone(site_draws: Service) -> None:
    await call(site_draws, "/optin/request", "k1")
    site_draws.advance(30)
    site_draws.sandbox.fail(kind="status", status=401, endpoint="newsletter", times=1)
    await call(site_draws, "/optin/request", "k2")

    confirmed = await call(site_draws, "/optin/verify", "k3", activation=site_draws.code())

    assert confirmed.status_code == 200
