"""
What befalls the process itself: it lives in another time zone, the clock has a leap second, its memory runs out.

That it is killed for its memory is a SIGKILL like any other: see test_crashes, which kills it between any two steps.
"""

import re
import resource
import subprocess
import sys
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from otp_service.cli.valkey import free_port
from tests.conftest import Service, Starter
from tests.reliability.conftest import Spawn
from tests.reliability.harness import Process, eventually, number, start

# --- Time zones and leap seconds -------------------------------------------------------------------------------------

ZONES = ["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "<+14>-14", "<-12>12"]

# Around both changes of the clocks in Berlin and New York, two leap seconds, a new year and a leap day.
MOMENTS = [
    int(datetime.fromisoformat(text).timestamp()) + seconds
    for text in (
        "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z",
        "2015-07-01T00:00:00Z", "2017-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2028-02-29T00:00:00Z",
    )
    for seconds in (-3601, -1, 0, 1, 3600)
]  # fmt: skip

TELL = """
import sys
from otp_service.core.events import body
from otp_service.web.problems import rfc3339
for moment in map(int, sys.argv[1:]):
    print(moment, rfc3339(moment * 1000), body("e", moment * 1000, {}))
"""


def test_no_time_zone_and_no_change_of_the_clocks_changes_a_time_that_we_write() -> None:
    """X23: summer time begins and ends, and a leap second passes, in five zones: the text is the same."""
    told = {
        subprocess.run(
            [sys.executable, "-c", TELL, *map(str, MOMENTS)],
            env={"TZ": zone}, capture_output=True, text=True, check=True,
        ).stdout
        for zone in ZONES
    }  # fmt: skip
    assert len(told) == 1
    for line in told.pop().splitlines():
        moment, text, body = line.split(" ", 2)
        assert datetime.fromisoformat(text) == datetime.fromtimestamp(int(moment), UTC)
        assert text[:19] in body


async def test_processes_in_zones_a_day_apart_are_one_service(
    start_service: Starter, environment: dict[str, str], spawn_server: Spawn
) -> None:
    """X23: a code, a step of an authenticator and an expiry mean the same to each of them."""
    service = await start_service()
    east = spawn_server({**environment, "TZ": "<+14>-14", "OTP_DELIVER": "false"})
    west = spawn_server({**environment, "TZ": "<-12>12", "OTP_DELIVER": "false"})
    headers = service.http.headers
    async with (
        httpx.AsyncClient(base_url=east.url, headers=headers, timeout=60) as in_east,
        httpx.AsyncClient(base_url=west.url, headers=headers, timeout=60) as in_west,
    ):
        asked = await in_east.post(
            "/otp/request",
            json={"to": number(0), "purpose": "login"},
            headers={"Prefer": "wait=30"},
        )
        challenge = asked.json()
        looked = (await in_west.get(f"/otp/{challenge['challenge_id']}")).json()
        assert looked["expires_at"] == challenge["expires_at"]
        left = datetime.fromisoformat(challenge["expires_at"]) - datetime.now(UTC)
        assert timedelta(0) < left <= timedelta(minutes=5, seconds=1)
        body = {
            "challenge_id": challenge["challenge_id"],
            "code": service.code(),
            "purpose": "login",
        }
        assert (await in_west.post("/otp/verify", json=body)).status_code == 200
        assert (await in_east.post("/otp/verify", json=body)).status_code == 410

        made = await in_east.post(
            "/factors/totp", json={"subject": "user-1", "account_name": "user-1"}
        )
        code = pyotp.TOTP(made.json()["secret"]).now()
        confirmed = await in_west.post(
            f"/factors/totp/{made.json()['factor_id']}/confirm", json={"code": code}
        )
        assert confirmed.status_code == 200, confirmed.text


@pytest.mark.parametrize("seconds", [-1, 1])
async def test_a_leap_second_ends_and_prolongs_nothing(service: Service, seconds: int) -> None:
    """X23: Redis' clock then tells one second twice, or leaves one out."""
    challenge = await service.request()
    service.advance(seconds)
    look = await service.look(challenge)
    assert (look["status"], look["expires_at"]) == ("pending", challenge["expires_at"])
    assert (await service.verify(challenge, service.wrong_code())).status_code == 400
    assert (await service.verify(challenge, service.code())).status_code == 200
    assert (await service.verify(challenge, service.code())).status_code == 410


# --- The supervisor of --workers --------------------------------------------------------------------------------------


def children(pid: int) -> set[int]:
    """The processes that a process has begun and that are not over."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
            if state != "Z" and int(parent) == pid:
                found.add(int(stat.parent.name))
    return found


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


async def test_killed_supervisor_takes_its_children_and_the_port(
    environment: dict[str, str],
) -> None:
    """X38's kin: the service manager starts it anew on the same ports."""
    with free_port() as port, free_port() as admin, ExitStack() as stack:
        settings = {
            **environment,
            "OTP_PORT": str(port),
            "OTP_ADMIN_PORT": str(admin),
            "OTP_WORKERS": "2",
        }

        async def started() -> Process:
            process = Process(start(["serve"], settings))
            stack.callback(process.close)
            await eventually(answers, "an answer")
            return process

        async def answers() -> bool:
            with suppress(httpx.HTTPError):
                async with httpx.AsyncClient() as client:
                    answer = await client.get(f"http://127.0.0.1:{port}/healthz")
                return answer.status_code == 200
            return False

        first = await started()
        begun = await eventually(
            lambda: found if len(found := children(first.popen.pid)) >= 2 else None, "children"
        )
        first.kill()
        await eventually(lambda: not any(map(running, begun)), "no children")
        await started()


# --- Memory ----------------------------------------------------------------------------------------------------------


def data_bytes(pid: int) -> int:
    """How much memory it may write to, as RLIMIT_DATA counts."""
    found = re.search(r"VmData:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def test_without_memory_for_a_hash_a_right_code_is_no_wrong_one(
    start_service: Starter, environment: dict[str, str], spawn_server: Spawn
) -> None:
    """X38: 503, the guess stays counted, nothing is accepted; with memory again the code is good. No restart."""
    service = await start_service()
    challenge = await service.request()
    other = spawn_server({**environment, "OTP_DELIVER": "false", "OTP_HASH_THREADS": "1"})
    body: dict[str, Any] = {
        "challenge_id": challenge["challenge_id"], "code": service.code(), "purpose": "login",
    }  # fmt: skip
    async with httpx.AsyncClient(
        base_url=other.url, headers=service.http.headers, timeout=60
    ) as client:
        assert (await client.get("/readyz")).status_code == 200
        pid = other.popen.pid
        free = resource.prlimit(pid, resource.RLIMIT_DATA)
        # A thread's stack has room in it (8 MiB), the 19 MiB of a hash have not.
        resource.prlimit(pid, resource.RLIMIT_DATA, (data_bytes(pid) + (14 << 20), free[1]))
        starved = await client.post("/otp/verify", json=body)
        assert (starved.status_code, starved.json()["code"]) == (503, "unavailable"), starved.text
        assert (await client.get("/healthz")).status_code == 200
        look = await service.look(challenge)
        assert (look["status"], look["attempts_remaining"]) == ("pending", 4)

        resource.prlimit(pid, resource.RLIMIT_DATA, free)
        assert (await client.post("/otp/verify", json=body)).status_code == 200
