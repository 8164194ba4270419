"""
The service alone still reaches a primary that Sentinel and the replica have lost: no code is accepted on both sides.

The primary stands behind a link that tells the service from the others by the address from which they connect.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import redis

from otp_service.cli import valkey
from otp_service.cli.valkey import Valkey
from otp_service.store.connection import Client, Timeouts, connect
from tests.conftest import Sandbox
from tests.reliability.harness import count, eventually, number
from tests.reliability.links import Link, by_way_of, link_to
from tests.reliability.own_redis import Own, end, is_ready, pair, service_on
from tests.reliability.test_topologies import (
    NODE_TIMEOUT_MS,
    PASSWORD,
    down_after,
    in_step,
    sentinel_of,
)

SENTINELS = 3
SENTINEL_SECONDS = 60  # so waiting for a stopped one shows
OTHERS = "127.0.0.2"  # the replica and the Sentinels connect from here,
LAST_SENTINEL = "127.0.0.3"  # but for one of them
ESTABLISHED = "01"  # in /proc/net/tcp; of a closed one the end counts as unread


@dataclass(frozen=True)
class Watched:
    """A primary behind a link, its replica, and the Sentinels that watch both."""

    primary: Valkey
    replica: Valkey
    link: Link
    sentinels: list[int]
    stack: ExitStack
    directory: Path

    def url(self, *first: int) -> str:
        return url_of(*first, *self.sentinels)

    def partition(self) -> None:
        """Cut the primary off from all but the service."""
        for port in self.sentinels:
            down_after(port, ms=500)
        self.link.partition(OTHERS)
        self.link.partition(LAST_SENTINEL)

    def partition_last_sentinel(self) -> None:
        """Cut one Sentinel off from the primary, and from nothing else."""
        down_after(self.sentinels[-1], ms=500)
        self.link.partition(LAST_SENTINEL)

    def promoted(self) -> bool:
        """Whether most Sentinels name the former replica."""
        named = [self._named(port) for port in self.sentinels]
        return named.count(self.replica.port) > SENTINELS / 2

    def held_for_down(self) -> bool:
        return sum(map(holds_for_down, self.sentinels)) > SENTINELS / 2

    def _named(self, port: int) -> int:
        with redis.Redis(port=port, decode_responses=True) as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "otp")[1])


@asynccontextmanager
async def watched(directory: Path, *, replica_priority: int = 100) -> AsyncIterator[Watched]:
    with ExitStack() as stack:

        def start(name: str, *options: str) -> Valkey:
            server = valkey.start(directory / name, password=PASSWORD, options=options)
            stack.callback(end, server)
            return server

        primary = start("primary", "--repl-diskless-sync-delay", "0", "--masterauth", PASSWORD)
        async with link_to(primary.url) as link:
            replica = start(
                "replica", "--masterauth", PASSWORD, "--replicaof", f"127.0.0.1 {link.port}",
                "--bind-source-addr", OTHERS, "--replica-announce-ip", "127.0.0.1",
                "--replica-priority", str(replica_priority),
            )  # fmt: skip
            await eventually(partial(asyncio.to_thread, in_step, primary), "a replica in step")
            sentinels = [
                stack.enter_context(
                    sentinel_of(directory / f"s{i}", link.port, quorum=2, source_address=source)
                )
                for i, source in enumerate([OTHERS, OTHERS, LAST_SENTINEL])
            ]
            await eventually(lambda: all(map(_knows_all, sentinels)), "sentinels know each other")
            yield Watched(primary, replica, link, sentinels, stack, directory)


def _knows_all(port: int) -> bool:
    with redis.Redis(port=port, decode_responses=True) as client:
        peers = client.execute_command("SENTINEL", "SENTINELS", "otp")
        return len(peers) == SENTINELS - 1 and bool(
            client.execute_command("SENTINEL", "REPLICAS", "otp")
        )


def url_of(*sentinels: int) -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in sentinels)
    return f"redis+sentinel://:{PASSWORD}@{hosts}/otp"


def holds_for_down(sentinel: int) -> bool:
    with redis.Redis(port=sentinel) as client:
        return "s_down" in str(client.execute_command("SENTINEL", "MASTERS"))


def stop(sentinel: int) -> None:
    """Halt its process: Linux still accepts connections for it, and nothing is answered."""
    with redis.Redis(port=sentinel) as client:
        process = int(client.info("server")["process_id"])
    os.kill(process, signal.SIGSTOP)


def leaves_us_waiting(sentinel: int) -> bool:
    """Whether it has not read what a client at 127.0.0.1 sent, where no other Sentinel connects from."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        from_us = local.endswith(f":{sentinel:04X}") and remote.startswith("0100007F:")
        if from_us and state == ESTABLISHED and int(queues.partition(":")[2], 16):
            return True
    return False


@asynccontextmanager
async def patient_client(url: str) -> AsyncIterator[Client]:
    """A client of the service's own kind that gives up a silent server or Sentinel after SENTINEL_SECONDS."""
    timeouts = Timeouts(command=SENTINEL_SECONDS)
    connection = connect(url, name="otp_service-test", connections=2, timeouts=timeouts)
    try:
        yield connection.client
    finally:
        await connection.aclose()


def serves_us(server: Valkey) -> bool:
    """Whether a connection of the service is open there."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return any(each["name"].startswith("otp_service") for each in client.client_list())


async def test_primary_cut_off_with_us_accepts_no_code_again(
    tmp_path: Path, sandbox: Sandbox, ring: str
) -> None:
    """X11, B11: every connection follows Sentinel, and an outdated Sentinel leads nobody back."""
    async with (
        watched(tmp_path) as found,
        service_on(found.url(), sandbox, ring) as service,
    ):
        challenges = [await service.request(to=number(i), subject=f"u-{i}") for i in range(6)]
        codes = [service.code(number(i)) for i in range(6)]
        await eventually(partial(asyncio.to_thread, in_step, found.primary), "in step")

        found.partition()
        await eventually(found.promoted, "a promoted replica")
        for port in found.sentinels:
            down_after(port, ms=NODE_TIMEOUT_MS)
        await eventually(lambda: not serves_us(found.primary), "no connection to the old primary")
        await eventually(lambda: is_ready(service), "ready again")
        first = [await service.verify(c, code) for c, code in zip(challenges, codes, strict=True)]
        # 410: the promoted replica lacks the last writes, so challenges from before the failover may be fenced.
        assert {answer.status_code for answer in first} <= {200, 410}
        fresh = await service.request(to=number(7))
        assert (await service.verify(fresh, service.code(number(7)))).status_code == 200
        outdated = found.stack.enter_context(sentinel_of(tmp_path / "old", found.primary.port))
        async with service_on(found.url(outdated), sandbox, ring) as other:
            again = [await other.verify(c, code) for c, code in zip(challenges, codes, strict=True)]
            assert {answer.status_code for answer in again} == {410}, count(again)
            assert not serves_us(found.primary)


async def test_primary_held_for_down_by_sentinel_accepts_nothing(
    tmp_path: Path, sandbox: Sandbox, ring: str
) -> None:
    """X11: before another primary is promoted, the one that we still reach is left."""
    async with (
        watched(tmp_path, replica_priority=0) as found,
        service_on(found.url(), sandbox, ring) as service,
    ):
        challenge = await service.request()
        code = service.code()

        found.partition()
        await eventually(found.held_for_down, "sentinels hold the primary for down")
        await eventually(lambda: not serves_us(found.primary), "no connection to it")
        assert (await service.verify(challenge, code)).status_code == 503

        found.link.cut_off.clear()
        for port in found.sentinels:
            down_after(port, ms=NODE_TIMEOUT_MS)
        await eventually(lambda: is_ready(service), "ready again")
        assert (await service.verify(challenge, code)).status_code == 200


async def test_logins_go_on_while_no_sentinel_answers(
    tmp_path: Path, sandbox: Sandbox, ring: str
) -> None:
    """X11: an outage of Sentinel alone refuses nobody, on new connections too."""
    with ExitStack() as stack:
        primary = valkey.start(tmp_path / "primary", password=PASSWORD)
        stack.callback(end, primary)
        sentinel = stack.enter_context(ExitStack())
        port = sentinel.enter_context(sentinel_of(tmp_path / "sentinel", primary.port))
        url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{port}/otp"
        async with service_on(url, sandbox, ring) as service:
            challenge = await service.request()
            sentinel.close()
            with redis.Redis.from_url(primary.url) as client:
                client.client_kill_filter(_type="normal", skipme=True)

            async def accepted() -> bool:
                answer = await service.verify(challenge, service.code())
                return answer.status_code == 200

            await eventually(accepted, "a right code accepted")


async def test_stopped_sentinel_delays_no_first_connection(tmp_path: Path) -> None:
    """X11: the answers of the other two are enough, long before the third one's time is over."""
    async with watched(tmp_path) as found:
        stop(found.sentinels[-1])
        async with patient_client(found.url()) as client, asyncio.timeout(SENTINEL_SECONDS / 2):
            assert await client.ping()


async def test_connections_open_while_sentinels_are_awaited(tmp_path: Path) -> None:
    """X11: a look that lasts does not hold up a call, as the primary of the look before is known."""
    async with watched(tmp_path) as found, patient_client(found.url()) as client:
        assert await client.ping()
        for port in found.sentinels:
            stop(port)
        await eventually(lambda: all(map(leaves_us_waiting, found.sentinels)), "a look under way")

        await found.link.cut()
        async with asyncio.timeout(SENTINEL_SECONDS / 2):
            assert await client.ping()


async def test_sentinel_alone_in_holding_a_primary_for_down_closes_nothing(
    tmp_path: Path, sandbox: Sandbox, ring: str
) -> None:
    """X11: it is the one that is cut off, and the only one that the service can ask."""
    async with watched(tmp_path) as found:
        last = found.sentinels[-1]
        async with service_on(url_of(last), sandbox, ring) as running:
            challenge = await running.request()
            code = running.code()
            found.partition_last_sentinel()
            await eventually(lambda: holds_for_down(last), "it holds the primary for down")

            async with service_on(url_of(last), sandbox, ring) as new:
                assert (await new.verify(challenge, new.wrong_code())).status_code == 400
            assert (await running.verify(challenge, code)).status_code == 200


@pytest.mark.parametrize("demotion", ["READONLY", "NOREPLICAS"])
async def test_demoted_server_behind_one_address_is_left(
    demotion: str, own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X11: a name or virtual address leads to the new primary, and the old connections stay open."""
    old, new = await pair(own_valkey)
    async with (
        link_to(old.url) as link,
        service_on(by_way_of(old.url, link), sandbox, ring) as service,
    ):
        challenge = await service.request()
        code = service.code()
        await eventually(lambda: in_step(old), "a replica in step")
        link.target = new.url
        with (
            redis.Redis.from_url(new.url) as promoted,
            redis.Redis.from_url(old.url) as demoted,
        ):
            promoted.replicaof("NO", "ONE")
            if demotion == "READONLY":
                demoted.config_set("masterauth", new.password)
                demoted.replicaof("127.0.0.1", new.port)
            else:
                demoted.config_set("min-replicas-to-write", 1)

        async def accepted() -> bool:
            return (await service.verify(challenge, code)).status_code == 200

        await eventually(accepted, "a right code accepted")
        asked = [service.post("/otp/request", to=number(i), purpose="login") for i in range(1, 9)]
        assert count(await asyncio.gather(*asked)) == {"202": 8}
