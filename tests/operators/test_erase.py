"""A person who goes is forgotten: at once, audited, without a way to new guesses."""

import asyncio
import json
from typing import Any

import pytest

from otp_service.core.audit import person
from otp_service.core.challenge import subject_address
from otp_service.core.credentials import SCOPES
from otp_service.store import keys
from tests.conftest import TO, Service, Starter
from tests.factors.test_totp import confirmed, now
from tests.operators.conftest import Run, audited
from tests.web import hands

REASON = "account closed, ticket 18"
USER = "user-1"


async def erase(service: Service, **sent: Any) -> dict[str, Any]:
    return dict((await service.post("/subjects/erase", **{"reason": REASON, **sent})).json())


async def kept(service: Service, subject: str) -> set[str]:
    """The keys in Redis that lie under a person's name."""
    address = subject_address(service.settings.ring(), "shop", f"subject:{subject}")
    return {str(key) async for key in hands.redis(service).scan_iter(f"otp:*:{address.tag}*")}


async def living(service: Service, subject: str) -> dict[str, Any]:
    """Give a person one of everything; return the challenge that is still open."""
    await confirmed(service, subject)
    await service.post("/recovery-codes", subject=subject)
    ended = await service.request(subject=subject)
    proof = (await service.verify(ended, service.code())).json()["proof"]
    assert (await service.post("/devices", subject=subject, proof=proof)).status_code == 201
    service.advance(121)
    return await service.request(subject=subject)


async def test_all_that_is_kept_of_a_person_is_erased_and_of_nobody_else(
    service: Service, run: Run
) -> None:
    await confirmed(service, "user-2")
    challenge = await living(service, USER)
    code = service.code()

    erased = await erase(service, subject=USER)

    assert erased == {
        "status": "erased", "factors": 1, "recovery_codes": 10, "devices": 1, "challenges": 2,
    }  # fmt: skip
    assert await kept(service, USER) == set()
    ids = [key async for key in hands.redis(service).scan_iter("otp:*:challenge:*")]
    assert ids == []
    assert (await service.verify(challenge, code)).json()["code"] == "challenge_not_found"
    found = (await service.http.get("/factors", params={"subject": USER})).json()
    assert (found["factors"], found["recovery_codes_remaining"]) == ([], 0)
    other = (await service.http.get("/factors", params={"subject": "user-2"})).json()
    assert len(other["factors"]) == 1

    (entry,) = await audited(run, "--act", "subject.erased")
    address = subject_address(service.settings.ring(), "shop", f"subject:{USER}")
    assert (entry["by"], entry["reason"]) == ("caller:shop", REASON)
    assert entry["subject"] == person(service.settings.ring(), address)
    assert USER not in json.dumps(entry)
    again = await erase(service, subject=USER)
    assert [again[name] for name in ("factors", "recovery_codes", "devices", "challenges")] == [
        0
    ] * 4


async def test_a_blocked_person_is_not_freed_by_being_erased(start_service: Starter) -> None:
    """Else whoever makes a caller erase has guesses without end."""
    service = await start_service(OTP_LOCKOUT_SHORT="3/30m", OTP_LOCKOUT_LONG="20/1d")
    challenge = await service.request(subject=USER)
    for _ in range(3):
        await service.verify(challenge, service.wrong_code())

    await erase(service, subject=USER)

    service.advance(121)
    refused = await service.post("/otp/request", to=TO, purpose="login", subject=USER)
    assert refused.json()["code"] == "subject_blocked"
    address = subject_address(service.settings.ring(), "shop", f"subject:{USER}")
    left = await hands.redis(service).pttl(keys.guard(address, "sms"))
    assert 0 < left <= 86_400_000, "it must end with the day in which it counts"


async def test_what_is_blocked_until_it_is_freed_is_not_freed_by_an_erasure_and_a_day(
    start_service: Starter,
) -> None:
    """A07: the long count is the last wall before somebody who guesses for months."""
    service = await start_service(OTP_LOCKOUT_CONSECUTIVE="10")
    for _ in range(2):
        challenge = await service.request(subject=USER)
        for _ in range(5):
            await service.verify(challenge, service.wrong_code())
        service.advance(61)

    await erase(service, subject=USER)

    service.advance(2 * 86_400)
    refused = await service.post("/otp/request", to=TO, purpose="login", subject=USER)
    assert refused.json()["code"] == "subject_blocked"
    address = subject_address(service.settings.ring(), "shop", f"subject:{USER}")
    left = await hands.redis(service).pttl(keys.guard(address, "sms"))
    assert left > 2 * 86_400_000


async def test_a_message_that_is_asked_for_is_not_sent_any_more(start_service: Starter) -> None:
    service = await start_service(OTP_DELIVER="false")
    await service.post("/otp/request", to=TO, purpose="login", subject=USER)
    await erase(service, subject=USER)

    await start_service()  # which delivers

    # Its job lay before this one in the same queue.
    sent = await service.request(to="+14155550188", subject=USER, purpose="signup")
    assert sent["delivery"]["status"] == "accepted"
    assert service.sandbox.messages(TO) == []


@pytest.mark.parametrize("before", [0, 15, 30])
async def test_what_is_being_verified_while_a_person_goes_is_not_brought_back(
    start_service: Starter, before: int
) -> None:
    """Right codes at once with the erasure: one of each may be first; after it nothing of the person is there."""
    service = await start_service(
        OTP_REDIS_TIMEOUT="10", OTP_LOCKOUT_SHORT="100/30m", OTP_LOCKOUT_LONG="100/1d"
    )
    _, app = await confirmed(service, USER)
    service.advance(60)
    step = app.at(await now(service))
    challenge = await service.request(subject=USER)
    right = service.code()
    verifying = {"subject": USER, "code": step, "purpose": "login"}
    calls: list[Any] = [service.verify(challenge, right) for _ in range(15)]
    calls += [service.post("/factors/totp/verify", **verifying) for _ in range(15)]

    async def erase_at_last() -> dict[str, Any]:
        """On a machine that is busy with all of this a call may be told to come again."""
        while (told := await erase(service, subject=USER))["status"] == 503:
            pass
        return told

    calls.insert(before, erase_at_last())

    erased = (await asyncio.gather(*calls))[before]

    assert erased["status"] == "erased"
    left = {key.split(":")[2] for key in await kept(service, USER)}
    assert left <= {"guard", "timeline"}, "a try that was counted at the end may have a line"


async def test_who_has_no_subject_is_erased_by_number(service: Service, run: Run) -> None:
    await service.request()

    done = await run("erase", "shop", "--number", TO, "--reason", REASON)

    assert done.exit_code == 0, done.output
    assert "1 challenges" in done.output
    assert (await erase(service, to=TO))["challenges"] == 0
    assert len(await audited(run, "--act", "subject.erased")) == 1, "the second found nothing"


@pytest.mark.parametrize(
    "sent",
    [
        {"subject": USER},
        {"reason": REASON},
        {"subject": USER, "to": TO, "reason": REASON},
        {"subject": USER, "reason": f"{USER} left"},
        {"to": "12", "reason": REASON},
    ],
)
async def test_an_erasure_needs_one_person_and_a_reason(
    service: Service, run: Run, sent: dict[str, str]
) -> None:
    assert (await service.post("/subjects/erase", **sent)).status_code == 422
    assert await audited(run) == []


async def test_another_caller_erases_its_own_people_only(service: Service) -> None:
    """F17, F03: and nobody without the scope, whatever else it may do."""
    await living(service, USER)
    before = await kept(service, USER)
    other = await service.caller("other")
    bare = await service.caller("bare", *(set(SCOPES) - {"subjects:erase"}))
    body = {"subject": USER, "reason": REASON}

    answers = [
        await service.http.post("/subjects/erase", json=body, headers=credential)
        for credential in (other, bare)
    ]

    assert answers[0].json()["factors"] == 0
    assert answers[1].status_code == 403
    assert await kept(service, USER) == before


async def test_erasing_nobody_writes_no_audit_entry(service: Service, run: Run) -> None:
    """I07: calls for people who never were fill no log, and every real act is in it."""
    for n in range(20):
        nobody = await erase(service, subject=f"nobody-{n}")
        assert nobody["status"] == "erased"
    assert await audited(run, "--act", "subject.erased") == []

    challenge = await service.request(subject=USER)
    await service.verify(challenge, service.wrong_code())
    assert (await erase(service, subject=USER))["challenges"] == 1
    assert (await erase(service, subject=USER))["challenges"] == 0

    assert len(await audited(run, "--act", "subject.erased")) == 1


async def test_erasing_counts_of_wrong_codes_alone_is_audited(service: Service, run: Run) -> None:
    """A guard that would be kept for a year is shortened to a day: that is an act."""
    challenge = await service.request(subject=USER)
    await service.verify(challenge, service.wrong_code())
    address = subject_address(service.settings.ring(), "shop", f"subject:{USER}")
    for name in await kept(service, USER) - {keys.guard(address, "sms")}:
        await hands.redis(service).delete(name)

    await erase(service, subject=USER)

    assert len(await audited(run, "--act", "subject.erased")) == 1
    assert 0 < await hands.redis(service).pttl(keys.guard(address, "sms")) <= 86_400_000
