"""
Whoever goes away in the middle of a call leaves no answer behind for the next one on its connection (E16).

Thousands of reads on few connections, a third of them canceled while their command or its answer is on the way, over a
link that delivers in pieces. What is left must have its own values; a pool that keeps connections as they are is seen
to mix them up.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
import redis

from otp_service.store.connection import Timeouts, connect
from tests.conftest import Sandbox, running_service
from tests.reliability.harness import number
from tests.reliability.links import by_way_of, link_to

READS, CANCELED, AT_ONCE = 4000, 1236, 50
Read = Callable[[int], Awaitable[object]]


def key(i: int) -> str:
    return f"otp:{{00}}:probe:{i}"


@pytest.fixture
def values(valkey_url: str) -> None:
    """Each key holds its own number, for a quarter of an hour."""
    with redis.Redis.from_url(valkey_url) as client:
        pipeline = client.pipeline(transaction=False)
        for i in range(READS):
            pipeline.set(key(i), i, ex=900)
        pipeline.execute()


async def read_and_cancel(
    read: Read, link_pieces: Callable[[], int]
) -> tuple[list[tuple[int, object]], int]:
    """
    Read all, cancel some of them under way; return what each of the others got, and how many were canceled.

    When one is canceled is counted in pieces that the link has delivered since it began, so it is at any point between
    the command's first byte and the answer's last.
    """
    chance = random.Random(16)
    doomed = set(chance.sample(range(READS), CANCELED))
    got: list[tuple[int, object]] = []
    canceled = 0

    async def one(i: int) -> None:
        nonlocal canceled
        task = asyncio.ensure_future(read(i))
        if i in doomed:
            enough = link_pieces() + chance.randrange(60)
            while not task.done() and link_pieces() < enough:
                await asyncio.sleep(0)
            canceled += task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            got.append((i, await task))

    for first in range(0, READS, AT_ONCE):
        await asyncio.gather(*(one(i) for i in range(first, first + AT_ONCE)))
    return got, canceled


def mixed_up(got: list[tuple[int, object]]) -> list[tuple[int, object]]:
    return [(i, value) for i, value in got if value != str(i)]


@pytest.mark.parametrize("how", ["a command", "a pipeline that waits for the disk"])
async def test_no_read_gets_the_answer_of_one_that_was_canceled(
    how: str, values: None, environment: dict[str, str]
) -> None:
    """E16."""
    async with link_to(environment["OTP_REDIS_URL"], piece=5) as link:
        patient = Timeouts(command=60)
        url = by_way_of(link.target, link)
        connection = connect(url, name="readers", connections=8, timeouts=patient)
        waiting = ("WAITAOF", 0, 0, 0)

        async def read(i: int) -> object:
            if how == "a command":
                return await connection.client.get(key(i))
            pipeline = connection.client.pipeline(transaction=False)
            pipeline.execute_command("GET", key(i))
            pipeline.execute_command(*waiting)
            return (await pipeline.execute())[0]

        try:
            got, canceled = await read_and_cancel(read, lambda: link.pieces)
        finally:
            await connection.aclose()
    assert canceled > CANCELED / 2
    assert len(got) == READS - canceled
    assert mixed_up(got) == []


class KeepsThemAll:
    """A pool as one writes it quickly: whatever happened, the connection goes back."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._free = asyncio.LifoQueue()

    async def open(self, count: int) -> None:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
            writer.write(f"AUTH {self._parts.password}\r\n".encode())
            assert await reader.readline() == b"+OK\r\n"
            self._free.put_nowait((reader, writer))

    async def get(self, i: int) -> object:
        reader, writer = await self._free.get()
        try:
            writer.write(f"GET {key(i)}\r\n".encode())
            await reader.readline()
            return (await reader.readline()).strip().decode()
        finally:
            self._free.put_nowait((reader, writer))

    def close(self) -> None:
        while not self._free.empty():
            self._free.get_nowait()[1].close()


async def test_a_pool_that_keeps_connections_after_a_cancellation_is_seen_to_mix_answers_up(
    values: None, environment: dict[str, str]
) -> None:
    """E16, the control, on the same link with the same cancellations."""
    async with link_to(environment["OTP_REDIS_URL"], piece=5) as link:
        pool = KeepsThemAll(by_way_of(link.target, link))
        await pool.open(8)
        got, canceled = await read_and_cancel(pool.get, lambda: link.pieces)
        pool.close()
    assert canceled > CANCELED / 2
    assert len(mixed_up(got)) > 100


async def test_callers_who_hang_up_leave_no_answer_to_the_next(
    environment: dict[str, str], sandbox: Sandbox
) -> None:
    """E16: through the whole service, each look shows the challenge that was asked for."""
    chance = random.Random(17)
    async with link_to(environment["OTP_REDIS_URL"], piece=40) as link:
        behind = {
            **environment, "OTP_REDIS_URL": by_way_of(link.target, link), "OTP_REDIS_CONNECTIONS": "40",
            "OTP_REDIS_TIMEOUT": "10",
        }  # fmt: skip
        async with running_service(behind, sandbox) as service:
            opened = [await service.request(to=number(i), subject=f"user-{i}") for i in range(5)]
            ids = [challenge["challenge_id"] for challenge in opened]

            async def look(i: int) -> None:
                task = asyncio.ensure_future(service.http.get(f"/otp/{ids[i % 5]}"))
                if i % 3 == 0:
                    for _ in range(chance.randrange(40)):
                        await asyncio.sleep(0)
                    task.cancel()
                try:
                    answer = await task
                except asyncio.CancelledError:
                    return
                assert (answer.status_code, answer.json()["challenge_id"]) == (200, ids[i % 5])

            for first in range(0, 600, 30):
                await asyncio.gather(*(look(i) for i in range(first, first + 30)))
