"""
Nobody reads the logs, their disk is full, their pipe is closed: codes are requested and verified all the same.

What cannot be written is dropped and counted (X37). The service is a process of its own, its standard output whatever
the fault makes of it.
"""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from otp_service.cli.metrics_directory import PREFIX
from otp_service.log_output import WAITING_AT_MOST, LogOutput
from tests.conftest import TO, Sandbox
from tests.reliability.conftest import Spawn
from tests.reliability.harness import Process, credential, eventually

WHOLE_MINUTE = httpx.Timeout(60)


@asynccontextmanager
async def caller_of(
    process: Process, environment: dict[str, str]
) -> AsyncIterator[httpx.AsyncClient]:
    headers = await credential(environment)
    async with httpx.AsyncClient(
        base_url=process.url, headers=headers, timeout=WHOLE_MINUTE
    ) as client:
        yield client


async def log_in(client: httpx.AsyncClient, sandbox: Sandbox, to: str = TO) -> None:
    """Request a code, get it, verify it."""
    asked = await client.post(
        "/otp/request", json={"to": to, "purpose": "login"}, headers={"Prefer": "wait=30"}
    )
    assert asked.json()["delivery"]["status"] == "accepted", asked.text
    body = {"challenge_id": asked.json()["challenge_id"], "code": sandbox.code(to)}
    verified = await client.post("/otp/verify", json={**body, "purpose": "login"})
    assert verified.status_code == 200, verified.text


def dropped(process: Process) -> dict[str, float]:
    """How many lines it says it has lost, by why."""
    text = httpx.get(f"{process.admin_url}/metrics", timeout=WHOLE_MINUTE).raise_for_status().text
    name = "otp_log_lines_dropped_total"
    found = {
        line.partition('why="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(name + "{")
    }
    return {why: count for why, count in found.items() if count}


@contextmanager
def narrow_pipe() -> Iterator[tuple[int, int]]:
    """A pipe that holds one page; gives the end to read and the one to write."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with ExitStack() as stack:
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        yield reading, writing


async def test_a_log_that_nobody_reads_stops_no_answer_and_comes_whole_once_it_is_read(
    environment: dict[str, str], sandbox: Sandbox, spawn_server: Spawn
) -> None:
    """X37, stdout blocked: its pipe is full after a dozen lines, and hundreds follow."""
    with narrow_pipe() as (reading, writing):
        process = spawn_server(environment, stdout=writing)
        async with caller_of(process, environment) as client:
            for _ in range(100):
                assert (await client.get("/otp/00" + "A" * 32)).status_code == 404
            await log_in(client, sandbox)
            assert dropped(process) == {}
        reader = asyncio.create_task(asyncio.to_thread(lines_until, reading, "service.stopped"))
        process.terminate()
        events = [line["event"] for line in await asyncio.wait_for(reader, 60)]
        assert await asyncio.to_thread(process.popen.wait, 60) == 0
    assert events.count("http.request") == 102
    assert [events.count(e) for e in ("challenge.opened", "challenge.approved")] == [1, 1]


def lines_until(reading: int, event: str) -> list[dict[str, Any]]:
    """Read whole lines of JSON until one tells of that event."""
    found = []
    with os.fdopen(os.dup(reading), encoding="utf-8") as text:
        for line in text:
            found.append(json.loads(line))
            if found[-1]["event"] == event:
                return found
    raise AssertionError(f"the log ended without {event}")


async def test_a_process_whose_log_nobody_reads_ends_when_it_is_told_to(
    environment: dict[str, str], spawn_server: Spawn
) -> None:
    """X37, X36."""
    with narrow_pipe() as (_, writing):
        process = spawn_server(environment, stdout=writing)
        async with caller_of(process, environment) as client:
            for _ in range(50):
                assert (await client.get("/otp/00" + "A" * 32)).status_code == 404
        process.terminate()
        assert await asyncio.to_thread(process.popen.wait, 60) == 0


async def test_the_last_lines_of_every_process_are_written(
    environment: dict[str, str], spawn_server: Spawn, tmp_path: Path
) -> None:
    """X36, `--workers`: uvicorn's own come after ours, and no process ends before they are out."""
    log = tmp_path / "log"

    def told(event: str) -> list[str]:
        whole = log.read_text("utf-8").rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line["event"] for line in lines if line["event"].startswith(event)]

    with log.open("wb") as file:
        process = spawn_server({**environment, "OTP_WORKERS": "3"}, stdout=file.fileno())
    await eventually(lambda: len(told("service.started")) == 3, "all serve")
    process.terminate()
    assert await asyncio.to_thread(process.popen.wait, 60) == 0
    assert len(told("service.stopped")) == 3
    assert len(set(told("Finished server process ["))) == 3


def with_no_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize(
    "output",
    [lambda: os.open("/dev/full", os.O_WRONLY), with_no_reader],
    ids=["the disk is full", "the reader is gone"],
)
async def test_a_log_that_cannot_be_written_costs_nothing_but_its_lines(
    output: Any, environment: dict[str, str], sandbox: Sandbox, spawn_server: Spawn
) -> None:
    """X37, disk full for logs, and a pipe that breaks."""
    out = output()
    process = spawn_server(environment, stdout=out)
    os.close(out)
    async with caller_of(process, environment) as client:
        await log_in(client, sandbox)
        lost = await eventually(
            lambda: dropped(process).get("failed", 0) > 3, "lost lines are counted", seconds=30
        )
    assert lost


async def test_a_closed_standard_output_is_no_fault_and_gets_into_no_connection(
    environment: dict[str, str], sandbox: Sandbox, spawn_server: Spawn
) -> None:
    """X37: descriptor 1 then belongs to whatever is opened next, a socket or the key ring's file."""
    process = spawn_server(environment, stdout=None)
    async with caller_of(process, environment) as client:
        await log_in(client, sandbox)
        await eventually(
            lambda: dropped(process).get("failed", 0) > 3, "lost lines are counted", seconds=30
        )


def test_of_a_log_that_nobody_reads_a_bounded_number_waits_and_the_rest_is_counted() -> None:
    """X37: and once it is read again, so are new lines."""
    lost: dict[str, int] = {}

    def count(lines: int, why: str) -> None:
        lost[why] = lost.get(why, 0) + lines

    with narrow_pipe() as (reading, writing):
        out = LogOutput(writing, count)
        many = 3 * WAITING_AT_MOST
        for number in range(many):
            out.write(f'{{"event": "{number}"}}\n')
        assert not out.drain(0.01)
        kept = many - lost["blocked"]
        assert WAITING_AT_MOST <= kept <= 2 * WAITING_AT_MOST + 4096
        with os.fdopen(os.dup(reading), encoding="utf-8") as text:
            read = [json.loads(next(text))["event"] for _ in range(kept)]
            assert len(set(read)) == kept
            assert out.drain(60)
            out.write('{"event": "and on"}\n')
            assert json.loads(next(text)) == {"event": "and on"}
    assert list(lost) == ["blocked"]


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    """X37: the disk fills up in the middle of a line, then there is room again."""
    script = """
import resource, signal, sys
from otp_service.cli.metrics_directory import PREFIX
from otp_service.log_output import LogOutput
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
out = LogOutput(1, lambda lines, why: print(lines, why, file=sys.stderr))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
out.write('{"event": "first"}\\n')
assert out.drain(60)
resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))
out.write('{"event": "cut off"}\\n')
assert out.drain(60)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
out.write('{"event": "last"}\\n')
assert out.drain(60)
"""
    log = tmp_path / "log"
    with log.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=file, stderr=subprocess.PIPE, check=True
        )
    assert done.stderr == b"1 failed\n"
    first, cut, last = log.read_text().splitlines()
    assert [json.loads(line)["event"] for line in (first, last)] == ["first", "last"]
    assert '{"event": "cut off"}'.startswith(cut)


async def test_metrics_live_in_memory_where_no_full_disk_can_end_the_process(
    environment: dict[str, str], spawn_server: Spawn, tmp_path: Path
) -> None:
    """X37: they are mapped files, and a write to one that the disk has no room for is a SIGBUS."""
    process = spawn_server({**environment, "TMPDIR": str(tmp_path)})
    async with caller_of(process, environment) as client:
        assert (await client.get("/healthz")).status_code == 200

    def all_mapped() -> list[Path]:
        """Gauges, and what is counted when the answer has left."""
        maps = Path(f"/proc/{process.popen.pid}/maps").read_text().splitlines()
        found = [Path(line.split()[-1]) for line in maps if PREFIX in line]
        return found if len(found) > 2 else []

    mapped = await eventually(all_mapped, "the files of the metrics")
    assert {path.parts[:3] for path in mapped} == {("/", "dev", "shm")}
    assert list(tmp_path.iterdir()) == []


def test_processes_that_share_a_pipe_never_write_into_each_others_lines() -> None:
    """X37, `--workers`: each waits in the middle of what it writes whenever the pipe is full."""

    def lost(lines: int, why: str) -> None:
        raise AssertionError(f"{lines} {why}")

    many, filling = 2_000, "." * 200
    with narrow_pipe() as (reading, writing):
        outputs = [LogOutput(writing, lost) for _ in range(3)]
        for number in range(many):
            for by, out in enumerate(outputs):
                out.write(json.dumps({"by": by, "number": number, "filling": filling}) + "\n")
        with os.fdopen(os.dup(reading), encoding="utf-8") as text:
            read = [json.loads(next(text)) for _ in range(many * len(outputs))]
        assert all(out.drain(60) for out in outputs)
    for by in range(len(outputs)):
        assert [line["number"] for line in read if line["by"] == by] == list(range(many))
