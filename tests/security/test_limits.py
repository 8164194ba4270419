"""No order, pace or number of calls gets more guesses or more SMS than the limits say."""

import asyncio
import random
import re
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from otp_service.core.limits import Window
from tests.conftest import TO, Service, Starter
from tests.web.hands import address, plant, redis

RIGHT, WRONG = "111111", "222222"
NUMBERS = [f"+1415555{n:04d}" for n in range(100, 200)]
MINUTE, DAY = 60, 86_400

pytestmark = pytest.mark.anyio


async def ask(
    service: Service, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    sent = {"to": TO, "purpose": "login", **body}
    return await service.post("/otp/request", headers=headers, **sent)


async def opened(service: Service, **body: Any) -> dict[str, Any]:
    """A challenge whose code is RIGHT."""
    answer = await ask(service, **body)
    assert answer.status_code == 202, answer.text
    challenge: dict[str, Any] = answer.json()
    await plant(service, challenge, RIGHT, purpose=body.get("purpose", "login"))
    return challenge


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["code"])


def evaluated(answer: httpx.Response) -> bool:
    """Whether a hash was computed for the guess: a wrong code, or the wrong one that used the tries up."""
    return told(answer) in ((400, "invalid_code"), (410, "challenge_exhausted"))


async def guess(service: Service, challenge: dict[str, Any], times: int) -> list[httpx.Response]:
    return [await service.verify(challenge, WRONG) for _ in range(times)]


def hashes() -> float:
    """How many guesses this process has put to argon2."""
    return REGISTRY.get_sample_value("otp_hashes_total", {"use": "verify"}) or 0


async def charges(service: Service) -> dict[str, int]:
    """How much each limit has counted."""
    client = redis(service)
    return {key: await client.zcard(key) for key in await client.keys("otp:limit:*")}


def codes_of(region: str) -> tuple[float, float]:
    """How many codes this process was asked for and has approved."""
    return tuple(  # type: ignore[return-value]
        REGISTRY.get_sample_value("otp_region_codes_total", {"region": region, "event": event}) or 0
        for event in ("requested", "approved")
    )


async def test_it_is_told_which_region_asks_for_codes_and_types_none(service: Service) -> None:
    """D01: of pumping the operator hears before the bill; +1 876 is Jamaica and not the United States."""
    jamaica, states = codes_of("JM"), codes_of("US")

    await service.request(to="+18762345678", subject="pump")
    challenge = await service.request(subject="honest")
    service.advance(31)
    await service.post(
        "/otp/resend", headers={"Prefer": "wait=10"}, challenge_id=challenge["challenge_id"]
    )
    assert (await service.verify(challenge, service.code())).status_code == 200

    assert codes_of("JM") == (jamaica[0] + 1, jamaica[1])
    assert codes_of("US") == (states[0] + 2, states[1] + 1)


async def assert_honest(service: Service, answer: httpx.Response, **body: Any) -> int:
    """The wait that a refusal tells is the one that it takes: a second less does not do, and that long does."""
    wait = int(answer.headers["retry-after"])
    assert answer.json()["retry_after"] == wait
    service.advance(wait - 1)
    assert (await ask(service, **body)).status_code == 429
    service.advance(1)
    assert (await ask(service, **body)).status_code == 202
    return wait


# Guessing: the budget of a subject


@pytest.fixture
async def budget(start_service: Starter) -> Service:
    """Limits on sending out of the way, those on guessing as they are."""
    return await start_service(
        OTP_DELIVER="false",
        OTP_COOLDOWN="1",
        OTP_LIMIT_RECIPIENT="1000/1d",
        OTP_LIMIT_RECIPIENT_TOTAL="1000/1d",
        OTP_LIMIT_NUMBER_RANGE="1000/1d",
    )


async def fail(service: Service, times: int, *, pace: int = 1, **body: Any) -> list[httpx.Response]:
    """Wrong codes one after the other, each challenge used up before the next is asked for."""
    answers: list[httpx.Response] = []
    while len(answers) < times:
        service.advance(pace)
        challenge = await opened(service, **body)
        answers += await guess(service, challenge, min(5, times - len(answers)))
    return answers


async def test_new_challenges_bring_no_new_guesses(budget: Service) -> None:
    """A03, A04, A06: ten wrong codes, then the subject is blocked for codes and for guesses, from any address."""
    service = budget
    before = hashes()
    for n in range(2):
        challenge = await opened(service, subject="u-1", client_ip=f"203.0.113.{n}")
        assert all(evaluated(answer) for answer in await guess(service, challenge, 5))
        service.advance(1)

    refused = await ask(service, subject="u-1", client_ip="203.0.113.99")

    assert told(refused) == (429, "subject_blocked")
    assert refused.json()["limit"] == "failures"
    assert 1795 <= int(refused.headers["retry-after"]) <= 1800
    assert hashes() - before == 10


async def test_resending_brings_no_new_guesses(budget: Service) -> None:
    """A03: neither to the challenge nor to the subject."""
    service = budget
    challenge = await opened(service, subject="u-1")
    before, answers = hashes(), []
    for generation in range(2, 12):
        answers += await guess(service, challenge, 1)
        service.advance(2)
        resent = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])
        if resent.status_code == 202:
            await plant(service, challenge, RIGHT, generation=generation)

    assert [told(answer)[0] for answer in answers] == [400] * 4 + [410] * 6
    assert told(await service.verify(challenge, RIGHT)) == (410, "challenge_exhausted")
    assert hashes() - before == 5


async def test_many_live_challenges_bring_no_more_guesses_than_one(budget: Service) -> None:
    """A05, A10: over purposes alike; and the block is looked at on redemption too, for the right code (A11)."""
    service = budget
    live = [
        (purpose, await opened(service, subject="u-1", purpose=purpose, to=NUMBERS[n]))
        for n, purpose in enumerate(("login", "signup", "recovery", "verification"))
    ]
    answers = []
    for _ in range(4):
        for purpose, challenge in live:
            answers.append(await service.verify(challenge, WRONG, purpose=purpose))

    assert [evaluated(answer) for answer in answers] == [True] * 10 + [False] * 6
    assert {told(answer) for answer in answers[10:]} == {(429, "subject_blocked")}
    for purpose, challenge in live:
        right = await service.verify(challenge, RIGHT, purpose=purpose)
        assert told(right) == (429, "subject_blocked")


async def test_guesses_at_once_are_counted_as_guesses_in_a_row(budget: Service) -> None:
    """A01, in one process; over processes in tests/reliability."""
    service = budget
    challenge, before = await opened(service, subject="u-1"), hashes()
    answers = await asyncio.gather(*(service.verify(challenge, WRONG) for _ in range(30)))

    assert sum(told(answer) == (400, "invalid_code") for answer in answers) == 4
    assert hashes() - before == 5
    assert (await service.look(challenge))["attempts_remaining"] == 0


async def test_a_block_ends_when_it_said_and_tries_do_not_prolong_it(budget: Service) -> None:
    """A17."""
    service = budget
    await fail(service, 9, subject="u-1")
    last = await opened(service, subject="u-1", purpose="signup", to=NUMBERS[0])
    assert evaluated(await service.verify(last, WRONG, purpose="signup"))
    first = await service.verify(last, RIGHT, purpose="signup")
    waits = [int(first.headers["retry-after"])]
    for _ in range(5):
        service.advance(50)
        waits.append(
            int((await service.verify(last, WRONG, purpose="signup")).headers["retry-after"])
        )
        asked = await ask(service, subject="u-1")
        assert told(asked) == (429, "subject_blocked")

    assert waits == [waits[0] - 50 * n for n in range(6)]
    assert waits[0] in (1799, 1800)
    service.advance(waits[-1] - 1)
    assert told(await ask(service, subject="u-1")) == (429, "subject_blocked")
    service.advance(1)
    again = await opened(service, subject="u-1")
    assert (await service.verify(again, RIGHT)).status_code == 200


async def test_the_tenth_guess_may_be_right(budget: Service) -> None:
    """A15: at the block's edge too."""
    service = budget
    await fail(service, 9, subject="u-1")
    service.advance(1)
    challenge = await opened(service, subject="u-1")

    assert (await service.verify(challenge, RIGHT)).status_code == 200


async def test_success_clears_the_count_and_only_the_own_one(budget: Service) -> None:
    """N-007, A19."""
    service = budget
    await fail(service, 9, subject="victim", to=NUMBERS[0])
    for wrong in (9, 5):  # fifteen over all factors stay counted: the caller names the number
        await fail(service, wrong, subject="attacker", to=NUMBERS[1])
        service.advance(1)
        own = await opened(service, subject="attacker", to=NUMBERS[1])
        assert (await service.verify(own, RIGHT)).status_code == 200

    assert evaluated((await fail(service, 1, subject="victim", to=NUMBERS[0]))[0])
    service.advance(1)
    assert told(await ask(service, subject="victim", to=NUMBERS[0])) == (429, "subject_blocked")


async def test_a_block_is_of_one_caller_and_one_subject(budget: Service) -> None:
    """E04, A17: nobody else is locked out, and nobody else can tell."""
    service = budget
    await fail(service, 10, subject="u-1")
    service.advance(1)

    stranger = await service.caller("stranger")
    assert (await ask(service, stranger, subject="u-1")).status_code == 202
    service.advance(1)
    assert (await ask(service, subject="u-2")).status_code == 202


async def test_without_a_subject_the_number_is_counted_however_it_is_spelled(
    budget: Service,
) -> None:
    """A18, D01."""
    service = budget
    await fail(service, 5)
    await fail(service, 5, to="+1 (415) 555-0123")
    service.advance(1)

    assert told(await ask(service, to="+۱۴۱۵۵۵۵۰۱۲۳")) == (429, "subject_blocked")


async def test_twenty_wrong_codes_in_a_day_block_until_the_first_is_a_day_old(
    budget: Service,
) -> None:
    """Q2: at a pace that the shorter window lets pass."""
    service = budget
    began = service.container.scripts.offset_ms
    for times in (9, 9, 1):
        await fail(service, times, subject="u-1")
        service.advance(31 * MINUTE)
    assert evaluated((await fail(service, 1, subject="u-1"))[0])
    service.advance(1)

    refused = await ask(service, subject="u-1")

    assert told(refused) == (429, "subject_blocked")
    elapsed = (service.container.scripts.offset_ms - began) // 1000
    wait = int(refused.headers["retry-after"])
    assert DAY - elapsed - 2 <= wait <= DAY - elapsed + 1
    service.advance(wait)
    assert evaluated((await fail(service, 1, subject="u-1"))[0])


async def test_a_hundred_in_a_row_at_any_pace_disable_the_factor(budget: Service) -> None:
    """A07, N-006: nine a day for weeks; then neither time nor the right code helps."""
    service = budget
    answers: list[httpx.Response] = []
    for _ in range(11):
        answers += await fail(service, 9, subject="u-1")
        service.advance(DAY)
    last = await opened(service, subject="u-1")
    answers += await guess(service, last, 1)

    assert len(answers) == 100
    assert all(evaluated(answer) for answer in answers)
    for days in (0, 1, 30, 300):
        service.advance(days * DAY)
        assert told(await ask(service, subject="u-1")) == (429, "subject_blocked")


async def test_a_right_code_between_begins_the_row_anew(budget: Service) -> None:
    """N-007."""
    service = budget
    for _ in range(12):
        await fail(service, 9, subject="u-1")
        service.advance(1)
        challenge = await opened(service, subject="u-1")
        assert (await service.verify(challenge, RIGHT)).status_code == 200
        service.advance(DAY)

    assert (await ask(service, subject="u-1")).status_code == 202


async def test_in_no_window_are_more_guesses_evaluated_than_the_budget_says(
    start_service: Starter,
) -> None:
    """A20, Q2: at random times, with small numbers so that every edge is met often."""
    service = await start_service(
        OTP_DELIVER="false",
        OTP_COOLDOWN="1",
        OTP_LIMIT_RECIPIENT="1000/1d",
        OTP_LIMIT_RECIPIENT_TOTAL="1000/1d",
        OTP_LIMIT_NUMBER_RANGE="1000/1d",
        OTP_LOCKOUT_SHORT="3/60s",
        OTP_LOCKOUT_SECONDS="60",
        OTP_LOCKOUT_LONG="5/300s",
    )
    random_times = random.Random(20)
    times: list[int] = []
    challenge = await opened(service, subject="u-1")
    for _ in range(150):
        service.advance(random_times.choice((0, 1, 5, 19, 20, 21, 59, 60, 61)))
        answer = await service.verify(challenge, WRONG)
        if told(answer) == (400, "invalid_code"):
            found = await redis(service).hget(
                f"otp:{{0{challenge['challenge_id'][1]}}}:challenge:{challenge['challenge_id']}",
                "attempted_at",
            )
            times.append(int(found))
        elif answer.status_code == 410:
            asked = await ask(service, subject="u-1")
            if asked.status_code == 202:
                challenge = asked.json()
                await plant(service, challenge, RIGHT)

    assert len(times) > 20
    assert_never_more(times, [Window(3, 60), Window(5, 300)])


def assert_never_more(times: Sequence[int], windows: Sequence[Window]) -> None:
    """In any `seconds`, wherever they begin, no more than `count`. Times in ms, ascending."""
    for window in windows:
        for earlier, later in zip(times, times[window.count :], strict=False):
            assert later - earlier >= window.seconds * 1000, window


def test_the_check_of_windows_sees_one_too_many() -> None:
    """A20, Q2: the negative control of the two tests that use it."""
    with pytest.raises(AssertionError):
        assert_never_more([0, 1, 599_999], [Window(2, 600)])
    assert_never_more([0, 1, 600_000], [Window(2, 600)])


# Sending: one recipient


async def test_the_cooldown_grows_and_then_the_window_and_the_day_stand_in_the_way(
    quiet: Service,
) -> None:
    """D12: 30, 60, 120 s; five in ten minutes; ten a day. Each wait is honest."""
    assert (await ask(quiet)).status_code == 202
    waits: list[tuple[str, int]] = []
    while len(waits) < 10:
        refused = await ask(quiet)
        assert told(refused) == (429, "rate_limited")
        waits.append((refused.json()["limit"], await assert_honest(quiet, refused)))

    limits, seconds = zip(*waits, strict=True)
    assert limits[:5] == ("cooldown",) * 4 + ("recipient",)
    assert limits[9] == "recipient"
    assert seconds[:4] == (30, 60, 120, 120)
    assert 269 <= seconds[4] <= 270  # the first of five leaves ten minutes
    assert seconds[9] > 23 * 3600  # the first of ten leaves the day


async def test_twenty_a_day_to_one_number_over_all_callers(quiet: Service) -> None:
    """D12: a third caller learns that the number is full, and nothing of it before."""
    callers = [await quiet.caller(f"caller-{n}") for n in range(3)]
    for headers in callers[:2]:
        for _ in range(10):
            answer = await ask(quiet, headers)
            if answer.status_code == 429:
                quiet.advance(int(answer.headers["retry-after"]))
                answer = await ask(quiet, headers)
            assert answer.status_code == 202

    refused = await ask(quiet, callers[2])

    assert told(refused) == (429, "rate_limited")
    assert refused.json()["limit"] == "shared"
    assert refused.json()["retry_after"] % 600 == 0, "when others sent is not told exactly"
    assert "ratelimit" not in refused.headers
    assert "ratelimit-policy" not in refused.headers


async def test_what_others_send_shows_in_no_header_of_mine(quiet: Service) -> None:
    """E04: the answer is the same whether another caller has just used the number or not."""
    other = await quiet.caller("other")
    for wait in (30, 60, 120, 0):
        assert (await ask(quiet, other)).status_code == 202
        quiet.advance(wait)
    busy, idle = await ask(quiet), await ask(quiet, to=NUMBERS[0])

    names = ("ratelimit", "ratelimit-policy", "retry-after")
    assert [busy.headers.get(n) for n in names] == [idle.headers.get(n) for n in names]
    same = ("resend_in", "sends_remaining", "attempts_remaining")
    assert [busy.json()[n] for n in same] == [idle.json()[n] for n in same]


async def test_the_headers_say_what_is_left_of_the_own_windows(quiet: Service) -> None:
    """N-082: structured fields; a policy for each window and how it stands."""
    first = await ask(quiet)
    quiet.advance(30)
    second = await ask(quiet)
    refused = await ask(quiet)

    policy = '"recipient-86400";q=10;w=86400, "recipient-600";q=5;w=600'
    assert first.headers["ratelimit-policy"] == second.headers["ratelimit-policy"] == policy
    assert first.headers["ratelimit"] == (
        '"recipient-86400";r=9;t=86400, "recipient-600";r=4;t=600'
    )
    found = re.fullmatch(
        r'"recipient-86400";r=8;t=(\d+), "recipient-600";r=3;t=(\d+)', second.headers["ratelimit"]
    )
    assert found is not None
    assert 86_369 <= int(found[1]) <= 86_370
    assert 569 <= int(found[2]) <= 570
    wait = refused.headers["retry-after"]
    assert refused.headers["ratelimit"] == f'"cooldown";r=0;t={wait}'


async def test_a_refusal_names_its_window_as_the_policy_does(quiet: Service) -> None:
    """N-082: a client finds the policy that refused it by its name."""
    for wait in (30, 60, 120, 120):
        answer = await ask(quiet)
        quiet.advance(wait)
    last = await ask(quiet)
    quiet.advance(120)
    refused = await ask(quiet)

    assert answer.status_code == last.status_code == 202
    assert refused.json()["limit"] == "recipient"
    name, _, left = refused.headers["ratelimit"].partition(";")
    assert name == '"recipient-600"'
    assert left == f"r=0;t={refused.headers['retry-after']}"
    assert f"{name};q=5;w=600" in last.headers["ratelimit-policy"].split(", ")


@pytest.mark.parametrize("seed", range(3))
async def test_in_no_window_are_more_codes_sent_than_the_limits_say(
    start_service: Starter, seed: int
) -> None:
    """A20: random times around the windows' edges, obeying Retry-After now and then: and then it always passes."""
    service = await start_service(
        OTP_DELIVER="false",
        OTP_COOLDOWN="1,2,3",
        OTP_LIMIT_RECIPIENT="6/120s,3/30s",
        OTP_LIMIT_RECIPIENT_TOTAL="7/200s",
        OTP_LIMIT_NUMBER_RANGE="1000/1d",
        OTP_LIMIT_CALLER="9/500s",
    )
    chance = random.Random(seed)
    sent: list[int] = []
    obedient = 0
    for _ in range(150):
        answer = await ask(service)
        if answer.status_code == 202:
            looked = await service.look(answer.json())
            sent.append(int(await opened_at(service, looked["challenge_id"])))
        elif chance.random() < 0.3:
            service.advance(int(answer.headers["retry-after"]))
            passed = await ask(service)
            assert passed.status_code == 202
            sent.append(int(await opened_at(service, passed.json()["challenge_id"])))
            obedient += 1
        service.advance(chance.choice((0, 0.001, 0.999, 1, 2, 3, 9.999, 10, 29.999, 30)))

    assert len(sent) > 15
    assert obedient > 5
    windows = [Window(6, 120), Window(3, 30), Window(7, 200), Window(9, 500), Window(1, 1)]
    assert_never_more(sent, windows)


async def opened_at(service: Service, challenge_id: str) -> str:
    where = f"otp:{{0{challenge_id[1]}}}:challenge:{challenge_id}"
    return str(await redis(service).hget(where, "opened_at"))


async def test_fifty_resends_at_once_are_one_sms(start_service: Starter) -> None:
    """D13: check and act are one."""
    service = await start_service()
    challenge = await service.request()
    service.advance(30)
    body = {"challenge_id": challenge["challenge_id"]}
    answers = await asyncio.gather(
        *(service.post("/otp/resend", headers={"Prefer": "wait=30"}, **body) for _ in range(50))
    )

    assert sorted(answer.status_code for answer in answers) == [202] + [429] * 49
    assert len(service.sandbox.messages(TO)) == 2


async def test_fifty_requests_at_once_are_one_sms(start_service: Starter) -> None:
    """D12."""
    service = await start_service()
    answers = await asyncio.gather(*(ask(service, {"Prefer": "wait=30"}) for _ in range(50)))

    assert sorted(answer.status_code for answer in answers) == [202] + [429] * 49
    assert len(service.sandbox.messages(TO)) == 1


# Sending: addresses, blocks, budgets


@pytest.mark.parametrize(
    "addresses",
    [
        ["203.0.113.7"] * 11,
        [f"2001:db8:1:2::{n:x}" for n in range(1, 12)],
        [f"2001:db8:1:2:{n:x}:ffff:{n:x}:1" for n in range(1, 12)],
        ["203.0.113.7"] * 5 + ["::ffff:203.0.113.7"] * 3 + ["::ffff:cb00:7107"] * 3,
    ],
    ids=["one v4 address", "addresses of one /64", "far apart in one /64", "v4 as v6"],
)
async def test_one_end_users_network_causes_ten_sends_in_ten_minutes(
    quiet: Service, addresses: list[str]
) -> None:
    """F16."""
    answers = [
        await ask(quiet, to=NUMBERS[n], client_ip=address) for n, address in enumerate(addresses)
    ]

    assert [answer.status_code for answer in answers] == [202] * 10 + [429]
    assert answers[10].json()["limit"] == "client_ip"
    assert answers[10].headers["ratelimit"].startswith('"client_ip-600";r=0;t=')
    wait = await assert_honest(quiet, answers[10], to=NUMBERS[10], client_ip=addresses[10])
    assert 595 <= wait <= 600


@pytest.mark.parametrize("neighbour", ["203.0.113.8", "2001:db8:1:3::1"])
async def test_the_next_network_is_another_end_user(quiet: Service, neighbour: str) -> None:
    first = "203.0.113.7" if "." in neighbour else "2001:db8:1:2::1"
    for n in range(10):
        await ask(quiet, to=NUMBERS[n], client_ip=first)

    assert (await ask(quiet, to=NUMBERS[10], client_ip=neighbour)).status_code == 202
    stranger = await quiet.caller("stranger")
    assert (await ask(quiet, stranger, to=NUMBERS[11], client_ip=first)).status_code == 202


async def test_only_the_field_names_the_end_user_and_no_header_does(quiet: Service) -> None:
    """F15: an end user's headers come through the caller's proxy and can hold anything."""
    forged = {"X-Forwarded-For": "198.51.100.1", "X-Real-IP": "198.51.100.1", "Forwarded": "for=1"}
    answers = [
        await ask(quiet, {**forged, "X-Forwarded-For": f"198.51.100.{n}"}, to=NUMBERS[n],
                  client_ip="203.0.113.7")
        for n in range(11)
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [202] * 10 + [429]
    assert (await ask(quiet, forged, to=NUMBERS[11])).status_code == 202


async def test_numbers_in_a_row_stop_at_twenty(quiet: Service) -> None:
    """D09, A09: whatever address or subject asks."""
    answers = [
        await ask(quiet, to=number, subject=f"u-{n}", client_ip=f"203.0.113.{n}")
        for n, number in enumerate(NUMBERS[:40])
    ]

    assert [answer.status_code for answer in answers] == [202] * 20 + [429] * 20
    assert {answer.json()["limit"] for answer in answers[20:]} == {"number_block"}
    assert (await ask(quiet, to="+14155561100")).status_code == 202


async def test_sends_of_one_caller_take_no_range_from_another(quiet: Service) -> None:
    """A18: another caller's first send to a range of numbers is none too many."""
    stranger = await quiet.caller("stranger")
    for number in NUMBERS[:20]:
        assert (await ask(quiet, to=number)).status_code == 202

    assert (await ask(quiet, stranger, to=NUMBERS[20])).status_code == 202


async def test_a_range_is_limited_over_all_callers_too(quiet: Service) -> None:
    """D09, A18: pumping by many callers stops as well, and the answer tells little of the others."""
    for n in range(3):
        headers = await quiet.caller(f"caller-{n}")
        for number in NUMBERS[20 * n : 20 * (n + 1)]:
            assert (await ask(quiet, headers, to=number)).status_code == 202
        quiet.advance(7)

    refused = await ask(quiet, await quiet.caller("last"), to=NUMBERS[70], subject="u-1")

    assert refused.json()["limit"] == "shared"
    assert refused.json()["retry_after"] == 600
    assert not {"ratelimit", "ratelimit-policy"} & set(refused.headers)
    quiet.advance(600)
    assert (await ask(quiet, to=NUMBERS[70])).status_code == 202


async def test_a_callers_budget_is_its_own_and_a_hard_stop(start_service: Starter) -> None:
    """D11."""
    service = await start_service(OTP_DELIVER="false", OTP_LIMIT_CALLER="3/1h")
    answers = [await ask(service, to=NUMBERS[n]) for n in range(4)]

    assert [answer.status_code for answer in answers] == [202] * 3 + [429]
    assert told(answers[3]) == (429, "quota_exceeded")
    assert answers[3].json()["limit"] == "caller_budget"
    stranger = await service.caller("stranger")
    assert (await ask(service, stranger, to=NUMBERS[4])).status_code == 202
    assert 3595 <= await assert_honest(service, answers[3], to=NUMBERS[3]) <= 3600


async def test_a_process_sends_only_so_much_though_redis_forgets_everything(
    start_service: Starter,
) -> None:
    """H04: what still bounds the bill."""
    service = await start_service(OTP_DELIVER="false", OTP_LIMIT_PROCESS="3/1h")
    answers = []
    for _ in range(5):
        answers.append(await ask(service))
        for key in await redis(service).keys("otp:*[!0-9a-z]*"):
            if not key.startswith("otp:caller:"):
                await redis(service).delete(key)

    assert [answer.status_code for answer in answers] == [202] * 3 + [429] * 2
    assert told(answers[3]) == (429, "quota_exceeded")
    assert answers[3].json()["limit"] == "process"
    assert "ratelimit" not in answers[3].headers


async def test_refusals_do_not_use_up_the_ceiling_of_the_process(start_service: Starter) -> None:
    """One caller that runs into its limits must not stop the others."""
    service = await start_service(OTP_DELIVER="false", OTP_LIMIT_PROCESS="3/1h")
    assert (await ask(service)).status_code == 202
    for _ in range(10):
        assert (await ask(service)).json()["limit"] == "cooldown"

    others = [await ask(service, to=number) for number in NUMBERS[:3]]
    assert [answer.status_code for answer in others] == [202, 202, 429]


async def test_a_refused_call_charges_nothing(start_service: Starter) -> None:
    """Whichever limit refuses, and whether it is a request or a resend."""
    service = await start_service(
        OTP_DELIVER="false",
        OTP_COOLDOWN="60",
        OTP_LIMIT_CLIENT_IP="2/1h",
        OTP_LIMIT_NUMBER_RANGE="5/1h",
        OTP_LIMIT_CALLER="7/1h",
        OTP_MAX_BINDINGS="1",
    )
    client = {"client_ip": "203.0.113.7"}
    await fail(service, 10, pace=60, subject="blocked", to="+14155561100")
    first = (await ask(service, **client)).json()
    await ask(service, to=NUMBERS[0], **client)
    await ask(service, to=NUMBERS[1], subject="u-1", binding="a")

    async def refused(limit: str, **body: Any) -> None:
        before = await charges(service)
        answer = await ask(service, **body)
        assert (answer.status_code, answer.json().get("limit")) == (429, limit)
        assert await charges(service) == before

    await refused("cooldown", to=NUMBERS[1])
    await refused("client_ip", to=NUMBERS[3], **client)
    await refused("live_challenges", to=NUMBERS[3], subject="u-1", binding="b")
    await refused("failures", to=NUMBERS[3], subject="blocked")
    for n in (5, 6):
        assert (await ask(service, to=NUMBERS[n])).status_code == 202
    await refused("number_block", to=NUMBERS[7])
    await refused("caller_budget", to="+14155562100")
    before = await charges(service)
    resent = await service.post("/otp/resend", challenge_id=first["challenge_id"])
    assert resent.status_code == 429
    assert await charges(service) == before
    assert sum(before.values()) == 6 * 7 + 2  # six limits for each send, and two with an address


async def test_refused_calls_leave_no_keys_behind(quiet: Service) -> None:
    """I07: neither for their idempotency keys nor for the numbers they name."""
    await ask(quiet)

    async def own() -> set[str]:
        """Without what the process notes of regions beside the calls."""
        return {key for key in await redis(quiet).keys("*") if "{regions}" not in key}

    before = await own()
    for n in range(20):
        refused = await ask(quiet, {"Idempotency-Key": f"k-{n}"}, subject=f"u-{n}")
        assert refused.status_code == 429
        unknown = {"challenge_id": "00" + "A" * 32, "code": "123456", "purpose": "login"}
        await quiet.post("/otp/verify", headers={"Idempotency-Key": f"v-{n}"}, **unknown)

    assert await own() == before


async def test_a_limit_that_was_spent_before_a_restart_is_spent_after_it(
    start_service: Starter,
) -> None:
    """Counts are Redis', not the process'."""
    first = await start_service(OTP_DELIVER="false")
    challenge = await opened(first)
    await guess(first, challenge, 3)

    second = await start_service(OTP_DELIVER="false")

    assert (await ask(second)).json()["limit"] == "cooldown"
    assert (await second.verify(challenge, WRONG)).json()["attempts_remaining"] == 1
    assert address(first, challenge) == address(second, challenge)


# Sending: what strangers can start


@pytest.fixture
async def sign_up_form(start_service: Starter) -> Service:
    """A public form signs people up."""
    return await start_service()


async def sign_up_until_refused(service: Service, form: str, *, to: str = TO) -> httpx.Response:
    """Use a public form with somebody's number as often as the service lets through within ten minutes."""
    for _ in range(20):
        if form == "/optin/request":
            answer = await service.post(form, name="Ann Lee", mobile=to)
        else:
            answer = await service.post(form, to=to, purpose="signup")
        if answer.status_code == 429:
            if answer.json()["limit"] != "cooldown":
                return answer
            service.advance(int(answer.headers["retry-after"]))
    raise AssertionError("the form was never refused")


@pytest.mark.parametrize("form", ["/optin/request", "/otp/request"])
async def test_a_public_form_leaves_a_person_the_login(sign_up_form: Service, form: str) -> None:
    refused = await sign_up_until_refused(sign_up_form, form)
    login = await ask(sign_up_form)
    sign_up_form.advance(30)
    again = await ask(sign_up_form)

    assert refused.json()["limit"] == "recipient"
    assert [login.status_code, again.status_code] == [202, 202]


async def test_public_forms_and_logins_stay_within_one_limit(sign_up_form: Service) -> None:
    """No number gets more SMS because there are two kinds of purposes."""
    await sign_up_until_refused(sign_up_form, "/otp/request")  # three of five
    sent = 3
    for _ in range(4):
        answer = await ask(sign_up_form)
        if answer.status_code == 202:
            sent += 1
        elif answer.json()["limit"] == "cooldown":
            sign_up_form.advance(int(answer.headers["retry-after"]))
        else:
            break

    assert (sent, answer.json()["limit"]) == (5, "recipient")


async def test_a_sign_up_puts_no_cooldown_on_the_login(sign_up_form: Service) -> None:
    await ask(sign_up_form, purpose="signup")

    login, other = await ask(sign_up_form), await ask(sign_up_form, purpose="verification")

    assert login.status_code == 202
    assert (other.status_code, other.json()["limit"]) == (429, "cooldown")


async def test_a_resend_of_a_sign_up_uses_the_share(sign_up_form: Service) -> None:
    challenge = (await ask(sign_up_form, purpose="signup")).json()
    answers = []
    for wait in (30, 60, 120):
        sign_up_form.advance(wait)
        answers.append(
            await sign_up_form.post("/otp/resend", challenge_id=challenge["challenge_id"])
        )

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["limit"] == "recipient"
    assert (await ask(sign_up_form)).status_code == 202


async def test_the_answer_to_a_sign_up_tells_what_its_share_has_left(sign_up_form: Service) -> None:
    answer = await ask(sign_up_form, purpose="signup")

    assert answer.json()["sends_remaining"] == 2
    assert answer.json()["resend_in"] == 30
    assert '"recipient-600";q=3;w=600' in answer.headers["ratelimit-policy"]


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        ("OTP_LIMIT_NUMBER_RANGE", "number_block"),
        ("OTP_LIMIT_CALLER", "caller_budget"),
        ("OTP_LIMIT_RECIPIENT_TOTAL", "shared"),
    ],
)
async def test_sign_ups_leave_half_of_every_limit(
    start_service: Starter, setting: str, limit: str
) -> None:
    service = await start_service(OTP_DELIVER="false", **{setting: "4/1h"})
    numbers = [TO] * 3 if limit == "shared" else NUMBERS[:3]
    sign_ups = []
    for number in numbers:
        sign_ups.append(await ask(service, to=number, purpose="signup"))
        service.advance(120)

    login = await ask(service, to=numbers[-1])

    assert [answer.status_code for answer in sign_ups] == [202, 202, 429]
    assert sign_ups[2].json()["limit"] == limit
    assert login.status_code == 202


async def test_without_open_purposes_all_purposes_share_alike(start_service: Starter) -> None:
    service = await start_service(OTP_DELIVER="false", OTP_OPEN_PURPOSES="none")

    answer = await ask(service, purpose="signup")

    assert '"recipient-600";q=5;w=600' in answer.headers["ratelimit-policy"]
    assert (await ask(service)).json()["limit"] == "cooldown"
