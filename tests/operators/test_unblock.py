"""A help desk frees a person: with a reason, audited, seldom, and nothing is forgotten."""

import json
import time
from typing import Any

import pyotp
import pytest
import redis

from otp_service.core.audit import person
from otp_service.core.challenge import subject_address
from otp_service.store import keys
from tests.conftest import TO, Service, Starter
from tests.operators.conftest import Run, audited

REASON = "called the help desk, ticket 17"


async def block(service: Service, **who: Any) -> None:
    """Three wrong codes: enough where OTP_LOCKOUT_SHORT is 3/30m."""
    service.advance(121)
    challenge = await service.request(**who)
    for _ in range(3):
        await service.verify(challenge, service.wrong_code())


async def unblock(service: Service, **sent: Any) -> Any:
    return (await service.post("/subjects/unblock", **{"reason": REASON, **sent})).json()


@pytest.fixture
def frozen_at_ms() -> int:
    """In the past: commands go by Redis' own clock, and for them nothing that a test does may lie in the future."""
    return int(time.time() * 1000) - 600_000


@pytest.fixture
async def strict(start_service: Starter) -> Service:
    return await start_service(OTP_LOCKOUT_SHORT="3/30m")


async def guarded(service: Service, valkey_url: str, subject: str) -> dict[str, str]:
    address = subject_address(service.settings.ring(), "shop", subject)
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        return dict(client.hgetall(keys.guard(address, "sms")))


async def test_a_freed_person_can_log_in_and_it_is_audited_and_told(
    strict: Service, run: Run
) -> None:
    await block(strict, subject="user-1")
    assert await unblock(strict, subject="user-1") == {
        "status": "unblocked",
        "factor": "sms",
        "tries": 3,
    }
    strict.advance(121)
    challenge = await strict.request(subject="user-1")

    assert (await strict.verify(challenge, strict.code())).status_code == 200
    (entry,) = await audited(run, "--act", "subject.unblocked")
    address = subject_address(strict.settings.ring(), "shop", "subject:user-1")
    assert (entry["by"], entry["caller"], entry["subject"]) == (
        "caller:shop",
        "shop",
        person(strict.settings.ring(), address),
    )
    assert (entry["reason"], entry["details"]) == (REASON, {"factor": "sms"})
    assert "user-1" not in json.dumps(entry)
    (found,) = (await strict.post("/timeline", subject="user-1")).json()["timelines"]
    assert "unblocked" in [each["event"] for each in found["entries"]]
    assert found["blocks"] == []


async def test_unblocking_never_zeroes_the_long_counts(strict: Service, valkey_url: str) -> None:
    """K18: the row of a hundred and the day's count go on from where they were."""
    await block(strict, subject="user-1")
    before = await guarded(strict, valkey_url, "subject:user-1")

    await unblock(strict, subject="user-1")

    after = await guarded(strict, valkey_url, "subject:user-1")
    assert before["streak"] == after["streak"] == "3"
    assert len(json.loads(after["failures"])) == 3


async def test_a_person_is_freed_so_often_a_day_and_not_more(strict: Service, run: Run) -> None:
    """K18: an insider who unlocks to guess gets nowhere; the limit is the person's, whoever unlocks."""
    for _ in range(3):
        await block(strict, subject="user-1")
        assert (await unblock(strict, subject="user-1"))["status"] == "unblocked"
    await block(strict, subject="user-1")

    refused = await unblock(strict, subject="user-1")
    by_operator = await run("unblock", "shop", "--subject", "user-1", "--reason", REASON)

    assert (refused["code"], refused["limit"]) == ("rate_limited", "unblock")
    assert by_operator.exit_code == 1
    assert "OTP_LIMIT_UNBLOCK" in by_operator.stderr
    assert len(await audited(run, "--act", "subject.unblocked")) == 3


async def test_who_is_not_blocked_is_not_touched_counted_or_audited(
    strict: Service, run: Run
) -> None:
    for _ in range(5):
        assert (await unblock(strict, subject="user-1"))["status"] == "not_blocked"

    assert await audited(run) == []


async def test_the_same_call_again_frees_once(strict: Service, run: Run) -> None:
    await block(strict, subject="user-1")
    body = {"subject": "user-1", "reason": REASON}
    headers = {"Idempotency-Key": "k-1"}

    first = await strict.post("/subjects/unblock", headers=headers, **body)
    again = await strict.post("/subjects/unblock", headers=headers, **body)

    assert first.json() == again.json()
    assert len(await audited(run, "--act", "subject.unblocked")) == 1


async def test_what_cannot_be_audited_is_not_done(strict: Service, valkey_url: str) -> None:
    """K18."""
    await block(strict, subject="user-1")
    with redis.Redis.from_url(valkey_url) as client:
        client.set(keys.AUDIT, "no stream")

    assert (await unblock(strict, subject="user-1"))["code"] == "unavailable"

    assert (await guarded(strict, valkey_url, "subject:user-1"))["blocked_until"] != "0"


async def test_the_scope_is_needed_and_a_caller_frees_its_own_people_only(strict: Service) -> None:
    """K18."""
    await block(strict, subject="user-1")
    bare = await strict.caller("bare", "support:read", "factors:manage", "otp:request")
    stranger = await strict.caller("stranger")
    body = {"subject": "user-1", "reason": REASON}

    refused = await strict.post("/subjects/unblock", headers=bare, **body)
    foreign = await strict.post("/subjects/unblock", headers=stranger, **body)

    assert refused.json()["code"] == "insufficient_scope"
    assert foreign.json()["status"] == "not_blocked"
    assert (await unblock(strict, subject="user-1"))["status"] == "unblocked"


async def test_a_number_that_stands_for_a_person_is_freed_by_the_command(
    strict: Service, run: Run
) -> None:
    await block(strict)

    freed = await run("unblock", "shop", "--number", "+1 415 555 0123", "--reason", REASON)

    assert "more tries" in freed.stdout
    assert (await unblock(strict, to=TO))["status"] == "not_blocked"
    (entry,) = await audited(run, "--act", "subject.unblocked")
    assert entry["by"].startswith("operator:")


async def test_one_blocked_factor_leaves_the_others_open_and_is_freed_alone(
    strict: Service, run: Run
) -> None:
    """A17."""
    enrolled = (await strict.post("/factors/totp", subject="user-1", account_name="a")).json()
    app = pyotp.TOTP(enrolled["secret"])
    right = app.at(await strict.now())
    await strict.post(f"/factors/totp/{enrolled['factor_id']}/confirm", code=right)
    issued = (await strict.post("/recovery-codes", subject="user-1")).json()["codes"]
    sent = {"subject": "user-1", "purpose": "login"}
    wrong = f"{(int(right) + 1) % 10**6:06d}"
    for _ in range(3):
        await strict.post("/factors/totp/verify", code=wrong, **sent)

    opened = await strict.post("/recovery-codes/verify", code=issued[0], **sent)

    assert opened.status_code == 200
    assert (await unblock(strict, subject="user-1"))["status"] == "not_blocked"
    assert (await unblock(strict, subject="user-1", factor="totp"))["status"] == "unblocked"


@pytest.mark.parametrize(
    "sent",
    [
        {"subject": "user-1"},
        {"subject": "user-1", "reason": " "},
        {"subject": "user-1", "reason": "user-1 called"},
        {"subject": "user-1", "reason": f"called from {TO}"},
        {"subject": "user-1", "to": TO, "reason": REASON},
        {"reason": REASON},
        {"subject": "user-1", "reason": REASON, "factor": "email"},
    ],
)
async def test_a_reason_is_needed_and_names_nobody(service: Service, sent: Any) -> None:
    """E: the audit log is kept for a year and more."""
    answer = await service.post("/subjects/unblock", **sent)

    assert answer.status_code == 422
    assert TO not in answer.text
