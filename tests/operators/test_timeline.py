"""The help desk sees how it went for a person: what was asked, sent, tried and blocked, and never a code."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
import redis

from otp_service.cli.subjects import event_text
from otp_service.core.audit import person
from otp_service.core.challenge import MAY_HAVE_ARRIVED, subject_address
from otp_service.core.timeline import TimelineEvent, TimelineEventType
from otp_service.store import keys
from tests.conftest import TO, Service, Starter
from tests.devices.conftest import USER, People
from tests.factors.test_auto_channel import challenged, wrong
from tests.factors.test_totp import confirmed, now
from tests.operators.conftest import Run, audited

OTHER = "+14155550124"


async def timelines(service: Service, **sought: Any) -> list[dict[str, Any]]:
    answer = await service.post("/timeline", **sought)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["timelines"])


async def entries(service: Service, **sought: Any) -> list[dict[str, Any]]:
    (found,) = await timelines(service, **sought)
    return list(found["entries"])


def words(found: list[dict[str, Any]]) -> list[str]:
    return [entry["event"] for entry in found]


async def test_a_login_is_told_from_the_request_to_the_right_code(service: Service) -> None:
    challenge = await service.request(subject="user-1", client_ref="order-7")
    await service.verify(challenge, service.wrong_code())
    await service.verify(challenge, service.code())

    (found,) = await timelines(service, subject="user-1")

    told = found["entries"]
    assert found["subject"] == "user-1"
    assert found["blocks"] == []
    assert words(told) == ["requested", "sending", "accepted", "tried", "tried", "approved"]
    assert {entry["challenge_id"] for entry in told} == {challenge["challenge_id"]}
    assert {entry["client_ref"] for entry in told} == {"order-7"}
    assert told[0]["purpose"] == "login"
    assert told[0]["until"] == challenge["expires_at"]
    assert [(entry["attempt"], entry["attempts_allowed"]) for entry in told[3:5]] == [
        (1, 5),
        (2, 5),
    ]
    assert [entry["at"] for entry in told] == sorted(entry["at"] for entry in told)


async def test_what_a_person_asks_for_by_subject_number_and_challenge_is_one_story(
    service: Service,
) -> None:
    challenge = await service.request(subject="user-1")

    by_subject = await timelines(service, subject="user-1")

    assert await timelines(service, to="+1 (415) 555-0123") == by_subject
    assert await timelines(service, challenge_id=challenge["challenge_id"]) == by_subject


async def test_a_number_leads_to_everybody_to_whom_codes_went_there(start_service: Starter) -> None:
    service = await start_service(OTP_COOLDOWN="1")
    for subject in ("user-1", "user-2", None):
        await service.request(**({"subject": subject} if subject else {}))
        service.advance(2)
    await service.request(subject="user-3", to=OTHER)

    found = await timelines(service, to=TO)

    assert {each["subject"] for each in found} == {"user-1", "user-2", None}
    assert await timelines(service, to="+14155550199") == []


async def test_a_failed_send_is_told_with_its_reason(service: Service) -> None:
    service.sandbox.settings(gateway_name="")
    challenge = await service.request(subject="user-1")

    told = await entries(service, subject="user-1")

    assert words(told) == ["requested", "sending", "failed"]
    assert told[-1]["reason"] == challenge["delivery"]["reason"]
    assert told[-1]["generation"] == 1


async def test_how_challenges_end_is_told(service: Service) -> None:
    canceled = await service.request(subject="user-1")
    await service.post("/otp/cancel", challenge_id=canceled["challenge_id"])
    service.advance(31)
    replaced = await service.request(subject="user-1")
    service.advance(61)
    expired = await service.request(subject="user-1")
    service.advance(60)

    resent = await service.post("/otp/resend", challenge_id=expired["challenge_id"])
    assert resent.json()["code"] == "rate_limited"
    service.advance(61)
    resent = await service.post(
        "/otp/resend", headers={"Prefer": "wait=30"}, challenge_id=expired["challenge_id"]
    )
    assert resent.status_code == 202
    alive = words(await entries(service, challenge_id=expired["challenge_id"]))
    service.advance(301)

    assert "expired" not in alive
    told = await entries(service, subject="user-1")
    ends = {entry["challenge_id"]: entry["event"] for entry in told}
    assert ends == {
        canceled["challenge_id"]: "canceled",
        replaced["challenge_id"]: "replaced",
        expired["challenge_id"]: "expired",
    }
    own = [entry for entry in told if entry["challenge_id"] == expired["challenge_id"]]
    assert words(own) == [
        "requested", "sending", "accepted", "refused", "resent", "sending", "accepted", "expired",
    ]  # fmt: skip
    assert own[3]["reason"] == "cooldown"
    assert own[-1]["at"] == resent.json()["expires_at"]


async def test_a_block_is_told_with_its_end_and_what_it_refused(start_service: Starter) -> None:
    service = await start_service(OTP_LOCKOUT_SHORT="3/30m")
    challenge = await service.request(subject="user-1")
    for _ in range(5):
        await service.verify(challenge, service.wrong_code())

    (found,) = await timelines(service, subject="user-1")

    told = found["entries"]
    assert words(told)[3:] == ["tried", "tried", "tried", "blocked", "refused"]
    assert told[-2]["until"] == found["blocks"][0]["blocked_until"]
    assert found["blocks"][0]["factor"] == "sms"
    assert told[-1]["reason"] == "blocked"
    service.advance(1801)
    assert (await timelines(service, subject="user-1"))[0]["blocks"] == []


async def test_the_last_try_of_a_challenge_is_told_as_its_end(service: Service) -> None:
    challenge = await service.request(subject="user-1")
    for _ in range(5):
        await service.verify(challenge, service.wrong_code())

    assert words(await entries(service, subject="user-1"))[-2:] == ["tried", "exhausted"]


async def test_authenticators_and_recovery_codes_are_in_the_same_story(service: Service) -> None:
    enrolled = await service.post("/factors/totp", subject="user-1", account_name="a")
    factor_id, secret = enrolled.json()["factor_id"], enrolled.json()["secret"]
    code = pyotp.TOTP(secret).at(await service.now())
    await service.post(f"/factors/totp/{factor_id}/confirm", code=code)
    await service.post("/factors/totp/verify", subject="user-1", code=code, purpose="login")
    issued = await service.post("/recovery-codes", subject="user-1")
    used = issued.json()["codes"][0]
    await service.post("/recovery-codes/verify", subject="user-1", code=used, purpose="login")
    await service.http.delete(f"/factors/{factor_id}")

    told = await entries(service, subject="user-1")

    assert [(e["event"], e["factor"]) for e in told] == [
        ("enrolled", "totp"),
        ("tried", "totp"),
        ("confirmed", "totp"),
        ("tried", "totp"),
        ("issued", "recovery"),
        ("tried", "recovery"),
        ("approved", "recovery"),
        ("removed", "totp"),
    ]
    assert told[0]["factor_id"] == told[-1]["factor_id"] == factor_id
    assert [told[4]["remaining"], told[6]["remaining"]] == [10, 9]
    tried = [(e["attempt"], e["attempts_allowed"]) for e in told if e["event"] == "tried"]
    assert tried == [(1, 5), (1, 10), (1, 10)]
    for private in (secret, code, used, used.replace("-", "")):
        assert private not in json.dumps(told)


async def test_a_challenge_of_an_app_is_told_as_one_and_as_the_app_s(
    start_service: Starter,
) -> None:
    service = await start_service(OTP_LOCKOUT_SHORT="3/30m")
    _, app = await confirmed(service)
    challenge = await challenged(service, client_ref="order-7")
    right = app.at(await now(service))
    await service.verify(challenge, wrong(right))
    await service.verify(challenge, right)
    expired = await challenged(service)
    service.advance(301)

    told = [e for e in await entries(service, subject="user-1") if e["challenge_id"]]

    assert [(e["event"], e["challenge_id"]) for e in told] == [
        *(
            (word, challenge["challenge_id"])
            for word in ("requested", "tried", "tried", "approved")
        ),
        ("requested", expired["challenge_id"]),
        ("expired", expired["challenge_id"]),
    ]
    assert {e["factor"] for e in told} == {"totp"}
    assert {e["client_ref"] for e in told[:4]} == {"order-7"}
    assert {e["factor_id"] for e in told} == {None}
    blocking = await challenged(service)
    for by in (1, 2, 3, 4):
        await service.verify(blocking, wrong(app.at(await now(service)), by))
    story = [
        (e["event"], e["factor"])
        for e in await entries(service, subject="user-1")
        if e["challenge_id"] == blocking["challenge_id"]
    ]
    assert story[-2:] == [("blocked", "totp"), ("refused", "totp")]


async def test_remembered_devices_are_in_the_same_story_also_when_it_was_told_long_ago(
    service: Service, run: Run
) -> None:
    """A token that was copied is found weeks after the login, and then the help desk has to see it."""
    people = People(service)
    stolen, other = await people.remembered(), await people.remembered()
    service.advance(3 * 86_400)
    newest = (await people.verified(stolen["token"]))["token"]
    service.advance(11)
    for token in (stolen["token"], newest, stolen["token"]):
        assert (await people.verify(token)).json()["code"] == "device_reused"
    await service.http.delete(f"/devices/{other['device_id']}")
    third = await people.remembered()

    told = [e for e in await entries(service, subject=USER) if e["factor"] == "device"]

    assert [(e["event"], e["device_id"]) for e in told] == [
        ("reused", stolen["device_id"]),
        ("forgotten", other["device_id"]),
        ("remembered", third["device_id"]),
    ]
    assert told[0]["purpose"] == told[2]["purpose"] == "login"
    assert told[2]["until"] == third["expires_at"]
    assert {(e["challenge_id"], e["factor_id"]) for e in told} == {(None, None)}
    assert third["token"] not in json.dumps(told)
    shown = await run("timeline", "shop", "--subject", USER)
    assert "a used token came again" in shown.stdout


async def test_a_story_has_no_code_no_number_and_no_binding_also_not_in_redis(
    service: Service, valkey_url: str
) -> None:
    """E: what the help desk sees can be shown to anybody who may know that the person exists."""
    challenge = await service.request(subject="person-8a6f11", binding="session-51f0c2")
    codes = [service.code()]
    await service.verify(challenge, service.wrong_code(), binding="session-51f0c2")
    await service.verify(challenge, codes[0], binding="session-51f0c2")

    told = json.dumps(await timelines(service, subject="person-8a6f11"))
    address = subject_address(service.settings.ring(), "shop", "subject:person-8a6f11")
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        kept = client.lrange(keys.timeline(address), 0, -1)
        log = client.xrange(keys.AUDIT)

    assert len(kept) == 6
    assert len(log) == 1
    for private in (TO, TO[1:], TO[-7:], "session-51f0c2"):
        assert private not in told + str(kept) + str(log)
    assert "person-8a6f11" not in str(kept) + str(log)
    # No field of an entry holds six digits on end but times, in milliseconds.
    for line in kept:
        _, _, _, *rest = line.split(" ")
        assert not any(codes[0] in part for part in rest if not part.startswith("until="))


async def test_a_caller_sees_its_own_people_only(service: Service) -> None:
    challenge = await service.request(subject="user-1")
    stranger = await service.caller("stranger")

    async def asked(**sought: Any) -> Any:
        return await service.post("/timeline", headers=stranger, **sought)

    assert (await asked(subject="user-1")).json() == {
        "timelines": [{"subject": "user-1", "blocks": [], "entries": []}]
    }
    assert (await asked(to=TO)).json() == {"timelines": []}
    foreign = await asked(challenge_id=challenge["challenge_id"])
    unknown = await asked(challenge_id="1fW2pJm7c0Qx3v9TtY5nLk8gRzA4sHdEuB")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json()["code"] == unknown.json()["code"] == "challenge_not_found"


async def test_the_scope_is_needed(service: Service) -> None:
    bare = await service.caller("bare", "otp:request", "otp:verify", "support:unblock")

    answer = await service.post("/timeline", headers=bare, subject="user-1")

    assert answer.json()["code"] == "insufficient_scope"


@pytest.mark.parametrize(
    "sought",
    [{}, {"subject": "u", "to": TO}, {"to": TO, "challenge_id": "x"}, {"subject": None}],
)
async def test_exactly_one_way_of_asking_is_taken(service: Service, sought: Any) -> None:
    answer = await service.post("/timeline", **sought)

    assert answer.status_code == 422
    assert {e["field"] for e in answer.json()["errors"]} >= {"subject", "to", "challenge_id"}


async def test_what_is_no_number_is_refused(service: Service) -> None:
    assert (await service.post("/timeline", to="call me")).json()["code"] == "destination_refused"


async def test_every_look_is_audited_before_it_is_answered(
    service: Service, run: Run, valkey_url: str
) -> None:
    challenge = await service.request(subject="user-1")
    for sought in (
        {"subject": "user-1"},
        {"to": TO},
        {"challenge_id": challenge["challenge_id"]},
    ):
        await timelines(service, **sought)

    told = await audited(run, "--act", "timeline.read")

    ring = service.settings.ring()
    known_as = person(ring, subject_address(ring, "shop", "subject:user-1"))
    assert {entry["by"] for entry in told} == {"caller:shop"}
    assert [entry["subject"] for entry in told][::2] == [known_as, known_as]
    assert [entry["details"] for entry in told] == [
        {"sought_by": "subject"},
        {"sought_by": "number"},
        {"challenge": challenge["challenge_id"]},
    ]
    with redis.Redis.from_url(valkey_url) as client:
        client.delete(keys.AUDIT)
        client.set(keys.AUDIT, "no stream")
    assert (await service.post("/timeline", subject="user-1")).status_code == 503


async def test_who_looks_too_often_waits(start_service: Starter) -> None:
    """K18: nobody with a help desk's credential reads everybody's story in an hour, or floods the audit log."""
    service = await start_service(OTP_LIMIT_TIMELINE="2/1h")
    for _ in range(2):
        await timelines(service, subject="user-1")

    refused = await service.post("/timeline", subject="user-2")

    assert refused.status_code == 429
    assert refused.json()["limit"] == "timeline"


async def test_a_day_later_nothing_is_known_any_more(service: Service, valkey_url: str) -> None:
    await service.request(subject="user-1")
    service.advance(86_400)
    assert words(await entries(service, subject="user-1"))[0] == "requested"
    service.advance(301)
    await service.request(subject="user-1")

    assert words(await entries(service, subject="user-1")) == ["requested", "sending", "accepted"]
    address = subject_address(service.settings.ring(), "shop", "subject:user-1")
    with redis.Redis.from_url(valkey_url) as client:
        assert client.llen(keys.timeline(address)) == 3, "what is too old is gone from Redis too"
        assert 86_000 < client.ttl(keys.timeline(address)) <= 86_700


async def test_hammering_pushes_nothing_out_of_a_story(service: Service, valkey_url: str) -> None:
    """A17: who keeps asking in a victim's name can't wipe out what the help desk has to see."""
    await service.request(subject="user-1")
    for _ in range(30):
        assert (
            await service.post("/otp/request", to=TO, purpose="login", subject="user-1")
        ).status_code == 429

    told = await entries(service, subject="user-1")

    assert words(told) == ["requested", "sending", "accepted", "refused"]
    for _ in range(5):
        await service.post("/otp/request", to=TO, purpose="login", subject="user-99")
    address = subject_address(service.settings.ring(), "shop", "subject:user-99")
    with redis.Redis.from_url(valkey_url) as client:
        assert client.exists(keys.timeline(address)) == 0, "refusals alone fill no memory"


async def test_a_story_that_got_lost_is_not_taken_up_in_its_middle(
    service: Service, valkey_url: str
) -> None:
    """Nor is a list left without an end: the fixture would miss it."""
    challenge = await service.request(subject="user-1")
    address = subject_address(service.settings.ring(), "shop", "subject:user-1")
    with redis.Redis.from_url(valkey_url) as client:
        client.delete(keys.timeline(address))

        assert (await service.verify(challenge, service.code())).status_code == 200

        assert client.exists(keys.timeline(address)) == 0


async def test_a_story_is_bounded(service: Service, valkey_url: str) -> None:
    """A17: beginning something trims it too."""
    for _ in range(25):
        await service.post("/recovery-codes/verify", subject="u", code="0" * 16, purpose="login")
    address = subject_address(service.settings.ring(), "shop", "subject:u")
    with redis.Redis.from_url(valkey_url) as client:
        client.rpush(keys.timeline(address), *(f"{2**41 + n} tried -" for n in range(500)))
        await service.post("/recovery-codes", subject="u")
        assert client.llen(keys.timeline(address)) == 200


async def refuse_in_turns(service: Service, times: int) -> None:
    """Refused calls by turns: no two refusals on end are for the same reason."""
    for n in range(times):
        sent = {"to": TO, "purpose": "login", "subject": "user-1", "binding": f"tab-{n % 2}"}
        answer = await service.post("/otp/request", **sent)
        assert answer.json()["limit"] == ("cooldown", "live_challenges")[n % 2]


async def test_alternating_refusals_do_not_grow_a_timeline(start_service: Starter) -> None:
    """A17: refused calls cost nothing, so they neither fill Redis nor push out what the help desk needs."""
    purposes = [f"purpose_{n}" for n in range(12)]
    service = await start_service(OTP_MAX_BINDINGS="1", OTP_PURPOSES=",".join(purposes))
    await service.request(subject="user-1", binding="tab-0")

    await refuse_in_turns(service, 300)

    told = await entries(service, subject="user-1")
    assert words(told) == ["requested", "sending", "accepted", "refused", "refused"]
    assert [entry["reason"] for entry in told[3:]] == ["cooldown", "live_challenges"]
    for purpose in purposes:
        sent = {"to": TO, "purpose": purpose, "subject": "user-1"}
        assert (await service.post("/otp/request", **sent)).status_code == 429
    assert len(await entries(service, subject="user-1")) == 3 + 10


@pytest.mark.parametrize("writer", ["begin", "go_on", "refused"])
async def test_every_writer_trims_a_timeline(
    start_service: Starter, valkey_url: str, writer: str
) -> None:
    """A17: without a bound refused calls would fill Redis."""
    service = await start_service(OTP_MAX_BINDINGS="1")
    challenge = await service.request(subject="user-1", binding="tab-0")
    address = subject_address(service.settings.ring(), "shop", "subject:user-1")
    with redis.Redis.from_url(valkey_url) as client:
        client.rpush(keys.timeline(address), *(f"{2**41 + n} tried -" for n in range(500)))
        match writer:
            case "begin":
                await service.post("/recovery-codes", subject="user-1")
            case "go_on":
                await service.verify(challenge, service.wrong_code(), binding="tab-0")
            case _:
                await refuse_in_turns(service, 1)

        assert client.llen(keys.timeline(address)) == 200
        newest = client.lindex(keys.timeline(address), -1).decode().split(" ")[1]
        assert newest == {"begin": "issued", "go_on": "tried"}.get(writer, "refused")


async def test_reading_an_overlong_timeline_is_bounded(service: Service, valkey_url: str) -> None:
    await service.request(subject="user-1")
    address = subject_address(service.settings.ring(), "shop", "subject:user-1")
    at = await service.now() * 1000
    with redis.Redis.from_url(valkey_url) as client:
        client.rpush(keys.timeline(address), *(f"{at} tried - n=1" for n in range(5000)))

    assert len(await entries(service, subject="user-1")) <= 200
    assert (await service.post("/subjects/erase", subject="user-1", reason="t 1")).is_success


def test_lists_are_pushed_to_in_one_place_only(root: Any) -> None:
    """A writer of its own would be one without a bound; moving keys is the other, and trims as well."""
    scripts = root / "otp_service/store/lua"
    pushing = {p.name for p in scripts.glob("*.lua") if re.search(r"[LR]PUSHX?'", p.read_text())}
    assert pushing == {"_timeline.lua", "_moving.lua"}
    bounds = {
        found
        for name in pushing
        for found in re.findall(r"TIMELINE_MOST = (\d+)", (scripts / name).read_text())
    }
    assert bounds == {"200"}


async def test_the_command_shows_a_table_and_the_same_json(service: Service, run: Run) -> None:
    challenge = await service.request(subject="user-1", client_ref="order-7")
    await service.verify(challenge, service.wrong_code())

    shown = await run("timeline", "shop", "--subject", "user-1")
    as_json = await run("timeline", "shop", "--number", TO, "--json")

    assert shown.exit_code == 0, shown.output
    for text in ("user-1, times in", "try 1 of 5", "taken by the site", "order-7", "login"):
        assert text in shown.stdout
    assert "\x1b" not in shown.stdout, "colours only on a terminal"
    assert json.loads(as_json.stdout) == await timelines(service, subject="user-1")
    foreign = await run("timeline", "stranger", "--challenge", challenge["challenge_id"])
    assert foreign.exit_code == 1
    assert (await run("timeline", "shop")).exit_code == 1
    assert "nothing is known" in (await run("timeline", "shop", "--number", OTHER)).stdout
    nobody = await run("timeline", "shop", "--subject", "nobody")
    assert nobody.stdout == "nothing is known of the last day\n"


async def test_a_test_number_is_told_for_what_it_is_and_not_as_handed_to_the_site(
    start_service: Starter, run: Run
) -> None:
    until = datetime.now(UTC).date() + timedelta(days=2)
    service = await start_service(
        OTP_TEST_NUMBERS=f"shop/{TO}=246801", OTP_TEST_NUMBERS_UNTIL=str(until)
    )
    await service.request(to=TO)

    shown = (await run("timeline", "shop", "--number", TO)).stdout

    assert "test number: no SMS" in shown
    assert "the site" not in shown


def test_every_happening_is_documented(root: Any) -> None:
    text = (root / "docs/operations.md").read_text("utf-8")
    assert [word for word in TimelineEventType if f"`{word}`" not in text] == []


@pytest.mark.parametrize("reason", [*sorted(MAY_HAVE_ARRIVED), "no_route", "dropped_by_site"])
def test_help_desk_reads_which_failed_codes_may_arrive(reason: str) -> None:
    moment = TimelineEvent(
        at=0, what=TimelineEventType.FAILED, factor="sms", id="x", of_challenge=True, reason=reason
    )

    text = event_text(moment)

    assert text == ("failed, but may have arrived" if reason in MAY_HAVE_ARRIVED else "not sent")
