"""The story of a remembered device: after a proof, instead of a code, until its end."""

import re
from typing import Any

import pytest
import redis

from tests.conftest import Service, Starter
from tests.devices.conftest import USER, People
from tests.factors.test_totp import confirmed, now

DAY = 86_400


async def test_a_login_flow_asks_for_a_code_once_and_then_knows_the_browser(people: People) -> None:
    device = await people.remembered(name="Firefox on Linux")
    assert device["purpose"] == "login"
    assert device["expires_in"] == 30 * DAY

    cookie = device["token"]
    for _ in range(3):
        people.service.advance(DAY)
        login = await people.verified(cookie)
        assert login["device_id"] == device["device_id"]
        assert login["expires_at"] == device["expires_at"]
        assert login["token"] != cookie
        cookie = login["token"]

    proven = (await people.service.post("/proofs/introspect", proof=login["proof"])).json()
    assert proven["active"] is True
    assert (proven["method"], proven["sub"], proven["purpose"]) == ("device", USER, "login")
    assert proven["amr"] == login["amr"] == []


async def test_a_device_is_remembered_for_an_authenticators_proof_too(people: People) -> None:
    service = people.service
    _, app = await confirmed(service)
    body = {"subject": USER, "code": app.at(await now(service)), "purpose": "login"}
    proof = (await service.post("/factors/totp/verify", **body)).json()["proof"]

    device = await people.remembered(proof=proof)

    assert (await people.verify(device["token"])).status_code == 200


# When it ends


async def test_it_ends_after_thirty_days_however_often_it_is_used(people: People) -> None:
    device = await people.remembered()
    people.service.advance(30 * DAY - 60)
    used = await people.verified(device["token"])

    people.service.advance(61)

    assert (await people.verify(used["token"])).json()["code"] == "invalid_device"
    assert await people.listed() == []


async def test_a_caller_may_remember_for_less_and_not_for_more(start_service: Starter) -> None:
    people = People(await start_service(OTP_DEVICE_TTL="3600"))
    proof = await people.proof()

    longer = await people.ask(proof=proof, expires_in=3601)
    shorter = await people.remembered(proof=proof, expires_in=600)

    assert (longer.status_code, longer.json()["errors"][0]["field"]) == (422, "expires_in")
    assert shorter["expires_in"] == 600
    people.service.advance(601)
    assert (await people.verify(shorter["token"])).json()["code"] == "invalid_device"


async def test_a_forgotten_device_is_refused_at_once_and_the_others_are_not(people: People) -> None:
    lost, kept = await people.remembered(), await people.remembered()

    first = await people.service.http.delete(f"/devices/{lost['device_id']}")
    again = await people.service.http.delete(f"/devices/{lost['device_id']}")

    assert (first.status_code, again.status_code) == (204, 404)
    assert (await people.verify(lost["token"])).json()["code"] == "invalid_device"
    assert (await people.verify(kept["token"])).status_code == 200


async def test_all_devices_of_one_person_are_forgotten_at_once(people: People) -> None:
    tokens = [(await people.remembered())["token"] for _ in range(3)]
    others = await people.remembered("user-2")

    for _ in range(2):
        gone = await people.service.http.delete("/devices", params={"subject": USER})
        assert gone.status_code == 204

    codes = [(await people.verify(token)).json()["code"] for token in tokens]
    assert codes == ["invalid_device"] * 3
    assert await people.listed() == []
    assert (await people.verify(others["token"], "user-2")).status_code == 200


async def test_a_removed_authenticator_takes_the_devices_with_it(people: People) -> None:
    """What stood in for the person's factors does not outlive them; a pending one is no factor yet."""
    factor_id, _ = await confirmed(people.service)
    device = await people.remembered()
    pending = await people.service.post("/factors/totp", subject=USER, account_name="ann")

    await people.service.http.delete(f"/factors/{pending.json()['factor_id']}")
    token = (await people.verified(device["token"]))["token"]
    await people.service.http.patch(f"/factors/{factor_id}", json={"name": "Phone"})
    token = (await people.verified(token))["token"]
    await people.service.http.delete(f"/factors/{factor_id}")

    assert (await people.verify(token)).json()["code"] == "invalid_device"


async def test_the_eleventh_device_takes_the_place_of_the_one_longest_not_used(
    people: People,
) -> None:
    devices = []
    for _ in range(10):
        devices.append(await people.remembered())
        people.service.advance(60)
    devices[0]["token"] = (await people.verified(devices[0]["token"]))["token"]

    await people.remembered()

    assert len(await people.listed()) == 10
    assert (await people.verify(devices[1]["token"])).json()["code"] == "invalid_device"
    for kept in (devices[0], devices[2]):
        assert (await people.verify(kept["token"])).status_code == 200


# What it is remembered for


async def test_a_proof_is_spent_by_it(people: People) -> None:
    proof = await people.proof()
    await people.remembered(proof=proof)

    again = await people.ask(proof=proof)

    assert (again.status_code, again.json()["code"]) == (400, "proof_not_accepted")
    assert again.json()["reason"] == "inactive"
    assert (await people.service.post("/proofs/introspect", proof=proof)).json() == {
        "active": False
    }


async def test_a_proof_of_another_person_or_of_nobody_remembers_nothing(people: People) -> None:
    """Who is logged in as one can't have the other's second factor remembered for himself."""
    anothers = await people.ask("user-2", proof=await people.proof(USER))
    challenge = await people.service.request()
    nobodys = (await people.service.verify(challenge, people.service.code())).json()["proof"]
    of_nobody = await people.ask(proof=nobodys)

    for answer in (anothers, of_nobody):
        assert (answer.json()["code"], answer.json()["reason"]) == ("proof_not_accepted", "subject")
    assert await people.listed("user-2") == await people.listed() == []


async def test_a_proof_of_a_device_or_a_recovery_code_remembers_nothing(people: People) -> None:
    """A device would live for ever; a stolen sheet of codes would open for a month."""
    device = await people.remembered()
    by_device = (await people.verified(device["token"]))["proof"]
    codes = (await people.service.post("/recovery-codes", subject=USER)).json()["codes"]
    redeemed = await people.service.post(
        "/recovery-codes/verify", subject=USER, code=codes[0], purpose="login"
    )

    for proof in (by_device, redeemed.json()["proof"]):
        answer = await people.ask(proof=proof)
        assert (answer.json()["code"], answer.json()["reason"]) == ("proof_not_accepted", "method")
    assert len(await people.listed()) == 1


async def test_a_proof_of_another_caller_remembers_nothing_and_is_not_spent(people: People) -> None:
    """F17: subjects are each caller's own."""
    stranger = await people.service.caller("stranger")
    proof = await people.proof()

    foreign = await people.service.post("/devices", headers=stranger, subject=USER, proof=proof)

    assert foreign.json()["reason"] == "inactive"
    assert (await people.ask(proof=proof)).status_code == 201


async def test_a_proof_by_another_caller_remembers_nothing_though_it_is_meant_for_this_one(
    people: People, valkey_url: str
) -> None:
    """F17: what it calls user-1 is somebody else."""
    proof = await people.proof()
    with redis.Redis.from_url(valkey_url) as client:
        [record] = client.scan_iter("otp:*:proof:*")
        client.hset(record, "caller", "stranger")

    assert (await people.ask(proof=proof)).json()["reason"] == "inactive"


async def test_it_stands_in_for_its_purpose_and_binding_only(people: People) -> None:
    device = await people.remembered(binding="key-1")
    token = device["token"]

    for change in ({"purpose": "payment"}, {"binding": "key-2"}, {"binding": None}):
        sent = {"binding": "key-1", **change}
        answer = await people.verify(token, **{k: v for k, v in sent.items() if v})
        assert (answer.status_code, answer.json()["code"]) == (409, "device_mismatch")

    assert (await people.verify(token, binding="key-1")).status_code == 200


async def test_a_block_for_wrong_codes_leaves_the_device_and_the_device_the_block(
    people: People,
) -> None:
    """A10, A17: nothing is guessed at a device, so a stranger's guesses do not lock its person out."""
    device = await people.remembered()
    service = people.service
    for _ in range(2):
        challenge = await service.request(subject=USER)
        for _ in range(5):
            await service.verify(challenge, service.wrong_code())
        service.advance(2)
    blocked = await service.post("/otp/request", to="+14155550199", subject=USER, purpose="login")

    passed = await people.verify(device["token"])
    still = await service.post("/otp/request", to="+14155550199", subject=USER, purpose="login")

    assert blocked.json()["code"] == still.json()["code"] == "subject_blocked"
    assert passed.status_code == 200


# Who sees what


async def test_another_callers_device_is_none_byte_for_byte(people: People) -> None:
    """F17, B33."""
    device = await people.remembered()
    stranger = await people.service.caller("stranger")
    same_id = {**stranger, "X-Request-Id": "the-same-request"}

    async def seen(device_id: str, token: str) -> list[tuple[int, str]]:
        removed = await people.service.http.delete(f"/devices/{device_id}", headers=same_id)
        verified = await people.verify(token, headers=same_id)
        return [(a.status_code, a.text) for a in (removed, verified)]

    foreign = await seen(device["device_id"], device["token"])
    made_up = await seen("00" + "A" * 32, "otpd_" + "A" * 85)

    assert foreign == made_up
    assert [status for status, _ in foreign] == [404, 400]
    assert await people.listed(headers=stranger) == []
    assert (
        await people.service.http.delete("/devices", params={"subject": USER}, headers=stranger)
    ).status_code == 204
    assert (await people.verify(device["token"])).status_code == 200


def changed(token: str, at: int) -> str:
    return token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]


async def test_whatever_is_no_token_of_this_person_is_one_answer(people: People) -> None:
    """Malformed, made up, another person's, expired and forgotten: byte for byte the same."""
    mine, hers = await people.remembered(), await people.remembered("user-2")
    gone, short = await people.remembered(), await people.remembered(expires_in=60)
    await people.service.http.delete(f"/devices/{gone['device_id']}")
    people.service.advance(61)
    token = mine["token"]
    tried = [
        *(
            "",
            "x",
            "otpd_",
            "x" * 4096,
            "otpp_" + token[5:],
            token + "A",
            token[:-1],
            token.upper(),
            "’" * 90,
        ),
        *(changed(token, at) for at in (5, 7, 20, 38, 40, 46, 60, len(token) - 1)),
        *(hers["token"], gone["token"], short["token"]),
    ]

    answers = [
        await people.verify(one, headers={"X-Request-Id": "the-same-request"}) for one in tried
    ]

    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["code"] == "invalid_device"
    assert (await people.verify(token)).status_code == 200


async def test_devices_are_listed_the_newest_first_and_without_a_token(people: People) -> None:
    older = await people.remembered(name="Old phone")
    people.service.advance(60)
    newer = await people.remembered()
    used = await people.verified(older["token"])

    listed = await people.listed()

    assert [d["device_id"] for d in listed] == [newer["device_id"], older["device_id"]]
    assert [d["name"] for d in listed] == [None, "Old phone"]
    assert [d["last_used_at"] for d in listed] == [None, used["verified_at"]]
    assert set(listed[0]) == {
        *("device_id", "name", "purpose", "created_at", "last_used_at", "expires_at")
    }


async def test_redis_holds_neither_token_nor_name_nor_person(
    people: People, valkey_url: str
) -> None:
    """E11: what a dump shows of a device are ids, times and a generation."""
    device = await people.remembered(name="Ann's very own phone", binding="key-1")
    used = await people.verified(device["token"], binding="key-1")

    with redis.Redis.from_url(valkey_url) as client:
        [key] = client.keys("otp:*:devices:*")
        kept = b" ".join(k + (client.dump(k) or b"") for k in client.scan_iter())
        held = client.hgetall(key)
        assert 0 < client.ttl(key) <= 30 * DAY

    assert list(held) == [device["device_id"].encode()]
    for secret in ("very own phone", USER, "key-1", device["token"][-43:], used["token"][-43:]):
        assert secret.encode() not in kept


async def test_the_log_names_devices_and_no_token(
    people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    device = await people.remembered(name="Ann's very own phone")
    used = await people.verified(device["token"])
    people.service.advance(11)
    await people.verify(device["token"])

    said = capsys.readouterr().out

    assert re.search(r"device\.reused.*" + device["device_id"], said)
    for secret in (device["token"][-43:], used["token"][-43:], "very own", used["proof"]):
        assert secret not in said


@pytest.mark.parametrize(
    "odd",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": "a\nb"},
        {"expires_in": 59},
        {"expires_in": 90 * DAY + 1},
        {"expires_in": "600"},
        {"binding": ""},
        {"token": "otpd_mine"},
        {"proof": "’"},
        {"subject": "two\nwords"},
    ],
)
async def test_what_can_not_be_meant_is_refused_before_the_proof_is_spent(
    service: Service, odd: dict[str, Any]
) -> None:
    challenge = await service.request(subject=USER)
    proof = (await service.verify(challenge, service.code())).json()["proof"]

    answer = await service.post("/devices", **{"subject": USER, "proof": proof, **odd})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert (await service.post("/proofs/introspect", proof=proof)).json()["active"] is True


async def test_a_bound_verification_remembers_a_device_for_who_knows_its_binding(
    people: People,
) -> None:
    """B13: a proof taken from another session makes no device there."""
    service = people.service
    for given, status in (({}, 400), ({"proof_binding": "session-1"}, 201)):
        service.advance(121)
        challenge = await service.request(subject=USER, binding="session-1")
        verified = await service.verify(challenge, service.code(), binding="session-1")
        answer = await service.post(
            "/devices", subject=USER, proof=verified.json()["proof"], **given
        )
        assert answer.status_code == status, answer.text


async def test_its_proof_can_be_for_another_caller_and_signed(people: People) -> None:
    token = (await people.remembered())["token"]
    verified = await people.verified(token, audience="payments", proof_format="jwt")
    assert verified["proof"].count(".") == 2
