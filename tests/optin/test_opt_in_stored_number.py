"""A site that stores another number than the one that was to be subscribed (`mobile_county_code`)."""

import pytest

from otp_service.core.recipients import is_same_number
from tests.conftest import TO, Sandbox, Service, Starter
from tests.optin.test_opt_in import active, ask, confirm, until_message
from tests.optin.test_opt_in_modes import subscribe_by_hand

MODES = pytest.mark.parametrize("mode", ["wsms", "service"])
REWRITTEN = f"+44{TO.removeprefix('+')}"


async def started(start_service: Starter, sandbox: Sandbox, mode: str, **more: str) -> Service:
    sandbox.settings(newsletter_form_verify=mode == "wsms")
    return await start_service(OTP_OPTIN_MODE=mode, **more)


@pytest.mark.parametrize("locale", ["en_US", "de_DE"])
@MODES
async def test_another_number_stored_gives_no_receipt(
    start_service: Starter, sandbox: Sandbox, mode: str, locale: str
) -> None:
    service = await started(start_service, sandbox, mode)
    sandbox.settings(mobile_county_code="+44", locale=locale)

    answer = await ask(service)
    if mode == "service":
        await until_message(service)
        answer = await confirm(service, service.code())

    assert (answer.status_code, answer.json()["code"]) == (503, "site_misconfigured")
    assert "mobile_county_code" in answer.json()["detail"]
    assert "retry-after" not in answer.headers
    assert active(sandbox) == {}


@MODES
async def test_a_corrected_site_stores_the_number(
    start_service: Starter, sandbox: Sandbox, mode: str
) -> None:
    service = await started(start_service, sandbox, mode)
    sandbox.settings(mobile_county_code="+44")
    await ask(service)
    if mode == "service":
        await until_message(service)
        await confirm(service, service.code())
    sandbox.settings(mobile_county_code="")
    if mode == "wsms":
        assert (await confirm(service, "1234")).json()["code"] == "code_not_sent"
        service.advance(60)
        await ask(service)

    assert (await confirm(service, service.code())).status_code == 200
    assert active(sandbox) == {TO: True}


async def test_rows_of_others_stay_when_a_number_is_rewritten(
    start_service: Starter, sandbox: Sandbox
) -> None:
    """One that was stored before under the same wrong number, by the site's own form."""
    service = await started(start_service, sandbox, "service")
    group = sandbox.group("News")
    subscribe_by_hand(service, REWRITTEN)
    sandbox.settings(mobile_county_code="+44")
    await ask(service, group_id=group)
    await until_message(service)

    answer = await confirm(service, service.code(), group_id=group)

    assert answer.status_code == 503
    assert active(sandbox) == {REWRITTEN: True}


@MODES
async def test_a_failed_look_up_is_made_up_for_by_the_same_code(
    start_service: Starter, sandbox: Sandbox, mode: str
) -> None:
    service = await started(start_service, sandbox, mode)
    await ask(service)
    await until_message(service)
    sandbox.fail(kind="status", status=500, endpoint="subscribers", times=1)

    failed = await confirm(service, service.code())
    repeated = await confirm(service, service.code())

    assert (failed.status_code, failed.headers["retry-after"]) == (503, "5")
    assert (repeated.status_code, repeated.json()["status"]) == (200, "subscribed")
    assert active(sandbox) == {TO: True}


async def test_a_failed_look_up_at_the_request_waits_for_the_next(
    start_service: Starter, sandbox: Sandbox
) -> None:
    service = await started(start_service, sandbox, "wsms")
    sandbox.fail(kind="status", status=500, endpoint="subscribers", times=1)

    failed = await ask(service)
    right = await confirm(service, service.code())

    assert (failed.status_code, failed.headers["retry-after"]) == (503, "30")
    assert right.status_code == 200  # the code that went out is good


@MODES
async def test_a_legacy_spelling_is_subscribed(
    start_service: Starter, sandbox: Sandbox, mode: str
) -> None:
    service = await started(start_service, sandbox, mode, OTP_REGIONS="MX")
    person = {"name": "Ann Lee", "mobile": "+52 1 55 1234 5678"}
    await service.post("/optin/request", **person)
    await until_message(service, "+525512345678")

    code = service.code("+525512345678")
    answer = await service.post("/optin/verify", **person, activation=code)

    assert answer.status_code == 200
    assert active(sandbox) == {"+525512345678": True}


@pytest.mark.parametrize(
    ("listed", "same"),
    [
        ("+525512345678", True),
        ("525512345678", True),
        ("+5215512345678", True),
        ("5215512345678", True),
        ("+44525512345678", False),
        ("+525512345679", False),
        ("055 1234 5678", False),
        ("", False),
    ],
)
def test_a_number_is_known_in_every_spelling(listed: str, same: bool) -> None:
    assert is_same_number(listed, "+525512345678") is same
