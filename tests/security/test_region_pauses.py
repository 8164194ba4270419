"""Pumping below every limit: to where codes go and from where few come back, only a trickle goes on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from otp_service.core.limits import Window
from otp_service.core.recipients import REGIONS
from otp_service.services.region_pauses import STALE_SECONDS, RegionPauses
from otp_service.store import keys
from otp_service.store.region_codes import PAIRS_AT_ONCE, Codes, Pair, RegionCodes
from tests.conftest import Service, Starter
from tests.reliability.harness import eventually
from tests.security.test_limits import codes_of
from tests.web.hands import plant, redis

MINUTE, HOUR = 60, 3600
RIGHT = "111111"

# As they are by default, but for the mode; and quicker to reach.
ENFORCED = {
    "OTP_DELIVER": "false",
    "OTP_REGION_PAUSE": "enforce",
    "OTP_REGION_PAUSE_FROM": "20/1h",
    "OTP_REGION_PAUSE_TRICKLE": "3/10m",
}

pytestmark = pytest.mark.anyio


def number(n: int, *, code: str = "1415", line: int = 123) -> str:
    """One of each block of a thousand, so that no limit on blocks or recipients is met. `n` under 700."""
    return f"+{code}{200 + n}{line:04d}"


async def ask(service: Service, to: str, headers: Any = None) -> httpx.Response:
    return await service.post("/otp/request", headers=headers, to=to, purpose="login")


async def pump(service: Service, numbers: Sequence[int], headers: Any = None) -> None:
    """Ask for codes that nobody types."""
    for n in numbers:
        assert (await ask(service, number(n), headers)).status_code == 202


async def log_in(service: Service, to: str, headers: Any = None) -> httpx.Response:
    """Ask for a code, and type it."""
    answer = await ask(service, to, headers)
    if answer.status_code == 202:
        challenge = answer.json()
        caller = "shop" if headers is None else "stranger"
        await plant(service, challenge, RIGHT, caller=caller)
        body = {"challenge_id": challenge["challenge_id"], "code": RIGHT, "purpose": "login"}
        verified = await service.post("/otp/verify", headers=headers, **body)
        assert verified.status_code == 200, verified.text
    return answer


async def later(service: Service, seconds: float = 3 * MINUTE) -> None:
    """Time for people to type their codes; then all processes hear how it stands."""
    await service.container.regions.weigh()
    service.advance(seconds)
    await service.container.regions.weigh()


async def paused(service: Service) -> dict[str, str]:
    return dict(await redis(service).hgetall(keys.PAUSED))


async def counted(service: Service, many: int) -> bool:
    """Whether Redis has been told of so many recipients."""
    fields = await redis(service).hgetall(keys.region_codes("shop", "US"))
    return sum(int(n) for name, n in fields.items() if name.startswith("r")) >= many


def pauses(region: str, event: str) -> float:
    labels = {"region": region, "event": event}
    return REGISTRY.get_sample_value("otp_region_pauses_total", labels) or 0


async def test_few_sends_to_each_of_200_blocks_are_seen_and_end_in_a_trickle(
    start_service: Starter,
) -> None:
    """D10: a send a minute to each of 200 blocks, by no limit's measure too many, and nobody types a code."""
    service = await start_service(**{**ENFORCED, "OTP_REGION_PAUSE_FROM": "50/1h"})
    begun = pauses("US", "paused")
    answers: list[httpx.Response] = []
    for minute in range(8):
        answers += [await ask(service, number(n, line=minute)) for n in range(200)]
        await later(service, MINUTE)

    sent = [answer.status_code == 202 for answer in answers]
    # For so long it may be that people are still about to type their codes.
    assert sent == [True] * 600 + [True] * 3 + [False] * 997
    refused = [answer for answer in answers if answer.status_code != 202]
    assert {answer.json()["limit"] for answer in refused[-200:]} == {"region"}
    assert pauses("US", "paused") == begun + 1


async def test_a_pause_is_a_limit_with_an_honest_wait(start_service: Starter) -> None:
    service = await start_service(**ENFORCED)
    await pump(service, range(20))
    await later(service)
    await pump(service, range(20, 23))

    refused = await ask(service, number(23))

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.json()["limit"] == "region"
    assert refused.headers["ratelimit"].startswith('"region-600";r=0;t=')
    wait = int(refused.headers["retry-after"])
    assert 595 <= wait <= 600
    service.advance(wait)
    await pump(service, range(23, 26))
    assert (await ask(service, number(26))).status_code == 429


async def test_a_resend_is_of_the_trickle_too(start_service: Starter) -> None:
    service = await start_service(**ENFORCED)
    await pump(service, range(19))
    challenge = (await ask(service, number(19))).json()
    await later(service)
    await pump(service, range(20, 23))

    resent = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])

    assert (resent.status_code, resent.json()["limit"]) == (429, "region")


async def test_who_types_codes_is_let_alone(start_service: Starter) -> None:
    """D10's control: as many sends, of which one in ten is approved; and one in twenty is too few."""
    service = await start_service(**ENFORCED)
    for n in range(2):
        await log_in(service, number(n))
    await pump(service, range(2, 20))
    await later(service)
    assert await paused(service) == {}
    await pump(service, range(20, 41))
    await later(service)
    assert list(await paused(service)) == ["shop US"]


async def test_below_the_number_of_recipients_nothing_is_judged(start_service: Starter) -> None:
    service = await start_service(**ENFORCED)
    await pump(service, range(19))
    await later(service)
    assert await paused(service) == {}
    await pump(service, [19])
    await later(service)
    assert list(await paused(service)) == ["shop US"]


async def test_codes_that_are_still_to_be_typed_count_against_nobody(
    start_service: Starter,
) -> None:
    """D10: a crowd that comes all at once, after an advertisement, has typed nothing yet."""
    service = await start_service(**ENFORCED)
    await pump(service, range(40))
    await later(service, MINUTE)
    assert await paused(service) == {}
    await later(service, 2 * MINUTE)
    assert list(await paused(service)) == ["shop US"]


async def test_one_number_again_and_again_brings_nobody_closer_to_a_pause(
    start_service: Starter,
) -> None:
    """D10: what weighs are recipients: two numbers, asked for all day, pause nothing."""
    service = await start_service(
        **{**ENFORCED, "OTP_REGION_PAUSE_FROM": "3/1h", "OTP_COOLDOWN": "1"}
    )
    for _ in range(3):
        await pump(service, range(2))
        service.advance(2 * MINUTE)
        await service.container.regions.weigh()
    await later(service)

    assert await paused(service) == {}


async def test_whoever_goes_round_in_a_pool_of_numbers_is_seen_too(start_service: Starter) -> None:
    """D10: numbers that were first sent to when it was too few of them, and since then often enough not to be new."""
    service = await start_service(**ENFORCED)
    await pump(service, range(15))
    await later(service, HOUR)
    await pump(service, range(15, 30))
    await later(service, HOUR)
    assert await paused(service) == {}

    await pump(service, range(30))
    await later(service)
    assert list(await paused(service)) == ["shop US"]


async def test_a_pause_is_of_one_caller_and_one_region(start_service: Starter) -> None:
    """F17: what others pump shows in no answer of mine."""
    service = await start_service(**ENFORCED)
    stranger = await service.caller("stranger")
    await pump(service, range(20), stranger)
    await later(service)
    await pump(service, range(20, 23), stranger)
    assert (await ask(service, number(23), stranger)).status_code == 429

    for n in range(24, 30):
        assert (await ask(service, number(n))).status_code == 202
        assert (await ask(service, number(n, code="1876"), stranger)).status_code == 202


async def test_a_region_that_is_exempt_is_only_told_of(start_service: Starter) -> None:
    """At home a stranger could else slow down everybody by asking for codes."""
    service = await start_service(**ENFORCED, OTP_REGION_PAUSE_EXEMPT="US")
    await pump(service, range(20))
    await later(service)
    assert list(await paused(service)) == ["shop US"]
    await pump(service, range(20, 40))


async def test_recording_tells_what_would_have_been_and_refuses_nothing(
    start_service: Starter,
) -> None:
    service = await start_service(**{**ENFORCED, "OTP_REGION_PAUSE": "record"})
    met = REGISTRY.get_sample_value
    labels = {"region": "US", "event": "paused"}
    begun, before = pauses("US", "paused"), met("otp_region_codes_total", labels) or 0
    await pump(service, range(20))
    await later(service)
    await pump(service, range(20, 40))

    assert list(await paused(service)) == ["shop US"]
    assert pauses("US", "paused") == begun + 1
    assert met("otp_region_codes_total", labels) == before + 20


async def test_switched_off_nothing_is_counted_but_the_metric(start_service: Starter) -> None:
    service = await start_service(**{**ENFORCED, "OTP_REGION_PAUSE": "off"})
    requested, approved = codes_of("US")
    await pump(service, range(20))
    await service.container.regions.stop()

    assert await redis(service).keys("otp:{regions}:*") == []
    assert codes_of("US") == (requested + 20, approved)


async def test_a_pause_ends_by_itself_when_the_attack_does(start_service: Starter) -> None:
    service = await start_service(**ENFORCED)
    resumed = pauses("US", "resumed")
    await pump(service, range(20))
    await later(service)
    assert list(await paused(service)) == ["shop US"]
    await later(service, HOUR)

    assert await paused(service) == {}
    assert pauses("US", "resumed") == resumed + 1
    await pump(service, range(20, 30))


async def test_people_in_the_trickle_who_type_their_codes_end_it(start_service: Starter) -> None:
    service = await start_service(**ENFORCED)
    await pump(service, range(20))
    await later(service)
    for n in range(20, 23):
        assert (await log_in(service, number(n))).status_code == 202
    await later(service)  # three of 23

    assert await paused(service) == {}


async def test_a_pause_goes_on_while_the_trickle_is_eaten_by_the_attack(
    start_service: Starter,
) -> None:
    service = await start_service(**{**ENFORCED, "OTP_REGION_PAUSE_TRICKLE": "4/10m"})
    sent = []
    for turn in range(24):
        answers = [await ask(service, number(n, line=turn)) for n in range(40)]
        sent.append(sum(answer.status_code == 202 for answer in answers))
        await later(service, 10 * MINUTE)

    # Four in ten minutes are 24 an hour, enough to be looked at: so the pause has no gap.
    assert sent == [40] + [4] * 23


async def test_no_request_waits_for_it_and_every_process_hears_of_it(
    start_service: Starter,
) -> None:
    """Of its own accord: what one process has seen refuses at another, a second later."""
    first, second = await start_service(**ENFORCED), await start_service(**ENFORCED)
    first.http.headers.update(second.http.headers)  # of one caller
    await pump(first, range(20))
    await eventually(lambda: counted(first, 20), "the counts in Redis")
    for service in (first, second):
        service.advance(3 * MINUTE)
    lines = count(1000)

    async def refused() -> bool:
        line = next(lines)
        answer = await ask(second, number(line % 700, line=line))
        return bool(answer.json().get("limit") == "region")

    await eventually(refused, "a refusal by the other process")


async def test_a_crowd_that_asked_once_is_judged_though_nobody_asks_any_more(
    start_service: Starter,
) -> None:
    """Else the bill of one short wave would be all that tells of it."""
    service, clock = await start_service(**ENFORCED), [0.0]
    alone = RegionPauses(
        service.settings.pause_rules(),
        RegionCodes(service.container.scripts),
        steady=lambda: clock[0],
    )
    for _ in range(20):
        alone.requested("shop", "US", [])
    await eventually(lambda: counted(service, 20), "the counts in Redis")
    assert await paused(service) == {}
    service.advance(3 * MINUTE)
    clock[0] += 3 * MINUTE

    async def told() -> bool:
        return await paused(service) != {}

    await eventually(told, "a pause")
    await alone.stop()


async def test_what_it_counts_has_an_end_and_names_no_person(start_service: Starter) -> None:
    service = await start_service(**ENFORCED)
    await pump(service, range(20))
    await later(service)
    client = redis(service)
    found = await client.keys("otp:{regions}:*")

    assert sorted(found) == [keys.region_codes("shop", "US"), keys.PAUSED]
    for key in found:
        assert 0 < await client.ttl(key) <= HOUR
        for field, value in (await client.hgetall(key)).items():
            assert field == "shop US" or field[0] in "ra"
            assert all(part.isdigit() for part in value.split("|"))


@pytest.mark.parametrize("since", ["the clock was set back", "the window was made longer"])
async def test_codes_that_were_approved_in_another_time_keep_no_pause_off_for_ever(
    start_service: Starter, since: str
) -> None:
    """D10: where people ask every day, what was counted once lives on, and its step may never come to lie behind."""
    service, pair = await start_service(**ENFORCED), Pair("shop", "US")
    codes, rules = RegionCodes(service.container.scripts), service.settings.pause_rules()
    if since == "the clock was set back":
        service.advance(30 * 24 * HOUR)
        await codes.weigh({pair: Codes(approved=100)}, rules)
        service.advance(-30 * 24 * HOUR)
        await service.container.history.tick()
    else:
        shorter = replace(rules, min_requests=Window(20, 600))
        await codes.weigh({pair: Codes(approved=100)}, shorter)

    for _ in range(3):
        await codes.weigh({pair: Codes(approved=1)}, rules)
        service.advance(HOUR / 2)
    await codes.weigh({pair: Codes(requested=50)}, rules)
    service.advance(5 * MINUTE)
    weighed = await codes.weigh({pair: Codes()}, rules)

    assert [(pause.pair, pause.codes) for pause in weighed.began] == [(pair, Codes(50, 1))]


async def test_an_attack_on_every_region_is_weighed_without_holding_up_redis(
    start_service: Starter,
) -> None:
    """D10: all else waits while a script runs, so that none looks at more than so many pairs."""
    service = await start_service(**ENFORCED)
    codes, rules = RegionCodes(service.container.scripts), service.settings.pause_rules()
    client, pairs = redis(service), {Pair("shop", region) for region in REGIONS}
    await codes.weigh(dict.fromkeys(pairs, Codes(requested=50)), rules)
    service.advance(5 * MINUTE)
    before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    weighed = await codes.weigh(dict.fromkeys(pairs, Codes()), rules)
    after = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]

    assert len(pairs) > 2 * PAIRS_AT_ONCE
    assert after - before >= len(pairs) / PAIRS_AT_ONCE
    assert {pause.pair for pause in weighed.began} == pairs
    assert {pause.pair for pause in weighed.paused} == pairs


async def test_an_attack_slower_than_the_memory_of_a_process_is_held_up_too(
    start_service: Starter,
) -> None:
    """D10: a process goes on to ask how it stands for as long as it knows of a pause."""
    service, clock = await start_service(**ENFORCED), [0.0]
    await pump(service, range(20))
    await later(service)
    slow = RegionPauses(
        service.settings.pause_rules(),
        RegionCodes(service.container.scripts),
        steady=lambda: clock[0],
    )
    slow.requested("shop", "US", [])
    await eventually(lambda: slow.trickle("shop", "US"), "that it hears of the pause")
    clock[0] += STALE_SECONDS
    await eventually(lambda: slow.trickle("shop", "US"), "that it has asked again")
    await slow.stop()


async def test_what_is_known_of_pauses_is_believed_for_seconds_only(start_service: Starter) -> None:
    """A process that hears no more of Redis, or that was idle, refuses nothing by what has been."""
    service, clock = await start_service(**ENFORCED), [0.0]
    await pump(service, range(20))
    await later(service)
    idle = RegionPauses(
        service.settings.pause_rules(),
        RegionCodes(service.container.scripts),
        steady=lambda: clock[0],
    )
    assert idle.trickle("shop", "US") is None
    await idle.weigh()
    assert idle.trickle("shop", "US") == Window(3, 600)
    clock[0] += STALE_SECONDS
    assert idle.trickle("shop", "US") is None
    await idle.stop()
