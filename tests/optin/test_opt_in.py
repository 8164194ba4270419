"""The story of a sign-up form: double opt-in, with the site's code or with ours."""

import asyncio
import hashlib
import json
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from tests.conftest import TO, Sandbox, Service, Starter

PERSON = {"name": "Ann Lee", "mobile": TO}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The site draws the codes, unless a test says otherwise."""
    return {**environment, "OTP_OPTIN_MODE": "wsms"}


@pytest.fixture
def verifying(sandbox: Sandbox) -> Sandbox:
    """A site with double opt-in."""
    sandbox.settings(newsletter_form_verify=True)
    return sandbox


def active(sandbox: Sandbox) -> dict[str, bool]:
    """The subscribers by number, and whether each is active."""
    return {row["mobile"]: row["active"] for row in sandbox.state()["subscribers"]}


async def ask(service: Service, **more: Any) -> httpx.Response:
    return await service.post("/optin/request", **PERSON, **more)


async def confirm(service: Service, activation: str, **more: Any) -> httpx.Response:
    return await service.post("/optin/verify", **PERSON, activation=activation, **more)


async def test_the_activation_of_the_site_confirms_the_subscription_once(
    verifying: Sandbox, service: Service
) -> None:
    asked = await ask(service)
    assert asked.status_code == 202
    assert asked.json() == {
        "status": "pending",
        "mobile": "+1•••••23",
        "expires_in": 1800,
        "resend_in": 30,
        "delivery": {"status": "accepted", "reason": None},
    }
    assert active(verifying) == {TO: False}

    first = await confirm(service, service.code())
    second = await confirm(service, service.code())

    assert first.status_code == 200
    assert first.json()["status"] == "subscribed"
    assert active(verifying) == {TO: True}
    assert second.json()["code"] == "challenge_used"


async def test_tries_are_limited_before_the_site_is_asked(
    verifying: Sandbox, service: Service
) -> None:
    """The site itself takes 300 wrong codes and then the right one [037]."""
    await ask(service)
    wrong = service.wrong_code()

    answers = [(await confirm(service, wrong)).json() for _ in range(6)]

    assert [a.get("attempts_remaining") for a in answers] == [4, 3, 2, 1, None, None]
    assert (await confirm(service, service.code())).json()["code"] == "challenge_exhausted"
    assert active(verifying) == {}  # lest the site's own public form goes on with the row


async def test_an_activation_expires(verifying: Sandbox, service: Service) -> None:
    """The site itself takes a code of two years ago [037]."""
    await ask(service)
    service.advance(1801)

    assert (await confirm(service, service.code())).json()["code"] == "challenge_expired"


@pytest.mark.parametrize("typed", ["+946", "3700e0", "54.0", "12 345", "0x1F", ""])
async def test_only_four_digits_reach_the_site(
    verifying: Sandbox, service: Service, typed: str
) -> None:
    """The site compares loosely: "+9464", "5401.0" and "3700e0" pass there [035]."""
    await ask(service)

    answer = await confirm(service, typed)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "activation"
    assert (await confirm(service, service.code())).status_code == 200


async def test_digits_of_other_scripts_are_understood(verifying: Sandbox, service: Service) -> None:
    await ask(service)
    persian = service.code().translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))

    assert (await confirm(service, persian)).status_code == 200


async def test_asking_again_inside_a_group_leaves_only_the_new_code_valid(
    verifying: Sandbox, service: Service
) -> None:
    """The site would add a second row, and then the old code is the valid one [039]."""
    group = verifying.group("News")
    await ask(service, group_id=group)
    service.advance(30)
    assert (await ask(service, group_id=group)).status_code == 202
    newest, oldest = [m["message"][-4:] for m in verifying.messages()]

    assert verifying.state()["subscribers_total"] == 1
    if newest != oldest:
        assert (await confirm(service, oldest, group_id=group)).json()["code"] == "invalid_code"
    assert (await confirm(service, newest, group_id=group)).status_code == 200


@pytest.mark.parametrize("group", [[1], "1", 1.5, True, 0, -1, []])
async def test_a_group_is_one_integer(verifying: Sandbox, service: Service, group: Any) -> None:
    """For a list the site answers 200 and verifies nothing [040]."""
    await ask(service)

    answer = await confirm(service, service.code(), group_id=group)

    assert answer.status_code == 422
    assert active(verifying) == {TO: False}


async def test_an_unknown_group_is_the_callers_mistake(
    verifying: Sandbox, service: Service
) -> None:
    answer = await ask(service, group_id=99)

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "group_id", "reason": "is refused by the site"}]


async def test_one_person_is_one_subscriber_however_the_number_is_typed(
    verifying: Sandbox, service: Service
) -> None:
    """On the site +44… and 44… are different subscribers, and verifying one activates the other [041]."""
    await ask(service)

    answer = await service.post(
        "/optin/verify", name="Ann Lee", mobile="+1 (415) 555-0123", activation=service.code()
    )

    assert answer.status_code == 200
    assert active(verifying) == {TO: True}


async def test_a_code_of_one_caller_does_not_confirm_for_another(
    verifying: Sandbox, service: Service
) -> None:
    await ask(service)
    stranger = await service.caller("stranger")

    answer = await service.post(
        "/optin/verify", headers=stranger, **PERSON, activation=service.code()
    )

    assert answer.json()["code"] == "challenge_not_found"


async def test_asking_is_limited_as_every_send_is(verifying: Sandbox, service: Service) -> None:
    await ask(service)

    answer = await ask(service)

    assert answer.status_code == 429
    assert answer.json()["limit"] == "cooldown"
    assert len(verifying.messages()) == 1


async def test_the_receipt_can_be_checked_with_the_published_key(
    verifying: Sandbox, service: Service
) -> None:
    await ask(service, consent_text="Yes, send me news.", consent_version="2026-11", locale="en")
    answer = await confirm(service, service.code())

    keys = KeySet.import_key_set((await service.http.get("/.well-known/jwks.json")).json())
    receipt = jws.deserialize_compact(answer.json()["receipt"], keys, algorithms=["ES256"])

    claims = json.loads(receipt.payload)
    assert receipt.headers()["typ"] == "consent-receipt+jws"
    assert claims["aud"] == "shop"
    assert claims["method"] == "double_opt_in_sms"
    assert claims["consent"]["version"] == "2026-11"
    assert claims["consent"]["text_sha256"] == hashlib.sha256(b"Yes, send me news.").hexdigest()
    assert claims["recipient"]["masked"] == "+1•••••23"
    assert "4155550123" not in receipt.payload.decode()


async def test_unsubscribing_is_idempotent(service: Service) -> None:
    """On the site the second call is a 400 [050]."""
    await ask(service)

    answers = [await service.post("/optin/unsubscribe", **PERSON) for _ in range(2)]

    assert [a.json() for a in answers] == [{"status": "unsubscribed", "mobile": "+1•••••23"}] * 2
    assert active(service.sandbox) == {}


async def test_when_the_answer_to_the_right_code_is_lost_the_same_code_confirms_later(
    verifying: Sandbox, service: Service
) -> None:
    await ask(service)
    verifying.fail(kind="drop_after", endpoint="newsletter/verify", times=1)

    first = await confirm(service, service.code())
    second = await confirm(service, service.code())

    assert first.status_code == 503
    assert second.status_code == 200
    assert active(verifying) == {TO: True}


async def test_with_our_own_code_only_its_confirmation_adds_the_subscriber(
    start_service: Starter,
) -> None:
    service = await start_service(OTP_OPTIN_MODE="service")
    asked = await service.post("/optin/request", **PERSON)
    assert asked.json()["status"] == "pending"
    assert active(service.sandbox) == {}
    await until_message(service)

    assert (await confirm(service, service.wrong_code())).json()["attempts_remaining"] == 4
    assert active(service.sandbox) == {}
    first = await confirm(service, service.code())
    second = await confirm(service, service.code())

    assert first.status_code == 200
    assert active(service.sandbox) == {TO: True}
    assert second.json()["code"] == "challenge_used"


async def test_with_our_own_code_a_site_that_is_away_loses_nothing(start_service: Starter) -> None:
    service = await start_service(OTP_OPTIN_MODE="service")
    await service.post("/optin/request", **PERSON)
    await until_message(service)
    service.sandbox.fail(kind="maintenance", endpoint="newsletter", times=1)

    first = await confirm(service, service.code())
    second = await confirm(service, service.code())

    assert first.status_code == 503
    assert second.status_code == 200
    assert active(service.sandbox) == {TO: True}


async def test_a_get_confirms_nothing(verifying: Sandbox, service: Service) -> None:
    await ask(service)

    answer = await service.http.get("/optin/verify")

    assert answer.status_code == 405
    assert active(verifying) == {TO: False}


async def until_message(service: Service, to: str = TO) -> None:
    """Wait until the phone has got one."""
    async with asyncio.timeout(60):
        while not service.sandbox.messages(to):
            await asyncio.sleep(0)
