"""
Redis' clock jumps: NTP sets it right, a virtual machine wakes up, an operator mistypes a date.

No wait outlasts its own length because the clock was ahead when it began, and nothing lives longer because it was set
back. The scripts run on the real server with their clock moved by their offset.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyotp
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otp_service.core import keyring as keyrings
from otp_service.core.challenge import (
    ChallengeAddress,
    challenge_id_for,
    new_handle,
    subject_address,
)
from otp_service.core.keyring import Keyring
from otp_service.core.limits import FailureBudget, Window
from otp_service.errors import RateLimited, SubjectBlocked
from otp_service.services.webhooks import RETRY_SECONDS
from otp_service.store import keys
from otp_service.store.challenge_creation import ChallengeCreation, NewChallenge
from otp_service.store.challenges import Challenges
from otp_service.store.connection import Timeouts, connect
from otp_service.store.deliveries import Deliveries, InProgress, Job
from otp_service.store.factor_records import NewFactor
from otp_service.store.factor_tries import FactorTries
from otp_service.store.factors import Factors
from otp_service.store.limits import ChargedLimit
from otp_service.store.outgoing import LATEST_TURN_MS, LONGEST_RETRY_MS
from otp_service.store.recovery_codes import RecoveryCodes
from otp_service.store.scripts import Scripts
from tests.conftest import Service

SCRIPTS = Path(__file__).parents[2] / "otp_service" / "store" / "lua"
DAY = 86_400
JUMPS = (-2 * DAY, -3600, -1000, -60, 60, 1000, 3600, 2 * DAY)  # seconds
BUDGET = FailureBudget(Window(1, 60), 60, Window(100, DAY), 1000)
RING = Keyring.from_json(keyrings.generate(created_at="2026-11-23T00:00:00Z"))
ANN = subject_address(RING, "shop", "ann")


def an_address() -> ChallengeAddress:
    return ChallengeAddress(challenge_id_for(RING, ANN, new_handle(RING)), ANN)


CHALLENGE, FACTOR = an_address(), an_address()
JOB = Job(keys.queue(ANN.bucket), "1-1", CHALLENGE.challenge_id, 1)


@dataclass
class Clock:
    """Redis' clock for these scripts."""

    scripts: Scripts

    async def run(self, name: str, names: list[str], **args: Any) -> dict[str, Any]:
        return await self.scripts.run(name, names, args)


Step = Callable[[Clock], Awaitable[Any]]


@dataclass(frozen=True)
class Wait:
    """
    Something that makes callers, people or workers wait.

    Attributes:
        seconds: The longest that it may last.
        begin: Starts it.
        refused: Whether it lasts, by asking for what has to wait.
    """

    seconds: float
    begin: Step
    refused: Callable[[Clock], Awaitable[bool]]


def limit(**spec: Any) -> Wait:
    fields = {
        "i": 1,
        "windows": [["w", 1, 60_000]],
        "cooldown_window": 60_000,
        "keep": 60_000,
        **spec,
    }

    async def charge(clock: Clock) -> bool:
        member = str(clock.scripts.offset_ms)
        answer = await clock.run("charge_limits", ["otp:limit:a:b"], member=member, limits=[fields])
        return bool(answer["verdict"] == "limited")

    return Wait(60, charge, charge)


async def fail(clock: Clock) -> bool:
    client: Any = clock.scripts.connection.client
    await client.hset(keys.recovery(ANN), "AB", "phc")
    await client.expire(keys.recovery(ANN), DAY)
    codes = RecoveryCodes(clock.scripts, budget=BUDGET, history_ms=DAY * 1000)
    return await is_refused(codes.reserve(ANN, "AB", attempt_id=new_handle(RING)))


async def is_refused(work: Awaitable[Any]) -> bool:
    try:
        await work
    except (SubjectBlocked, RateLimited):
        return True
    return False


async def begin_call(clock: Clock) -> bool:
    answer = await clock.run(
        "begin_idempotent", ["otp:idempotent:a"],
        fingerprints=["f"], handle="h", owner="o", lease_ms=40_000, memory_ms=7 * DAY * 1000,
    )  # fmt: skip
    return bool(answer["verdict"] == "running")


async def take_turn(clock: Clock) -> bool:
    answer = await clock.run("take_turn", ["otp:turn:a"], every_ms=300_000)
    return bool(answer["verdict"] == "not_yours")


OUTGOING = [
    "otp:{outgoing}:due",
    "otp:{outgoing}:failing",
    "otp:{outgoing}:waiting:e",
    "otp:{outgoing}:records:e",
    "otp:{outgoing}:dead:e",
]


async def queue(clock: Clock) -> None:
    await clock.run(
        "enqueue_webhook", OUTGOING,
        endpoint="e", message="m", record="{}", again=False, cap=9, dead_cap=9, keep_ms=30 * DAY * 1000,
    )  # fmt: skip


async def lease_endpoint(clock: Clock) -> bool:
    await queue(clock)
    answer = await clock.run(
        "claim_turns", OUTGOING[:2],
        lease_ms=40_000, longest_ms=LATEST_TURN_MS, count=5, failing=5, share=5, busy={},
    )  # fmt: skip
    return not answer["members"]


async def rest_endpoint(clock: Clock) -> None:
    await lease_endpoint(clock)
    await clock.run(
        "rest_endpoint", OUTGOING[:3],
        endpoint="e", pause_ms=60_000, latest_ms=LATEST_TURN_MS, keep_ms=30 * DAY * 1000,
    )  # fmt: skip


async def retry_later(clock: Clock) -> None:
    await queue(clock)
    await clock.run(
        "settle_webhook", OUTGOING[2:],
        message="m", outcome="retry", record="{}", delay_ms=RETRY_SECONDS[-1] * 1000, dead_cap=9,
        keep_ms=30 * DAY * 1000,
    )  # fmt: skip


async def no_message(clock: Clock) -> bool:
    answer = await clock.run("take_webhooks", OUTGOING[2:4], longest_ms=LONGEST_RETRY_MS, count=5)
    return not answer["messages"]


async def open_challenge(
    clock: Clock, address: ChallengeAddress | None = None, binding: str = ""
) -> None:
    new = NewChallenge(
        address=address or CHALLENGE, caller="shop", purpose="login", binding=binding, about="", sealed="s",
        region="US", locale="en", digits=6, max_attempts=3, max_sends=3, ttl_ms=300_000, grace_ms=0,
        min_life_ms=30_000, retention_ms=60_000,
    )  # fmt: skip
    challenges = Challenges(clock.scripts)
    openings = ChallengeCreation(
        clock.scripts, challenges=challenges, budget=BUDGET, max_bindings=1, queue_limit=1000
    )
    await openings.open(new, [ChargedLimit(key="otp:limit:c:d", windows=[("c", Window(1000, 60))])])


async def open_another(clock: Clock) -> bool:
    return await is_refused(open_challenge(clock, an_address(), "tab-2"))


async def send(clock: Clock) -> None:
    await open_challenge(clock)
    deliveries = Deliveries(clock.scripts, clock.scripts.connection, consumer="jumps")
    assert await deliveries.begin(JOB, CHALLENGE, digest="d", kid="k", sending_ms=30_000)


async def is_sending(clock: Clock) -> bool:
    deliveries = Deliveries(clock.scripts, clock.scripts.connection, consumer="jumps")
    return isinstance(await deliveries.take(JOB, CHALLENGE), InProgress)


async def tell_of_credit(clock: Clock) -> bool:
    answer = await clock.run(
        "see_credit", ["otp:credit"],
        amount="1", unit="USD", warn_below=5, well_above=6, tell_ms=60_000, keep_ms=7 * DAY * 1000,
    )  # fmt: skip
    return bool(answer["verdict"] == "same")


async def import_factor(clock: Clock) -> None:
    new = NewFactor(caller="shop", name="", about="", seed="s", algorithm="SHA1", digits=6)
    await Factors(clock.scripts, history_ms=DAY * 1000).bring(FACTOR, new, step_ms=30_000)


async def is_spent(clock: Clock) -> bool:
    tries = FactorTries(clock.scripts, budget=BUDGET, history_ms=DAY * 1000)
    (factor,) = await Factors(clock.scripts, history_ms=DAY * 1000).all(FACTOR.subject)
    accepted = await tries.accept(
        FACTOR.subject, factor, caller="shop", step=await now_ms(clock) // 30_000,
        attempt_id=new_handle(RING), proof_kid="k", proof=None,
    )  # fmt: skip
    return accepted is None


async def now_ms(clock: Clock) -> int:
    return int((await clock.run("append_audit", ["otp-audit"]))["now"])


WAITS = {
    "a window": limit(),
    "a cooldown": limit(windows=[["w", 100, 60_000]], cooldown=[30_000, 60_000]),
    "a block": Wait(60, fail, fail),
    "a lease on an idempotency key": Wait(40, begin_call, begin_call),
    "a turn": Wait(300, take_turn, take_turn),
    "a lease on an endpoint": Wait(60, lease_endpoint, lease_endpoint),
    "the rest of an endpoint": Wait(60, rest_endpoint, lease_endpoint),
    "a retry of a webhook": Wait(LONGEST_RETRY_MS / 1000, retry_later, no_message),
    "other live challenges": Wait(300, open_challenge, open_another),
    "the lease of a send": Wait(30, send, is_sending),
    "the telling of low credit": Wait(60, tell_of_credit, tell_of_credit),
    "the steps of an authenticator": Wait(330, import_factor, is_spent),
}


@pytest.mark.parametrize("what", WAITS)
def test_no_wait_outlasts_its_length_after_a_jump(what: str, valkey_url: str) -> None:
    """X21, X22: from the last jump on it lasts its own length at most, and asking does not prolong it."""
    wait = WAITS[what]

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(steps=st.lists(st.sampled_from((*JUMPS, None)), min_size=1, max_size=4))
    def jump(steps: list[int | None]) -> None:
        asyncio.run(walk(steps))

    async def walk(steps: list[int | None]) -> None:
        connection = connect(valkey_url, name="jumps", connections=2, timeouts=Timeouts(command=10))
        try:
            await connection.client.flushall()  # type: ignore[union-attr]
            clock = Clock(Scripts(connection, frozen_at_ms=1_900_000_000_000))
            begins = steps.index(None) if None in steps else 0
            for number, jumped in enumerate(steps):
                if number == begins:
                    await wait.begin(clock)
                clock.scripts.offset_ms += (jumped or 0) * 1000
            if not await wait.refused(clock):
                return
            asked_every = max(wait.seconds / 10, 30)
            for _ in range(12):  # asks until a little more than its length is over
                clock.scripts.offset_ms += int(asked_every * 1000)
                if not await wait.refused(clock):
                    return
            raise AssertionError(f"{what}: still waits after {12 * asked_every} s")
        finally:
            await connection.aclose()

    jump()
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()


# --- Lives -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def frozen_at_ms() -> int:
    return 1_900_000_000_000


async def test_proof_is_inactive_once_the_clock_is_set_back(service: Service) -> None:
    """X22: it was active after 1,000 s instead of 120."""
    challenge = await service.request()
    proof = (await service.verify(challenge, service.code())).json()["proof"]
    service.advance(-1000)
    await service.container.history.tick()
    assert (await service.post("/proofs/introspect", proof=proof)).json() == {"active": False}
    service.advance(1000)
    assert (await service.post("/proofs/introspect", proof=proof)).json() == {"active": False}


async def test_proof_survives_a_small_step_of_the_clock(service: Service) -> None:
    """X22: what NTP does every day."""
    challenge = await service.request()
    proof = (await service.verify(challenge, service.code())).json()["proof"]
    service.advance(-4)
    assert (await service.post("/proofs/introspect", proof=proof)).json()["active"]


async def test_resent_code_expires_once_the_clock_is_set_back(service: Service) -> None:
    """X22: not the challenge's beginning counts but that of its newest code."""
    challenge = await service.request()
    service.advance(200)
    answer = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])
    assert answer.status_code == 202
    service.advance(-100)
    await service.container.history.tick()
    assert (await service.look(challenge))["status"] == "expired"


async def test_device_is_unknown_once_the_clock_is_set_back(service: Service) -> None:
    challenge = await service.request(subject="ann")
    answer = await service.verify(challenge, service.code())
    device = await service.post("/devices", subject="ann", proof=answer.json()["proof"])
    shown = {"subject": "ann", "token": device.json()["token"], "purpose": "login"}
    service.advance(-1000)
    await service.container.history.tick()
    assert (await service.post("/devices/verify", **shown)).json()["code"] == "invalid_device"


async def test_device_reuse_grace_ends_when_the_clock_is_set_right(service: Service) -> None:
    """The token before the newest is not excused for days because the clock was ahead when it was replaced."""
    challenge = await service.request(subject="ann")
    answer = await service.verify(challenge, service.code())
    device = await service.post("/devices", subject="ann", proof=answer.json()["proof"])
    shown = {"subject": "ann", "token": device.json()["token"], "purpose": "login"}
    service.advance(2 * DAY)
    assert (await service.post("/devices/verify", **shown)).status_code == 200
    await service.container.history.tick()
    service.advance(-2 * DAY)
    service.advance(3600)
    await service.container.history.tick()
    assert (await service.post("/devices/verify", **shown)).json()["code"] == "device_reused"


async def test_pending_factor_ends_once_the_clock_is_set_back(service: Service) -> None:
    enrolled = await service.post("/factors/totp", subject="ann", account_name="ann")
    service.advance(-1000)
    await service.container.history.tick()
    code = pyotp.TOTP(enrolled.json()["secret"]).at(await service.now())
    path = f"/factors/totp/{enrolled.json()['factor_id']}/confirm"
    assert (await service.post(path, code=code)).status_code == 404


# --- The scripts -----------------------------------------------------------------------------------------------------

# What compares the end of something with the clock, and does not ask whether its beginning lies in the future.
COMPARED_ALONE = {
    "_clock": "is_alive itself",
    "_ending": "is_future stands before it",
    "_guard": "blocked_until: a block of the future is moved to the present",
    "begin_idempotent": "the lease is shortened before it is compared",
    "reserve_attempt": "an older code's grace: the challenge is over when its newest code is of the future",
    "reserve_opt_in": "is_future stands before it",
}


def test_no_script_compares_an_end_alone() -> None:
    end = r"(?:until|expires_at|ends_at|until_ms)\b[)\w\[\]. ]*"
    alone = re.compile(rf"(?:{end}(?:<=|>=|<|>) *now\b|\bnow *(?:<=|>=|<|>) *[\w.( ]*{end})")
    found = {
        path.stem
        for path in SCRIPTS.glob("*.lua")
        if any(alone.search(line.split("--")[0]) for line in path.read_text().splitlines())
    }
    assert found == set(COMPARED_ALONE)
