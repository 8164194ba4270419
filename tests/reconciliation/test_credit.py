"""The SMS gateway's credit is watched, and its end is told of once, before it comes."""

from typing import Any

import pytest

from tests.conftest import Sandbox, Service
from tests.reconciliation.conftest import Traced, may, metric


class Told:
    """Who is to be told of events."""

    def __init__(self, *services: Service) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        for service in services:
            service.container.credit._tell = self

    async def __call__(self, event: str, data: Any) -> None:
        self.events.append((event, dict(data)))


async def send(service: Service, sandbox: Sandbox, balance: object, i: int) -> None:
    sandbox.settings(balance=balance)
    await service.request(subject=str(i), to=f"+1415555{2000 + 7 * i:04}")
    await service.container.credit.report()


async def saw(service: Service, balance: object) -> None:
    """As after a send that told this balance."""
    service.container.credit.seen(balance)
    await service.container.credit.report()


async def readiness(service: Service) -> dict[str, str]:
    return dict((await service.http.get("/readyz")).json()["warnings"])


async def test_falling_below_the_warning_is_told_once_until_it_was_well_above_again(
    start_traced: Traced, sandbox: Sandbox
) -> None:
    service = await start_traced(OTP_WSMS_CREDIT_WARNING="100")
    told = Told(service)

    for i, balance in enumerate([500, 100, 99, 98, 101, 97]):
        await send(service, sandbox, balance, i)
    assert [data["amount"] for _, data in told.events] == ["99"]
    assert metric("otp_wsms_credit") == 97

    await send(service, sandbox, 110, 7)
    await send(service, sandbox, 50, 8)
    assert [data["amount"] for _, data in told.events] == ["99", "50"]
    assert told.events[0] == ("credit.low", {"amount": "99", "unit": None, "warn_below": 100.0})


async def test_several_processes_and_restarts_tell_once(start_traced: Traced) -> None:
    services = [await start_traced(OTP_WSMS_CREDIT_WARNING="100") for _ in range(3)]
    told = Told(*services)
    for i in range(6):
        await saw(services[i % 3], 90 - i)
    later = await start_traced(OTP_WSMS_CREDIT_WARNING="100")
    again = Told(later)
    await saw(later, 40)

    assert len(told.events) == 1
    assert again.events == []


async def test_whoever_dies_while_telling_leaves_it_to_the_next(start_traced: Traced) -> None:
    dying = await start_traced(OTP_WSMS_CREDIT_WARNING="100")

    async def die(event: str, data: Any) -> None:
        raise SystemError

    dying.container.credit._tell = die
    with pytest.raises(SystemError):
        await saw(dying, 50)
    other = await start_traced(OTP_WSMS_CREDIT_WARNING="100")
    told = Told(other)
    await saw(other, 49)
    assert told.events == [], "for a minute it may still be about to tell"
    other.advance(61)
    await saw(other, 48)

    assert [data["amount"] for _, data in told.events] == ["48"]


async def test_readiness_warns_in_every_process_and_stays_ready(
    start_traced: Traced, sandbox: Sandbox
) -> None:
    front = await start_traced(deliver=False, OTP_WSMS_CREDIT_WARNING="100")
    service = await start_traced(OTP_WSMS_CREDIT_WARNING="100")
    sandbox.settings(gateway_name="gatewayapi")
    assert await readiness(front) == {}

    await send(service, sandbox, 12.5, 1)

    assert await readiness(front) == {
        "credit": "the SMS gateway says that 12.5 EUR is left; the warning is at 100"
    }


async def test_nobody_is_told_without_a_warning_set(traced: Service, sandbox: Sandbox) -> None:
    told = Told(traced)
    await send(traced, sandbox, 1, 1)

    assert told.events == []
    assert await readiness(traced) == {}


@pytest.mark.parametrize("balance", ["Unable to check balance!", None, False, {"eur": 3}, 0, "0 "])
async def test_what_is_no_amount_or_may_be_a_failed_query_warns_nobody(
    start_traced: Traced, sandbox: Sandbox, balance: object
) -> None:
    service = await start_traced(OTP_WSMS_CREDIT_WARNING="100")
    told = Told(service)

    await send(service, sandbox, balance, 1)

    assert told.events == []
    assert await readiness(service) == {}


async def test_a_failed_query_is_told_from_an_empty_account_by_asking_the_gateway(
    start_traced: Traced, sandbox: Sandbox
) -> None:
    service = await start_traced(OTP_WSMS_CREDIT_WARNING="100")
    told = Told(service)
    sandbox.fail(kind="balance_error")
    await send(service, sandbox, 500, 1)
    await service.container.credit.poll()
    await service.container.credit.report()
    assert told.events == [], "the gateway can't be asked, so the 0 is no amount"

    sandbox.reset()
    await send(service, sandbox, 0, 2)
    service.advance(601)
    await service.container.credit.poll()
    await service.container.credit.report()
    assert [data["amount"] for _, data in told.events] == ["0"]


async def test_one_process_asks_the_site_every_ten_minutes(
    start_traced: Traced, sandbox: Sandbox
) -> None:
    services = [await start_traced(OTP_WSMS_CREDIT_WARNING="100") for _ in range(2)]
    told = Told(*services)
    sandbox.fail(kind="status", status=500, endpoint="credit", times=10)

    for service in services * 2:
        await service.container.credit.poll()
    assert faults_left(sandbox) == 9
    for service in services:
        service.advance(601)
    await services[1].container.credit.poll()
    assert faults_left(sandbox) == 8
    assert told.events == []


async def test_a_user_who_may_not_read_it_is_told_of_once_and_not_asked_again(
    start_traced: Traced, sandbox: Sandbox, capable: None, capsys: pytest.CaptureFixture[str]
) -> None:
    service = await start_traced()
    may(sandbox, "wpsms_sendsms")
    for _ in range(3):
        await service.container.credit.poll()
        service.advance(601)

    assert capsys.readouterr().out.count("credit.not_allowed") == 1


def faults_left(sandbox: Sandbox) -> int:
    from tests.reconciliation.conftest import faults

    found = faults(sandbox)
    return int(str(found[0]["times"])) if found else 0
