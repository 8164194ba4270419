"""
A worker that dies at any step of a send leaves no second SMS and no delivery without an end.

The worker is a process of its own and is killed with SIGKILL, as the kernel does when memory runs out (X38); a gate
before Redis or the site holds it at the step, so nothing in the worker knows of the test. Whoever takes over is a
worker in this process, whose clock the test moves.
"""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from otp_service.connections import open_redis
from otp_service.core.challenge import address_of
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.deliveries import GROUP, Deliveries, Job
from otp_service.store.scripts import Scripts
from tests.conftest import TO, Service, Starter
from tests.reliability.conftest import Spawn
from tests.reliability.harness import (
    Command,
    Gate,
    SiteGate,
    age_jobs,
    command,
    credential,
    eventually,
    generations,
    number,
    script,
)

# Longer than any send may take: the site's deadline and the margin. The clock of the one who dies goes on meanwhile.
LONG_ENOUGH = 60


async def asked(service: Service, to: str = TO, **body: Any) -> dict[str, Any]:
    """Request a code without waiting for anything."""
    answer = await service.post("/otp/request", to=to, purpose="login", **body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def delivery_of(service: Service, challenge: dict[str, Any]) -> tuple[str, str | None]:
    found = (await service.look(challenge))["delivery"]
    return found["status"], found["reason"]


async def until(service: Service, challenge: dict[str, Any], *statuses: str) -> tuple[str, Any]:
    async def found() -> tuple[str, Any] | None:
        status, reason = await delivery_of(service, challenge)
        return (status, reason) if status in statuses else None

    result: tuple[str, Any] = await eventually(found, f"delivery {' or '.join(statuses)}")
    return result


async def take_over(service: Service, valkey_url: str) -> None:
    """Let another worker find what was left, later than any send may last."""
    service.advance(LONG_ENOUGH)
    age_jobs(valkey_url)
    await service.container.worker.start()


async def the_person_can_go_on(service: Service, challenge: dict[str, Any]) -> None:
    """A resend gives a new code that works, whatever became of the one before."""
    sent = len(service.sandbox.messages())
    service.advance(121)
    answer = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])
    assert answer.status_code == 202, answer.text
    assert await until(service, challenge, "accepted")
    assert len(service.sandbox.messages()) == sent + 1
    assert (await service.verify(challenge, service.code())).status_code == 200


@dataclass(frozen=True)
class Step:
    """Where the worker dies, and what must come of it."""

    at: str
    matches: Callable[[Command], bool]
    action: str
    ends: tuple[str, str | None]
    sms: int


def reads_jobs(found: Command) -> bool:
    """Whether the delivery worker waits for jobs: not the events beside it, nor a look at what it holds."""
    return command("XREADGROUP")(found) and GROUP.encode() in found and b"BLOCK" in found


STEPS = [
    Step("the job is read, unseen", reads_jobs, "hold_after", ("accepted", None), 1),
    Step("before it looks at the job", script("take_job"), "hold_before", ("accepted", None), 1),
    Step("the job is looked at", script("take_job"), "hold_after", ("accepted", None), 1),
    Step("before the fence", script("begin_send"), "hold_before", ("accepted", None), 1),
    Step(
        "behind the fence, unsent",
        script("begin_send"),
        "hold_after",
        ("unknown", "worker_lost"),
        0,
    ),
    Step(
        "sent, not written down",
        script("settle_send"),
        "hold_before",
        ("unknown", "worker_lost"),
        1,
    ),
    Step("written down, unheard", script("settle_send"), "hold_after", ("accepted", None), 1),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.at)
async def test_a_worker_killed_at_any_step_sends_at_most_one_sms_and_leaves_no_delivery_open(
    step: Step,
    start_service: Starter,
    valkey_url: str,
    gate: tuple[Gate, dict[str, str]],
    spawn_worker: Spawn,
) -> None:
    """G05, X33, I4."""
    service = await start_service(OTP_DELIVER="false")
    door, behind = gate
    if step.at == "the job is read, unseen":
        challenge = await asked(service)
        held = door.add(step.matches, step.action, skip=1)  # the first read makes the group
        worker = spawn_worker(behind)
    else:
        held = door.add(step.matches, step.action)
        worker = spawn_worker(behind)
        challenge = await asked(service)
    await held.is_reached()
    worker.kill()
    await door.drop()

    await take_over(service, valkey_url)

    assert await until(service, challenge, "accepted", "failed", "unknown") == step.ends
    assert len(service.sandbox.messages()) == step.sms
    await the_person_can_go_on(service, challenge)
    await service.container.worker.stop()


@pytest.mark.parametrize("reaches_the_phone", [False, True])
async def test_a_worker_killed_during_the_post_leaves_unknown_and_no_second_sms(
    start_service: Starter,
    environment: dict[str, str],
    valkey_url: str,
    site_gate: SiteGate,
    spawn_worker: Spawn,
    reaches_the_phone: bool,
) -> None:
    """G05, X33, X26: whether the SMS went out nobody can know, so nobody sends again."""
    service = await start_service(OTP_DELIVER="false")
    if reaches_the_phone:
        service.sandbox.fail(kind="hang", sent=True, times=1)
        site_gate.open.set()
    worker = spawn_worker({**environment, "OTP_WSMS_URL": site_gate.url})
    challenge = await asked(service)
    await eventually(lambda: site_gate.arrived, "the POST")
    if reaches_the_phone:
        await eventually(lambda: service.sandbox.messages(), "the SMS")
    assert await delivery_of(service, challenge) == ("sending", None)
    worker.kill()

    await take_over(service, valkey_url)

    assert await until(service, challenge, "accepted", "failed", "unknown") == (
        "unknown",
        "worker_lost",
    )
    assert len(service.sandbox.messages()) == int(reaches_the_phone)
    if reaches_the_phone:
        code = service.code()
        assert (await service.verify(challenge, code)).status_code == 200
    await service.container.worker.stop()


async def test_nobody_calls_a_send_lost_while_it_may_still_be_on_its_way(
    start_service: Starter,
    environment: dict[str, str],
    valkey_url: str,
    site_gate: SiteGate,
    spawn_worker: Spawn,
) -> None:
    """X33: the other worker finds the job, sees it being sent and keeps its hands off."""
    service = await start_service(OTP_DELIVER="false")
    spawn_worker({**environment, "OTP_WSMS_URL": site_gate.url})
    challenge = await asked(service)
    await eventually(lambda: site_gate.arrived, "the POST")

    job = await the_job(service, valkey_url)
    await service.container.worker.deliver(job)
    assert await delivery_of(service, challenge) == ("sending", None)

    site_gate.open.set()
    assert await until(service, challenge, "accepted", "unknown") == ("accepted", None)
    assert len(service.sandbox.messages()) == 1


async def the_job(service: Service, valkey_url: str) -> Job:
    """Claim the one job there is, whoever has it."""
    connection = open_redis(service.settings)
    try:
        deliveries = Deliveries(Scripts(connection), connection, consumer="other")
        jobs: list[Job] = await eventually(lambda: deliveries.claim_idle(idle_ms=0), "a job")
    finally:
        await connection.aclose()
    assert len(jobs) == 1
    return jobs[0]


async def test_a_job_in_the_hands_of_many_workers_is_sent_once(start_service: Starter) -> None:
    """G05, I4: the fence, 24 at once, in three processes' worth of workers."""
    services = [await start_service(OTP_DELIVER="false") for _ in range(3)]
    front = services[-1]  # the caller's newest credential is the one that counts
    for i in range(3):
        challenge = await asked(front, number(i), subject=f"user-{i}")
        address = address_of(front.settings.ring(), challenge["challenge_id"])
        assert address is not None
        job = Job(keys.queue(address.subject.bucket), "0-1", challenge["challenge_id"], 1)
        await asyncio.gather(*(services[j % 3].container.worker.deliver(job) for j in range(24)))

        assert await delivery_of(front, challenge) == ("accepted", None)
        [code] = generations(front.sandbox.messages(number(i)))
        assert (await front.verify(challenge, code)).status_code == 200


async def test_two_workers_share_the_queue_and_send_each_code_once(
    start_service: Starter, environment: dict[str, str], valkey_url: str, spawn_worker: Spawn
) -> None:
    """I4, with a third that claims whatever it sees, however fresh."""
    service = await start_service(OTP_DELIVER="false", OTP_LIMIT_NUMBER_RANGE="1000/10m")
    numbers = [number(i) for i in range(16)]
    for _ in range(2):
        spawn_worker(environment)
    enough = asyncio.Event()
    greedy = asyncio.create_task(claim_everything(service, enough))

    challenges = await asyncio.gather(*(asked(service, to) for to in numbers))
    for challenge in challenges:
        assert await until(service, challenge, "accepted", "unknown", "failed") == (
            "accepted",
            None,
        )
    enough.set()
    await greedy

    for to, challenge in zip(numbers, challenges, strict=True):
        [code] = generations(service.sandbox.messages(to))
        assert (await service.verify(challenge, code)).status_code == 200


async def claim_everything(service: Service, enough: asyncio.Event) -> None:
    connection = open_redis(service.settings)
    try:
        deliveries = Deliveries(Scripts(connection), connection, consumer="greedy")
        while not enough.is_set():
            try:
                jobs = await deliveries.claim_idle(idle_ms=0)
            except Unavailable:
                jobs = []  # no group yet
            await asyncio.gather(*(service.container.worker.deliver(job) for job in jobs))
            await asyncio.sleep(0.01)
    finally:
        await connection.aclose()


async def test_a_worker_asked_to_end_finishes_its_send_and_leaves_the_rest_to_the_next(
    start_service: Starter,
    environment: dict[str, str],
    site_gate: SiteGate,
    spawn_worker: Spawn,
) -> None:
    """X36: SIGTERM with one send at the site and two jobs waiting behind it."""
    service = await start_service(OTP_DELIVER="false")
    worker = spawn_worker(
        {**environment, "OTP_WSMS_URL": site_gate.url, "OTP_DELIVERY_CONCURRENCY": "1"}
    )
    first = await asked(service, number(0))
    await eventually(lambda: site_gate.arrived, "the POST")
    waiting = [await asked(service, number(i)) for i in (1, 2)]

    worker.terminate()
    site_gate.open.set()
    code = await asyncio.to_thread(worker.popen.wait, 60)

    assert code == 0
    assert await delivery_of(service, first) == ("accepted", None)
    for challenge, to in zip(waiting, (number(1), number(2)), strict=True):
        assert await delivery_of(service, challenge) == ("queued", None)
        assert service.sandbox.messages(to) == []

    await service.container.worker.start()  # at once: what was given back needs no hour
    for challenge in waiting:
        assert await until(service, challenge, "accepted", "failed") == ("accepted", None)
    await service.container.worker.stop()
    assert [len(service.sandbox.messages(number(i))) for i in range(3)] == [1, 1, 1]


async def test_a_job_that_waited_too_long_is_dropped_unsent(start_service: Starter) -> None:
    """G08, X31: with less than a minute of life left a code is no use to anybody."""
    service = await start_service(OTP_DELIVER="false")
    challenge = await asked(service)
    service.advance(241)
    await service.container.worker.start()
    assert await until(service, challenge, "failed", "accepted") == ("failed", "too_late")
    await service.container.worker.stop()
    assert service.sandbox.messages() == []


async def test_a_service_killed_while_hashing_has_counted_the_guess(
    environment: dict[str, str],
    gate: tuple[Gate, dict[str, str]],
    start_service: Starter,
    spawn_server: Spawn,
) -> None:
    """X34, A12: the count comes first, so a crash is a failed try and never a free one."""
    service = await start_service()
    door, behind = gate
    other = spawn_server({**behind, "OTP_DELIVER": "false"})
    challenge = await service.request()
    held = door.add(script("consume_challenge"), "hold_before")
    body = {
        "challenge_id": challenge["challenge_id"],
        "code": service.code(),
        "purpose": "login",
    }
    async with httpx.AsyncClient(
        base_url=other.url, headers=service.http.headers, timeout=60
    ) as client:
        call = asyncio.create_task(client.post("/otp/verify", json=body))
        await held.is_reached()
        other.kill()
        with pytest.raises(httpx.TransportError):
            await call
    await door.drop()

    assert (await service.look(challenge))["attempts_remaining"] == 4
    assert (await service.look(challenge))["status"] == "pending"
    assert (await service.verify(challenge, service.code())).status_code == 200


async def test_a_service_killed_after_it_spent_the_code_gives_the_proof_to_the_same_call_again(
    environment: dict[str, str],
    gate: tuple[Gate, dict[str, str]],
    start_service: Starter,
    spawn_server: Spawn,
) -> None:
    """X35: under the same Idempotency-Key; anybody else hears that the code was used."""
    service = await start_service()
    door, behind = gate
    other = spawn_server({**behind, "OTP_DELIVER": "false", "OTP_REDIS_TIMEOUT": "3"})
    challenge = await service.request()
    code = service.code()
    held = door.add(script("consume_challenge"), "hold_after")
    body = {"challenge_id": challenge["challenge_id"], "code": code, "purpose": "login"}
    key = {"Idempotency-Key": "try-1"}
    async with httpx.AsyncClient(
        base_url=other.url, headers=service.http.headers, timeout=60
    ) as client:
        call = asyncio.create_task(client.post("/otp/verify", json=body, headers=key))
        await held.is_reached()
        other.kill()
        with pytest.raises(httpx.TransportError):
            await call
    await door.drop()

    service.advance(79)  # the dead run's lease: 26 Redis commands of 3 s
    again = await service.post("/otp/verify", headers=key, **body)
    stranger = await service.verify(challenge, code)

    assert again.status_code == 200
    assert stranger.json()["code"] == "challenge_used"
    proof = again.json()["proof"]
    spent = [await service.post("/proofs/introspect", proof=proof) for _ in range(2)]
    assert [answer.json()["active"] for answer in spent] == [True, False]


async def test_a_service_asked_to_end_finishes_the_answers_it_owes(
    environment: dict[str, str],
    site_gate: SiteGate,
    spawn_server: Spawn,
) -> None:
    """X36: a request that waits for its delivery gets its answer, and the process ends by itself."""
    server = spawn_server({**environment, "OTP_WSMS_URL": site_gate.url})
    headers = {**await credential(environment), "Prefer": "wait=30"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        call = asyncio.create_task(client.post("/otp/request", json={"to": TO, "purpose": "login"}))
        await eventually(lambda: site_gate.arrived, "the POST")
        server.popen.send_signal(signal.SIGTERM)
        site_gate.open.set()
        answer = await call
    assert answer.json()["delivery"] == {"status": "accepted", "reason": None}
    assert await asyncio.to_thread(server.popen.wait, 60) == 0


async def test_a_worker_with_nothing_to_do_ends_at_once(start_service: Starter) -> None:
    """X36: though a cancellation can get lost in a call to Redis, nobody waits for the next sweep."""
    for _ in range(8):
        service = await start_service(OTP_DELIVER="false")
        worker = service.container.worker
        worker.sweep_seconds = 3600
        await worker.start()
        await service.http.get("/healthz")
        async with asyncio.timeout(60):
            await worker.stop()
