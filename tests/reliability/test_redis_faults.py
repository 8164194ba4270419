"""
Redis dies, freezes, fills up, forgets, turns read-only, talks nonsense: no limit is loosened, no code accepted twice.

Without Redis every call is a 503 with Retry-After, within the deadline, and afterwards everything goes on by itself.
Each test that does harm to a server starts one of its own.
"""

import asyncio
import signal
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest
import redis

from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import Timeouts, connect
from otp_service.store.scripts import Durability, Scripts
from tests.conftest import TO, Sandbox, Service, Starter, running_service
from tests.reliability.harness import (
    Gate,
    command,
    count,
    eventually,
    gate_before,
    number,
    script,
)
from tests.reliability.own_redis import (
    Own,
    are_unavailable,
    is_ready,
    not_ready_for,
    on_disk,
    pair,
    service_on,
)


async def every_call(
    service: Service, challenge: dict[str, Any], code: str
) -> list[httpx.Response]:
    """One of each that needs Redis, all at once."""
    body = {"challenge_id": challenge["challenge_id"]}
    return list(
        await asyncio.gather(
            service.post("/otp/request", to=number(7), purpose="login"),
            service.verify(challenge, code),
            service.post("/otp/resend", **body),
            service.post("/otp/cancel", **body),
            service.http.get(f"/otp/{challenge['challenge_id']}"),
            service.post("/proofs/introspect", proof="otpp_00" + "A" * 43),
        )
    )


# --- Gone, frozen, back ----------------------------------------------------------------------------------------------


async def test_a_killed_redis_is_a_503_everywhere_and_nothing_acknowledged_is_lost(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X01, D-6: with its append-only file Redis comes back with every count."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        challenge = await service.request(subject="user-1")
        spent = await service.request(subject="user-2", to=number(1))
        code, used = service.code(), service.code(number(1))
        assert (await service.verify(spent, used)).status_code == 200
        for _ in range(2):
            await service.verify(challenge, service.wrong_code())
        await eventually(lambda: on_disk(server), "the append-only file")

        server.kill()
        are_unavailable(await every_call(service, challenge, code))
        assert (await service.http.get("/healthz")).status_code == 200
        ready = await service.http.get("/readyz")
        assert (ready.status_code, list(ready.json()["reasons"])) == (503, ["redis"])

        own_valkey("primary", port=server.port, password=server.password)
        await eventually(
            lambda: is_ready(service), "ready again", seconds=20
        )  # 2 s where it is quiet
        assert (await service.look(challenge))["attempts_remaining"] == 3
        assert (await service.verify(spent, used)).json()["code"] == "challenge_used"
        assert (await service.verify(challenge, code)).status_code == 200
        third = await service.request(to=number(2))  # and codes go out again
        assert third["delivery"]["status"] == "accepted"


async def test_full_redis_does_not_spend_the_proof_of_a_device(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        challenge = await service.request(subject="user-1")
        proof = (await service.verify(challenge, service.code())).json()["proof"]
        body = {"subject": "user-1", "proof": proof}
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1kb")
            are_unavailable([await service.post("/devices", **body)])
            client.config_set("maxmemory", 0)
        assert (await service.post("/devices", **body)).status_code == 201


async def test_device_whose_answer_got_lost_is_found_by_the_same_key(
    gate: tuple[Gate, dict[str, str]], sandbox: Sandbox
) -> None:
    door, environment = gate
    async with running_service(environment, sandbox) as service:
        challenge = await service.request(subject="user-1")
        proof = (await service.verify(challenge, service.code())).json()["proof"]
        body = {"subject": "user-1", "proof": proof, "headers": {"Idempotency-Key": "k" * 32}}
        door.add(script("remember_device"), "reset_after")
        assert (await service.post("/devices", **body)).status_code == 503
        again = await service.post("/devices", **body)
        assert (again.status_code, again.json()["purpose"]) == (201, "login")
        token = {"subject": "user-1", "token": again.json()["token"], "purpose": "login"}
        assert (await service.post("/devices/verify", **token)).status_code == 200
        body["headers"] = {"Idempotency-Key": "l" * 32}
        assert (await service.post("/devices", **body)).json()["reason"] == "inactive"


async def test_code_whose_secret_expired_early_is_410(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """Redis' clock was ahead for a while: what Redis expired then is gone, what lives for a day is not."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        challenge = await service.request()
        with redis.Redis.from_url(server.url) as client:
            [secret] = client.scan_iter("otp:*:secret:*")
            client.delete(secret)
        verified = await service.verify(challenge, service.code())
        resent = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])
        for answer in (verified, resent):
            assert (answer.status_code, answer.json()["code"]) == (410, "challenge_expired")
        assert (await service.look(challenge))["attempts_remaining"] == 5


async def test_a_frozen_redis_is_a_503_within_the_deadline(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X08."""
    server = own_valkey()
    hasty = {"OTP_REDIS_TIMEOUT": "0.3", "OTP_DELIVER": "false"}
    async with (
        service_on(server.url, sandbox, ring) as patient,
        service_on(server.url, sandbox, ring, **hasty) as service,
    ):
        patient.http.headers.update(service.http.headers)  # a caller's newest credential counts
        challenge = await patient.request()
        code = patient.code()
        await eventually(lambda: is_ready(service), "ready")
        server.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(9):  # less than the usual deadline in tests
            are_unavailable(await every_call(service, challenge, code))
        assert (await service.http.get("/readyz")).status_code == 503
        server.process.send_signal(signal.SIGCONT)

        await eventually(lambda: is_ready(service), "ready again")
        # What was sent while it was frozen may have run: then the code is spent or all is canceled, never both.
        answers = [await patient.verify(challenge, code) for _ in range(2)]
        assert count(answers).get("200", 0) <= 1
        assert answers[1].status_code == 410


@pytest.mark.parametrize("durability", [Durability.NONE, Durability.FSYNC])
async def test_a_call_to_a_frozen_redis_ends_at_its_deadline_also_when_it_waits_for_the_disk(
    own_valkey: Own, durability: Durability
) -> None:
    """X08. One command and a pipeline have the same deadline, and both close the connection that may still answer."""
    # At each write: by default the disk follows once a second, which a call of 0.3 s meets by luck only.
    server = own_valkey("primary", "--appendfsync", "always")
    connection = connect(server.url, name="frozen", connections=1, timeouts=Timeouts(command=0.3))
    scripts = Scripts(connection, durability=durability)

    async def turn() -> str:
        answer = await scripts.run(
            "take_turn", [keys.turn("x")], {"every_ms": 60_000}, durable=True
        )
        return str(answer["verdict"])

    async def in_time() -> str:
        """The first answer that comes within the deadline: a busy machine may be late too."""
        with suppress(Unavailable):
            return await turn()
        return ""

    try:
        assert await eventually(in_time, "a turn") in ("yours", "not_yours")
        server.process.send_signal(signal.SIGSTOP)
        for _ in range(2):
            async with asyncio.timeout(30):
                with pytest.raises(Unavailable):
                    await turn()
        server.process.send_signal(signal.SIGCONT)
        assert await eventually(in_time, "an answer") == "not_yours"
    finally:
        server.process.send_signal(signal.SIGCONT)
        await connection.aclose()


async def test_a_flushed_script_cache_is_not_noticed(
    start_service: Starter, valkey_url: str
) -> None:
    """H07, X18: zero errors while the scripts are thrown away all the time."""
    service = await start_service(OTP_HASH_QUEUE="512")
    done = asyncio.Event()

    async def flush() -> None:
        with redis.Redis.from_url(valkey_url) as client:
            while not done.is_set():
                client.script_flush()
                await asyncio.sleep(0.001)

    flushing = asyncio.create_task(flush())
    for i in range(8):
        challenge = await service.request(to=number(i))
        code = service.code(number(i))
        answers = await asyncio.gather(
            *(service.verify(challenge, code) for _ in range(10)),
            *(service.http.get(f"/otp/{challenge['challenge_id']}") for _ in range(10)),
        )
        assert [a.status_code for a in answers[:10]].count(200) == 1
        assert {a.status_code for a in answers} <= {200, 410}
    done.set()
    await flushing


async def test_a_full_redis_sends_nothing_and_accepts_nothing(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X06, H03: a guess that can't be counted is not evaluated."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        challenge = await service.request()
        code = service.code()
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1kb")
            service.advance(31)
            body = {"challenge_id": challenge["challenge_id"]}
            are_unavailable(
                [
                    await service.post("/otp/request", to=number(1), purpose="login"),
                    await service.verify(challenge, code),
                    await service.verify(challenge, service.wrong_code()),
                    await service.post("/otp/resend", **body),
                ]
            )
            assert (await service.http.get("/readyz")).status_code == 503
            client.config_set("maxmemory", 0)
        assert (await service.look(challenge))["attempts_remaining"] == 5
        assert (await service.verify(challenge, code)).status_code == 200
    assert sandbox.messages(number(1)) == []


async def test_a_redis_that_became_a_replica_takes_nothing(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X11, X14: READONLY is a 503, and readiness says so."""
    server, other = own_valkey("one"), own_valkey("two")
    async with service_on(server.url, sandbox, ring) as service:
        challenge = await service.request()
        code = service.code()
        with redis.Redis.from_url(server.url) as client:
            client.config_set("replica-serve-stale-data", "yes")
            client.config_set("masterauth", "wrong, so that it keeps its data")
            client.replicaof("127.0.0.1", other.port)
            are_unavailable(
                [
                    await service.post("/otp/request", to=number(1), purpose="login"),
                    await service.verify(challenge, code),
                    await service.verify(challenge, service.wrong_code()),
                ]
            )
            assert (await service.http.get("/readyz")).status_code == 503
            client.replicaof("NO", "ONE")
        await eventually(lambda: is_ready(service), "ready again")
        assert (await service.verify(challenge, code)).status_code == 200


async def test_after_flushall_old_ids_are_refused_and_the_worker_finds_its_feet(
    start_service: Starter, valkey_url: str
) -> None:
    """H04, X07: the ceiling in the process still bounds what is sent."""
    service = await start_service(OTP_LIMIT_PROCESS="3/1h")
    challenge = await service.request()
    code = service.code()
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    service.http.headers.update(await service.caller("shop"))
    await eventually(lambda: knows_us(service), "the new credential")

    assert (await service.verify(challenge, code)).json()["code"] == "challenge_not_found"
    second = await service.request()  # the cooldown is forgotten, which is why there is a ceiling
    assert second["delivery"]["status"] == "accepted"
    third = await service.request(to=number(1))
    assert third["delivery"]["status"] == "accepted"
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    service.http.headers.update(await service.caller("shop"))
    await eventually(lambda: knows_us(service), "the new credential")
    fourth = await service.post("/otp/request", to=number(2), purpose="login")
    assert (fourth.status_code, fourth.json().get("code")) == (429, "quota_exceeded")
    assert len(service.sandbox.messages()) == 2


async def knows_us(service: Service) -> bool:
    answer = await service.http.get("/otp/00" + "A" * 32)
    return answer.status_code == 404


# --- Answers that never come, or are none ----------------------------------------------------------------------------


async def test_an_answer_lost_after_the_count_is_a_503_and_counted_once(
    gate: tuple[Gate, dict[str, str]], start_service: Starter, sandbox: Sandbox
) -> None:
    """X09: what may have run is never run again by us."""
    door, behind = gate
    service = await start_service(OTP_REDIS_URL=behind["OTP_REDIS_URL"])
    challenge = await service.request()
    code, wrong = service.code(), service.wrong_code()

    seen = door.add(script("reserve_attempt"), "watch", times=0)
    door.rules.insert(0, lost := door.add(script("reserve_attempt"), "reset_after"))
    are_unavailable([await service.verify(challenge, wrong)])

    assert lost.seen == 1
    assert seen.seen == 0
    assert (await service.look(challenge))["attempts_remaining"] == 4
    assert (await service.verify(challenge, code)).status_code == 200


async def test_an_answer_lost_after_the_code_was_spent_is_a_503_and_the_code_is_spent(
    gate: tuple[Gate, dict[str, str]], start_service: Starter
) -> None:
    """X09, X35: the same call again, under its key, gets the one proof."""
    door, behind = gate
    service = await start_service(OTP_REDIS_URL=behind["OTP_REDIS_URL"])
    challenge = await service.request()
    code, key = service.code(), {"Idempotency-Key": "try-1"}
    body = {"challenge_id": challenge["challenge_id"], "code": code, "purpose": "login"}

    door.add(script("consume_challenge"), "reset_after")
    first = await service.post("/otp/verify", headers=key, **body)
    again = await service.post("/otp/verify", headers=key, **body)
    other = await service.verify(challenge, code)

    are_unavailable([first])
    assert again.status_code == 200
    assert other.json()["code"] == "challenge_used"


async def test_an_answer_lost_after_the_request_was_counted_sends_one_sms(
    gate: tuple[Gate, dict[str, str]], start_service: Starter
) -> None:
    """X09, B15: and the same call again tells of the challenge that was opened."""
    door, behind = gate
    service = await start_service(OTP_REDIS_URL=behind["OTP_REDIS_URL"])
    key = {"Idempotency-Key": "login-1", "Prefer": "wait=30"}
    door.add(script("open_challenge"), "reset_after")

    first = await service.post("/otp/request", to=TO, purpose="login")
    bare = await service.post("/otp/request", to=TO, purpose="login")
    are_unavailable([first])
    assert bare.json()["code"] == "rate_limited"  # it was opened, and counted
    assert await eventually(lambda: service.sandbox.messages(), "the SMS")

    door.add(script("open_challenge"), "reset_after")
    second = await service.post("/otp/request", headers=key, to=number(1), purpose="login")
    again = await service.post("/otp/request", headers=key, to=number(1), purpose="login")
    are_unavailable([second])
    assert again.status_code == 202
    assert (await service.verify(again.json(), service.code(number(1)))).status_code == 200
    assert [len(service.sandbox.messages(to)) for to in (TO, number(1))] == [1, 1]


NONSENSE = {
    "nil": b"$-1\r\n",
    "null": b"_\r\n",
    "a number": b":1\r\n",
    "OK": b"+OK\r\n",
    "an error": b"-ERR something\r\n",
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "BUSY": b"-BUSY Redis is busy running a script\r\n",
    "MISCONF": b"-MISCONF Errors writing to the AOF file\r\n",
    "NOAUTH": b"-NOAUTH Authentication required.\r\n",
    "MOVED": b"-MOVED 1 127.0.0.1:1\r\n",
    "an array": b"*1\r\n:1\r\n",
    "no JSON": b"$5\r\n{nono\r\n",
    "other JSON": b'$4\r\n"no"\r\n',
    "no verdict": b"$2\r\n{}\r\n",
    "an unknown verdict": b'$17\r\n{"verdict":"yes"}\r\n',
    "a bare verdict": b'$22\r\n{"verdict":"approved"}\r\n',
    "a bare reservation": b'$22\r\n{"verdict":"reserved"}\r\n',
    "no protocol": b"HTTP/1.1 200 OK\r\n\r\n",
    "no text": b"$2\r\n\xff\xfe\r\n",
}


def as_a_script_answers(payload: bytes) -> bytes:
    """Where it is a text, in what `_deadline.lua` wraps around the answer of a script that ran."""
    clock = int(time.time() * 1000)
    return b"*3\r\n:%d\r\n:1\r\n%b" % (clock, payload) if payload.startswith(b"$") else payload


@pytest.mark.parametrize("stage", ["reserve_attempt", "consume_challenge"])
async def test_nonsense_from_redis_never_accepts_a_code(
    stage: str, gate: tuple[Gate, dict[str, str]], start_service: Starter
) -> None:
    """H14: each is a 503, and none is a 200."""
    door, behind = gate
    service = await start_service(
        OTP_REDIS_URL=behind["OTP_REDIS_URL"], OTP_MAX_ATTEMPTS="10", OTP_LOCKOUT_SHORT="100/1h",
        OTP_LOCKOUT_LONG="100/1d",
    )  # fmt: skip
    found = {}
    for i, (name, payload) in enumerate(NONSENSE.items()):
        if i % 9 == 0:
            challenge = await service.request(to=number(i))
            code = service.code(number(i))
        door.add(script(stage), "reply", payload=as_a_script_answers(payload))
        answer = await service.verify(challenge, code)
        door.release()
        found[name] = answer.status_code
    # The bare verdict is no answer of ours where it tells nothing of what was approved.
    assert found == dict.fromkeys(NONSENSE, 503)


async def test_nonsense_about_a_caller_never_lets_anybody_in(
    gate: tuple[Gate, dict[str, str]], start_service: Starter
) -> None:
    """H14."""
    door, behind = gate
    found = {}
    for name, payload in NONSENSE.items():
        service = await start_service(OTP_REDIS_URL=behind["OTP_REDIS_URL"], OTP_DELIVER="false")
        door.add(command("GET"), "reply", payload=payload, times=2)
        answer = await service.post("/otp/request", to=TO, purpose="login")
        door.release()
        found[name] = answer.status_code
    assert set(found.values()) <= {401, 503}, found
    assert {name for name, status in found.items() if status == 401} <= {"nil", "null"}


# --- Durability ------------------------------------------------------------------------------------------------------


async def failover_while_consuming(
    own_valkey: Own, sandbox: Sandbox, ring: str, durability: str
) -> list[httpx.Response]:
    """Accept a code while the replica is frozen, lose the primary, and try the code again on the replica."""
    primary, replica = await pair(own_valkey)
    async with gate_before(primary.url) as (door, behind):
        async with service_on(behind, sandbox, ring, OTP_DURABILITY=durability) as service:
            challenge = await service.request()
            code = service.code()
            with redis.Redis.from_url(primary.url) as client:
                assert client.wait(1, 5000) == 1
            held = door.add(script("consume_challenge"), "hold_before")
            first = asyncio.create_task(service.verify(challenge, code))
            await held.is_reached()
            with redis.Redis.from_url(primary.url) as client:
                # The reservation is on the replica, the link to it then breaks.
                assert client.wait(1, 5000) == 1
                replica.process.send_signal(signal.SIGSTOP)
                client.client_kill_filter(_type="replica")
            door.release()
            answers = [await first]
            primary.kill()
        replica.process.send_signal(signal.SIGCONT)
        with redis.Redis.from_url(replica.url) as client:
            client.replicaof("NO", "ONE")
    async with service_on(replica.url, sandbox, ring) as service:
        answers += [await service.verify(challenge, code) for _ in range(2)]
    return answers


async def test_with_durability_replica_no_failover_accepts_a_code_twice(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X13, B11: what the replica does not have was never acknowledged."""
    answers = await failover_while_consuming(own_valkey, sandbox, ring, "replica")
    are_unavailable(answers[:1])
    assert count(answers[1:]).get("200", 0) == 1
    assert answers[2].json()["code"] == "challenge_used"


async def test_without_durability_the_same_failover_is_seen_to_accept_it_twice(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """B11: the control of the test above, and why `replica` is there (finding 5)."""
    answers = await failover_while_consuming(own_valkey, sandbox, ring, "none")
    assert [answer.status_code for answer in answers] == [200, 200, 410]


async def test_with_durability_replica_a_lost_replica_stops_counting_and_sending(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X13, X14: a guess whose count might get lost is not evaluated."""
    primary, replica = await pair(own_valkey)
    async with service_on(primary.url, sandbox, ring, OTP_DURABILITY="replica") as service:
        challenge = await service.request()
        code = service.code()
        replica.process.send_signal(signal.SIGSTOP)
        are_unavailable(
            [
                await service.verify(challenge, code),
                await service.post("/otp/request", to=number(1), purpose="login"),
            ]
        )
        replica.process.send_signal(signal.SIGCONT)

        async def caught_up() -> bool:
            return (await service.verify(challenge, code)).status_code == 200

        assert (await service.look(challenge))["status"] == "pending"
        await eventually(caught_up, "accepted once the replica is back")


@pytest.mark.parametrize("durability", ["replica", "fsync"])
async def test_tries_are_kept_while_nothing_is_durable(
    durability: str, own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X13, X14: refused before it is counted, for codes of every kind; readiness says why."""
    primary, replica = await pair(own_valkey, "--appendfsync", "always")
    durable = {"OTP_DURABILITY": durability, "OTP_LIMIT_RECIPIENT": "9/1d"}
    async with service_on(primary.url, sandbox, ring, **durable) as service:
        challenge = await service.request(subject="user-1")
        code = service.code()
        issued = await service.post("/recovery-codes", subject="user-2")
        recovery = {"subject": "user-2", "purpose": "login", "code": issued.json()["codes"][0]}
        with redis.Redis.from_url(primary.url) as client:
            if durability == "replica":
                replica.process.send_signal(signal.SIGSTOP)
            else:
                client.config_set("appendfsync", "no")
            await eventually(lambda: not_ready_for(service, "writes are not ack"), "not ready")
            retries = [await service.verify(challenge, code) for _ in range(5)]
            retries += [await service.post("/recovery-codes/verify", **recovery) for _ in range(5)]
            are_unavailable(retries)
            assert (await service.look(challenge))["attempts_remaining"] == 5
            replica.process.send_signal(signal.SIGCONT)
            client.config_set("appendfsync", "always")
        await eventually(lambda: is_ready(service), "ready again")
        assert (await service.verify(challenge, code)).status_code == 200
        accepted = await service.post("/recovery-codes/verify", **recovery)
        assert accepted.status_code == 200, accepted.text


@pytest.mark.parametrize("trouble", ["OOM", "NOREPLICAS", "READONLY"])
async def test_readiness_names_what_redis_refuses(
    trouble: str, own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X06, X14."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        await eventually(lambda: is_ready(service), "ready")
        with redis.Redis.from_url(server.url) as client:
            match trouble:
                case "OOM":
                    client.config_set("maxmemory", "1kb")
                case "NOREPLICAS":
                    client.config_set("min-replicas-to-write", 1)
                case "READONLY":
                    client.replicaof("127.0.0.1", 1)
        await eventually(lambda: not_ready_for(service, f"({trouble})"), "its name")


async def test_with_durability_fsync_the_whole_flow_works(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X02: WAITAOF before a count or a spent code is acknowledged; connections that a restart ends cost no call."""
    at_once = ("--appendfsync", "always")
    server = own_valkey("primary", *at_once)
    async with service_on(server.url, sandbox, ring, OTP_DURABILITY="fsync") as service:
        challenge = await service.request()
        code = service.code()
        assert (await service.verify(challenge, service.wrong_code())).status_code == 400
        assert all(await asyncio.gather(*(is_ready(service) for _ in range(24))))
        server.kill()
        own_valkey("primary", *at_once, port=server.port, password=server.password)
        await eventually(lambda: is_ready(service), "ready again")
        # At once: one after the other they would take the one connection that is whole again, unless something is busy.
        looks = await asyncio.gather(*(service.look(challenge) for _ in range(24)))
        assert {look["attempts_remaining"] for look in looks} == {4}
        assert (await service.verify(challenge, code)).status_code == 200
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendonly", "no")
        other = await service.post("/otp/request", to=number(1), purpose="login")
        are_unavailable([other])


# --- Clocks ----------------------------------------------------------------------------------------------------------


async def test_a_clock_that_is_set_forward_ends_codes_early(service: Service) -> None:
    """X21: the safe side."""
    challenge = await service.request()
    code = service.code()
    service.advance(3600)
    assert (await service.verify(challenge, code)).json()["code"] == "challenge_expired"


async def test_a_clock_that_is_set_back_gives_no_code_a_longer_life(service: Service) -> None:
    """X22: a challenge of the future is over, also when the clock has come near its beginning again."""
    await (
        service.container.history.stop()
    )  # what the memory of the process adds is in test_history.py
    challenge = await service.request()
    code = service.code()
    service.advance(-3600)
    assert (await service.look(challenge))["status"] == "expired"
    assert (await service.verify(challenge, code)).json()["code"] == "challenge_expired"
    service.advance(3500)
    assert (await service.verify(challenge, code)).json()["code"] == "challenge_expired"
    service.advance(101)  # and who set it right again within the code's life has lost nothing
    assert (await service.verify(challenge, code)).status_code == 200
