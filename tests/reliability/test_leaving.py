"""A worker that leaves takes nothing with it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import redis

from otp_service.connections import open_redis
from otp_service.services.delivery import IDLE_MS
from otp_service.settings.environment import load
from otp_service.store import keys
from otp_service.store.deliveries import GROUP, Deliveries
from otp_service.store.scripts import Scripts
from tests.reliability.harness import Command, Gate, script

QUEUE = keys.queue(0)


def deletes_consumer(command: Command) -> bool:
    return script("leave_group")(command) or [w.upper() for w in command[:2]] == [
        b"XGROUP",
        b"DELCONSUMER",
    ]


@asynccontextmanager
async def worker(environment: dict[str, str], name: str) -> AsyncIterator[Deliveries]:
    """The queue as a worker of this name sees it."""
    async with AsyncExitStack() as stack:
        settings = load(environment)
        connections = [open_redis(settings), open_redis(settings, block_seconds=1)]
        for connection in connections:
            stack.push_async_callback(connection.aclose)
        yield Deliveries(Scripts(connections[0]), connections[1], consumer=name)


@pytest.fixture(autouse=True)
def group(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        client.xgroup_create(QUEUE, GROUP, id="0", mkstream=True)


def in_group(valkey_url: str) -> list[str]:
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        return [one["name"] for one in client.xinfo_consumers(QUEUE, GROUP)]


def add_job(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        client.xadd(QUEUE, {"id": "somebody", "generation": 1})


async def test_who_has_nothing_pending_is_out_of_the_group(
    environment: dict[str, str], valkey_url: str
) -> None:
    add_job(valkey_url)
    async with worker(environment, "one") as one:
        [job] = await one.read([QUEUE], block_ms=1000)
        await one.leave()
        assert in_group(valkey_url) == ["one"], "its job is still pending"

        await one.discard(job)
        await one.leave()

    assert in_group(valkey_url) == []


async def test_who_leaves_takes_along_who_ended_without_leaving(
    environment: dict[str, str], valkey_url: str
) -> None:
    """X33: a killed process, or one whose opening script ran when it had left. The names would stay for ever."""
    async with worker(environment, "one") as one, worker(environment, "killed") as killed:
        await one.read([QUEUE], block_ms=1)
        await killed.read([QUEUE], block_ms=1)
        await one.leave()
        assert in_group(valkey_url) == ["killed"], "it was heard of today"

        add_job(valkey_url)
        await killed.read([QUEUE], block_ms=1000)
        await one.leave(abandoned_ms=0)
        assert in_group(valkey_url) == ["killed"], "its job is still pending"

        [job] = await one.claim_idle(idle_ms=0)
        await one.discard(job)
        await one.leave(abandoned_ms=0)
    assert in_group(valkey_url) == []


async def test_a_user_that_may_not_see_the_others_still_leaves_itself(
    environment: dict[str, str], valkey_url: str
) -> None:
    """Whose ACL is older than that question. The control: with it the other one would go."""
    with redis.Redis.from_url(valkey_url) as client:
        client.execute_command(
            "ACL", "SETUSER", "older", "on", ">secret", "~*", "&*", "+@all", "-xinfo"
        )
    by_older = re.sub("//[^@]*@", "//older:secret@", valkey_url)
    async with (
        worker({**environment, "OTP_REDIS_URL": by_older}, "one") as one,
        worker(environment, "killed") as killed,
    ):
        await one.read([QUEUE], block_ms=1)
        await killed.read([QUEUE], block_ms=1)
        await one.leave(abandoned_ms=0)
        assert in_group(valkey_url) == ["killed"]
    with redis.Redis.from_url(valkey_url) as client:
        client.acl_deluser("older")


async def test_a_job_that_arrives_while_its_worker_leaves_is_found_by_the_next(
    environment: dict[str, str], gate: tuple[Gate, dict[str, str]], valkey_url: str
) -> None:
    """X33: between seeing that nothing is pending and leaving, nothing can come to be pending."""
    door, behind = gate
    async with worker(behind, "leaving") as one, worker(environment, "leaving") as reading:
        rule = door.add(deletes_consumer, "hold_before", times=0)
        leaving = asyncio.create_task(one.leave())
        await rule.is_reached()
        add_job(valkey_url)
        assert len(await reading.read([QUEUE], block_ms=1000)) == 1
        door.release()
        await leaving

    async with worker(environment, "next") as other:
        assert [job.challenge_id for job in await other.claim_idle(idle_ms=0)] == ["somebody"]


async def test_who_leaves_after_the_data_was_lost_leaves_quietly(
    environment: dict[str, str], valkey_url: str
) -> None:
    async with worker(environment, "one") as one:
        with redis.Redis.from_url(valkey_url) as client:
            client.flushall()

        await one.leave()


async def test_what_a_worker_looks_at_again_and_cannot_do_is_still_left_to_another(
    environment: dict[str, str], valkey_url: str
) -> None:
    """Such as a job under a key that it does not know yet. It looks every few seconds, and others must get a turn."""
    add_job(valkey_url)
    async with worker(environment, "one") as one, worker(environment, "other") as other:
        [job] = await one.read([QUEUE], block_ms=1000)
        with redis.Redis.from_url(valkey_url) as client:
            client.xclaim(QUEUE, GROUP, "one", 0, [job.message_id], idle=IDLE_MS, justid=True)

        assert await one.held() == [job]

        assert await other.claim_idle(idle_ms=IDLE_MS) == [job]
        assert await one.held() == []
