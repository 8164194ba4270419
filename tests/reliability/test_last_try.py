"""What a caller is told of a challenge whose last try was counted and never compared to the end."""

import asyncio

import httpx
import pytest

from tests.conftest import Service, Starter
from tests.reliability.conftest import Spawn
from tests.reliability.harness import Gate, Process, Rule, script

TRIES = 5
COMPARED = 10  # seconds in which a try may still turn out right


async def spend_but_one(service: Service) -> dict[str, object]:
    """A challenge with one try left."""
    challenge = await service.request()
    for _ in range(TRIES - 1):
        await service.verify(challenge, service.wrong_code())
    return challenge


async def begin_the_last(
    service: Service, process: Process, challenge: dict[str, object], code: str, held: Rule
) -> "asyncio.Task[httpx.Response]":
    """Let a process of its own try the code, and stop it at the rule."""
    headers = {"Authorization": service.http.headers["authorization"]}
    body = {"challenge_id": challenge["challenge_id"], "code": code, "purpose": "login"}

    async def call() -> httpx.Response:
        async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=120) as http:
            return await http.post("/otp/verify", json=body)

    trying = asyncio.create_task(call())
    await held.is_reached()
    return trying


async def die_over_the_last(
    service: Service, gate: tuple[Gate, dict[str, str]], spawn_server: Spawn
) -> dict[str, object]:
    """A challenge whose last try was counted by a process that was killed before it could compare."""
    door, behind = gate
    challenge = await spend_but_one(service)
    process = spawn_server(behind)
    held = door.add(script("reserve_attempt"), "hold_after")
    trying = await begin_the_last(service, process, challenge, service.wrong_code(), held)
    process.kill()
    await asyncio.gather(trying, return_exceptions=True)
    return challenge


async def test_a_challenge_whose_last_try_died_with_its_process_is_exhausted(
    start_service: Starter, gate: tuple[Gate, dict[str, str]], spawn_server: Spawn
) -> None:
    """X33: never pending without a try left, which nothing could end."""
    service = await start_service()
    challenge = await die_over_the_last(service, gate, spawn_server)

    at_once = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])
    service.advance(COMPARED)
    seen = await service.look(challenge)
    later = await service.verify(challenge, service.code())

    assert (seen["status"], seen["attempts_remaining"]) == ("exhausted", 0)
    for refused in (at_once.json(), later.json()):
        assert (refused["code"], refused["ended_at"]) == ("challenge_exhausted", seen["ended_at"])


LIFE = 300


@pytest.mark.parametrize("then", ["resend", "cancel", "time goes on", "another comes"])
async def test_what_was_told_to_be_exhausted_stays_so_whatever_happens(
    then: str, start_service: Starter, gate: tuple[Gate, dict[str, str]], spawn_server: Spawn
) -> None:
    """X33: nobody has written that end down, and each of these might have written another."""
    service = await start_service()
    challenge = await die_over_the_last(service, gate, spawn_server)
    service.advance(120)  # longer than any cooldown, too
    told = await service.look(challenge)
    assert told["status"] == "exhausted"

    ended: dict[str, object] = {"challenge_id": challenge["challenge_id"]}
    match then:
        case "resend" | "cancel":
            again = (await service.post(f"/otp/{then}", **ended)).json()
            assert (again["code"], again["ended_at"]) == ("challenge_exhausted", told["ended_at"])
        case "time goes on":
            service.advance(LIFE)
        case "another comes":
            await service.request()
    looked = await service.look(challenge)
    refused = (await service.verify(challenge, service.code())).json()

    assert (looked["status"], looked["ended_at"]) == ("exhausted", told["ended_at"])
    assert (refused["code"], refused["ended_at"]) == ("challenge_exhausted", told["ended_at"])


async def test_a_last_try_that_is_still_compared_leaves_the_challenge_pending_and_may_be_right(
    start_service: Starter, gate: tuple[Gate, dict[str, str]], spawn_server: Spawn
) -> None:
    """Who asks meanwhile is never told of an end that is taken back."""
    service = await start_service()
    door, behind = gate
    challenge = await spend_but_one(service)
    process = spawn_server(behind)
    held = door.add(script("consume_challenge"), "hold_before")
    trying = await begin_the_last(service, process, challenge, service.code(), held)

    meanwhile = await service.look(challenge)
    door.release()
    answer = await trying

    assert (meanwhile["status"], meanwhile["attempts_remaining"]) == ("pending", 0)
    assert answer.status_code == 200
    assert (await service.look(challenge))["status"] == "approved"
