"""
What the WSMS site does wrong, end to end: how the delivery is told of, how many SMS there are, and who is spared.

`failed` only where the message provably never reached the gateway; all else is `unknown`, and nothing is sent again.
"""

from typing import Any

import pytest

from tests.conftest import TO, Service, Starter
from tests.reliability.harness import count, number

# Only where it is waited for: on a busy machine any answer may take a second.
SHORT = {"OTP_WSMS_DEADLINE": "4"}

# The fault, the delivery's status and reason, and how many SMS the phone gets.
FAULTS: dict[str, tuple[dict[str, Any], str, str | None, int]] = {
    "X26 hangs, unsent": ({"kind": "hang"}, "unknown", "timeout", 0),
    "X26 sends, then hangs": ({"kind": "hang", "sent": True}, "unknown", "timeout", 1),
    "X27 resets before sending": ({"kind": "drop_before"}, "unknown", "connection_lost", 0),
    "X27 resets after sending": ({"kind": "drop_after"}, "unknown", "connection_lost", 1),
    "X24 the provider fails": ({"kind": "provider_error"}, "unknown", "gateway_error", 0),
    "X24 the provider fails after sending": (
        {"kind": "provider_error_after_sending"}, "unknown", "gateway_error", 1,
    ),
    "X24 500": ({"kind": "status", "status": 500}, "unknown", "server_error", 0),
    "X24 500 after sending": (
        {"kind": "status", "status": 500, "sent": True}, "unknown", "server_error", 1,
    ),
    "503 of a proxy after sending": (
        {"kind": "status", "status": 503, "sent": True}, "unknown", "server_error", 1,
    ),
    "maintenance": ({"kind": "maintenance"}, "failed", "maintenance", 0),
    "X28 drips": ({"kind": "drip", "interval": 0.5, "sent": True}, "unknown", "timeout", 1),
    "X29 HTML": ({"kind": "html"}, "unknown", "not_wsms", 0),
    "X29 HTML after sending": ({"kind": "html", "sent": True}, "unknown", "not_wsms", 1),
    "X29 nothing": ({"kind": "empty", "sent": True}, "unknown", "not_wsms", 1),
    "X29 too much": ({"kind": "huge", "sent": True}, "unknown", "too_large", 1),
    "X29 half of it": ({"kind": "truncated", "sent": True}, "unknown", "connection_lost", 1),
    "X30 401": ({"kind": "status", "status": 401}, "failed", "not_authorized", 0),
    "X30 403": ({"kind": "status", "status": 403}, "failed", "capability_missing", 0),
    "X31 429": ({"kind": "status", "status": 429, "retry_after": "7"}, "failed", "rate_limited", 0),
    "a redirect": ({"kind": "redirect"}, "unknown", "redirected", 0),
    "queued": ({"kind": "queued"}, "unknown", "background", 0),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_whatever_the_site_does_a_code_is_sent_at_most_once_and_told_of_truly(
    fault: tuple[dict[str, Any], str, str | None, int], start_service: Starter
) -> None:
    """I4, D-8."""
    how, status, reason, sms = fault
    service = await start_service(**(SHORT if reason == "timeout" else {}))
    service.sandbox.fail(**how)  # for as long as anybody asks: a second try would be seen

    challenge = await service.request()

    assert challenge["delivery"] == {"status": status, "reason": reason}
    assert (await service.look(challenge))["delivery"] == challenge["delivery"]
    if how["kind"] == "queued":  # the site sends when it likes
        return
    assert len(service.sandbox.messages()) == sms
    if sms:
        assert (await service.verify(challenge, service.code())).status_code == 200
    else:
        service.sandbox.reset()
        service.advance(31)
        await the_person_asks_again(service, challenge, waits=status == "failed")


async def the_person_asks_again(
    service: Service, challenge: dict[str, Any], *, waits: bool
) -> None:
    """With the site well again a resend works, unless the site itself or the breaker asked for patience."""
    answer = await service.post(
        "/otp/resend",
        headers={"Prefer": "wait=30"},
        challenge_id=challenge["challenge_id"],
    )
    if answer.status_code == 503:
        assert waits
        assert int(answer.headers["Retry-After"]) >= 1
        return
    assert answer.json()["delivery"] == {"status": "accepted", "reason": None}
    assert (await service.verify(challenge, service.code())).status_code == 200


async def test_a_failed_code_that_nobody_got_burns_no_guess(start_service: Starter) -> None:
    """X30: there is no digest left to compare with."""
    service = await start_service()
    service.sandbox.fail(kind="status", status=401, times=1)
    challenge = await service.request()
    answer = await service.verify(challenge, "000000")
    assert (answer.status_code, answer.json()["code"]) == (409, "code_not_sent")
    assert (await service.look(challenge))["attempts_remaining"] == 5


async def test_a_site_that_keeps_failing_is_spared_and_callers_told_at_once(
    start_service: Starter,
) -> None:
    """X32: once the breaker is open nothing is opened, counted or sent; what is out can be verified."""
    service = await start_service(OTP_LIMIT_NUMBER_RANGE="1000/10m")
    before = await service.request()
    code = service.code()
    service.sandbox.fail(kind="status", status=500)
    failed = [await service.request(to=number(i)) for i in range(1, 6)]
    assert {c["delivery"]["status"] for c in failed} == {"unknown"}

    answers = [
        await service.post("/otp/request", to=number(i), purpose="login") for i in range(6, 9)
    ]
    assert count(answers) == {"unavailable": 3}
    assert all(1 <= int(a.headers["Retry-After"]) <= 30 for a in answers)
    ready = await service.http.get("/readyz")
    assert (ready.status_code, list(ready.json()["warnings"])) == (200, ["sms"])
    assert (await service.verify(before, code)).status_code == 200
    assert len(service.sandbox.messages(TO)) == 1
