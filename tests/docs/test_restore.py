"""The commands of docs/restore.md back Redis up and restore it, and the service closes what that revives."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from otp_service.cli import valkey
from tests.conftest import Sandbox
from tests.factors.test_totp import confirmed
from tests.reliability.harness import eventually
from tests.reliability.own_redis import is_ready, on_disk, service_on

CLI = """#!{python}
import os, sys, redis
with redis.Redis.from_url(os.environ["ADMIN_URL"], decode_responses=True) as client:
    answer = client.execute_command(*sys.argv[1:])
    rows = answer.items() if isinstance(answer, dict) else [(answer, "")]
    print("\\n".join(f"{{name}}:{{value}}" for name, value in rows))
"""


@pytest.fixture
def frozen_at_ms() -> None:
    """Time goes on."""


class Commands:
    """The page's commands in their order, and where they run."""

    def __init__(self, root: Path, directory: Path) -> None:
        page = (root / "docs" / "restore.md").read_text("utf-8")
        (
            self.back_up_file,
            self.back_up_snapshot,
            self.restore_file,
            self.restore_snapshot,
            self.create_file,
        ) = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
        self.data, self.kept, self._tools = (directory / n for n in ("data", "kept", "bin"))
        for made in (self.data, self.kept, self._tools):
            made.mkdir()
        self.tool("valkey-cli", CLI.format(python=sys.executable))

    def tool(self, name: str, text: str) -> None:
        """Put a program before those of the system."""
        (self._tools / name).write_text(text)
        (self._tools / name).chmod(0o755)

    def without_tool(self, name: str) -> None:
        (self._tools / name).unlink()

    def run(self, commands: str, server: valkey.Valkey) -> int:
        """Return the exit code of a shell that runs them. BACKUP is the newest copy."""
        copies = sorted(self.kept.glob("[0-9]*"))
        environment = {
            **os.environ, "PATH": f"{self._tools}:{os.environ['PATH']}", "ADMIN_URL": server.url,
            "VALKEY_DIR": str(self.data), "BACKUP_DIR": str(self.kept),
            "BACKUP": str(copies[-1]) if copies else "",
        }  # fmt: skip
        return subprocess.run(["/bin/sh", "-uc", commands], env=environment, check=False).returncode


@pytest.fixture
def commands(root: Path, tmp_path: Path) -> Commands:
    return Commands(root, tmp_path)


@pytest.mark.parametrize("snapshot", [False, True], ids=["file", "snapshot"])
async def test_backup_and_restore_commands_work(
    sandbox: Sandbox, ring: str, commands: Commands, snapshot: bool
) -> None:
    """X41: what was spent after the backup is not accepted again, and factors are back."""
    server = valkey.start(commands.data)
    try:
        async with service_on(server.url, sandbox, ring) as service:
            await confirmed(service, "ann")
            challenge = await service.request()
            code = service.code()
            assert on_disk(server)
            back_up = commands.back_up_snapshot if snapshot else commands.back_up_file
            assert commands.run(back_up, server) == 0
            assert (await service.verify(challenge, code)).status_code == 200
            await service.container.history.tick()
            server.stop()
            restore = commands.restore_snapshot if snapshot else commands.restore_file
            assert commands.run(restore, server) == 0
            address: Any = {"port": server.port, "password": server.password}
            if snapshot:
                server = valkey.start(commands.data, options=("--appendonly", "no"), **address)
                assert commands.run(commands.create_file, server) == 0
                server.stop()
            server = valkey.start(commands.data, **address)
            await eventually(lambda: is_ready(service), "ready again", seconds=30)

            assert (await service.verify(challenge, code)).json()["code"] == "challenge_expired"
            factors = await service.http.get("/factors", params={"subject": "ann"})
            assert len(factors.json()["factors"]) == 1
            assert (
                "after-restore" in (await service.http.get("/readyz")).json()["warnings"]["redis"]
            )
    finally:
        server.stop()


def test_failed_backup_keeps_the_last_good_copy(commands: Commands) -> None:
    """A full disk in the middle of `cp`; the next run succeeds."""
    server = valkey.start(commands.data)
    try:
        for back_up in (commands.back_up_file, commands.back_up_snapshot):
            assert commands.run(back_up, server) == 0
        good = sorted(commands.kept.iterdir())
        assert len(good) == 2
        before = {file: file.read_bytes() for copy in good for file in files(copy)}
        commands.tool("cp", "#!/bin/sh\nexit 1\n")
        for back_up in (commands.back_up_file, commands.back_up_snapshot):
            assert commands.run(back_up, server) != 0
        assert sorted(commands.kept.glob("[0-9]*")) == good
        assert {file: file.read_bytes() for copy in good for file in files(copy)} == before
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            found: Any = client.config_get("auto-aof-rewrite-percentage")
            assert found == {"auto-aof-rewrite-percentage": "100"}
        commands.without_tool("cp")
        assert commands.run(commands.back_up_file, server) == 0
    finally:
        server.stop()


def files(copy: Path) -> list[Path]:
    """Return the files of a copy, which is one itself or a directory."""
    return [copy] if copy.is_file() else [file for file in copy.rglob("*") if file.is_file()]
