"""docker/users.acl.template on the servers that can be had: it loads, and its user can run the service."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from otp_service.cli import valkey
from otp_service.connections import open_redis
from otp_service.doctor.redis import inspect_redis
from otp_service.settings.environment import load
from tests.conftest import Sandbox, base_environment
from tests.reliability.harness import eventually
from tests.reliability.own_redis import service_on

SERVERS = [
    pytest.param(valkey.binary(), id="valkey"),
    pytest.param("redis-server", id="redis", marks=pytest.mark.redis_server),
]


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of the template's user on a server that has loaded the template."""
    binary = shutil.which(request.param)
    assert binary is not None, "these tests need redis-server; see .ci/run"
    users = (root / "docker/users.acl.template").read_text()
    digest = hashlib.sha256(b"word").hexdigest()
    (tmp_path / "users.acl").write_text(users.replace("@SHA256_OF_THE_PASSWORD@", digest))
    with valkey.free_port() as port, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", tmp_path,
             "--appendonly", "yes", "--save", "", "--aclfile", tmp_path / "users.acl"],
            stdout=log, preexec_fn=valkey.die_with_parent(),
        )  # fmt: skip
        try:
            yield f"redis://otp:word@127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait(60)


async def answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


@pytest.mark.parametrize("durability", ["none", "fsync"])
async def test_user_of_the_template_can_run_the_service(
    url: str, durability: str, sandbox: Sandbox, ring: str
) -> None:
    """`fsync` needs WAITAOF, which Redis has since 7.2."""
    await eventually(lambda: answers(url), "a server that loaded the file")
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    if durability == "fsync" and "valkey_version" not in info and info["redis_version"] < "7.2":
        durability = "none"
    async with service_on(url, sandbox, ring, OTP_DURABILITY=durability) as service:
        challenge = await service.request()
        assert (await service.verify(challenge, service.code())).status_code == 200
        await service.container.checks.look()
        assert service.container.checks.warnings == {}


async def test_user_of_the_template_has_no_dangerous_command(url: str) -> None:
    await eventually(lambda: answers(url), "a server that loaded the file")
    with redis.Redis.from_url(url) as client:
        for command in (
            ("CLIENT", "KILL", "ID", "1"), ("CLIENT", "PAUSE", "1"), ("CLIENT", "LIST"),
            ("CONFIG", "GET", "dir"), ("FLUSHALL",), ("KEYS", "*"),
            ("REPLICAOF", "NO", "ONE"), ("SCRIPT", "FLUSH"), ("MONITOR",), ("SHUTDOWN",),
        ):  # fmt: skip
            with pytest.raises(redis.ResponseError, match=r"(?i)no permissions"):
                client.execute_command(*command)


async def test_server_with_a_backported_fix_is_not_refused(url: str, ring: str) -> None:
    """Debian 12 has the fix for CVE-2025-49844 in its 7.0.15; what tells is how the server behaves."""
    await eventually(lambda: answers(url), "a server that loaded the file")
    environment = base_environment(url, "http://127.0.0.1:1", ring)
    settings = load({**environment, "OTP_ENVIRONMENT": "production", "OTP_REGIONS": "DE"})
    connection = open_redis(settings)
    try:
        found = await inspect_redis(connection, settings)
    finally:
        await connection.aclose()
    assert [finding.message for finding in found if finding.level == "refuse"] == []
