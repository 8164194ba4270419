"""What one caller can make the service spend has a bound: memory, threads, commands of Redis, room in Redis."""

import ast
import asyncio
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import REGISTRY

import otp_service
from otp_service.container import build_container
from otp_service.core.codes import HashCost
from otp_service.errors import Overloaded, Unavailable
from otp_service.log_sampling import SampledLines
from otp_service.services.hashing import ISSUING_CAPACITY, HashPool, Slot, default_threads
from otp_service.settings.environment import SettingsError, load
from otp_service.store import keys
from otp_service.web.routes import OPERATIONS
from tests.conftest import Service, Starter
from tests.factors.test_totp import confirmed
from tests.security.test_doors import WIDE
from tests.security.test_isolation import PROBES, of_nobody
from tests.security.test_limits import RIGHT, WRONG, hashes, opened, told
from tests.web.hands import redis

MIB = 1024 * 1024
COST = HashCost(1, 64 * 1024, 1)  # 64 MiB for each
CHEAP = HashCost(1, 8, 1)
PACKAGE = Path(otp_service.__file__).parent


def peak() -> int:
    """Bytes of memory that this process had at most since `forget_peak`."""
    with open("/proc/self/status", encoding="ascii") as status:
        [line] = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


async def hashed_in(slot: AbstractAsyncContextManager[Slot]) -> str:
    """Wait for the slot and for one hash in it."""
    async with slot as hashing:
        return await hashing.digest(b"x")


async def grown(threads: int, calls: int) -> int:
    """By how much memory rises at most while so many hash at once."""
    pool = HashPool(COST, threads=threads, queue=calls)
    try:
        forget_peak()
        before = peak()
        await asyncio.gather(*(hashed_in(pool.verifying(f"caller-{n}")) for n in range(calls)))
        return peak() - before
    finally:
        pool.close()


async def test_as_many_hashes_are_in_memory_as_there_are_threads() -> None:
    """I02: forty at once need two places of 64 MiB, and not forty."""
    assert await grown(2, 40) < 3.5 * 64 * MIB


async def test_a_pool_as_wide_as_the_calls_is_seen_to_need_more() -> None:
    """I02's negative control."""
    assert await grown(16, 40) > 5 * 64 * MIB


def test_a_pool_is_as_wide_as_the_cores_of_its_process() -> None:
    """I04: more threads than cores lower what two cores hash a second from 113 to 87."""
    cores = len(os.sched_getaffinity(0))
    assert default_threads(1) == cores
    assert default_threads(cores) == 1
    assert default_threads(1000) == 1  # and never none


@contextmanager
def no_room_for_threads() -> Iterator[None]:
    """A new thread would need more memory for its stack than a process can address."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_hash_pool_is_not_made_without_its_threads() -> None:
    """I04: a process that has no room for them does not start."""
    with no_room_for_threads(), pytest.raises(RuntimeError, match="can't start the 2 threads"):
        HashPool(CHEAP, threads=2, queue=0)


@pytest.mark.parametrize("threads", ["0", "7"])
async def test_start_without_hash_threads_names_the_setting(
    environment: dict[str, str], threads: str
) -> None:
    """I04: the operator learns what to change."""
    settings = load({**environment, "OTP_HASH_THREADS": threads})
    count = int(threads) or default_threads(1)

    with no_room_for_threads(), pytest.raises(SettingsError) as refused:
        async with build_container(settings):
            pass

    [line] = refused.value.lines
    assert line.startswith(f"OTP_HASH_THREADS: can't start the {count} threads that hash")


async def test_hashes_need_no_new_thread() -> None:
    """I04: the try is counted by then, so a hash must not fail for a thread."""
    pool = HashPool(CHEAP, threads=2, queue=0)
    try:
        with no_room_for_threads():
            found = await asyncio.gather(
                *(hashed_in(pool.verifying(caller)) for caller in ("first", "second"))
            )
    finally:
        pool.close()
    assert all(phc.startswith("$argon2id$") for phc in found)


async def test_closed_hash_pool_answers_unavailable() -> None:
    pool = HashPool(CHEAP, threads=1, queue=0)
    pool.close()
    with pytest.raises(Unavailable, match="no thread for a hash"):
        await hashed_in(pool.verifying("shop"))


async def test_a_full_hash_pool_refuses_at_once() -> None:
    """I01: slots are counted, so what waits is bounded."""
    pool = HashPool(CHEAP, threads=1, queue=3)
    async with AsyncExitStack() as stack:
        stack.callback(pool.close)
        for _ in range(3):
            await stack.enter_async_context(pool.verifying("shop"))
        async with pool.verifying("shop"):
            with pytest.raises(Overloaded):
                await stack.enter_async_context(pool.verifying("shop"))
        await stack.enter_async_context(pool.verifying("shop"))


async def test_a_newcomer_gets_its_part_of_a_full_hash_pool() -> None:
    """I01: alone a caller may hold every slot; the next one still gets half, and the first one no more than half."""
    pool = HashPool(CHEAP, threads=1, queue=7)
    async with AsyncExitStack() as stack:
        stack.callback(pool.close)
        first = [await stack.enter_async_context(held(pool, "first")) for _ in range(8)]
        for _ in range(4):
            await stack.enter_async_context(pool.verifying("second"))
        for caller in ("first", "second"):
            with pytest.raises(Overloaded, match="This caller's share"):
                await stack.enter_async_context(pool.verifying(caller))
        for release in first[:5]:
            await release()
        await stack.enter_async_context(pool.verifying("first"))
        with pytest.raises(Overloaded, match="This caller's share"):
            await stack.enter_async_context(pool.verifying("first"))


@asynccontextmanager
async def held(pool: HashPool, caller: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A slot, with what releases it early."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pool.verifying(caller))
        yield stack.aclose


async def test_a_backlog_delays_another_caller_by_few_hashes() -> None:
    """I01: threads take one hash of each caller in turn, so the newest caller does not wait for the whole backlog."""
    pool, order = HashPool(CHEAP, threads=1, queue=99), list[str]()

    async def noted(caller: str) -> None:
        await hashed_in(pool.verifying(caller))
        order.append(caller)

    try:
        await asyncio.gather(
            *(noted("first") for _ in range(60)), *(noted("second") for _ in range(3))
        )
    finally:
        pool.close()
    assert order.index("second") <= 3
    assert [n for n, caller in enumerate(order) if caller == "second"][-1] <= 8


async def test_issuing_leaves_hash_capacity_for_verifications() -> None:
    """I01: with every set of recovery codes that may wait, a verification is admitted and waits for few hashes."""
    pool, order = HashPool(CHEAP, threads=2, queue=0), list[str]()

    async def a_set(caller: str) -> None:
        async with pool.issuing(caller) as hashing:
            for _ in range(10):
                await hashing.digest(b"x")
                order.append("issue")

    try:
        sets = [asyncio.create_task(a_set(f"caller-{n}")) for n in range(ISSUING_CAPACITY)]
        await asyncio.sleep(0)  # each has its slot or waits for it
        with pytest.raises(Overloaded):
            await a_set("caller-0")
        await hashed_in(pool.verifying("caller-0"))
        order.append("verify")
        await asyncio.gather(*sets)
    finally:
        pool.close()
    assert order.index("verify") <= 3
    assert len(order) == 10 * ISSUING_CAPACITY + 1


async def test_deliveries_wait_for_their_slots() -> None:
    """I01: deliveries and reconciliation are never refused, and never have more hashes waiting than their slots."""
    pool = HashPool(CHEAP, threads=2, queue=0)
    try:
        async with (
            pool.verifying("shop"),
            pool.verifying("shop"),
            pool.delivering(),
            pool.reconciling(),
        ):
            async with asyncio.timeout(60):
                await asyncio.gather(*(hashed_in(pool.delivering()) for _ in range(40)))
            second = asyncio.create_task(hashed_in(pool.reconciling()))
            await asyncio.sleep(0)
        await second
    finally:
        pool.close()


def test_nothing_hashes_without_a_slot() -> None:
    """I01: only the slots of the hash pool call argon2id, and the pool gives out nothing but slots."""
    hashing = {"digest", "matches"}
    found = {
        (str(path.relative_to(PACKAGE)), node.attr)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in hashing
        and isinstance(node.value, ast.Name)
        and node.value.id == "codes"
    }
    assert found == {("services/hashing.py", "digest"), ("services/hashing.py", "matches")}
    imports = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(
            r"^(from|import) argon2|import_module\(.argon2", path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert imports == {"core/codes.py"}
    slots = {"verifying", "try_verifying", "issuing", "delivering", "reconciling"}
    assert {name for name in vars(HashPool) if not name.startswith("_")} == slots | {"close"}


async def test_while_hashes_run_everything_else_is_answered(start_service: Starter) -> None:
    """I03: a call that came later is answered earlier, so no hash stands in the way of the loop."""
    service = await start_service(OTP_HASH_PASSES="10", OTP_HASH_MEMORY_KIB="262144", **WIDE)
    challenge = await opened(service, subject="user-1")
    before, order = hashes(), []

    async def noted(name: str, call: Awaitable[httpx.Response]) -> None:
        await call
        order.append(name)

    slow = asyncio.create_task(noted("guess", service.verify(challenge, WRONG)))
    while hashes() == before:
        await asyncio.sleep(0.001)
    for _ in range(5):
        await noted("health", service.http.get("/healthz"))
        await asyncio.sleep(0.01)  # turns in which a guess that is hashed already would be answered
    assert not slow.done()
    await slow
    assert order == ["health"] * 5 + ["guess"]


async def test_a_challenge_needs_less_than_four_kilobytes_in_redis(start_service: Starter) -> None:
    """I06: with all that can be said in a request; and a caller's budget comes first."""
    service = await start_service(**WIDE)
    await opened(service, subject="user-0")
    client = redis(service)
    before = {name async for name in client.scan_iter()}
    await opened(
        service,
        to="+14155550177",
        subject="s" * 128,
        binding="b" * 256,
        client_ref="r" * 64,
        client_ip="2001:db8::1",
    )
    new = [name async for name in client.scan_iter() if name not in before]
    # Not the queue: it is bounded by a setting, and the first challenge may have made it already.
    own = [name for name in new if not name.endswith(":queue")]
    sizes = {name: await client.memory_usage(name, samples=0) for name in own}
    assert len(sizes) >= 5
    assert sum(sizes.values()) < 4 * 1024, sizes


async def test_a_flood_of_requests_stops_at_the_callers_budget(start_service: Starter) -> None:
    """I06, D10: one send to each of many blocks, slow enough for every other limit, still ends at the budget."""
    service = await start_service(**{**WIDE, "OTP_LIMIT_CALLER": "30/1d"})
    answers = []
    for n in range(40):
        service.advance(60)
        body = {"to": f"+1415{200 + n}0123", "purpose": "login"}
        answers.append(await service.post("/otp/request", **body))

    assert [answer.status_code for answer in answers] == [202] * 30 + [429] * 10
    assert answers[-1].json()["limit"] == "caller_budget"
    assert int(answers[-1].headers["retry-after"]) > 3600


async def commands(service: Service, work: Callable[[], Awaitable[Any]]) -> int:
    """How many commands Redis ran for it, those inside of scripts among them."""

    async def total() -> int:
        stats = await redis(service).info("commandstats")
        stats.pop("cmdstat_info")
        return sum(row["calls"] for row in stats.values())

    before = await total()
    await work()
    return await total() - before


async def test_no_call_costs_more_the_longer_somebody_has_been_at_it(
    start_service: Starter,
) -> None:
    """H13: what a script does is bounded by settings, and not by what was done before."""
    service = await start_service(
        **{**WIDE, "OTP_LOCKOUT_SHORT": "1000/30m", "OTP_LOCKOUT_LONG": "5000/1d"}
    )
    await confirmed(service)

    async def round_of_calls() -> None:
        challenge = await opened(service, subject="user-1")
        await service.verify(challenge, WRONG)
        assert (await service.verify(challenge, RIGHT)).status_code == 200
        await service.post("/factors/totp/verify", subject="user-1", code="000000", purpose="login")
        await service.http.get("/factors?subject=user-1")

    service.advance(2)
    await round_of_calls()  # scripts are loaded
    service.advance(2)
    early = await commands(service, round_of_calls)
    for _ in range(60):
        service.advance(2)
        await round_of_calls()
    service.advance(2)
    late = await commands(service, round_of_calls)
    assert early > 10
    assert (
        late < 1.25 * early
    )  # a list that is full gives its oldest up: one command more for each new entry


async def test_a_script_that_walks_over_the_past_is_seen_to_cost_more(
    start_service: Starter,
) -> None:
    """H13's negative control: the count sees a script whose work grows."""
    service = await start_service(**WIDE)
    client = redis(service)
    walk = "for i = 1, tonumber(ARGV[1]) do redis.call('GET', KEYS[1]) end"

    async def once(n: int) -> int:
        return await commands(service, lambda: client.eval(walk, 1, "otp:{00}:probe", n))

    assert await once(100) > await once(1) + 50


async def test_every_key_of_a_whole_life_has_an_end(start_service: Starter) -> None:
    """H12: and what has none is what is meant to last. The fixture of every test looks the same way."""
    service = await start_service(**WIDE)
    await confirmed(service)
    challenge = await opened(service, subject="user-1")
    await service.verify(challenge, WRONG)
    await service.verify(challenge, RIGHT)
    await service.post("/recovery-codes", subject="user-1", headers={"Idempotency-Key": "k"})
    client = redis(service)

    async def endless() -> set[str]:
        return {name async for name in client.scan_iter() if await client.ttl(name) == -1}

    found = await endless()
    kinds = {name.split(":")[2] if "{" in name else name.split(":")[1] for name in found}
    assert kinds <= {"factors", "recovery", "queue", "caller", "history"}, found
    await client.set(
        "otp:forgotten", "1"
    )  # the negative control: it is seen, and nothing permanent matches it
    assert await endless() == found | {"otp:forgotten"}
    assert not any(pattern.fullmatch("otp:forgotten") for pattern in keys.PERMANENT)
    await client.delete("otp:forgotten")


async def test_who_is_refused_together_is_not_told_one_moment_to_come_back(
    start_service: Starter,
) -> None:
    """I10: a wait is the caller's own window's, so those of several numbers differ as their sends did."""
    service = await start_service(**{**WIDE, "OTP_COOLDOWN": "60"})
    waits = []
    for n in range(4):
        service.advance(7)
        await service.post("/otp/request", to=f"+1415555010{n}", purpose="login")
    for n in range(4):
        refused = await service.post("/otp/request", to=f"+1415555010{n}", purpose="login")
        assert told(refused) == (429, "rate_limited")
        waits.append(int(refused.headers["retry-after"]))
    assert len(set(waits)) == 4


async def test_calls_about_nobody_leave_nothing_behind(quiet: Service) -> None:
    """I06, I07: guesses and looks at people, challenges and proofs that never were cost Redis no room."""
    client, nobody = redis(quiet), of_nobody(quiet)
    before = {name async for name in client.scan_iter()}
    making = {"requestCode", "requestOptIn", "enrollTotp", "issueRecoveryCodes"}
    making |= {"unblockSubject", "eraseSubject"}  # what help desks do is audited
    asked = [operation for operation in OPERATIONS if operation.name not in making]
    for n, operation in enumerate(asked):
        path, sent = PROBES[operation.name](nobody)
        headers = {"Idempotency-Key": f"key-{n}"}
        await quiet.http.request(operation.method, path, json=sent, headers=headers)

    assert len(asked) > 15
    assert {name async for name in client.scan_iter()} == before


def lines_of(written: str, *events: str) -> int:
    """How many lines of these events there are."""
    return sum(
        re.search(rf"\] {re.escape(e)}\s", line) is not None
        for line in written.splitlines()
        for e in events
    )


async def test_refused_credentials_write_a_bounded_number_of_lines(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """I07: whoever has no credential can't fill the disk with log lines; what is left out is counted."""
    before = REGISTRY.get_sample_value("otp_log_lines_dropped_total", {"why": "sampled"}) or 0
    began = time.monotonic()
    capsys.readouterr()
    for _ in range(300):
        refused = await service.http.get(
            "/factors?subject=u", headers={"Authorization": "Bearer x"}
        )
        assert refused.status_code == 401
        assert (await service.http.get("/nothing-here")).status_code == 404
    written = capsys.readouterr().out

    minutes = (time.monotonic() - began) // 60 + 2
    lines = lines_of(written, "caller.refused", "http.request")
    after = REGISTRY.get_sample_value("otp_log_lines_dropped_total", {"why": "sampled"}) or 0
    assert lines <= 2 * 100 * minutes
    assert lines + after - before == 900
    assert lines_of(written, "log.lines_left_out_now") <= 2 * minutes
    await service.http.get("/factors?subject=u")
    assert lines_of(capsys.readouterr().out, "http.request") == 1, (
        "of callers every line is written"
    )


def test_left_out_lines_are_counted_in_the_log() -> None:
    clock = [0.0]
    lines = SampledLines(lines=2, seconds=60, steady=lambda: clock[0])
    with structlog.testing.capture_logs() as written:
        for _ in range(5):
            lines.info("caller.refused", why="malformed")
        clock[0] = 61
        lines.info("caller.refused", why="malformed")

    assert [line["event"] for line in written] == [
        "caller.refused", "caller.refused", "log.lines_left_out_now", "log.lines_left_out", "caller.refused",
    ]  # fmt: skip
    assert written[3]["lines"] == 3
