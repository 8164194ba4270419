"""X37: what a killed process leaves in memory the next one takes away; where somebody still counts it stays."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from otp_service.cli.metrics_directory import PREFIX, hold, remove_abandoned
from tests.reliability.conftest import Spawn
from tests.reliability.harness import Process, eventually


def held_by(pid: int) -> Path | None:
    """The directory that a process counts in, once it holds it."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if (found := fd.readlink()).name.startswith(PREFIX):
                return found
    return None


async def directory_of(process: Process) -> Path:
    found = await eventually(lambda: held_by(process.popen.pid), "it holds its directory")
    assert isinstance(found, Path)
    return found


def children_of(process: Process) -> list[int]:
    """Those that count."""
    pid = process.popen.pid
    all_ = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in all_ if held_by(int(child)) is not None]


async def test_the_directory_of_a_killed_process_goes_with_the_next_start_and_no_other_does(
    environment: dict[str, str], spawn_worker: Spawn
) -> None:
    alive, killed = spawn_worker(environment), spawn_worker(environment)
    kept, left = await directory_of(alive), await directory_of(killed)

    killed.kill()
    third = await directory_of(spawn_worker(environment))

    await eventually(lambda: not left.exists(), "it goes")  # by this or by another one's start
    assert kept.exists()
    assert third.exists()


@contextmanager
def orphans_of(process: Process, children: list[int]) -> Iterator[None]:
    """Stopped, since they would drain and end with their supervisor."""
    for child in children:
        os.kill(child, signal.SIGSTOP)
    process.kill()
    try:
        yield
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


async def test_while_one_of_its_processes_lives_a_service_keeps_its_directory(
    environment: dict[str, str], spawn_server: Spawn, spawn_worker: Spawn
) -> None:
    """`--workers`: the kernel, short of memory, ends one of them; the others go on counting."""
    server = spawn_server({**environment, "OTP_WORKERS": "2"})
    left = await directory_of(server)
    await eventually(lambda: len(children_of(server)) == 2, "both hold it")

    with orphans_of(server, children_of(server)):
        await directory_of(spawn_worker(environment))
        assert left.exists()

    async def gone() -> bool:
        await directory_of(spawn_worker(environment))
        return not left.exists()

    await eventually(gone, "they have ended")


@pytest.fixture
def left(tmp_path: Path) -> Path:
    directory = tmp_path / f"{PREFIX}left"
    directory.mkdir()
    (directory / "counter_1.db").write_bytes(b"1")
    return directory


def test_a_directory_that_nobody_holds_goes(left: Path) -> None:
    """The control of those below."""
    remove_abandoned(left.parent, owner=os.geteuid())
    assert not left.exists()


def test_a_directory_that_is_held_or_anothers_or_named_otherwise_stays(left: Path) -> None:
    other = left.rename(left.with_name("otp-service-keys"))
    held, foreign = left.with_name(f"{PREFIX}held"), left.parent / "elsewhere" / f"{PREFIX}foreign"
    held.mkdir()
    foreign.mkdir(parents=True)
    fd = hold(str(held))

    remove_abandoned(left.parent, owner=os.geteuid())
    remove_abandoned(foreign.parent, owner=os.geteuid() + 1)

    assert [path.exists() for path in (other, held, foreign)] == [True] * 3
    os.close(fd)


def test_nothing_behind_a_link_goes(left: Path) -> None:
    """Anybody may put one into a place for all."""
    target = left.rename(left.with_name("precious"))
    left.symlink_to(target)

    remove_abandoned(left.parent, owner=os.geteuid())

    assert left.is_symlink()
    assert (target / "counter_1.db").exists()
