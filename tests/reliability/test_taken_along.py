"""
The process that opens a challenge takes the queue's next job along, when its worker has a hand free.

A gate before Redis keeps that process from reading the queue: what it sends then, it has taken along.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from prometheus_client import REGISTRY

from otp_service.store import keys
from tests.conftest import TO, Service, Starter
from tests.reliability.conftest import Spawn
from tests.reliability.harness import (
    Gate,
    Rule,
    SiteGate,
    credential,
    eventually,
    script,
)
from tests.reliability.test_crashes import (
    asked,
    delivery_of,
    reads_jobs,
    take_over,
    the_person_can_go_on,
    until,
)

Door = tuple[Gate, dict[str, str]]


def let_nobody_read(door: Gate) -> Rule:
    """No read of the queue reaches Redis. The first makes the group, so it may."""
    return door.add(reads_jobs, "hold_before", skip=1, times=0)


def waiting_jobs(valkey_url: str) -> int:
    with redis.Redis.from_url(valkey_url) as client:
        return sum(client.xlen(queue) for queue in keys.queues())


async def test_a_code_leaves_without_a_read_of_the_queue(
    start_service: Starter, gate: Door, valkey_url: str
) -> None:
    door, behind = gate
    held = let_nobody_read(door)
    service = await start_service(**behind)
    await held.is_reached()

    challenge = await service.request()

    assert challenge["delivery"]["status"] == "accepted"
    assert (await service.verify(challenge, service.code())).status_code == 200
    assert waiting_jobs(valkey_url) == 0


async def test_who_delivers_nothing_takes_nothing_along(
    start_service: Starter, valkey_url: str
) -> None:
    """The control: the job stays for who does."""
    service = await start_service(OTP_DELIVER="false")

    challenge = await asked(service)

    assert await delivery_of(service, challenge) == ("queued", None)
    assert waiting_jobs(valkey_url) == 1
    await service.container.worker.start()
    assert await until(service, challenge, "accepted", "failed") == ("accepted", None)
    await service.container.worker.stop()


async def test_an_older_job_goes_first(start_service: Starter, gate: Door, valkey_url: str) -> None:
    """One that came while nobody delivered; the newer one is left to who reads."""
    door, behind = gate
    held = let_nobody_read(door)
    service = await start_service(**behind)
    await held.is_reached()
    front = await start_service(OTP_DELIVER="false")
    service.http.headers.update(front.http.headers)
    one = await asked(front, subject="ann", binding="one")

    two = await asked(service, "+14155670123", subject="ann", binding="two")

    assert await until(service, one, "accepted", "failed") == ("accepted", None)
    assert await delivery_of(service, two) == ("queued", None)
    door.release()
    assert await until(service, two, "accepted", "failed") == ("accepted", None)
    assert [len(service.sandbox.messages(to)) for to in (TO, "+14155670123")] == [1, 1]


async def test_the_log_of_a_job_names_no_request_that_only_took_it_along(
    start_service: Starter, gate: Door, spawn_server: Spawn, tmp_path: Path
) -> None:
    """An operator would look for one person's trouble in another's request."""
    front = await start_service(OTP_DELIVER="false")
    door, behind = gate
    held = let_nobody_read(door)
    log = tmp_path / "log"
    with log.open("wb") as out:
        other = spawn_server(behind, stdout=out.fileno())
    await held.is_reached()
    older = await asked(front, subject="ann", binding="one")

    async with httpx.AsyncClient(base_url=other.url, timeout=30) as client:
        client.headers.update(front.http.headers)
        body = {"to": "+14155670123", "purpose": "login", "subject": "ann", "binding": "two"}
        await client.post("/otp/request", json=body, headers={"X-Request-Id": "takes-it-along"})

    def told(event: str) -> list[dict[str, str]]:
        lines = map(json.loads, log.read_text("utf-8").splitlines())
        return [line for line in lines if line["event"] == event]

    [settled] = await eventually(lambda: told("delivery.settled"), "it is sent")
    assert settled["challenge_id"] == older["challenge_id"]
    assert "request_id" not in settled
    [request] = await eventually(lambda: told("http.request"), "the request is answered")
    assert request["request_id"] == "takes-it-along"
    other.kill()


async def two_with_one_hand(
    start_service: Starter, gate: Door, site_gate: SiteGate
) -> tuple[Service, list[dict[str, Any]]]:
    """Two are opened at once while the only hand is free: one is with the site, one waits in the process."""
    door, behind = gate
    held = let_nobody_read(door)
    opening = door.add(script("open_challenge"), "hold_before", times=0)
    slow = {"OTP_WSMS_URL": site_gate.url, "OTP_WSMS_DEADLINE": "30", "OTP_REDIS_TIMEOUT": "10"}
    service = await start_service(**behind | slow | {"OTP_DELIVERY_CONCURRENCY": "1"})
    await held.is_reached()
    both = asyncio.gather(*(asked(service, to) for to in (TO, "+14155670123")))
    await eventually(lambda: opening.seen == 2, "both are at the door")
    opening.released.set()
    challenges = await both
    await eventually(lambda: site_gate.arrived, "the first is with the site")
    return service, challenges


async def test_what_waited_for_a_hand_says_how_long_its_code_is_good_by_then(
    start_service: Starter, gate: Door, site_gate: SiteGate
) -> None:
    service, challenges = await two_with_one_hand(start_service, gate, site_gate)

    service.advance(120)
    site_gate.open.set()

    for challenge in challenges:
        assert await until(service, challenge, "accepted", "failed") == ("accepted", None)
    texts = [service.sandbox.messages(to)[0]["message"] for to in (TO, "+14155670123")]
    assert sorted(re.findall(r"(\d+) min", " ".join(texts))) == ["3", "5"]


async def test_what_a_worker_gave_back_as_it_stopped_it_takes_again_when_it_is_started_again(
    start_service: Starter, gate: Door, site_gate: SiteGate
) -> None:
    service, challenges = await two_with_one_hand(start_service, gate, site_gate)
    gate[0].release()
    stopping = asyncio.create_task(service.container.worker.stop())
    await eventually(lambda: len(service.container.worker._sends) == 1, "one is given up")
    site_gate.open.set()
    await stopping
    states = [(await delivery_of(service, challenge))[0] for challenge in challenges]
    assert sorted(states) == ["accepted", "queued"]

    await service.container.worker.start()

    for challenge in challenges:
        assert await until(service, challenge, "accepted", "failed") == ("accepted", None)


async def test_what_was_taken_along_by_a_process_that_died_is_sent_by_another(
    start_service: Starter,
    environment: dict[str, str],
    gate: Door,
    valkey_url: str,
    spawn_server: Spawn,
) -> None:
    """X33: killed when the challenge is open and the job its own, before it knows."""
    service = await start_service(OTP_DELIVER="false")
    door, behind = gate
    other = spawn_server(behind)
    headers = await credential(environment)
    service.http.headers.update(headers)
    async with httpx.AsyncClient(base_url=other.url, headers=headers, timeout=30) as client:
        first = await client.post(
            "/otp/request",
            json={"to": "+14155670123", "purpose": "login"},
            headers={"Prefer": "wait=20"},
        )
        assert first.json()["delivery"]["status"] == "accepted", "the group is there"
        held = door.add(script("begin_send"), "hold_before")
        answer = await client.post("/otp/request", json={"to": TO, "purpose": "login"})
        challenge = answer.json()
        await held.is_reached()
    other.kill()
    await door.drop()

    await take_over(service, valkey_url)

    assert await until(service, challenge, "accepted", "failed", "unknown") == ("accepted", None)
    assert len(service.sandbox.messages()) == 1
    await the_person_can_go_on(service, challenge)
    await service.container.worker.stop()


def dropped_jobs() -> float:
    """How many jobs were dropped, whatever the reason."""
    [counter] = [m for m in REGISTRY.collect() if m.name == "otp_jobs_dropped"]
    return sum(s.value for s in counter.samples if s.name == "otp_jobs_dropped_total")


@pytest.mark.parametrize("along", [True, False], ids=["taken along", "read"])
async def test_a_challenge_canceled_on_the_way_is_not_sent_and_its_job_is_done(
    along: bool, start_service: Starter, gate: Door, valkey_url: str
) -> None:
    """
    The fence sees what has changed since the job was taken. Of one that was taken along that is said at once, else the
    next sweep says it; and it is counted once.
    """
    door, behind = gate
    held = let_nobody_read(door)
    service = await start_service(**behind | {"OTP_REDIS_TIMEOUT": "10"})
    await held.is_reached()
    front = await start_service(OTP_DELIVER="false")
    service.http.headers.update(front.http.headers)
    fence = door.add(script("begin_send"), "hold_before")
    if not along:
        held.released.set()
    challenge = await asked(service if along else front)
    await fence.is_reached()
    before = dropped_jobs()

    await front.post("/otp/cancel", challenge_id=challenge["challenge_id"])
    fence.released.set()

    assert await until(front, challenge, "failed") == ("failed", "ended_before_sending")
    assert waiting_jobs(valkey_url) == 0
    assert service.sandbox.messages() == []
    door.release()
    await service.container.worker.stop()
    assert dropped_jobs() == before + 1


async def test_a_queue_lost_under_our_feet_stops_no_code(service: Service, valkey_url: str) -> None:
    """X07: with no group to take the job for, it is left to who reads, and makes the group."""
    await service.request(to="+14155670123")
    with redis.Redis.from_url(valkey_url) as client:
        client.delete(*keys.queues())

    challenge = await asked(service)

    assert await until(service, challenge, "accepted", "failed") == ("accepted", None)
    assert (await service.verify(challenge, service.code())).status_code == 200
