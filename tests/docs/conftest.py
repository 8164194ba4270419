"""Everything that `otp-service dev` starts, once for the examples of the documents."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import code_in


@dataclass(frozen=True)
class Running:
    """What runs where."""

    service_url: str
    sandbox_url: str
    credential: str
    data: Path

    def code(self, to: str) -> str:
        """The newest code on that phone, once it is there."""
        end = time.monotonic() + 120
        while True:
            asked = {"params": {"to": to}, "timeout": 60}
            found = httpx.get(f"{self.sandbox_url}/sandbox/messages", **asked).json()
            if found["messages"]:
                return code_in(found["messages"][0]["message"])
            assert time.monotonic() < end, "no message came"


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("dev")
    with (data / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "otp_service", "dev", "--port", "0", "--sandbox-port", "0",
             "--data-dir", data, "--credential-file", data / "handed-out"],
            env={**os.environ, "OTP_COOLDOWN": "1", "OTP_REDIS_TIMEOUT": "10"}, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not (data / "endpoints.json").exists():
            assert process.poll() is None, (data / "out").read_text()
            assert time.monotonic() < end, (data / "out").read_text()
        endpoints = json.loads((data / "endpoints.json").read_text())
        yield Running(
            endpoints["service_url"],
            endpoints["sandbox_url"],
            (data / "handed-out").read_text().strip(),
            data,
        )
    finally:
        process.terminate()
        assert process.wait(60) == 0, (data / "out").read_text()


@pytest.fixture
def readme(root: Path) -> str:
    return (root / "README.md").read_text("utf-8")
