"""Whose clock counts: Redis', in steps since 1970, whatever the process, its time zone or a phone think of the time."""

import subprocess
import sys
import time

import pyotp
import pytest

from otp_service.core.totp import Authenticator
from tests.conftest import Service, Starter
from tests.factors.test_totp import confirmed, enroll, now, verify

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
HOUR = 3600


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_process_whose_clock_is_an_hour_off_accepts_by_redis_clock(
    service: Service, ahead: int
) -> None:
    """X20: between the clocks lies an hour; what the process' own says is no code, and what Redis' says is one."""
    service.advance(ahead)
    await (
        service.container.history.tick()
    )  # a clock set back is noticed; its steps are refused for a minute
    service.advance(60)
    _, app = await confirmed(service)

    own = await verify(service, app.at(int(time.time())))
    redis = await verify(service, app.at(await now(service)))

    assert own.json()["code"] == "invalid_code"
    assert redis.status_code == 200


@pytest.mark.parametrize("steps", [-2, 1, 2])
async def test_a_code_of_another_step_is_refused(service: Service, steps: int) -> None:
    """B26."""
    _, app = await confirmed(service)

    answer = await verify(service, app.at(await now(service) + 30 * steps))

    assert answer.json()["code"] == "invalid_code"


async def test_a_code_of_the_past_step_is_accepted_unless_strictly_30_seconds_are_asked_for(
    start_service: Starter,
) -> None:
    """B26, N-022."""
    usual, strict = await start_service(), await start_service(OTP_TOTP_PAST_STEPS="0")
    headers = await usual.caller("shop")
    usual.http.headers.update(headers)
    strict.http.headers.update(headers)
    _, app = await confirmed(usual)
    strict.advance(60)

    past = app.at(await now(usual) - 30)

    assert (await verify(strict, past)).json()["code"] == "invalid_code"
    assert (await verify(usual, past)).status_code == 200


async def test_a_clock_set_back_opens_no_step_again(service: Service) -> None:
    """B27: not the very code, and not one of a step that passed unused."""
    _, app = await confirmed(service)
    moment = await now(service)
    assert (await verify(service, app.at(moment))).status_code == 200

    service.advance(-300)
    await service.container.history.tick()  # notices it: not in the middle of a call
    for earlier in (moment, moment - 30, moment - 300, moment - 330):
        assert (await verify(service, app.at(earlier))).json()["code"] == "invalid_code"
    service.advance(330)

    assert (await verify(service, app.at(await now(service)))).status_code == 200


async def test_the_step_that_confirmed_is_spent(service: Service) -> None:
    """B22: the first code is one too."""
    enrolled, app = await enroll(service)
    code = app.at(await now(service))
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"
    assert (await service.post(path, code=code)).status_code == 200

    assert (await verify(service, code)).json()["code"] == "invalid_code"


@pytest.mark.parametrize(
    ("authenticator", "wrong"), [({}, "1234567"), ({}, "12345678"), ({"digits": 8}, "123456")]
)
async def test_a_code_of_another_length_spends_no_try(
    service: Service, authenticator: dict[str, int], wrong: str
) -> None:
    enrolled, app = await enroll(service, **authenticator)
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"

    for _ in range(6):
        refused = await service.post(path, code=wrong)
        assert refused.json()["errors"] == [
            {"field": "code", "reason": f"must have {app.digits} digits"}
        ]
    assert (await service.post(path, code=app.at(await now(service)))).status_code == 200
    for _ in range(11):
        assert (await verify(service, wrong)).status_code == 422
    service.advance(60)
    assert (await verify(service, app.at(await now(service)))).status_code == 200


# 25 October 2026, 02:00 CEST; an hour later it is 02:00 again, now CET: local times that mean two moments.
FOLD = 1_792_886_400
IN_ANOTHER_ZONE = """
import datetime, time, pyotp
from otp_service.core.totp import Authenticator
seed, fold = {seed!r}, {fold}
ours, theirs = Authenticator(seed=seed), pyotp.TOTP(seed)
for now in range(fold - 3600, fold + 7200, 450):
    naive = theirs.at(datetime.datetime.fromtimestamp(now).replace(fold=0))
    print(now, ours.matching_step(ours.code(now // 30), now=now), ours.code(now // 30), naive)
"""


def told(zone: str) -> list[list[str]]:
    script = IN_ANOTHER_ZONE.format(seed=SEED, fold=FOLD)
    found = subprocess.run(
        [sys.executable, "-c", script], env={"TZ": zone}, capture_output=True, text=True, check=True
    )
    return [line.split() for line in found.stdout.splitlines()]


def test_the_hour_that_comes_twice_in_autumn_changes_no_code() -> None:
    """B32. The negative control: pyotp with naive local times, as many use it, is off for that hour."""
    berlin, utc = told("Europe/Berlin"), told("UTC")

    assert [row[:3] for row in berlin] == [row[:3] for row in utc]
    assert all(int(step) == int(unix) // 30 for unix, step, _, _ in berlin)
    off = [row for row in berlin if row[2] != row[3]]
    assert len(off) == 8
    assert [row[2] for row in utc] == [row[3] for row in utc]


def test_a_step_is_an_integer_that_pyotp_agrees_with() -> None:
    theirs, ours = pyotp.TOTP(SEED), Authenticator(seed=SEED)

    for unix in (0, 29, 30, FOLD, 2**31, 2**32):
        assert ours.code(unix // 30) == theirs.at(unix)
