"""
A Redis Cluster in trouble: a node dies, slots move. Who lives elsewhere notices nothing, and nobody is let in twice.

Each test forms a cluster of its own, since it does not survive.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.crc import key_slot

from otp_service.core.challenge import person_address
from otp_service.core.keyring import Kind
from otp_service.core.recipients import parse_recipient
from otp_service.errors import Unavailable
from otp_service.services.send_limits import send_limits
from otp_service.store import keys
from otp_service.store.opt_ins import VERIFIES_TOO
from tests.conftest import Sandbox, Service
from tests.reliability.harness import count, eventually, number
from tests.reliability.test_topologies import PASSWORD, SLOTS, Cluster, on, primaries


@pytest.fixture
async def cluster(tmp_path: Path) -> Any:
    """Three primaries; one that dies takes only its own slots with it."""
    with ExitStack() as stack:
        directories = [tmp_path / f"node-{i}" for i in range(3)]
        alone = ("--cluster-require-full-coverage", "no", "--masterauth", PASSWORD)
        formed = primaries(stack, directories, *alone)
        await formed.form()
        yield formed


def slot_of(challenge: dict[str, Any]) -> int:
    """The hash slot of a challenge's keys."""
    return key_slot(f"{{0{challenge['challenge_id'][1]}}}".encode())


def owners(cluster: Cluster) -> dict[int, int]:
    """Which node serves each slot that this service uses."""
    [client, *_] = list(cluster.each())
    ranges = client.execute_command("CLUSTER", "SLOTS")
    ports = [node.port for node in cluster.nodes]
    found = {}
    for bucket_key in keys.queues():
        slot = key_slot(bucket_key.encode())
        [port] = [r[2][1] for r in ranges if r[0] <= slot <= r[1]]
        found[slot] = ports.index(port)
    return found


async def challenges_of(service: Service, n: int) -> list[dict[str, Any]]:
    """So many challenges, their codes sent."""
    return list(
        await asyncio.gather(
            *(service.request(to=number(i), subject=f"user-{i}") for i in range(n))
        )
    )


async def test_lost_node_refuses_only_what_it_must_count(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """
    X15: a code is verified unless its subject's slot is lost, and sent unless that, its range's or its caller's is.

    The caller's record is on the lost node too.
    """
    async with on(cluster.url, sandbox, ring, OTP_LIMIT_CALLER="1000000/1d") as service:
        name, dead = caller_whose_record_is_lost(service, cluster)
        service.http.headers.update(await service.caller(name))
        before = await challenges_of(service, 12)
        placed = [owner_of(cluster, queue_of(service, name, i)) for i in range(48)]
        needed = [{placed[i], *limit_owners(service, cluster, name, i)} for i in range(48)]
        cluster.nodes[dead].kill()

        for i, challenge in enumerate(before):
            answer = await service.verify(challenge, service.code(number(i)))
            assert answer.status_code == (503 if placed[i] == dead else 200), answer.text
        asked = {
            i: await service.post(
                "/otp/request", to=number(i), purpose="login", subject=f"user-{i}"
            )
            for i in range(12, 48)
        }
        got = {i: answer.status_code for i, answer in asked.items()}
        assert got == {i: 503 if dead in needed[i] else 202 for i in got}
        assert {*got.values()} == {202, 503}

        ready = (await service.http.get("/readyz")).json()
        buckets = [owner_of(cluster, key) for key in keys.queues()]
        served = sum(owner != dead for owner in buckets)
        assert ready["status"] == "ready"
        assert ready["warnings"]["redis"] == f"serves {served} of 16 buckets: does not answer"

        traces = service.container.reconciliation._traces
        async for _ in traces.claim(service.settings.ring(), lease_ms=1000):
            pass  # what other nodes hold is looked after; it raises nothing


async def test_readiness_answers_without_the_node_of_opt_in(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """What was seen of the site is on the lost node: opt-in is refused, codes are not."""
    async with on(cluster.url, sandbox, ring) as service:
        lost = owner_of(cluster, keys.opt_in_refused(VERIFIES_TOO))
        cluster.nodes[lost].kill()

        ready = await service.http.get("/readyz")
        asked = await service.post("/optin/request", name="Ann Lee", mobile=number(0))

        assert (ready.status_code, asked.status_code) == (200, 503)
        assert "Redis does not answer" in ready.json()["warnings"]["opt_in"]


async def test_hanging_node_fails_no_call_to_the_others(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """The comparison with what is remembered is one of each server: theirs do not wait for its."""
    async with on(cluster.url, sandbox, ring, OTP_REDIS_TIMEOUT="2") as service:
        scripts = service.container.scripts
        turns = [keys.turn(f"t{i}") for i in range(12)]
        hanging = owner_of(cluster, turns[0])
        away = [key for key in turns if owner_of(cluster, key) == hanging]
        there = [key for key in turns if owner_of(cluster, key) != hanging]
        assert away
        assert there
        cluster.nodes[hanging].process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(3):  # each makes the process open connections anew
                ends = await asyncio.gather(
                    *(
                        scripts.run("take_turn", [key], {"every_ms": 60_000})
                        for key in (*away, *there)
                    ),
                    return_exceptions=True,
                )
                assert {type(end) for end in ends[: len(away)]} == {Unavailable}
                for end in ends[len(away) :]:
                    assert not isinstance(end, BaseException)
        finally:
            cluster.nodes[hanging].process.send_signal(signal.SIGCONT)


def caller_whose_record_is_lost(service: Service, cluster: Cluster) -> tuple[str, int]:
    """A caller and a node that has its record, and not the limits that all its sends are charged to."""
    for name in (f"shop-{i}" for i in range(100)):
        node = owner_of(cluster, keys.caller(name))
        [budget] = [key for key in limits_of(service, name, 0) if ":caller:" in key]
        if owner_of(cluster, budget) != node:
            return name, node
    raise AssertionError("no caller found")


def limits_of(service: Service, caller: str, i: int) -> list[str]:
    settings = service.settings
    limits = send_limits(
        settings.policy(), settings.ring().in_order(Kind.PHONE), caller=caller,
        recipient=parse_recipient(number(i), regions=None), client_ip=None, purpose="login",
    )  # fmt: skip
    return [limit.key for limit in limits]


def limit_owners(service: Service, cluster: Cluster, caller: str, i: int) -> set[int]:
    found = {owner_of(cluster, key) for key in limits_of(service, caller, i)}
    slots = {key_slot(key.encode()) for key in limits_of(service, caller, i)}
    assert len(slots) == 2, "one of the number range, one of the caller"
    return found


def queue_of(service: Service, caller: str, i: int) -> str:
    address = person_address(service.settings.ring(), caller, f"user-{i}")
    return keys.queue(address.bucket)


def owner_of(cluster: Cluster, key: str) -> int:
    slot = key_slot(key.encode())
    share = -(-SLOTS // len(cluster.nodes))
    return slot // share


async def flows_until(service: Service, done: asyncio.Event) -> list[httpx.Response]:
    """Request and verify, one person after the other, until it is done; every answer that was given."""
    found: list[httpx.Response] = []
    i = 0
    while not done.is_set() or i < 10:
        to = number(i % 100)
        asked = await service.post(
            "/otp/request", headers={"Prefer": "wait=30"}, to=to, purpose="login",
            subject=f"user-{i}",
        )  # fmt: skip
        found.append(asked)
        if asked.status_code == 202 and asked.json()["delivery"]["status"] == "accepted":
            code = service.code(to)
            found += await asyncio.gather(*(service.verify(asked.json(), code) for _ in range(3)))
            assert [a.status_code for a in found[-3:]].count(200) <= 1, "accepted twice"
        i += 1
        service.advance(200)
    return found


def moves(cluster: Cluster) -> Iterator[tuple[int, redis.Redis, redis.Redis, str, str]]:
    """Every slot of ours with a node to move it to: slot, from, to, and their ids."""
    clients = list(cluster.each())
    ids = [str(c.execute_command("CLUSTER", "MYID")) for c in clients]
    for slot, owner in owners(cluster).items():
        to = (owner + 1) % 3
        yield slot, clients[owner], clients[to], ids[owner], ids[to]


async def move_key_by_key(cluster: Cluster) -> None:
    """The way of every version: a slot is split while its keys go over one by one."""
    for slot, source, target, source_id, target_id in moves(cluster):
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while found := source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
            migrate(source, target, *found)
            await asyncio.sleep(0)
        for client in cluster.each():
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        await asyncio.sleep(0.05)


async def move_whole_slots(cluster: Cluster) -> None:
    """Valkey 9's way: a slot changes hands at one moment."""
    for slot, source, _, _, target_id in moves(cluster):
        source.execute_command(
            "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target_id
        )

        def moved(slot: int = slot, source: redis.Redis = source) -> bool:
            jobs = source.execute_command("CLUSTER", "GETSLOTMIGRATIONS")
            states = [dict(job) if isinstance(job, dict) else pairs(job) for job in jobs]
            [job] = [s for s in states if s["slot_ranges"] == f"{slot}-{slot}"]
            assert job["state"] not in ("failed", "canceled"), job
            return bool(job["state"] == "success")

        await eventually(moved, f"slot {slot} moved")


async def test_a_slot_in_two_halves_is_waited_for_as_long_as_a_command_may_take(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """X16, H09: a script that names keys of both halves runs once they are together again."""
    async with on(cluster.url, sandbox, ring) as service:
        challenge = await service.request()
        code = service.code()
        slot, source, target, source_id, target_id = next(
            move for move in moves(cluster) if move[0] == slot_of(challenge)
        )
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        one, *rest = source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
        migrate(source, target, one)
        before = refusals(source, target)
        verifying = asyncio.create_task(service.verify(challenge, code))
        await eventually(lambda: refusals(source, target) - before >= 20, "many tries")
        migrate(source, target, *rest)
        for client in cluster.each():
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)

        assert (await verifying).status_code == 200


def migrate(source: redis.Redis, target: redis.Redis, *names: str) -> None:
    port = target.connection_pool.connection_kwargs["port"]
    source.execute_command(
        "MIGRATE", "127.0.0.1", port, "", 0, 60_000, "AUTH", PASSWORD, "KEYS", *names
    )


def refusals(*nodes: redis.Redis) -> int:
    """How often nodes have said that they do not have all keys."""
    told = [node.info("errorstats").get("errorstat_TRYAGAIN", {"count": 0}) for node in nodes]
    return sum(int(each["count"]) for each in told)


def pairs(flat: list[Any]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


@pytest.mark.parametrize(
    "move", [pytest.param(move_key_by_key, id="X16"), pytest.param(move_whole_slots, id="X17")]
)
async def test_slots_that_move_under_load_refuse_hardly_anybody_and_let_nobody_in_twice(
    move: Any, cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """X16, X17, H09: a slot in two halves is waited for, a moved one is followed."""
    async with on(
        cluster.url, sandbox, ring, OTP_LIMIT_CALLER="1000000/1d", OTP_DURABILITY="none"
    ) as service:
        done = asyncio.Event()
        running = asyncio.create_task(flows_until(service, done))
        before = owners(cluster)
        await move(cluster)
        done.set()
        answers = await running
        after = owners(cluster)
        assert all(after[slot] != owner for slot, owner in before.items())
        found = count(answers)
        assert found["202"] >= 10
        assert set(found) <= {"200", "202", "challenge_used", "unavailable"}, found
        assert found["200"] >= found["202"] - found.get("unavailable", 0) - 1
        assert found.get("unavailable", 0) <= max(1, len(answers) // 100), found
