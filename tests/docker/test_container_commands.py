"""What the containers run, run here: the same commands, settings, secrets, Valkey configuration and user."""

import ctypes
import hashlib
import json
import os
import platform
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml

from otp_service.cli import valkey
from otp_service.cli.turns import TURN_MS, take_turns
from tests.conftest import PASSWORD, TO, Sandbox


@dataclass
class Stack:
    """The containers' processes."""

    root: Path
    secrets: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run what a container or an operator runs in one, to its end."""
        found = subprocess.run(
            [sys.executable, "-m", "otp_service", *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or found.returncode == 0, found.stdout + found.stderr
        return found

    def start(self, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        """Start a container's command."""
        assert command[0] == "otp-service"
        process = subprocess.Popen(
            [sys.executable, "-m", "otp_service", *command[1:]],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=valkey.die_with_parent(),
        )
        self.processes.append(process)
        return process

    def until_healthy(self, process: subprocess.Popen[bytes], *url: str) -> None:
        """Ask as the HEALTHCHECK does, until it is."""
        end = time.monotonic() + 120
        while self.run("healthcheck", *url, check=False).returncode != 0:
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < end, "not healthy within two minutes"


@pytest.fixture
def compose(root: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((root / "docker/compose.yaml").read_text()))


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """Four of its own."""
    with ExitStack() as held:
        yield [held.enter_context(valkey.free_port()) for _ in range(4)]


@pytest.fixture
def stack(
    root: Path, compose: dict[str, Any], sandbox: Sandbox, tmp_path: Path, ports: list[int]
) -> Iterator[Stack]:
    """Valkey by docker/valkey.conf with the users of the template, and the settings of compose.yaml."""
    secrets, data = tmp_path / "secrets", tmp_path / "data"
    secrets.mkdir()
    data.mkdir()
    password, port = "a-password-of-the-test", ports[0]
    digest = hashlib.sha256(password.encode()).hexdigest()
    template = (root / "docker/users.acl.template").read_text()
    (secrets / "users_acl").write_text(template.replace("@SHA256_OF_THE_PASSWORD@", digest))
    (secrets / "redis_url").write_text(f"redis://otp:{password}@127.0.0.1:{port}/0\n")
    (secrets / "wsms_application_password").write_text(PASSWORD + "\n")
    server = subprocess.Popen(
        [valkey.binary(), root / "docker/valkey.conf", "--port", str(port), "--bind", "127.0.0.1",
         "--dir", data, "--aclfile", secrets / "users_acl"],
        stdout=subprocess.DEVNULL, preexec_fn=valkey.die_with_parent(),
    )  # fmt: skip
    given = compose["services"]["service"]["environment"]
    environment = {
        name: text.replace("/run/secrets", str(secrets))
        for name, text in given.items()
        if "$" not in text
    } | {
        "PATH": os.environ["PATH"],
        "OTP_WSMS_URL": sandbox.url,
        "OTP_WSMS_USERNAME": "otp",
        "OTP_WSMS_DEADLINE": "30",
        "OTP_REDIS_TIMEOUT": "10",
        "OTP_REGIONS": "US",
        "OTP_PORT": str(ports[1]),
        "OTP_ADMIN_PORT": str(ports[2]),
        "OTP_STATE_DIR": str(tmp_path / "state"),
    }
    found = Stack(root, secrets, environment)
    try:
        _until_it_pings(port)
        (secrets / "keyring").write_text(
            subprocess.run(
                [sys.executable, "-m", "otp_service", "keys", "generate"],
                capture_output=True, text=True, check=True,
            ).stdout
        )  # fmt: skip
        for file in secrets.iterdir():
            file.chmod(0o444)  # as secrets.sh does
        yield found
    finally:
        for process in found.processes:
            process.terminate()
        for process in found.processes:
            process.communicate(timeout=120)
        server.terminate()
        server.wait(60)


def _until_it_pings(port: int) -> None:
    """As the user that compose.yaml's health check is; it may do nothing else."""
    client = redis.Redis(port=port, username="health", password="none")
    end = time.monotonic() + 60
    while True:
        try:
            assert client.execute_command("PING")
            break
        except redis.ConnectionError:
            assert time.monotonic() < end, "Valkey did not start by docker/valkey.conf"
            time.sleep(0.01)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command("GET", "otp:caller:shop")
    client.close()


def _log_in(stack: Stack, sandbox: Sandbox) -> None:
    credential = stack.run(
        "callers", "create", "shop", "--scope", "otp:request", "--scope", "otp:verify"
    ).stdout.strip()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.environment['OTP_PORT']}",
        headers={"Authorization": f"Bearer {credential}", "Prefer": "wait=30"},
        timeout=60,
    ) as http:
        challenge = http.post("/otp/request", json={"to": TO, "purpose": "login"})
        assert challenge.status_code == 202, challenge.text
        assert challenge.json()["delivery"]["status"] == "accepted"
        body = {"challenge_id": challenge.json()["challenge_id"], "purpose": "login"}
        verified = http.post("/otp/verify", json={**body, "code": sandbox.code()})
        assert verified.status_code == 200, verified.text
        again = http.post("/otp/verify", json={**body, "code": sandbox.code()})
        assert again.status_code == 410
    assert "shop" in stack.run("callers", "list").stdout


def test_the_service_container_logs_a_person_in_as_the_least_powerful_user(
    stack: Stack, compose: dict[str, Any], sandbox: Sandbox
) -> None:
    service = stack.start(compose["services"]["service"]["command"], OTP_DELIVER="true")
    stack.until_healthy(service)

    _log_in(stack, sandbox)

    service.terminate()
    output = service.communicate(timeout=120)[0].decode()
    assert service.returncode == 0, output
    events = [json.loads(line) for line in output.splitlines()]
    assert "\\u001b" not in output, "colours are for terminals"
    assert [e for e in events if e["level"] not in ("info", "warning")] == []


def test_the_worker_container_delivers_what_the_service_container_does_not(
    stack: Stack, compose: dict[str, Any], sandbox: Sandbox, ports: list[int]
) -> None:
    worker = compose["services"]["worker"]
    service = stack.start(compose["services"]["service"]["command"], OTP_DELIVER="false")
    admin = str(ports[3])
    process = stack.start(worker["command"], OTP_ADMIN_PORT=admin)
    stack.until_healthy(service)
    *words, url = worker["healthcheck"]["test"]
    assert words == ["CMD", "otp-service", "healthcheck", "--url"]
    stack.until_healthy(process, "--url", url.replace(":9000", f":{admin}"))

    _log_in(stack, sandbox)

    process.terminate()
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, output
    assert "delivery.settled" in output


GETATTR = {"x86_64": 315, "aarch64": 275}


def turn_ms(thread: int) -> float:
    """How long the kernel lets that thread run on (sched_getattr(2))."""
    told = ctypes.create_string_buffer(56)
    assert ctypes.CDLL(None).syscall(GETATTR[platform.machine()], thread, told, 56, 0) == 0
    return float(struct.unpack_from("Q", told, 24)[0]) / 1_000_000


def test_a_thread_that_wakes_does_not_interrupt_a_hash(
    stack: Stack, compose: dict[str, Any]
) -> None:
    """Every thread of the service takes its turn (SCHED_BATCH), and a long one; `make bench` shows what it is worth."""
    service = stack.start(compose["services"]["service"]["command"])
    stack.until_healthy(service)

    threads = [int(entry.name) for entry in Path(f"/proc/{service.pid}/task").iterdir()]

    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}
    release = tuple(map(int, platform.release().split(".")[:2]))
    if release >= (6, 12) and platform.machine() in GETATTR:
        assert {turn_ms(thread) for thread in threads} == {TURN_MS}


def test_a_scheduling_policy_that_an_operator_has_chosen_stands() -> None:
    """Such as systemd's `CPUSchedulingPolicy=idle` for a worker beside something that matters more."""

    def start_in_the_background() -> int:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # of this thread
        take_turns()
        return os.sched_getscheduler(0)

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(start_in_the_background).result() == os.SCHED_IDLE


def test_the_doctor_finds_nothing_to_refuse_in_the_composed_stack(stack: Stack) -> None:
    found = stack.run("doctor")

    assert "refuse" not in found.stdout
    assert "FLUSHALL" not in found.stdout


def test_an_unhealthy_container_says_so(stack: Stack) -> None:
    found = stack.run("healthcheck", check=False)

    assert found.returncode == 1
    assert "not ready" in found.stderr


def test_the_secrets_script_writes_what_compose_mounts_and_keeps_what_is_there(
    root: Path, compose: dict[str, Any], tmp_path: Path
) -> None:
    docker = tmp_path / "docker"
    docker.mkdir()
    for name in ("secrets.sh", "users.acl.template"):
        (docker / name).write_bytes((root / "docker" / name).read_bytes())
    command = ["sh", str(docker / "secrets.sh")]
    environment = {**os.environ, "OTP_SERVICE": f"{sys.executable} -m otp_service"}

    subprocess.run(command, env=environment, check=True)
    first = {path.name: path.read_text() for path in (docker / "secrets").iterdir()}
    subprocess.run(command, env=environment, check=True)
    second = {path.name: path.read_text() for path in (docker / "secrets").iterdir()}

    assert first == second
    assert set(first) == {Path(s["file"]).name for s in compose["secrets"].values()}
    assert (docker / "secrets").stat().st_mode & 0o777 == 0o700
    password = first["redis_url"].partition("otp:")[2].partition("@")[0]
    assert hashlib.sha256(password.encode()).hexdigest() in first["users_acl"]
    words = re.split(r"[^A-Za-z0-9+/=_-]+", " ".join(first.values()))
    assert socket.gethostname() not in words  # as a word: within a random one it may be by chance
