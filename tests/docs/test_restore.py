"""The commands of docs/restore.md back Redis up and restore it, and the service closes what that revives."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
def stands_at() -> None:
    """Time goes on."""


async def test_backup_and_restore_commands_work(
    sandbox: Sandbox, ring: str, root: Path, tmp_path: Path
) -> None:
    """X41: what was spent after the backup is not accepted again, and factors are back."""
    page = (root / "docs" / "restore.md").read_text("utf-8")
    backup, restore = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    data, kept, tools = (tmp_path / name for name in ("data", "kept", "bin"))
    for directory in (data, kept, tools):
        directory.mkdir()
    (tools / "valkey-cli").write_text(CLI.format(python=sys.executable))
    (tools / "valkey-cli").chmod(0o755)

    server = valkey.start(data)
    try:
        environment = {
            **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "ADMIN_URL": server.url,
            "VALKEY_DIR": str(data), "BACKUP_DIR": str(kept),
        }  # fmt: skip

        def run(commands: str) -> None:
            subprocess.run(["/bin/sh", "-euc", commands], env=environment, check=True)

        async with service_on(server.url, sandbox, ring) as service:
            await confirmed(service, "ann")
            challenge = await service.request()
            code = service.code()
            assert on_disk(server)
            run(backup)
            assert (await service.verify(challenge, code)).status_code == 200
            await service.rooms.history.tick()
            server.stop()
            run(restore)
            server = valkey.start(data, port=server.port, password=server.password)
            await eventually(lambda: is_ready(service), "ready again", seconds=30)

            assert (await service.verify(challenge, code)).json()["code"] == "challenge_expired"
            factors = await service.http.get("/factors", params={"subject": "ann"})
            assert len(factors.json()["factors"]) == 1
            assert (
                "after-restore" in (await service.http.get("/readyz")).json()["warnings"]["redis"]
            )
    finally:
        server.stop()
