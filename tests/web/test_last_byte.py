"""Calls that are held back and let go in one moment, over connections of their own or one behind the other on one."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack

from tests.conftest import TO
from tests.web.conftest import Heard, Live
from tests.web.hands import plant

RIGHT, CALLS = "111111", 30
SHED = {
    "overloaded",
    "unavailable",
}  # no place for a hash, or no connection to Redis on a busy machine


async def requests(live: Live, codes: list[str]) -> list[bytes]:
    """One verification for each code, of one new challenge whose code is RIGHT."""
    service = live.service
    challenge = (await service.post("/otp/request", to=TO, purpose="login")).json()
    await plant(service, challenge, RIGHT)
    about = {"challenge_id": challenge["challenge_id"], "purpose": "login"}
    bodies = [json.dumps({**about, "code": code}).encode() for code in codes]
    line = "POST /otp/verify HTTP/1.1"
    return [live.head(line, Content_Length=str(len(body))) + body for body in bodies]


async def let_go(live: Live, whole: list[bytes]) -> list[Heard]:
    """All but the last byte of each, and then the last bytes in one go."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(live.connection()) for _ in whole]
        for wire, data in zip(wires, whole, strict=True):
            wire.send(data[:-1])
            await wire.writer.drain()
        for wire, data in zip(wires, whole, strict=True):
            wire.send(data[-1:])
        return list(await asyncio.gather(*(wire.answer() for wire in wires)))


async def behind_each_other(live: Live, whole: list[bytes]) -> list[Heard]:
    async with live.connection() as wire:
        wire.send(b"".join(whole))
        return [await wire.answer() for _ in whole]


def told(answers: list[Heard]) -> Counter[str]:
    return Counter(
        "verified" if heard.status == 200 else json.loads(heard.body)["code"] for heard in answers
    )


async def test_of_wrong_codes_that_arrive_in_one_moment_five_are_evaluated(live: Live) -> None:
    """A01, A02: four are wrong, the fifth ends it, and the rest hear that it is over or are turned away."""
    wrong = [f"{n:06d}" for n in range(CALLS)]
    for way in (let_go, behind_each_other):
        live.service.advance(121)
        counted = told(await way(live, await requests(live, wrong)))
        assert counted["invalid_code"] <= 4
        assert set(counted) <= {"invalid_code", "challenge_exhausted", *SHED}
        assert sum(counted.values()) == CALLS
        live.service.advance(1800)  # for the block is another story


async def test_of_right_codes_that_arrive_in_one_moment_one_is_accepted(live: Live) -> None:
    """B02: whichever it is, and whichever way they come."""
    accepted = 0
    for way in (let_go, behind_each_other):
        live.service.advance(121)
        counted = told(await way(live, await requests(live, [RIGHT] * CALLS)))
        assert counted["verified"] <= 1
        accepted += counted["verified"]
        assert set(counted) <= {"verified", "challenge_used", "challenge_exhausted", *SHED}
    assert accepted >= 1
