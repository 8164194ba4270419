"""Whatever door a guess comes through, it is counted there, and no way around the count opens another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from otp_service.web.routes import OPERATIONS
from tests.conftest import TO, Service, Starter
from tests.factors.test_totp import confirmed, enroll
from tests.security.test_limits import RIGHT, WRONG, evaluated, hashes, opened, told
from tests.web.hands import plant, redis

Guess = Callable[[int], Awaitable[httpx.Response]]
WIDE = {
    "OTP_COOLDOWN": "1",
    "OTP_LIMIT_RECIPIENT": "1000/1d",
    "OTP_LIMIT_RECIPIENT_TOTAL": "1000/1d",
    "OTP_LIMIT_NUMBER_RANGE": "1000/10m",
    "OTP_DELIVER": "false",
}


async def with_code(
    service: Service, asked: httpx.Response, caller: str = "shop"
) -> dict[str, Any]:
    """The challenge of this answer; its code is RIGHT."""
    assert asked.status_code == 202, asked.text
    challenge: dict[str, Any] = asked.json()
    await plant(service, challenge, RIGHT, caller=caller)
    return challenge


async def of_a_challenge(service: Service) -> Guess:
    challenge = await opened(service, subject="user-1")
    return lambda n: service.verify(challenge, f"{n:06d}")


async def of_an_app(service: Service) -> Guess:
    await confirmed(service)
    return lambda n: service.post(
        "/factors/totp/verify", subject="user-1", code=f"{n:06d}", purpose="login"
    )


async def of_an_enrollment(service: Service) -> Guess:
    enrolled, _ = await enroll(service)
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"
    return lambda n: service.post(path, code=f"{n:06d}")


async def of_recovery(service: Service) -> Guess:
    issued = await service.post("/recovery-codes", subject="user-1")
    assert issued.status_code == 201
    return lambda n: service.post(
        "/recovery-codes/verify", subject="user-1", code=f"ABCD-EFGH-JKMN-{n:04d}", purpose="login"
    )


async def of_an_opt_in(service: Service) -> Guess:
    asked = await service.post("/optin/request", name="Ann", mobile=TO)
    assert asked.json()["status"] == "pending", asked.text
    return lambda n: service.post("/optin/verify", name="Ann", mobile=TO, activation=f"{n:04d}")


DOORS: dict[str, Callable[[Service], Awaitable[Guess]]] = {
    "verifyCode": of_a_challenge,
    "verifyTotp": of_an_app,
    "confirmTotp": of_an_enrollment,
    "redeemRecoveryCode": of_recovery,
    "verifyOptIn": of_an_opt_in,
}


def test_every_call_that_takes_what_can_be_guessed_is_a_door() -> None:
    """A08: a new one says here that it is limited. Proofs, tokens and credentials have 128 bits and more."""
    guessed = {
        operation.name
        for operation in OPERATIONS
        if operation.request and {"code", "activation"} & set(operation.request.model_fields)
    }
    assert guessed == set(DOORS)


@pytest.mark.parametrize("door", DOORS)
async def test_no_door_evaluates_more_than_ten_guesses(door: str, start_service: Starter) -> None:
    """A08, A10: of sixty, most are refused for their number, and every one is still an orderly refusal."""
    service = await start_service(OTP_OPTIN_MODE="wsms")
    service.sandbox.settings(newsletter_form_verify=True)
    guess = await DOORS[door](service)
    answers = [await guess(n) for n in range(60)]

    assert all(400 <= answer.status_code < 500 for answer in answers)
    assert sum(told(answer) == (400, "invalid_code") for answer in answers) <= 10
    assert told(answers[-1])[1] != "invalid_code"


async def test_canceling_and_asking_anew_brings_no_guesses(start_service: Starter) -> None:
    """A04's cousin: who ends a challenge himself before its tries are used up gets none of them back."""
    service = await start_service(**WIDE)
    answers = []
    for _ in range(8):
        service.advance(2)
        asked = await service.post("/otp/request", to=TO, purpose="login", subject="user-1")
        if asked.status_code == 429:
            answers.append(asked)
            break
        challenge = await with_code(service, asked)
        answers += [await service.verify(challenge, WRONG) for _ in range(2)]
        await service.post("/otp/cancel", challenge_id=challenge["challenge_id"])

    assert sum(map(evaluated, answers)) == 10
    assert told(answers[-1]) == (429, "subject_blocked")


async def test_who_hangs_up_gets_no_second_guess_under_the_same_key(
    start_service: Starter,
) -> None:
    """A12, B14: a run that broke off is taken up by the same call only; another code under its key is not compared."""
    service = await start_service(OTP_HASH_PASSES="10", OTP_HASH_MEMORY_KIB="262144", **WIDE)
    challenge = await opened(service, subject="user-1")
    key = {"Idempotency-Key": "one-and-the-same"}
    body = {"challenge_id": challenge["challenge_id"], "purpose": "login"}
    before = hashes()
    call = asyncio.create_task(service.post("/otp/verify", headers=key, code=WRONG, **body))
    while hashes() == before:
        assert not call.done()
        await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    answers = [
        await service.post("/otp/verify", headers=key, code=f"33333{n}", **body) for n in range(9)
    ]
    assert {told(answer) for answer in answers} == {(422, "idempotency_key_reused")}
    assert hashes() == before + 1
    again = await service.post("/otp/verify", headers=key, code=WRONG, **body)
    assert told(again) == (400, "invalid_code")
    assert again.json()["attempts_remaining"] <= 4


async def test_a_key_that_is_forgotten_accepts_no_code_again(start_service: Starter) -> None:
    """B01, B14: when the memory of a call is gone, the challenge still knows that its code was used."""
    service = await start_service(**WIDE)
    challenge = await opened(service)
    body = {"challenge_id": challenge["challenge_id"], "code": RIGHT, "purpose": "login"}
    key = {"Idempotency-Key": "will-be-forgotten"}
    assert (await service.post("/otp/verify", headers=key, **body)).status_code == 200
    replayed = await service.post("/otp/verify", headers=key, **body)
    assert replayed.headers["idempotency-replayed"] == "true"

    remembered = [name async for name in redis(service).scan_iter("otp:idempotent:*")]
    assert len(remembered) == 1
    await redis(service).delete(*remembered)
    assert told(await service.post("/otp/verify", headers=key, **body)) == (410, "challenge_used")


async def test_what_was_answered_before_is_told_to_who_may_still_ask(
    start_service: Starter,
) -> None:
    """F03, F14, B16: the memory of a call is no way around a scope that was taken away, nor around a revocation."""
    service = await start_service(**WIDE)
    web = await service.caller("web")
    asked = await service.post("/otp/request", headers=web, to=TO, purpose="login")
    challenge = await with_code(service, asked, "web")
    body = {"challenge_id": challenge["challenge_id"], "code": RIGHT, "purpose": "login"}
    key = {"Idempotency-Key": "the-proof-is-in-it"}
    first = await service.post("/otp/verify", headers={**web, **key}, **body)
    assert first.status_code == 200

    narrowed = await service.caller("web", "otp:request")
    another = await start_service(**WIDE)  # which has not read the caller before
    refused = await another.post("/otp/verify", headers={**narrowed, **key}, **body)
    assert told(refused) == (403, "insufficient_scope")
    assert first.json()["proof"] not in refused.text
