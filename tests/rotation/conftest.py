"""A ring whose states a test changes, as `otp-service keys` would."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from otp_service.cli.keys import app
from otp_service.core.keyring import Keyring

CREATED = "2026-01-01T00:00:00+00:00"


class RingFile:
    """The file of a ring, and `otp-service keys` on it."""

    def __init__(self, file: Path, environment: dict[str, str]) -> None:
        self.file = file
        self.environment = environment

    @property
    def text(self) -> str:
        return self.file.read_text()

    @property
    def ring(self) -> Keyring:
        return Keyring.from_json(self.text)

    def entries(self) -> list[dict[str, Any]]:
        return list(json.loads(self.text)["keys"])

    def active(self, kind: str) -> str:
        return next(
            str(e["kid"]) for e in self.entries() if e["kind"] == kind and e["state"] == "active"
        )

    def run(self, *arguments: str) -> Result:
        return self.run_on(app, *arguments)

    def run_on(self, group: typer.Typer, *arguments: str) -> Result:
        """In a thread: a command has an event loop of its own."""
        with ThreadPoolExecutor(1) as pool:
            invoke = CliRunner().invoke
            return pool.submit(invoke, group, list(arguments), env=self.environment).result()

    def do(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.output

    def add(self, kind: str) -> str:
        return self.do("add", kind).split()[0]

    def promote(self, kid: str) -> None:
        self.do("promote", kid, "--now")

    def rotate(self, kind: str) -> tuple[str, str]:
        """Add and promote; return the ids of the older and the newer key."""
        old, new = self.active(kind), self.add(kind)
        self.promote(new)
        return old, new

    def age(self, kid: str, **ago: float) -> None:
        """As if the key had been replaced so long ago."""
        found = json.loads(self.text)
        [entry] = [e for e in found["keys"] if e["kid"] == kid]
        at = datetime.now(UTC) - timedelta(**ago)
        entry["replaced_at"] = at.isoformat(timespec="seconds")
        replaced = self.file.with_suffix(".new")
        replaced.write_text(json.dumps(found))
        replaced.replace(self.file)  # in one step, as the command does


@pytest.fixture
def ring_file(tmp_path: Path, environment: dict[str, str], ring: str) -> RingFile:
    """A ring in a file, and settings that name it."""
    file = tmp_path / "keyring.json"
    file.write_text(ring)
    file.chmod(0o600)
    settings = {"OTP_WEBHOOKS_ALLOW_PRIVATE": "true"} | {
        k: v for k, v in environment.items() if k != "OTP_KEYRING"
    }
    return RingFile(file, {**settings, "OTP_KEYRING_FILE": str(file)})
