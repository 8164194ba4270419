"""Opt-in on WSMS 7.2.8: a site that refuses every code for a while, and one that undoes subscriptions."""

import asyncio

import httpx
import pytest

from tests.conftest import TO, Sandbox, Service, Starter
from tests.optin.test_opt_in import PERSON, active, ask, confirm, until_message

LOCALES = pytest.mark.parametrize("locale", ["en_US", "de_DE"])


@pytest.fixture
async def site_draws(start_service: Starter, sandbox: Sandbox) -> Service:
    sandbox.settings(newsletter_form_verify=True)
    return await start_service(OTP_OPTIN_MODE="wsms", OTP_LIMIT_RECIPIENT="100/1d,50/10m")


@pytest.fixture
async def own_code(start_service: Starter) -> Service:
    return await start_service(OTP_OPTIN_MODE="service")


def guess_at_the_site(service: Service) -> None:
    """Type ten wrong codes there from the service's own address, unknown to the service."""
    settings = service.settings
    url = f"{service.sandbox.url}/wp-json/wpsms/v1/newsletter/verify"
    auth = (settings.wsms_username, settings.wsms_application_password.get_secret_value())
    with httpx.Client(auth=auth, trust_env=False) as client:
        for _ in range(10):
            client.post(url, json={**PERSON, "activation": service.wrong_code()})


async def use_up_tries(service: Service, headers: dict[str, str] | None = None) -> None:
    """Ask, and type five wrong codes."""
    await service.post("/optin/request", headers=headers, **PERSON)
    for _ in range(5):
        await service.post("/optin/verify", headers=headers, **PERSON, activation="0000")


def old_release(service: Service) -> None:
    """Make the site judge codes again, as if its 15 minutes were over: only the service's time moves in tests."""
    service.sandbox.settings(wsms_version="7.2")


async def test_a_refusal_of_every_code_costs_no_try(site_draws: Service) -> None:
    await ask(site_draws)
    guess_at_the_site(site_draws)

    refused = [await confirm(site_draws, site_draws.code()) for _ in range(7)]
    old_release(site_draws)
    wrong = await confirm(site_draws, site_draws.wrong_code())
    right = await confirm(site_draws, site_draws.code())

    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert answer.json()["limit"] == "site_codes"
        assert answer.headers["retry-after"] == "60"
    assert wrong.json()["attempts_remaining"] == 4
    assert right.status_code == 200


async def test_parallel_refusals_cost_no_try(site_draws: Service) -> None:
    await ask(site_draws)
    guess_at_the_site(site_draws)

    await asyncio.gather(*(confirm(site_draws, site_draws.code()) for _ in range(4)))
    old_release(site_draws)

    wrong = await confirm(site_draws, site_draws.wrong_code())
    assert wrong.json()["attempts_remaining"] == 4


@LOCALES
async def test_own_count_foresees_the_refusal(site_draws: Service, locale: str) -> None:
    """In any language, and the site is not asked: a wrong code would be judged without costing a try."""
    site_draws.sandbox.settings(locale=locale)
    await use_up_tries(site_draws, await site_draws.caller("other"))
    await use_up_tries(site_draws)
    site_draws.advance(120)
    await ask(site_draws)
    old_release(site_draws)

    refused = [await confirm(site_draws, site_draws.code()) for _ in range(7)]
    site_draws.advance(int(refused[0].headers["retry-after"]))
    right = await confirm(site_draws, site_draws.code())

    for answer in refused:
        assert (answer.status_code, answer.json()["limit"]) == (429, "site_codes")
        assert 600 < int(answer.headers["retry-after"]) <= 900
    assert right.status_code == 200


@pytest.mark.parametrize("subscribed", [False, True])
async def test_guesses_tell_no_stranger_who_is_subscribed(
    start_service: Starter, sandbox: Sandbox, subscribed: bool
) -> None:
    sandbox.settings(newsletter_form_verify=True)
    service = await start_service(
        OTP_OPTIN_MODE="wsms",
        OTP_LIMIT_RECIPIENT="100/1d",
        OTP_LOCKOUT_SHORT="30/30m",
        OTP_LOCKOUT_LONG="60/1d",
    )
    if subscribed:
        await ask(service)
        await confirm(service, service.code())
    for _ in range(2):
        service.advance(120)
        await use_up_tries(service)
    service.advance(120)
    await ask(service)

    assert (await confirm(service, "0000")).json()["limit"] == "site_codes"


async def test_a_right_code_deletes_the_count(site_draws: Service) -> None:
    await use_up_tries(site_draws, await site_draws.caller("other"))
    await ask(site_draws)
    for _ in range(4):
        await confirm(site_draws, site_draws.wrong_code())
    assert (await confirm(site_draws, site_draws.code())).status_code == 200
    await site_draws.post("/optin/unsubscribe", **PERSON)
    site_draws.advance(120)
    await ask(site_draws)

    assert (await confirm(site_draws, site_draws.wrong_code())).status_code == 400
    assert (await confirm(site_draws, site_draws.code())).status_code == 200


@LOCALES
async def test_a_refused_activation_is_a_failed_send(site_draws: Service, locale: str) -> None:
    site_draws.sandbox.settings(locale=locale)
    site_draws.sandbox.fail(kind="provider_error", times=1, text="no credit")

    asked = await ask(site_draws)
    typed = [await confirm(site_draws, "1234") for _ in range(7)]
    site_draws.advance(asked.json()["resend_in"])
    again = await ask(site_draws)
    right = await confirm(site_draws, site_draws.code())

    assert (asked.status_code, asked.json()["status"]) == (202, "pending")
    assert asked.json()["delivery"] == {"status": "failed", "reason": "refused_by_site"}
    assert {answer.json()["code"] for answer in typed} == {"code_not_sent"}
    assert again.json()["delivery"] == {"status": "accepted", "reason": None}
    assert right.status_code == 200


async def test_a_repeated_call_tells_the_failed_send_again(site_draws: Service) -> None:
    site_draws.sandbox.fail(kind="provider_error", times=1)
    key = {"Idempotency-Key": "k1"}

    first = await site_draws.http.post("/optin/request", json=PERSON, headers=key)
    second = await site_draws.http.post("/optin/request", json=PERSON, headers=key)

    assert first.json()["delivery"]["status"] == "failed"
    assert second.json() == first.json()
    assert site_draws.sandbox.messages() == []


@LOCALES
async def test_an_undone_subscription_is_told_and_repeated(own_code: Service, locale: str) -> None:
    own_code.sandbox.settings(locale=locale, newsletter_form_welcome=True)
    asked = await ask(own_code)
    await until_message(own_code)
    code = own_code.code()
    own_code.sandbox.fail(kind="provider_error", times=1)

    undone = await confirm(own_code, code)
    repeated = await confirm(own_code, code)

    assert asked.json()["delivery"]["status"] == "queued"
    assert (undone.status_code, undone.json()["code"]) == (503, "subscription_undone")
    assert "retry-after" not in undone.headers
    assert repeated.status_code == 200
    assert active(own_code.sandbox) == {TO: True}


async def test_a_translated_site_tells_by_its_rows_who_is_subscribed(site_draws: Service) -> None:
    await ask(site_draws)
    await confirm(site_draws, site_draws.code())
    site_draws.sandbox.settings(locale="de_DE")
    site_draws.advance(3600)

    known = await ask(site_draws)

    assert known.status_code == 202
    assert known.json()["delivery"] == {"status": "accepted", "reason": None}
    assert len(site_draws.sandbox.messages()) == 1
