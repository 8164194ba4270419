"""
Everything at once: what is counted, is counted exactly; what happens once, happens once.

The same races run in one process and over HTTP against two serving processes. `TestTheHarness` holds a naive verifier
under the same race and must see it fail, so a green run means something.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from otp_service.telemetry import HASHES
from tests.conftest import TO, Sandbox, Service, Starter
from tests.contract import check_answer
from tests.reliability.conftest import Spawn
from tests.reliability.harness import count, credential, eventually, generations, number

# So that no guess of a race is shed or late on a busy machine: what is shed has a test of its own.
UNSHED = {"OTP_HASH_QUEUE": "512", "OTP_REDIS_TIMEOUT": "10"}
# For tests that open many challenges for one number or from one subject.
WIDE = {
    "OTP_LIMIT_RECIPIENT": "1000/1d",
    "OTP_LIMIT_RECIPIENT_TOTAL": "1000/1d",
    "OTP_LIMIT_NUMBER_RANGE": "1000/10m",
    "OTP_COOLDOWN": "1",
}


async def without_the_servers_own(response: httpx.Response) -> None:
    """The contract does not speak of what uvicorn adds."""
    for name in ("date", "connection", "transfer-encoding"):
        response.headers.pop(name, None)


Post = Callable[..., Awaitable[httpx.Response]]


def verifications() -> int:
    """How many argon2id this process has computed to compare a code."""
    return int(HASHES.labels("verify")._value.get())


async def at_once(*calls: Awaitable[httpx.Response]) -> list[httpx.Response]:
    """Let all of them loose in one moment."""
    return list(await asyncio.gather(*calls))


class Two:
    """Two serving processes; calls go to each in turn."""

    def __init__(self, clients: list[httpx.AsyncClient], hashes: Callable[[], int]) -> None:
        self._clients = clients
        self._turn = 0
        self.hashes = hashes

    async def post(self, path: str, *, headers: Any = None, **body: Any) -> httpx.Response:
        self._turn += 1
        client = self._clients[self._turn % len(self._clients)]
        return await client.post(path, json=body, headers=headers)


@pytest.fixture
async def two_processes(environment: dict[str, str], spawn_server: Spawn) -> AsyncIterator[Two]:
    async with two_of(environment, spawn_server) as two:
        yield two


@asynccontextmanager
async def two_of(environment: dict[str, str], spawn_server: Spawn) -> AsyncIterator[Two]:
    settings = {**environment, **UNSHED, **WIDE, "OTP_LOG_LEVEL": "ERROR", "OTP_HASH_THREADS": "1"}
    processes = [spawn_server(settings) for _ in range(2)]
    headers = await credential(environment)
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=process.url,
                    headers=headers,
                    timeout=120,
                    event_hooks={"response": [without_the_servers_own, check_answer]},
                    limits=httpx.Limits(max_connections=64),
                )
            )
            for process in processes
        ]
        for client in clients:
            assert (await client.get("/healthz")).status_code == 200
        yield Two(clients, lambda: sum(process.hashes() for process in processes))


async def requested(post: Post, to: str = TO, **body: Any) -> dict[str, Any]:
    answer = await post(
        "/otp/request", headers={"Prefer": "wait=30"}, to=to, purpose="login", **body
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["delivery"]["status"] == "accepted", answer.text
    return dict(answer.json())


def other_than(code: str, by: int = 1) -> str:
    return f"{(int(code) + by) % 10 ** len(code):0{len(code)}d}"


async def settled(service: Service, challenge: dict[str, Any]) -> str:
    """Wait until nothing more will come of the newest code; return how its delivery ended."""

    async def found() -> str | None:
        status = (await service.look(challenge))["delivery"]["status"]
        return None if status in ("queued", "sending") else str(status)

    return str(await eventually(found, "a settled delivery"))


def verify(post: Post, challenge: dict[str, Any], code: str, **headers: str) -> Any:
    return post(
        "/otp/verify",
        headers=headers or None,
        challenge_id=challenge["challenge_id"],
        code=code,
        purpose="login",
    )


# --- The races, for whatever `post` speaks to ------------------------------------------------------------------------


async def guess_200_times(post: Post, sandbox: Sandbox, hashes: Callable[[], int]) -> None:
    challenge = await requested(post)
    code, before = sandbox.code(), hashes()

    answers = await at_once(*(verify(post, challenge, other_than(code, 1 + i)) for i in range(200)))

    assert hashes() - before == 5
    outcomes = count(answers)
    assert outcomes == {"invalid_code": 4, "challenge_exhausted": 196}
    left = sorted(
        answer.json()["attempts_remaining"] for answer in answers if answer.status_code == 400
    )
    assert left == [1, 2, 3, 4]
    late = await verify(post, challenge, code)
    assert late.json()["code"] == "challenge_exhausted"
    assert hashes() - before == 5


async def accept_once(post: Post, sandbox: Sandbox, *, rounds: int, to: int = 0) -> None:
    for i in range(rounds):
        challenge = await requested(post, number(to + i))
        code = sandbox.code(number(to + i))

        answers = await at_once(*(verify(post, challenge, code) for _ in range(50)))

        outcomes = count(answers)
        assert outcomes.pop("200") == 1, outcomes
        assert set(outcomes) <= {"challenge_used", "challenge_exhausted"}
        [proof] = [answer.json()["proof"] for answer in answers if answer.status_code == 200]
        redeemed = await at_once(*(post("/proofs/introspect", proof=proof) for _ in range(20)))
        assert [answer.json()["active"] for answer in redeemed].count(True) == 1


async def ask_20_times_with_one_key(post: Post, sandbox: Sandbox) -> None:
    key = secrets.token_hex(8)
    answers = await at_once(
        *(
            post("/otp/request", headers={"Idempotency-Key": key}, to=TO, purpose="login")
            for _ in range(20)
        )
    )
    outcomes = count(answers)
    assert set(outcomes) <= {"202", "idempotency_in_progress"}
    assert outcomes["202"] >= 1
    assert len({a.json()["challenge_id"] for a in answers if a.status_code == 202}) == 1

    again = await post("/otp/request", headers={"Idempotency-Key": key}, to=TO, purpose="login")
    assert again.headers["Idempotency-Replayed"] == "true"
    await eventually(lambda: sandbox.messages(), "the SMS")
    assert len(sandbox.messages()) == 1


async def open_many_at_once(post: Post, sandbox: Sandbox) -> None:
    """The cooldown lets one of them through; where it is no obstacle, the newest is the one that lives."""
    answers = await at_once(
        *(
            post(
                "/otp/request", to=number(30 + i), purpose="login", subject="user-1", binding="tab"
            )
            for i in range(12)
        )
    )
    assert count(answers) == {"202": 12}
    looks = [await look(post, answer.json()["challenge_id"]) for answer in answers]
    states = [found["code"] for found in looks]
    assert sorted(states) == sorted(["challenge_mismatch"] + ["challenge_replaced"] * 11)


async def look(post: Post, challenge_id: str) -> Any:
    """A verification that can never count: for the living `challenge_mismatch`, else how it ended."""
    alive = await post(
        "/otp/verify", challenge_id=challenge_id, code="000000", purpose="signup", binding="tab"
    )
    assert alive.json()["code"] == "challenge_mismatch"
    ended = await post("/otp/cancel", challenge_id=challenge_id)
    return alive.json() if ended.status_code == 200 else ended.json()


# --- In one process --------------------------------------------------------------------------------------------------


class TestInOneProcess:
    async def test_of_200_wrong_guesses_at_once_5_are_evaluated(
        self, start_service: Starter
    ) -> None:
        """A01, A02, A15."""
        service = await start_service(**UNSHED)
        await guess_200_times(service.post, service.sandbox, verifications)

    async def test_of_50_right_codes_at_once_one_is_accepted_with_one_proof(
        self, start_service: Starter
    ) -> None:
        """B02, B12."""
        service = await start_service(**UNSHED)
        await accept_once(service.post, service.sandbox, rounds=6)

    async def test_20_requests_with_one_key_at_once_send_one_sms(self, service: Service) -> None:
        """B15."""
        await ask_20_times_with_one_key(service.post, service.sandbox)

    async def test_of_requests_of_one_session_at_once_one_lives(
        self, start_service: Starter
    ) -> None:
        """A05."""
        service = await start_service(**WIDE)
        await open_many_at_once(service.post, service.sandbox)

    async def test_of_sessions_at_once_no_more_live_than_allowed(
        self, start_service: Starter
    ) -> None:
        """A05: the third-but-one binding of a subject is refused, however close they come."""
        service = await start_service(**WIDE)
        answers = await at_once(
            *(
                service.post(
                    "/otp/request", to=TO, purpose="login", subject="user-1", binding=f"tab-{i}"
                )
                for i in range(20)
            )
        )
        assert count(answers)["202"] <= 3
        refused = [answer.json()["limit"] for answer in answers if answer.status_code == 429]
        assert set(refused) <= {"live_challenges", "cooldown"}

    async def test_requests_for_one_number_at_once_send_one_sms_within_the_cooldown(
        self, service: Service
    ) -> None:
        """A20: what is asked in one moment is counted one after the other."""
        answers = await at_once(
            *(service.post("/otp/request", to=TO, purpose="login") for _ in range(30))
        )
        assert count(answers) == {"202": 1, "rate_limited": 29}
        await eventually(lambda: service.sandbox.messages(), "the SMS")
        assert len(service.sandbox.messages()) == 1

    async def test_50_resends_at_once_send_one_sms(self, service: Service) -> None:
        """B03, I4."""
        challenge = await service.request()
        service.advance(31)
        answers = await at_once(
            *(
                service.post("/otp/resend", challenge_id=challenge["challenge_id"])
                for _ in range(50)
            )
        )
        assert count(answers) == {"202": 1, "rate_limited": 49}
        await eventually(lambda: len(service.sandbox.messages()) > 1, "the second SMS")
        assert len(service.sandbox.messages()) == 2
        assert (await service.look(challenge))["sends_remaining"] == 3

    async def test_an_old_code_and_a_resend_at_once_never_leave_two_good_codes(
        self, start_service: Starter
    ) -> None:
        """B03, B04: either the old code was first and all is over, or it is dead."""
        service = await start_service(**UNSHED, **WIDE)
        seen = set()
        for i in range(8):
            to = number(i)
            challenge = await requested(service.post, to)
            old = service.code(to)
            service.advance(2)
            resend, *tries = await at_once(
                service.post("/otp/resend", challenge_id=challenge["challenge_id"]),
                *(verify(service.post, challenge, old) for _ in range(2)),
            )
            await settled(service, challenge)
            [new, *_] = generations(service.sandbox.messages(to))
            accepted = count(tries).get("200", 0)
            last = await verify(service.post, challenge, new)
            assert accepted + (last.status_code == 200) == 1, (count(tries), last.text)
            if accepted == 0 and new != old:
                assert resend.status_code == 202
                assert last.status_code == 200
            seen.add(accepted)
        assert seen, "rounds"

    async def test_a_right_code_and_a_cancel_at_once_have_one_winner(
        self, start_service: Starter
    ) -> None:
        """B02: the caller is never told both."""
        service = await start_service(**UNSHED)
        for i in range(10):
            to = number(i)
            challenge = await requested(service.post, to)
            body = {"challenge_id": challenge["challenge_id"]}
            code = service.code(to)
            tried, canceled = await at_once(
                verify(service.post, challenge, code), service.post("/otp/cancel", **body)
            )
            both = (tried.status_code, canceled.status_code)
            assert both in ((200, 410), (410, 200)), both
            status = (await service.look(challenge))["status"]
            assert status == ("approved" if tried.status_code == 200 else "canceled")

    async def test_one_verification_repeated_at_once_with_its_key_gives_one_proof(
        self, service: Service
    ) -> None:
        """B02, B15, X35: the retry of a client that heard nothing is no second acceptance."""
        challenge = await service.request()
        code = service.code()
        answers = await at_once(
            *(
                verify(service.post, challenge, code, **{"Idempotency-Key": "try-1"})
                for _ in range(20)
            )
        )
        outcomes = count(answers)
        assert set(outcomes) <= {"200", "idempotency_in_progress"}
        assert len({a.json()["proof"] for a in answers if a.status_code == 200}) == 1
        again = await verify(service.post, challenge, code, **{"Idempotency-Key": "try-1"})
        assert again.headers["Idempotency-Replayed"] == "true"

    async def test_a_wrong_guess_repeated_at_once_with_its_key_is_counted_once(
        self, service: Service
    ) -> None:
        """A01, B15."""
        challenge = await service.request()
        wrong = service.wrong_code()
        answers = await at_once(
            *(
                verify(service.post, challenge, wrong, **{"Idempotency-Key": "try-1"})
                for _ in range(20)
            )
        )
        assert set(count(answers)) <= {"invalid_code", "idempotency_in_progress"}
        assert (await service.look(challenge))["attempts_remaining"] == 4

    async def test_guesses_at_challenges_side_by_side_share_the_subjects_budget(
        self, start_service: Starter
    ) -> None:
        """A04, A05, I3: three sessions of one person, all guessed at once, are 10 guesses and no more."""
        service = await start_service(**UNSHED, **WIDE)
        challenges = []
        for i in range(3):
            challenges.append(
                await requested(service.post, number(i), subject="user-1", binding=f"tab-{i}")
            )
        sent = [service.code(number(i)) for i in range(3)]
        before = verifications()
        answers = await at_once(
            *(
                service.post(
                    "/otp/verify",
                    challenge_id=challenge["challenge_id"],
                    code=other_than(sent[i], 1 + j),
                    purpose="login",
                    binding=f"tab-{i}",
                )
                for j in range(20)
                for i, challenge in enumerate(challenges)
            )
        )
        assert verifications() - before == 10
        outcomes = count(answers)
        assert set(outcomes) <= {"invalid_code", "challenge_exhausted", "subject_blocked"}
        assert outcomes["subject_blocked"] >= 45

    async def test_what_is_shed_costs_no_guess(self, start_service: Starter) -> None:
        """D-1: a place in the pool comes first, the count second."""
        service = await start_service(OTP_HASH_QUEUE="0", OTP_HASH_THREADS="1")
        challenge = await service.request()
        code, before = service.code(), verifications()

        answers = await at_once(
            *(verify(service.post, challenge, other_than(code, 1 + i)) for i in range(40))
        )

        outcomes = count(answers)
        assert outcomes["overloaded"] > 0
        assert all(a.headers["Retry-After"] for a in answers if a.status_code == 503)
        evaluated = verifications() - before
        assert evaluated <= 5
        assert evaluated == outcomes.get("invalid_code", 0)
        assert (await service.look(challenge))["attempts_remaining"] == 5 - evaluated
        assert (await verify(service.post, challenge, code)).status_code == 200

    async def test_who_hangs_up_while_hashing_has_spent_the_try_and_frees_no_place_early(
        self, start_service: Starter
    ) -> None:
        """X34, A12: 200 guesses whose callers go away at once are 5 guesses."""
        service = await start_service(OTP_HASH_QUEUE="512", OTP_HASH_THREADS="2")
        challenge = await service.request()
        code, before = service.code(), verifications()
        guesses = [
            asyncio.ensure_future(verify(service.post, challenge, other_than(code, 1 + i)))
            for i in range(200)
        ]
        await eventually(lambda: verifications() > before, "the first hash")
        for guess in guesses:
            guess.cancel()
        await asyncio.gather(*guesses, return_exceptions=True)

        assert verifications() - before <= 5
        left = (await service.look(challenge))["attempts_remaining"]
        assert left <= 5 - (verifications() - before)


class TestAcrossTwoProcesses:
    async def test_every_race_has_the_same_outcome(
        self, two_processes: Two, sandbox: Sandbox
    ) -> None:
        """A01, B02, B12, B15 and A05 over real HTTP, half of the calls to each process."""
        await accept_once(two_processes.post, sandbox, rounds=4, to=10)
        await ask_20_times_with_one_key(two_processes.post, sandbox)
        await open_many_at_once(two_processes.post, sandbox)

    async def test_of_200_wrong_guesses_at_once_5_are_evaluated(
        self, two_processes: Two, sandbox: Sandbox
    ) -> None:
        """A01."""
        await guess_200_times(two_processes.post, sandbox, two_processes.hashes)


class TestTheHarness:
    """The same race, without the defence: if these passed as the others do, the others would prove nothing."""

    async def test_a_verifier_that_reads_then_counts_is_seen_to_evaluate_more(
        self, valkey_url: str
    ) -> None:
        """A01's vulnerable build."""
        evaluated = 0
        start = asyncio.Barrier(40)
        async with Redis.from_url(valkey_url, max_connections=50) as client:
            await client.set("otp:limit:naive", 0, ex=60)

            async def naive() -> None:
                nonlocal evaluated
                await client.ping()
                await start.wait()
                if int(await client.get("otp:limit:naive")) >= 5:
                    return
                evaluated += 1  # here it would hash
                await client.incr("otp:limit:naive")

            await asyncio.gather(*(naive() for _ in range(40)))
        assert evaluated > 5

    async def test_a_verifier_that_looks_then_spends_is_seen_to_accept_twice(
        self, valkey_url: str
    ) -> None:
        """B02's vulnerable build."""
        accepted = 0
        start = asyncio.Barrier(40)
        async with Redis.from_url(valkey_url, max_connections=50) as client:
            await client.set("otp:limit:naive", "pending", ex=60)

            async def naive() -> None:
                nonlocal accepted
                await client.ping()
                await start.wait()
                if await client.get("otp:limit:naive") != b"pending":
                    return
                await asyncio.to_thread(sum, range(1000))  # here it would hash
                await client.set("otp:limit:naive", "approved", ex=60)
                accepted += 1

            await asyncio.gather(*(naive() for _ in range(40)))
        assert accepted > 1
