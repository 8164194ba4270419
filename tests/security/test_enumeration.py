"""
No answer and no difference in work tells whether a person exists: what a request costs is the same for everybody.

Time is what work takes, so work is what is compared: the commands that Redis gets, the hashes, the calls to the site.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from otp_service.core.challenge import challenge_id_for, new_handle, subject_address
from otp_service.store.script_sources import names, source
from tests.conftest import Service, Starter
from tests.reliability.harness import (
    Command,
    SiteGate,
    gate_before,
    gate_before_site,
    number,
)

SCRIPTS = {sha1(source(name).encode(), usedforsecurity=False).hexdigest(): name for name in names()}

# Read again every few seconds, whomever a call is for.
OF_THE_CALLER = (b"otp:caller:", b"otp:webhooks:")


@dataclass
class Work:
    """What answering one call took."""

    redis: list[tuple[str, ...]] = field(default_factory=list)
    hashes: float = 0
    site: int = 0


@dataclass
class Watched:
    """A service whose every command to Redis, hash and call to the site is counted."""

    service: Service
    site: SiteGate
    commands: list[tuple[str, ...]]

    async def work(self, path: str, **body: Any) -> tuple[Work, httpx.Response]:
        self.commands.clear()
        hashes, arrived = hashes_made(), self.site.arrived
        answer = await self.service.post(path, **body)
        return Work(
            list(self.commands), hashes_made() - hashes, self.site.arrived - arrived
        ), answer

    def record(self, command: Command) -> bool:
        """Note its name, its script and how many keys that has; let it pass."""
        if any(word.startswith(OF_THE_CALLER) for word in command[1:2]):
            return False
        words = [command[0].decode().upper()]
        if words[0] in ("HELLO", "CLIENT"):
            return False  # a connection of the background's is opened
        if words[0] in ("EVALSHA", "EVAL"):
            words += [SCRIPTS.get(command[1].decode(), "another script"), command[2].decode()]
        self.commands.append(tuple(words))
        return False


def hashes_made() -> float:
    return sum(
        REGISTRY.get_sample_value("otp_hashes_total", {"use": use}) or 0
        for use in ("draw", "verify", "reconcile")
    )


# What is counted by region is told to Redis now and then, whoever asked.
WITHOUT_COUNTS = {"OTP_REGION_PAUSE": "off"}


@pytest.fixture
async def delivering(start_service: Starter) -> Service:
    return await start_service(OTP_LIMIT_RECIPIENT="2/10m", **WITHOUT_COUNTS)


@pytest.fixture
async def watched(
    delivering: Service, start_service: Starter, valkey_url: str
) -> AsyncIterator[Watched]:
    """It delivers nothing itself, so that what is counted is what the call did."""
    async with (
        gate_before(valkey_url) as (door, behind),
        gate_before_site(delivering.sandbox) as site,
    ):
        service = await start_service(
            OTP_REDIS_URL=behind, OTP_WSMS_URL=site.url, OTP_DELIVER="false",
            OTP_LIMIT_RECIPIENT="2/10m", **WITHOUT_COUNTS,
        )  # fmt: skip
        delivering.http.headers.update(service.http.headers)
        for each in (
            delivering,
            service,
        ):  # their clocks differ, and its ticks are no work of a call
            await each.container.history.stop()
        found = Watched(service, site, [])
        await service.request(
            to=number(90), wait=0
        )  # caller, scripts and connections are known now
        door.add(found.record, "watch")
        yield found


async def known(service: Service, to: str, subject: str) -> None:
    """Somebody who has been here: an SMS, a login, an authenticator, recovery codes."""
    challenge = await service.request(to=to, subject=subject)
    assert (await service.verify(challenge, service.code(to))).status_code == 200
    made = await service.post("/factors/totp", subject=subject, account_name=subject)
    assert made.status_code == 201
    assert (await service.post("/recovery-codes", subject=subject)).status_code == 201


async def test_a_request_does_the_same_work_whoever_it_is_for(
    watched: Watched, delivering: Service
) -> None:
    """E02: somebody new, somebody known, somebody with a code under way, and two who are refused for their limits."""
    await known(delivering, number(1), "known")
    assert (await delivering.request(to=number(2), subject="waiting"))["status"] == "pending"
    for i in range(2):
        delivering.advance(61)
        challenge = await delivering.request(to=number(3), subject="blocked", binding=f"b{i}")
        wrong = delivering.wrong_code(number(3))
        for _ in range(5):
            refused = await delivering.verify(challenge, wrong, binding=f"b{i}")
            assert refused.json()["code"] in {"invalid_code", "challenge_exhausted"}, refused.text
        await delivering.request(to=number(4), subject="full")
    delivering.advance(61)
    watched.service.container.scripts.offset_ms = delivering.container.scripts.offset_ms
    await delivering.container.worker.stop()  # what it hashes is no work of a request

    people = {
        "new": number(0), "known": number(1), "waiting": number(2), "blocked": number(3), "full": number(4),
    }  # fmt: skip
    found, answers = {}, {}
    for subject, to in people.items():
        found[subject], answer = await watched.work(
            "/otp/request", to=to, purpose="login", subject=subject
        )
        answers[subject] = answer.json().get("code", answer.status_code)

    assert answers == {
        "new": 202, "known": 202, "waiting": 202, "blocked": "subject_blocked", "full": "rate_limited",
    }  # fmt: skip
    assert found["new"].redis == [("EVALSHA", "open_challenge", "15")]
    assert (found["new"].hashes, found["new"].site) == (0, 0)
    # The code that was under way is taken away besides: of it the caller hears anyhow, by the cooldown before.
    assert found.pop("waiting").redis.pop() == ("EVALSHA", "end_challenge", "4")
    assert list(found.values()) == [found["new"]] * 4


async def test_work_that_differs_is_seen_to_differ(watched: Watched, delivering: Service) -> None:
    """E02, the control: verifying hashes for who has a challenge, and asks Redis for more than who has none."""
    challenge = await delivering.request(to=number(5))
    body = {"code": delivering.wrong_code(number(5)), "purpose": "login"}
    own, _ = await watched.work("/otp/verify", challenge_id=challenge["challenge_id"], **body)
    nobodys, _ = await watched.work("/otp/verify", challenge_id=never_was(watched.service), **body)
    assert (own.hashes, nobodys.hashes) == (1, 0)
    assert own != nobodys


def never_was(service: Service) -> str:
    """An id as we make them, of a challenge that nobody opened."""
    ring = service.settings.ring()
    return challenge_id_for(ring, subject_address(ring, "nobody", "nobody"), new_handle(ring))


# --- Ids -------------------------------------------------------------------------------------------------------------


async def test_only_its_own_caller_hears_how_a_challenge_stands(service: Service) -> None:
    """E03: who opened it hears wrong, expired, spent, canceled; a stranger one answer, that of ids that never were."""
    opened = {}
    for i, name in enumerate(("wrong", "expired", "spent", "canceled")):
        challenge = await service.request(to=number(i))
        opened[name] = (challenge, service.code(number(i)), service.wrong_code(number(i)))
        if name == "expired":
            service.advance(301)
            challenge = await service.request(to=number(9))
            opened["wrong"] = (challenge, service.code(number(9)), service.wrong_code(number(9)))
    challenge, code, _ = opened["spent"]
    assert (await service.verify(challenge, code)).status_code == 200
    body = {"challenge_id": opened["canceled"][0]["challenge_id"]}
    assert (await service.post("/otp/cancel", **body)).status_code == 200

    own = {
        name: (await service.verify(challenge, wrong)).json()["code"]
        for name, (challenge, _, wrong) in opened.items()
    }
    assert own == {
        "wrong": "invalid_code",
        "expired": "challenge_expired",
        "spent": "challenge_used",
        "canceled": "challenge_canceled",
    }
    stranger = await service.caller("stranger")
    unknown = {"challenge_id": never_was(service)}
    told = set()
    for challenge, code, wrong in [*opened.values(), (unknown, "123456", "654321")]:
        for typed in (code, wrong):
            answer = await service.post(
                "/otp/verify", headers=stranger, code=typed, purpose="login",
                challenge_id=challenge["challenge_id"],
            )  # fmt: skip
            instance = answer.json()["instance"]
            told.add((answer.status_code, answer.text.replace(instance, "…")))
    assert len(told) == 1, told
    [(status, text)] = told
    assert (status, '"code":"challenge_not_found"' in text) == (404, True)
