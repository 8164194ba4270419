"""Sign-ups share neither connections nor the circuit breaker with login codes, and they are bounded."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import Sandbox, Service, Starter
from tests.reliability.harness import SiteGate, eventually, gate_before_site

NUMBERS = [f"+1415555{n:04d}" for n in (123, 1234, 2345, 3456, 4567, 5678, 6789)]


@pytest.fixture
async def site_gate(sandbox: Sandbox) -> AsyncIterator[SiteGate]:
    """A gate before the site, shut."""
    async with gate_before_site(sandbox) as found:
        yield found


async def sign_up(service: Service, mobile: str) -> httpx.Response:
    return await service.post("/optin/request", name="Ann Lee", mobile=mobile)


async def unsubscribe(service: Service, mobile: str) -> httpx.Response:
    return await service.post("/optin/unsubscribe", name="Ann Lee", mobile=mobile)


async def test_sign_ups_of_one_caller_leave_room_for_another(
    start_service: Starter, site_gate: SiteGate
) -> None:
    site = {"OTP_WSMS_URL": site_gate.url, "OTP_OPTIN_MODE": "wsms"}
    service = await start_service(**site, OTP_OPTIN_CONCURRENCY="3")
    service.sandbox.settings(newsletter_form_verify=True)
    flood = [asyncio.create_task(sign_up(service, number)) for number in NUMBERS[:2]]
    await eventually(lambda: site_gate.arrived == 2, "a caller's sign-ups asking the site")
    other = await service.caller("other")

    wish = {"name": "Ann Lee", "mobile": NUMBERS[2]}
    newcomer = asyncio.create_task(service.post("/optin/request", headers=other, **wish))
    await eventually(
        lambda: site_gate.arrived == 3 or newcomer.done(), "the other caller's sign-up"
    )
    site_gate.open.set()

    assert (await newcomer).status_code == 202
    assert [(await each).status_code for each in flood] == [202] * 2


async def test_sign_ups_beyond_the_bound_are_503_at_once(
    start_service: Starter, site_gate: SiteGate
) -> None:
    site = {"OTP_WSMS_URL": site_gate.url, "OTP_OPTIN_MODE": "wsms"}
    service = await start_service(**site, OTP_OPTIN_CONCURRENCY="3")
    service.sandbox.settings(newsletter_form_verify=True)
    first = [asyncio.create_task(sign_up(service, number)) for number in NUMBERS[:2]]
    await eventually(lambda: site_gate.arrived == 2, "both sign-ups asking the site")

    shed = await sign_up(service, NUMBERS[2])
    leaving = asyncio.create_task(unsubscribe(service, NUMBERS[3]))
    await eventually(lambda: site_gate.arrived == 3, "an unsubscription in the kept place")
    shed_verify = await service.post(
        "/optin/verify", name="Ann Lee", mobile=NUMBERS[2], activation="1234"
    )
    shed_unsubscribe = await unsubscribe(service, NUMBERS[2])
    site_gate.open.set()
    answers = await asyncio.gather(*first)
    again = await sign_up(service, NUMBERS[2])

    assert (await leaving).status_code < 300
    for answer in (shed, shed_verify, shed_unsubscribe):
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert [answer.status_code for answer in (*answers, again)] == [202] * 3


async def test_login_codes_go_out_while_sign_ups_wait_for_the_site(
    start_service: Starter, sandbox: Sandbox
) -> None:
    service = await start_service(OTP_OPTIN_MODE="wsms", OTP_DELIVERY_CONCURRENCY="1")
    sandbox.settings(newsletter_form_verify=True)
    sandbox.fail(kind="hang", endpoint="newsletter")
    waiting = [asyncio.create_task(sign_up(service, number)) for number in NUMBERS[1:4]]

    challenge = await service.request()

    assert challenge["delivery"]["status"] == "accepted"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_failing_newsletter_leaves_login_codes_alone(
    service: Service, sandbox: Sandbox
) -> None:
    sandbox.fail(kind="status", status=500, endpoint="newsletter")
    for number in NUMBERS[1:]:  # more failures than open a breaker
        await sign_up(service, number)

    challenge = await service.request()

    assert challenge["delivery"]["status"] == "accepted"


@pytest.mark.parametrize("mode", ["wsms", "service"])
async def test_the_process_ceiling_counts_sign_ups(start_service: Starter, mode: str) -> None:
    service = await start_service(OTP_OPTIN_MODE=mode, OTP_LIMIT_PROCESS="2/1h")
    service.sandbox.settings(newsletter_form_verify=mode == "wsms")
    assert (await sign_up(service, NUMBERS[0])).status_code == 202
    assert (await service.request(to=NUMBERS[1]))["delivery"]["status"] == "accepted"

    refused = [
        await sign_up(service, NUMBERS[2]),
        await service.post("/otp/request", to=NUMBERS[3], purpose="login"),
    ]

    assert [answer.json()["limit"] for answer in refused] == ["process"] * 2


async def test_codes_of_sign_ups_leave_places_for_login_codes(
    start_service: Starter, sandbox: Sandbox
) -> None:
    service = await start_service(
        OTP_OPTIN_MODE="service", OTP_DELIVERY_CONCURRENCY="2", OTP_WSMS_DEADLINE="5"
    )
    hanging = [{"kind": "hang", "to": number} for number in NUMBERS[1:3]]
    sandbox.ask("PUT", "faults", json=hanging)
    for number in NUMBERS[1:3]:
        assert (await sign_up(service, number)).status_code == 202

    challenge = await service.request(wait=3)

    assert challenge["delivery"]["status"] == "accepted"


async def test_sign_ups_queue_only_while_the_queues_are_short(start_service: Starter) -> None:
    service = await start_service(
        OTP_OPTIN_MODE="service", OTP_DELIVER="false", OTP_LIMIT_NUMBER_RANGE="100/10m"
    )

    answers = [await sign_up(service, f"+14155550{n:03d}") for n in range(100, 133)]
    login = await service.post("/otp/request", to=NUMBERS[1], purpose="login")

    shed = [answer for answer in answers if answer.status_code == 503]
    assert shed  # 33 sign-ups, 16 queues, two in each
    assert {answer.json()["code"] for answer in shed} == {"overloaded"}
    assert login.status_code == 202
