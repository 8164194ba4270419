"""`otp-service dev`, which `make run` starts: what it opens, keeps and leaves behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "otp_service", "dev", *map(str, arguments)]


def ignoring_interrupts() -> None:
    """As a shell without job control starts what ends with &."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def running(
    data: Path, **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """The process in a group of its own, and what `endpoints.json` says."""
    out = data.with_suffix(".out")
    with out.open("wb") as log:
        process = subprocess.Popen(
            command("--port", 0, "--sandbox-port", 0, "--data-dir", data),
            env={**os.environ, **settings}, stdout=log, stderr=log,
            start_new_session=True, preexec_fn=ignoring_interrupts,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (data / "endpoints.json").exists():
            assert process.poll() is None, out.read_text()
            assert time.monotonic() < end, out.read_text()
            time.sleep(0.05)
        yield process, json.loads((data / "endpoints.json").read_text())
    finally:
        process.kill()
        process.wait()


def interrupted(process: subprocess.Popen[bytes], endpoints: dict[str, Any]) -> list[str]:
    """Who still listens when Ctrl-C has ended it."""
    assert listening(endpoints) == sorted(endpoints), "negative control: all of them did"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    return listening(endpoints)


def listening(endpoints: dict[str, Any]) -> list[str]:
    found = []
    for name, url in sorted(endpoints.items()):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", urlsplit(url).port)) == 0:
                found.append(name)
    return found


def opt_in(endpoints: dict[str, Any], data: Path, mobile: str) -> Any:
    answer = httpx.post(
        f"{endpoints['service_url']}/optin/request",
        headers={"Authorization": f"Bearer {(data / 'credential').read_text()}"},
        json={"name": "Ann", "mobile": mobile},
    )
    return answer.raise_for_status().json()["status"]


def test_an_interrupt_leaves_nothing_behind_and_a_second_start_finds_the_data(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with running(data) as (process, first):
        credential = (data / "credential").read_text()
        assert opt_in(first, data, "+14155550123") == "pending"
        texts = httpx.get(f"{first['sandbox_url']}/sandbox/messages").json()["messages"]
        assert not any("activation" in text["message"] for text in texts), "the code is ours alone"
        assert interrupted(process, first) == []

    with running(data, OTP_OPTIN_MODE="wsms") as (_, second):
        assert (data / "credential").read_text() == credential
        assert opt_in(second, data, "+14155550124") == "pending"
        texts = httpx.get(f"{second['sandbox_url']}/sandbox/messages").json()["messages"]
        assert any("activation" in text["message"] for text in texts), "the code is the site's"


@pytest.mark.parametrize(
    ("option", "variable"), [("--port", "PORT"), ("--sandbox-port", "SANDBOX_PORT")]
)
def test_a_port_that_is_taken_is_named_with_its_holder_and_the_variable_that_changes_it(
    option: str, variable: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = {"--port": "0", "--sandbox-port": "0"} | {option: str(port)}
        arguments = [word for pair in free.items() for word in pair]
        ended = subprocess.run(
            command(*arguments, "--data-dir", tmp_path),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    assert ended.returncode == 1
    assert f"port {port} for the " in ended.stderr
    assert f"(pid {os.getpid()})" in ended.stderr
    assert f"make run {variable}=0" in ended.stderr


@pytest.mark.parametrize("name", ["dev", "sandbox"])
def test_a_port_that_there_cannot_be_is_wrong_usage(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "otp_service", name, "--port", "65536"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert ended.returncode == 2
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr
