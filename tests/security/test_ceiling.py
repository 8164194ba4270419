"""A second factor brings no second budget: wrong codes of a subject have one ceiling over all factors."""

from typing import Any

import httpx
import pyotp

from tests.conftest import Service, Starter
from tests.factors.test_auto_channel import wrong
from tests.factors.test_totp import confirmed, now
from tests.security.test_doors import RIGHT, WIDE
from tests.security.test_limits import MINUTE, WRONG, evaluated, opened, told

USER = "user-1"


async def guess_sms(service: Service, times: int) -> list[httpx.Response]:
    answers: list[httpx.Response] = []
    while len(answers) < times:
        service.advance(2)
        challenge = await opened(service, subject=USER)
        for _ in range(min(5, times - len(answers))):
            answers.append(await service.verify(challenge, WRONG))
    return answers


async def guess_app(service: Service, app: pyotp.TOTP, times: int) -> list[httpx.Response]:
    """Wrong codes of an authenticator, which no step within reach has."""
    return [
        await try_app(service, wrong(app.at(await now(service)), n)) for n in range(1, times + 1)
    ]


async def try_app(service: Service, code: str) -> httpx.Response:
    return await service.post("/factors/totp/verify", subject=USER, code=code, purpose="login")


async def guess_recovery(service: Service, times: int) -> list[httpx.Response]:
    return [
        await service.post("/recovery-codes/verify", subject=USER, code="0" * 16, purpose="login")
        for _ in range(times)
    ]


async def blocks(service: Service) -> dict[str, Any]:
    (found,) = (await service.post("/timeline", subject=USER)).json()["timelines"]
    return {block["factor"]: block["blocked_until"] for block in found["blocks"]}


async def test_all_factors_together_evaluate_fifteen_guesses(start_service: Starter) -> None:
    """A04, A08: ten by SMS, ten by app and ten recovery codes were thirty in half an hour."""
    service = await start_service(**WIDE)
    _, app = await confirmed(service, USER)
    await service.post("/recovery-codes", subject=USER)

    answers = await guess_sms(service, 10)
    answers += await guess_app(service, app, 10)
    answers += await guess_recovery(service, 10)

    assert sum(map(evaluated, answers)) == 15
    assert {told(answer) for answer in answers[15:]} == {(429, "subject_blocked")}
    assert set(await blocks(service)) == {"sms", "totp", "recovery"}
    service.advance(30 * MINUTE)
    assert evaluated((await guess_recovery(service, 1))[0])


async def test_blocked_sms_leaves_tries_for_an_authenticator(start_service: Starter) -> None:
    """A stranger who guesses codes by SMS must not lock the person out of the other factor."""
    service = await start_service(**WIDE)
    _, app = await confirmed(service, USER)
    await guess_sms(service, 10)
    service.advance(30)

    mistyped = (await guess_app(service, app, 4))[-1]

    assert mistyped.json()["attempts_remaining"] == 1
    assert (await try_app(service, app.at(await now(service)))).status_code == 200
    assert set(await blocks(service)) == {"sms"}
    # Success has cleared the ceiling, and the authenticator's own count.
    assert all(map(evaluated, await guess_app(service, app, 10)))


async def test_a_code_to_ones_own_number_keeps_the_ceiling(start_service: Starter) -> None:
    """A04, A08: the caller names the number, so a right SMS code says nothing about older guesses."""
    service = await start_service(**WIDE)
    _, app = await confirmed(service, USER)
    await guess_app(service, app, 9)
    for _ in range(6):
        service.advance(2)
        assert (await service.verify(await opened(service, subject=USER), RIGHT)).status_code == 200

    answers = await guess_sms(service, 10)

    assert sum(map(evaluated, answers)) == 6


async def test_enrolling_an_authenticator_keeps_the_counts(start_service: Starter) -> None:
    """A04, A08: an enrolment without proof shows nothing about the person."""
    service = await start_service(**WIDE)
    _, app = await confirmed(service, USER)
    await guess_app(service, app, 9)
    await confirmed(service, USER)

    assert [evaluated(answer) for answer in await guess_app(service, app, 3)] == [
        True,
        False,
        False,
    ]


async def test_a_day_over_all_factors_has_thirty_guesses(start_service: Starter) -> None:
    """A07."""
    service = await start_service(**WIDE)
    _, app = await confirmed(service, USER)
    await service.post("/recovery-codes", subject=USER)
    answers: list[httpx.Response] = []
    for _ in range(8):
        answers += await guess_app(service, app, 5)
        answers += await guess_recovery(service, 5)
        service.advance(61 * MINUTE)

    assert sum(map(evaluated, answers)) == 30


async def test_confirmations_count_in_the_ceiling(start_service: Starter) -> None:
    """A08: enrolling again brought five more guesses each time."""
    service = await start_service(**WIDE)
    answers: list[httpx.Response] = []
    for _ in range(4):
        enrolled = (await service.post("/factors/totp", subject=USER, account_name="a")).json()
        right = pyotp.TOTP(enrolled["secret"]).at(await now(service))
        path = f"/factors/totp/{enrolled['factor_id']}/confirm"
        answers += [await service.post(path, code=wrong(right, n)) for n in range(1, 6)]
        await service.http.delete(f"/factors/{enrolled['factor_id']}")

    assert sum(map(evaluated, answers)) == 15
    assert {told(answer) for answer in answers[15:]} == {(429, "subject_blocked")}


async def test_unblocking_gives_five_tries_below_the_ceiling(start_service: Starter) -> None:
    service = await start_service(**WIDE)
    _, app = await confirmed(service, USER)
    await guess_sms(service, 8)
    await guess_app(service, app, 8)
    assert {"sms", "totp"} <= set(await blocks(service))

    freed = await service.post("/subjects/unblock", subject=USER, factor="totp", reason="ticket 17")

    assert freed.json()["tries"] == 5
    answers = await guess_app(service, app, 6)
    assert [evaluated(answer) for answer in answers] == [True] * 5 + [False]


async def test_a_streak_at_one_factor_disables_no_other(start_service: Starter) -> None:
    """A07: the row that blocks until somebody is freed is each factor's own."""
    service = await start_service(OTP_LOCKOUT_CONSECUTIVE="10", **WIDE)
    _, app = await confirmed(service, USER)
    await guess_sms(service, 10)
    service.advance(31 * MINUTE)

    assert await blocks(service) == {"sms": None}
    assert (await try_app(service, app.at(await now(service)))).status_code == 200
