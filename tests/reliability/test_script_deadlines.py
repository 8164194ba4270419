"""A script that reaches Redis after its caller has given up does nothing, and each 503 says truly what was done."""

import re
import time
from collections.abc import AsyncIterator
from importlib.resources import files

import pytest

from otp_service.store.script_sources import HARMLESS, names
from otp_service.store.server_clock import Window
from otp_service.web.problems import NOTHING_DONE
from tests.conftest import Sandbox
from tests.reliability.harness import Gate, script
from tests.reliability.keyed_calls import (
    KEYED,
    UNKEYED,
    Flow,
    flow_through,
    scripts_of_calls,
    verify_code,
)

REFUSED = re.compile(rb"\*2\r\n:[0-9]+\r\n:0\r\n")
# Every command that a script uses and that is none of these writes.
READS = (
    "EXISTS|GET|HEXISTS|HGET|HGETALL|HLEN|HMGET|LINDEX|LRANGE|PTTL|TIME|XINFO|XLEN|XPENDING|XRANGE|XREVRANGE|ZCARD"
    "|ZCOUNT|ZRANGE|ZRANGEBYSCORE|ZREVRANGEBYSCORE|ZSCORE"
)
WRITES = re.compile(rf"redis\.p?call\((?!'(?:{READS})')")
FUNCTION = re.compile(r"^local function (\w+)\(.*?\)(.*?)(?:^end| end$)", re.MULTILINE | re.DOTALL)
LUA = files("otp_service.store") / "lua"
# They drop what has expired and correct a block whose clock was wrong, whoever asks.
HOUSEKEEPING = {"factors", "blocked_in"}
# They write, and nothing that a caller would call a change: a call's own key, and what this service knows of its Redis.
LEASES_AND_TICKS = {"begin_idempotent", "finish_idempotent", "note_step_back", "tick"}
# It only moves: _moving.lua writes before it begins.
MOVING = {"move_subject"}


@pytest.fixture
async def flow(
    gate: tuple[Gate, dict[str, str]], sandbox: Sandbox, valkey_url: str
) -> AsyncIterator[Flow]:
    """The far service gives a command up after a second."""
    async with flow_through(gate, sandbox, valkey_url, OTP_REDIS_TIMEOUT="1") as found:
        yield found


@pytest.mark.parametrize("name", [*KEYED, *UNKEYED])
async def test_late_script_of_a_call_does_nothing(name: str, flow: Flow) -> None:
    """Each script of the call in turn: it stays on its way until the caller has its 503, and only then runs."""
    stages = 0
    while True:
        ready = await (KEYED | UNKEYED)[name](flow)
        key = f"key-{stages}" if name in KEYED else None
        late = flow.gate.add(scripts_of_calls, "run_late", skip=stages)
        answer = await ready.call(flow.far, key)
        if not late.reached.is_set():
            flow.gate.release()
            assert answer.status_code < 300, answer.text
            break
        before = ready.once and await ready.once()
        assert REFUSED.fullmatch(await late.is_answered())
        flow.gate.release()
        assert (ready.once and await ready.once()) == before
        if name in KEYED and stages == 0:  # of the key itself: that alone changes nothing
            assert answer.json()["detail"] == NOTHING_DONE
        stages += 1
    assert stages >= (2 if name in KEYED else 1)


async def test_call_that_counted_before_the_late_script_says_so(flow: Flow) -> None:
    """The attempt is counted, the code is not consumed: "nothing was counted" would be wrong."""
    ready = await verify_code(flow)
    late = flow.gate.add(script("consume_challenge"), "run_late")
    answer = await ready.call(flow.far, None)
    assert REFUSED.fullmatch(await late.is_answered())
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.json()["detail"].startswith("The call may have been carried out")


async def test_call_whose_answer_was_lost_says_so(flow: Flow) -> None:
    ready = await verify_code(flow)
    lost = flow.gate.add(script("reserve_attempt"), "reset_after")
    answer = await ready.call(flow.far, None)
    await lost.is_reached()
    assert answer.json()["detail"].startswith("The call may have been carried out")


@pytest.mark.parametrize("step_ms", [-172_800_000, -700, 700, 172_800_000])
async def test_clock_step_of_redis_costs_no_call(step_ms: int, flow: Flow) -> None:
    """To the process it is the same whether Redis' clock was set, or what it knows of that clock."""
    ready = await verify_code(flow)
    assert (await flow.far.http.get("/devices", params={"subject": "a"})).status_code == 200
    (clock,) = flow.far.container.scripts.clocks.values()
    clock._least += step_ms
    clock._most += step_ms
    assert (await ready.call(flow.far, None)).status_code == 200


async def test_script_does_nothing_when_the_clock_was_set_back(flow: Flow) -> None:
    """Its deadline is of a clock that was ahead: by that it would be in time for two days."""
    assert (await flow.far.http.get("/devices", params={"subject": "a"})).status_code == 200
    scripts = flow.far.container.scripts
    now = scripts.clocks[""].window(time.monotonic(), time.monotonic() + 1)
    ahead = Window(now.not_before + 172_800_000, now.deadline + 172_800_000)
    found = await scripts._run_within(
        ahead, "forget_devices", ["otp:{00}:a", "otp:{00}:b", "otp:{00}:c"], "{}", None, server=None
    )
    assert not found.ran


def test_harmless_scripts_are_all_that_change_nothing() -> None:
    """Both ways: one that is missing gets a 503 that says "may have been carried out" though nothing was."""
    lua = {entry.name.removesuffix(".lua"): entry.read_text() for entry in LUA.iterdir()}
    bodies = {n: b for text in lua.values() for n, b in FUNCTION.findall(text)}
    writing = {name for name, body in bodies.items() if WRITES.search(body)} - HOUSEKEEPING
    while more := {
        name for name in bodies.keys() - writing - HOUSEKEEPING if calls(bodies[name], writing)
    }:
        writing |= more
    reading = {n for n in names() if not WRITES.search(lua[n]) and not calls(lua[n], writing)}
    assert reading - MOVING == HARMLESS - LEASES_AND_TICKS
    assert HARMLESS - reading == LEASES_AND_TICKS


def calls(lua: str, functions: set[str]) -> bool:
    """Whether the code calls one of the functions; comments do not count."""
    code = re.sub("--.*", "", lua)
    return any(re.search(rf"\b{name}\(", code) for name in functions)
