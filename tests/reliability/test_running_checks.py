"""What a start refuses comes about while the service runs: it is noticed, told and, for the clock, acted on."""

import time
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY

from otp_service.core import keyring
from tests.conftest import Sandbox, Service, base_environment, running_service
from tests.factors.test_totp import USER, confirmed
from tests.reliability.harness import command, eventually, gate_before
from tests.reliability.own_redis import Own, service_on


async def warnings(service: Service) -> dict[str, str]:
    """What /readyz warns of after one more look."""
    await service.container.checks.look()
    return dict((await service.http.get("/readyz")).json()["warnings"])


def failed(check: str) -> float | None:
    return REGISTRY.get_sample_value("otp_check_failed", {"check": check})


async def test_evicting_policy_set_at_run_time_is_warned_of(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        assert await warnings(service) == {}
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            assert "noeviction" in (await warnings(service))["redis"]
            assert failed("redis") == 1

            client.config_set("maxmemory-policy", "noeviction")
        assert await warnings(service) == {}
        assert failed("redis") == 0


async def test_lost_permission_is_named(own_valkey: Own, sandbox: Sandbox, ring: str) -> None:
    """H10."""
    server = own_valkey()
    with redis.Redis.from_url(server.url) as client:
        client.execute_command(
            "ACL", "SETUSER", "otp", "on", ">word", "~otp:*", "~otp-audit", "+@all"
        )
    url = server.url.replace(f":{server.password}@", "otp:word@")
    async with service_on(url, sandbox, ring) as service:
        assert await warnings(service) == {}
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "otp", "-xadd", "-hgetall")
            assert (
                "may not run HGETALL, XADD, XADD on otp-audit;"
                in (await warnings(service))["OTP_REDIS_URL"]
            )

            client.execute_command("ACL", "SETUSER", "otp", "resetkeys", "~other:*", "+@all")
            assert "HSET" in (await warnings(service))["OTP_REDIS_URL"]


@pytest.mark.parametrize("days", [-2, 2])
async def test_clock_skew_stops_authenticators_and_nothing_else(
    valkey_url: str, sandbox: Sandbox, ring: str, days: int
) -> None:
    """B27: one of the two clocks is wrong, and nobody knows which."""
    async with gate_before(valkey_url) as (gate, url), service_on(url, sandbox, ring) as service:
        _, app = await confirmed(service)
        gate.add(command("TIME"), "reply", payload=wrong_time(days), times=0)
        assert "set both by NTP" in (await warnings(service))["clock"]
        skew = REGISTRY.get_sample_value("otp_clock_skew_seconds")
        assert skew is not None
        assert round(skew / 86_400) == days

        body: dict[str, Any] = {
            "subject": USER,
            "code": app.at(await service.now()),
            "purpose": "login",
        }
        for answer in (
            await service.post("/factors/totp/verify", **body),
            await service.post("/otp/request", channel="auto", subject=USER, purpose="login"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "clock_skew"), answer.text
            assert int(answer.headers["Retry-After"]) > 0
        challenge = await service.request()
        assert (await service.verify(challenge, service.code())).status_code == 200

        gate.release()
        assert await warnings(service) == {}
        body["code"] = app.at(await service.now())
        assert (await service.post("/factors/totp/verify", **body)).status_code == 200


def wrong_time(days: int) -> bytes:
    seconds = str(int(time.time()) + days * 86_400)
    return f"*2\r\n${len(seconds)}\r\n{seconds}\r\n$1\r\n0\r\n".encode()


async def test_broken_or_foreign_key_ring_file_is_warned_of(
    valkey_url: str, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """K04: the ring that was read before stays in use, so callers are still known."""
    file = tmp_path / "keyring.json"
    file.write_text(ring)
    environment = base_environment(valkey_url, sandbox.url, ring) | {
        "OTP_KEYRING_FILE": str(file),
        "OTP_KEYRING_RELOAD": "0.05",
    }
    del environment["OTP_KEYRING"]
    async with running_service(environment, sandbox) as service:

        async def told() -> str:
            return (await warnings(service)).get("keyring", "")

        file.write_text(keyring.generate(created_at="2026-11-24T00:00:00Z"))
        assert "another installation" in await eventually(told, "a warning")
        await service.request()
        file.write_text("{")
        await eventually(lambda: told_of(told, "not a key ring"), "another warning")
        file.unlink()
        await eventually(lambda: told_of(told, "FileNotFoundError"), "another warning")
        file.write_text(ring)
        await eventually(lambda: told_of(told, None), "no warning")


async def told_of(told: Any, part: str | None) -> bool:
    found = await told()
    return part in found if part is not None else found == ""


async def test_running_service_looks_by_itself(
    own_valkey: Own, sandbox: Sandbox, ring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H03."""
    monkeypatch.setattr("otp_service.doctor.running.CHECK_SECONDS", 0.05)
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        await eventually(lambda: service.container.checks.warnings, "a warning")
