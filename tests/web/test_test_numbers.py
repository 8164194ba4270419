"""Test numbers: whom they let in without a phone, and whom not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otp_service.settings.environment import SettingsError, load
from tests.conftest import Sandbox, Service, Starter, base_environment

REVIEWER = "+14155550177"
CODE = "246801"
TODAY = datetime.now(UTC).date()


def numbers(**change: str) -> dict[str, str]:
    return {
        "OTP_TEST_NUMBERS": f"shop/{REVIEWER}={CODE}",
        "OTP_TEST_NUMBERS_UNTIL": str(TODAY + timedelta(days=2)),
        **change,
    }


async def ask(
    service: Service, headers: dict[str, str] | None = None, **body: Any
) -> dict[str, Any]:
    answer = await service.post(
        "/otp/request", headers={"Prefer": "wait=30", **(headers or {})},
        **{"to": REVIEWER, "purpose": "login", **body},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def test_a_reviewer_gets_in_with_the_code_that_was_told_and_no_sms_is_sent(
    start_service: Starter, sandbox: Sandbox
) -> None:
    service = await start_service(**numbers())
    asked = await ask(service)

    assert asked["delivery"] == {"status": "accepted", "reason": "test_number"}
    assert sandbox.messages(REVIEWER) == []
    verified = await service.verify(asked, CODE)
    assert verified.status_code == 200
    assert verified.json()["proof"]
    assert (await service.verify(asked, CODE)).json()["code"] == "challenge_used"  # as any code


@pytest.mark.parametrize(
    ("fictional", "reason"),
    [
        ("+447700900123", "not_a_number"),
        ("+15555550123", "not_a_number"),
        ("+442079460958", "cannot_receive_sms"),
    ],
)
async def test_a_fictional_number_is_a_test_number_only(
    start_service: Starter, sandbox: Sandbox, fictional: str, reason: str
) -> None:
    """D06."""
    service = await start_service(**numbers(OTP_TEST_NUMBERS=f"shop/{fictional}={CODE}"))
    asked = await ask(service, to=fictional)
    assert asked["delivery"]["reason"] == "test_number"
    assert (await service.verify(asked, CODE)).status_code == 200

    bank = await service.caller("bank")
    for sent, headers in ((fictional, bank), (f"{fictional[:-1]}7", None)):
        answer = await service.post("/otp/request", headers=headers, to=sent, purpose="login")
        assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert sandbox.messages(fictional) == []


async def test_its_code_has_no_more_tries_than_any_other(start_service: Starter) -> None:
    service = await start_service(**numbers(OTP_MAX_ATTEMPTS="3"))
    asked = await ask(service)

    wrong = [(await service.verify(asked, "135790")).json()["code"] for _ in range(3)]
    assert wrong == ["invalid_code", "invalid_code", "challenge_exhausted"]
    assert (await service.verify(asked, CODE)).status_code != 200


async def refused_and_sent(
    service: Service, sandbox: Sandbox, headers: dict[str, str] | None = None
) -> None:
    """The number is one like all others: a drawn code goes there, and the known one is wrong."""
    asked = await ask(service, headers)
    assert asked["delivery"] == {"status": "accepted", "reason": None}
    assert len(sandbox.messages(REVIEWER)) == 1
    if sandbox.code(REVIEWER) != CODE:
        answer = await service.post(
            "/otp/verify", headers=headers, purpose="login",
            challenge_id=asked["challenge_id"], code=CODE,
        )  # fmt: skip
        assert answer.status_code != 200


async def test_to_another_caller_it_is_a_number_like_all_others(
    start_service: Starter, sandbox: Sandbox
) -> None:
    service = await start_service(**numbers())
    await refused_and_sent(service, sandbox, await service.caller("bank"))


@pytest.mark.parametrize(
    "change",
    [
        {"OTP_TEST_NUMBERS_UNTIL": str(TODAY - timedelta(days=1))},
        {"OTP_TEST_NUMBERS_UNTIL": str(TODAY)},
        {"OTP_CODE_DIGITS": "8"},
        {"OTP_TEST_NUMBERS": f"shop/{REVIEWER[:-1]}8={CODE}"},
    ],
    ids=["ended yesterday", "ended this midnight", "longer codes", "another number"],
)
async def test_when_it_is_over_or_does_not_fit_it_is_a_number_like_all_others(
    start_service: Starter, sandbox: Sandbox, change: dict[str, str]
) -> None:
    await refused_and_sent(await start_service(**numbers(**change)), sandbox)


async def test_a_number_is_found_however_it_is_spelled(start_service: Starter) -> None:
    service = await start_service(**numbers(OTP_TEST_NUMBERS=f"shop/+1 415-555-0177={CODE}"))
    asked = await ask(service, to="+1 (415) 555 0177")
    assert (await service.verify(asked, CODE)).status_code == 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"OTP_TEST_NUMBERS_UNTIL": str(TODAY + timedelta(days=92))},
            "OTP_TEST_NUMBERS_UNTIL: must be within 90 days",
        ),
        (
            {"OTP_TEST_NUMBERS_UNTIL": "soon"},
            "OTP_TEST_NUMBERS_UNTIL: must be a day such as 2027-01-31",
        ),
        (
            {"OTP_TEST_NUMBERS": f"{REVIEWER}={CODE}"},
            "OTP_TEST_NUMBERS: entry 1: write caller/+number=code, with the name",
        ),
        (
            {"OTP_TEST_NUMBERS": f"shop/{REVIEWER}={CODE},shop/123={CODE}"},
            "OTP_TEST_NUMBERS: entry 2: not one valid number",
        ),
        (
            {"OTP_TEST_NUMBERS": f"shop/{REVIEWER}={CODE},shop/+1 415 555 0177=975310"},
            "OTP_TEST_NUMBERS: entry 2: stands there twice",
        ),
        *(
            (
                {"OTP_TEST_NUMBERS": f"shop/{REVIEWER}={code}"},
                "OTP_TEST_NUMBERS: entry 1: its code must be 6 to 10 digits",
            )
            for code in ("", "24680", "12345x", "24680135791")
        ),
        *(
            (
                {"OTP_TEST_NUMBERS": f"shop/{REVIEWER}={code}"},
                "OTP_TEST_NUMBERS: entry 1: its code is what everybody tries first",
            )
            for code in ("000000", "123456", "654321", "567890")
        ),
    ],
)
def test_test_numbers_that_could_let_anybody_in_do_not_start(
    ring: str, change: dict[str, str], told: str
) -> None:
    environment = base_environment("redis://127.0.0.1:1", "http://127.0.0.1:1", ring)
    with pytest.raises(SettingsError) as refused:
        load({**environment, **numbers(**change)})

    [line] = refused.value.lines
    assert line.startswith(told)
    for secret in (REVIEWER, CODE, "24680", "12345x", "000000", "654321", "567890"):
        assert secret not in line


def test_test_numbers_without_an_end_do_not_start(ring: str) -> None:
    environment = base_environment("redis://127.0.0.1:1", "http://127.0.0.1:1", ring)
    without_end = {"OTP_TEST_NUMBERS": f"shop/{REVIEWER}={CODE}"}
    with pytest.raises(SettingsError) as refused:
        load({**environment, **without_end})
    assert refused.value.lines == (
        "OTP_TEST_NUMBERS_UNTIL: is required with OTP_TEST_NUMBERS: an end date such as "
        f"{TODAY + timedelta(days=90)}",
    )


def test_settings_that_are_shown_hold_no_number_and_no_code(ring: str) -> None:
    environment = base_environment("redis://127.0.0.1:1", "http://127.0.0.1:1", ring)
    settings = load({**environment, **numbers()})
    assert settings.known_codes().codes == {("shop", REVIEWER): CODE}
    shown = f"{settings!r}{settings.known_codes()!r}{settings.model_dump_json()}"
    assert REVIEWER not in shown
    assert CODE not in shown


async def test_a_test_number_has_one_budget_for_guesses(start_service: Starter) -> None:
    """A04: its code stays the same, so another subject, or another caller, brings no new guesses at it."""
    service = await start_service(
        **numbers(
            OTP_TEST_NUMBERS=f"shop/{REVIEWER}={CODE},bank/{REVIEWER}=135791",
            OTP_COOLDOWN="1",
            OTP_LIMIT_RECIPIENT="100/1d",
            OTP_LIMIT_RECIPIENT_TOTAL="100/1d",
        )
    )
    bank = await service.caller("bank")
    codes = []
    for n, headers in enumerate((None, bank, None, bank, None)):
        service.advance(2)
        asked = await ask(service, headers=headers, subject=f"user-{n}")
        sent = {"challenge_id": asked["challenge_id"], "code": "135790", "purpose": "login"}
        for _ in range(5):
            codes.append(
                (await service.post("/otp/verify", headers=headers, **sent)).json()["code"]
            )

    assert codes.count("invalid_code") + codes.count("challenge_exhausted") == 10
    assert set(codes[10:]) == {"subject_blocked"}
    service.advance(61)
    other = await ask(service, to="+14155550178")
    assert (await service.verify(other, service.code("+14155550178"))).status_code == 200
    service.advance(1800)
    assert (await service.verify(await ask(service), CODE)).status_code == 200


async def test_right_codes_of_a_test_number_use_up_nothing(start_service: Starter) -> None:
    """A reviewer may log in as often as the other limits allow."""
    service = await start_service(
        **numbers(
            OTP_COOLDOWN="1",
            OTP_LIMIT_RECIPIENT="100/1d",
            OTP_LIMIT_RECIPIENT_TOTAL="100/1d",
            OTP_LOCKOUT_SHORT="3/30m",
        )
    )
    for _ in range(5):
        service.advance(2)
        asked = await ask(service)
        assert (await service.verify(asked, CODE)).status_code == 200
        mismatch = await service.verify(asked, CODE, purpose="signup")
        assert mismatch.json()["code"] == "challenge_mismatch"
