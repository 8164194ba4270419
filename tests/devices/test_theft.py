"""
A token is good once: who comes with one that was used before has a copy, or was copied.

What is refused for a moment only, for calls side by side, and what is never refused again, is decided by one script.
"""

import asyncio
import json
import secrets
from collections import Counter

import pytest
import redis

from otp_service.core import keyring
from otp_service.core.keyring import Kind, State
from otp_service.core.proofs import ProofOptions
from otp_service.errors import DeviceReused, DeviceRotated, OtpError
from otp_service.services.devices import DeviceVerified
from tests.conftest import Service, Starter
from tests.devices.conftest import USER, People
from tests.reliability.harness import Mutant, count


async def test_a_token_that_comes_back_forgets_the_device_and_says_so_to_both(
    people: People,
) -> None:
    """The thief or the person: one of them has the newest token, and nobody can tell which."""
    device, other = await people.remembered(), await people.remembered()
    stolen = device["token"]
    newest = (await people.verified(stolen))["token"]
    people.service.advance(11)

    second_holder = await people.verify(stolen)
    first_holder = await people.verify(newest)
    again = await people.verify(stolen)

    for answer in (second_holder, first_holder, again):
        assert (answer.status_code, answer.json()["code"]) == (410, "device_reused")
        assert answer.json()["device_id"] == device["device_id"]
        assert answer.json()["ended_at"] == second_holder.json()["ended_at"]
    assert [d["device_id"] for d in await people.listed()] == [other["device_id"]]
    assert (await people.service.http.delete(f"/devices/{device['device_id']}")).status_code == 404
    assert (await people.verify(other["token"])).status_code == 200


async def test_who_steals_and_is_first_is_found_out_by_the_person(people: People) -> None:
    device = await people.remembered()
    thiefs = (await people.verified(device["token"]))["token"]
    people.service.advance(3600)
    thiefs = (await people.verified(thiefs))["token"]

    assert (await people.verify(device["token"])).json()["code"] == "device_reused"
    assert (await people.verify(thiefs)).json()["code"] == "device_reused"


async def test_the_token_before_the_newest_is_no_theft_for_ten_seconds(people: People) -> None:
    """Two tabs, or a call repeated without its key: refused, and the newest stays good."""
    old = (await people.remembered())["token"]
    new = (await people.verified(old))["token"]
    people.service.advance(9)

    beside = await people.verify(old)

    assert (beside.status_code, beside.json()["code"]) == (409, "device_rotated")
    assert (await people.verify(new)).status_code == 200


async def test_the_leeway_is_for_one_generation_and_is_not_prolonged(people: People) -> None:
    """A thief who keeps using what is stolen does not hide behind it."""
    first = (await people.remembered())["token"]
    second = (await people.verified(first))["token"]
    await people.verified(second)

    assert (await people.verify(first)).json()["code"] == "device_reused"


async def test_the_leeway_can_be_none(start_service: Starter) -> None:
    people = People(await start_service(OTP_DEVICE_REUSE_GRACE="0"))
    token = (await people.remembered())["token"]
    await people.verified(token)

    assert (await people.verify(token)).json()["code"] == "device_reused"


async def test_a_theft_is_seen_whatever_purpose_or_binding_comes_with_it(people: People) -> None:
    token = (await people.remembered(binding="key-1"))["token"]
    await people.verified(token, binding="key-1")
    people.service.advance(11)

    assert (await people.verify(token, binding="another")).json()["code"] == "device_reused"


# The same call again


async def test_the_same_call_again_gives_the_same_token_and_the_next_one_is_good(
    people: People,
) -> None:
    """B15, X35: an answer that got lost costs no device."""
    token = (await people.remembered())["token"]
    key = {"Idempotency-Key": "login-1"}

    answers = await asyncio.gather(*(people.verify(token, headers=key) for _ in range(20)))
    people.service.advance(60)
    again = await people.verify(token, headers=key)

    assert set(count(list(answers))) <= {"200", "idempotency_in_progress"}
    assert again.headers["Idempotency-Replayed"] == "true"
    given = {a.json()["token"] for a in (*answers, again) if a.status_code == 200}
    assert len(given) == 1
    assert (await people.verify(given.pop())).status_code == 200


async def test_a_call_whose_process_died_after_its_work_is_taken_up(
    people: People, valkey_url: str
) -> None:
    """B15, X33: the next run with the key finds that it has rotated, and gives the same token."""
    token = (await people.remembered())["token"]
    key = {"Idempotency-Key": "login-1"}
    first = await people.verify(token, headers=key)
    people.service.advance(60)
    with redis.Redis.from_url(valkey_url) as client:
        for record in client.scan_iter("otp:idempotent:*"):
            client.hdel(record, "answer", "busy_until")

    again = await people.verify(token, headers=key)

    assert (again.status_code, again.json()["token"]) == (200, first.json()["token"])
    assert again.json()["verified_at"] == first.json()["verified_at"]
    assert (await people.verify(first.json()["token"])).status_code == 200


async def test_the_same_key_shows_the_first_token_once(people: People, valkey_url: str) -> None:
    """B17."""
    body = {"subject": USER, "proof": await people.proof()}
    headers = {"Idempotency-Key": "remember-1"}

    first = await people.service.post("/devices", headers=headers, **body)
    second = await people.service.post("/devices", headers=headers, **body)

    assert (second.status_code, second.json()["code"]) == (409, "already_issued")
    assert second.json()["device_id"] == first.json()["device_id"]
    assert first.json()["token"] not in second.text
    assert (await people.verify(first.json()["token"])).status_code == 200


# Races


async def race(service: Service, token: str) -> tuple[Counter[str], list[str]]:
    """Fifty verifications of one token in one moment: how they ended, and the tokens that were given."""
    given: list[str] = []

    async def one() -> str:
        try:
            verified = await service.container.service.devices.verify(
                "shop",
                USER,
                token,
                purpose="login",
                binding="",
                handle=secrets.token_hex(16),
                proof_options=ProofOptions(),
            )
        except OtpError as error:
            return type(error).__name__
        assert isinstance(verified, DeviceVerified)
        given.append(verified.token)
        return "verified"

    return Counter(await asyncio.gather(*(one() for _ in range(50)))), given


async def test_of_fifty_at_once_one_wins_and_the_device_stays(
    people: People,
    rounds: int,
) -> None:
    """B24's race for devices: parallel tabs are no theft, and a replay afterwards is."""
    first = token = (await people.remembered())["token"]
    for _ in range(rounds):
        outcomes, given = await race(people.service, token)
        assert outcomes == {"verified": 1, DeviceRotated.__name__: 49}
        [token] = given

    people.service.advance(11)
    assert (await people.verify(first)).json()["code"] == "device_reused"
    assert (await people.verify(token)).json()["code"] == "device_reused"


async def test_of_fifty_calls_over_http_one_wins(people: People) -> None:
    token = (await people.remembered())["token"]

    answers = await asyncio.gather(*(people.verify(token) for _ in range(50)))

    outcomes = count(list(answers))
    outcomes.pop(
        "unavailable", None
    )  # on a busy machine, fifty new connections to Redis may be late
    assert outcomes.pop("200") == 1
    assert set(outcomes) == {"device_rotated"}
    [new] = [answer.json()["token"] for answer in answers if answer.status_code == 200]
    assert (await people.verify(new)).status_code == 200


async def test_a_replay_race_after_the_leeway_is_one_theft(people: People) -> None:
    token = (await people.remembered())["token"]
    await people.verified(token)
    people.service.advance(11)

    outcomes, _ = await race(people.service, token)

    assert outcomes == {DeviceReused.__name__: 50}


async def test_a_race_between_forgetting_and_using_leaves_nothing_good(people: People) -> None:
    for _ in range(10):
        device = await people.remembered()
        removed, used = await asyncio.gather(
            people.service.http.delete(f"/devices/{device['device_id']}"),
            people.verify(device["token"]),
        )
        assert removed.status_code == 204
        last = used.json()["token"] if used.status_code == 200 else device["token"]
        assert (await people.verify(last)).json()["code"] == "invalid_device"


ROTATED = "redis.call('HSET', KEYS[1], a.id, cjson.encode(d))\nwrite_proof(KEYS[4]"


async def test_a_build_that_does_not_rotate_is_seen_to_let_all_of_them_win(people: People) -> None:
    """The negative control of the races."""
    token = (await people.remembered())["token"]
    Mutant("", "rotate_device", ROTATED, "write_proof(KEYS[4]").put_into(
        people.service.container.scripts
    )

    outcomes, _ = await race(people.service, token)

    assert outcomes == {"verified": 50}


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("if a.generation < d.generation then", "if false then"),
        ("  d.reused_at = now\n", ""),
    ],
    ids=["any genuine token is good", "a theft is seen and nothing follows"],
)
async def test_a_build_without_its_defence_is_seen_to_let_the_thief_stay(
    people: People, line: str, instead: str
) -> None:
    """The negative controls of the thefts: after a replay, somebody still has a good token."""
    old = (await people.remembered())["token"]
    new = (await people.verified(old))["token"]
    people.service.advance(11)
    Mutant("", "rotate_device", line, instead).put_into(people.service.container.scripts)

    tried = [(await people.verify(token)).status_code for token in (old, new)]

    assert 200 in tried


# What Redis lost, and keys


async def test_a_token_newer_than_what_redis_knows_is_refused_and_the_device_forgotten(
    people: People, valkey_url: str
) -> None:
    """A failover may lose a rotation: then a token that was used looks fresh, so none is believed."""
    first = (await people.remembered())["token"]
    with redis.Redis.from_url(valkey_url) as client:
        [key] = client.keys("otp:*:devices:*")
        before = client.hgetall(key)
        second = (await people.verified(first))["token"]
        client.hset(key, mapping=before)

    assert (await people.verify(second)).json()["code"] == "invalid_device"
    assert (await people.verify(first)).json()["code"] == "invalid_device"
    assert await people.listed() == []


async def test_a_token_of_a_rotated_key_is_good_and_its_successor_is_of_the_new_key(
    start_service: Starter,
) -> None:
    """K04, K06: and when the old key is retired, what it made is refused."""
    made = json.loads(keyring.generate(created_at="2026-11-23T00:00:00Z"))["keys"]
    [old] = [entry for entry in made if entry["kind"] == Kind.DEVICE]
    new = keyring.new_entry(Kind.DEVICE, State.ACTIVE, created_at="2026-11-24T00:00:00Z")

    def ring(*entries: dict[str, str]) -> str:
        rest = [entry for entry in made if entry["kind"] != Kind.DEVICE]
        return json.dumps({"keys": [*rest, *entries]})

    before = People(await start_service(OTP_KEYRING=ring(old)))
    used, idle = await before.remembered(), await before.remembered()
    promoted = People(await start_service(OTP_KEYRING=ring({**old, "state": "verify"}, new)))
    successor = (await promoted.verified(used["token"]))["token"]

    retired = People(await start_service(OTP_KEYRING=ring({**old, "state": "retired"}, new)))

    assert (await retired.verify(idle["token"])).json()["code"] == "invalid_device"
    assert (await retired.verify(successor)).status_code == 200


async def test_a_name_whose_key_is_gone_hides_no_device(start_service: Starter) -> None:
    """A list is for forgetting: it must not fail for a name."""
    made = json.loads(keyring.generate(created_at="2026-11-23T00:00:00Z"))["keys"]
    new = keyring.new_entry(Kind.SEAL, State.ACTIVE, created_at="2026-11-24T00:00:00Z")
    people = People(await start_service(OTP_KEYRING=json.dumps({"keys": made})))
    device = await people.remembered(name="Phone")

    rest = [entry for entry in made if entry["kind"] != Kind.SEAL]
    later = People(await start_service(OTP_KEYRING=json.dumps({"keys": [*rest, new]})))

    assert [(d["device_id"], d["name"]) for d in await later.listed()] == [
        (device["device_id"], None)
    ]
