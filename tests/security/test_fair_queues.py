"""I05: no caller can fill a delivery queue for the others."""

import asyncio
from collections.abc import Iterator
from itertools import count

import httpx
import pytest

from otp_service.core.challenge import person_address
from otp_service.store import keys
from tests.conftest import Sandbox, Service, Starter, running_service
from tests.reliability.harness import eventually
from tests.security.test_doors import WIDE
from tests.web.hands import redis

LIMIT, SHARE, BUCKET = 10, 5, 3
QUEUE = keys.queue(BUCKET)
OWN_SHARE = "This caller's share of the delivery queue is in use."


class Caller:
    """A caller that asks for codes which all wait in one queue."""

    numbers = count(200)

    def __init__(self, service: Service, name: str, headers: dict[str, str]) -> None:
        self._service, self._headers = service, headers
        self._subjects = self._of_the_bucket(name)

    def _of_the_bucket(self, name: str) -> Iterator[str]:
        ring = self._service.settings.ring()
        for n in count():
            if person_address(ring, name, f"user-{n}").bucket == BUCKET:
                yield f"user-{n}"

    async def ask(self, purpose: str = "login") -> httpx.Response:
        to = f"+1415{next(self.numbers)}0123"
        return await self._service.post(
            "/otp/request",
            headers=self._headers,
            to=to,
            purpose=purpose,
            subject=next(self._subjects),
        )

    async def queue(self, jobs: int) -> list[httpx.Response]:
        """Ask for so many codes, one after the other; each gets its place in the queue."""
        answers = [await self.ask() for _ in range(jobs)]
        assert {answer.status_code for answer in answers} == {202}, answers[-1].text
        return answers


def detail(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    return str(answer.json()["detail"])


@pytest.fixture
async def service(start_service: Starter) -> Service:
    return await start_service(**WIDE, OTP_QUEUE_LIMIT=str(LIMIT))


@pytest.fixture
async def first(service: Service) -> Caller:
    return Caller(service, "first", await service.caller("first"))


@pytest.fixture
async def second(service: Service) -> Caller:
    return Caller(service, "second", await service.caller("second"))


async def test_a_newcomer_gets_into_a_full_queue(first: Caller, second: Caller) -> None:
    """I05: alone a caller may fill the queue; the next caller still gets half of it."""
    await first.queue(LIMIT)
    assert detail(await first.ask()).startswith("The delivery queue is full.")

    await second.queue(LIMIT // 2)

    assert detail(await second.ask()).startswith(OWN_SHARE)
    assert detail(await first.ask()).startswith(OWN_SHARE)


async def test_a_caller_gets_half_of_a_queue_beside_others(first: Caller, second: Caller) -> None:
    """I05: also if it asks for all of it at once."""
    await second.queue(1)
    answers = await asyncio.gather(*(first.ask() for _ in range(2 * LIMIT)))

    assert [answer.status_code for answer in answers].count(202) == SHARE
    assert all(
        detail(answer).startswith(OWN_SHARE) for answer in answers if answer.status_code != 202
    )
    await second.queue(SHARE - 1)


async def test_a_resend_needs_a_share_of_the_queue_too(
    service: Service, first: Caller, second: Caller
) -> None:
    """I05: and the refused resend leaves the old code and the sends as they were."""
    await second.queue(1)
    challenge = (await first.queue(SHARE))[0].json()
    service.advance(60)
    body = {"challenge_id": challenge["challenge_id"]}
    refused = await service.post("/otp/resend", headers=first._headers, **body)

    assert detail(refused).startswith(OWN_SHARE)
    look = await service.http.get(f"/otp/{challenge['challenge_id']}", headers=first._headers)
    assert look.json()["sends_remaining"] == challenge["sends_remaining"]


async def test_a_resent_opt_in_code_needs_a_short_queue_too(
    service: Service, first: Caller
) -> None:
    """I05: the codes of a flood of sign-ups do not fill the queues by being resent."""
    challenge = (await first.ask("opt_in")).json()
    await first.queue(1)
    assert detail(await first.ask("opt_in")).startswith("The delivery queue is full.")
    service.advance(60)
    body = {"challenge_id": challenge["challenge_id"]}

    refused = await service.post("/otp/resend", headers=first._headers, **body)

    assert detail(refused).startswith("The delivery queue is full.")
    await first.queue(1)


async def test_login_codes_go_before_a_resent_opt_in_code(service: Service, first: Caller) -> None:
    challenge = (await first.ask("opt_in")).json()
    service.advance(60)
    body = {"challenge_id": challenge["challenge_id"]}

    resent = await service.post("/otp/resend", headers=first._headers, **body)
    await first.queue(1)

    assert resent.status_code == 202
    jobs = [fields for _, fields in await redis(service).xrange(QUEUE)]
    assert [(job["generation"], job.get("behind")) for job in jobs] == [
        ("1", "1"),
        ("2", "1"),
        ("1", None),
    ]


async def test_a_share_is_free_again_when_its_jobs_are_gone(
    service: Service,
    first: Caller,
    second: Caller,
    environment: dict[str, str],
    sandbox: Sandbox,
    frozen_at_ms: int | None,
) -> None:
    """I05: nothing is taken back when a job leaves, and a second later the script counts what is there."""
    await first.queue(SHARE)
    await second.queue(1)
    assert detail(await first.ask()).startswith(OWN_SHARE)

    async def empty() -> bool:
        return bool(await redis(service).xlen(QUEUE) == 0)

    delivering = {**environment, **WIDE, "OTP_DELIVER": "true"}
    async with running_service(delivering, sandbox, frozen_at_ms=frozen_at_ms):
        await eventually(empty, "an empty queue")
    service.advance(1)
    await second.queue(SHARE)  # so many that the script has to count

    await first.queue(1)


async def test_the_count_of_a_queue_ends_by_itself(
    service: Service, first: Caller, second: Caller
) -> None:
    """I05: it is a snapshot of one second, so it can't be wrong for longer, whatever crashed."""
    await first.queue(SHARE)
    await second.queue(1)

    assert 0 < await redis(service).pttl(keys.queue_shares(BUCKET)) <= 1000
