"""
Route keys are replaced while subjects have live challenges, counts, authenticators and recovery codes.

Two services on one Redis stand for two processes of which one has read the changed ring and the other has not.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyotp
import pytest

from otp_service.core.challenge import subject_address
from otp_service.core.keyring import Kind
from otp_service.store import keys, script_sources
from otp_service.store.challenges import FACTOR
from otp_service.store.scripts import Scripts
from tests.conftest import TO, Service, Starter
from tests.rotation.conftest import RingFile
from tests.web import hands

USER = "user-1"
Pair = Callable[[], Awaitable[tuple[Service, Service]]]


@pytest.fixture
def pair(start_service: Starter, ring_file: RingFile) -> Pair:
    """Start a process that has not seen that the route key was promoted, and one that has."""

    async def start() -> tuple[Service, Service]:
        added = ring_file.add("route")
        behind = await start_service(OTP_KEYRING=ring_file.text)
        ring_file.promote(added)
        ahead = await start_service(OTP_KEYRING=ring_file.text)
        behind.http.headers.update(ahead.http.headers)
        assert tag(behind) != tag(ahead)
        return behind, ahead

    return start


def tag(service: Service) -> str:
    return subject_address(service.settings.ring(), "shop", f"subject:{USER}").tag


async def tags(service: Service) -> set[str]:
    """All that stand in names of keys."""
    found = [keys.subject_in(str(key)) async for key in hands.redis(service).scan_iter("otp:*")]
    return {tagged[1] for tagged in found if tagged}


async def test_a_challenge_is_verified_by_either_process_whichever_opened_it(pair: Pair) -> None:
    """Q11: bindings too, and each still once."""
    behind, ahead = await pair()
    for opening, verifying in ((behind, ahead), (ahead, behind)):
        to = f"+1415555{1000 + 2000 * (opening is behind)}"
        challenge = await opening.request(to=to, subject=USER, binding="tab-1")
        code = opening.code(to)
        wrong = await verifying.verify(challenge, opening.wrong_code(to), binding="tab-1")
        answer = await verifying.verify(challenge, code, binding="tab-1")
        again = await opening.verify(challenge, code, binding="tab-1")

        assert wrong.json()["attempts_remaining"] == 4
        assert answer.status_code == 200, answer.text
        assert again.json()["code"] == "challenge_used"


async def test_a_newer_request_replaces_an_older_one_of_the_other_process(pair: Pair) -> None:
    """Live challenges are counted by person, not by key."""
    behind, ahead = await pair()
    first = await behind.request(subject=USER, binding="tab-1")
    for each in (behind, ahead):
        each.advance(31)
    second = await ahead.request(subject=USER, binding="tab-1")

    assert (await behind.look(first))["status"] == "replaced"
    assert (await behind.look(second))["status"] == "pending"


async def test_a_person_is_erased_whichever_process_has_kept_what_of_them(pair: Pair) -> None:
    behind, ahead = await pair()
    await behind.post("/recovery-codes", subject=USER)
    await ahead.request(subject=USER)
    old = await behind.request(to="+14155551001", subject=USER, binding="tab-2")
    code = behind.code("+14155551001")

    erased = await ahead.post("/subjects/erase", subject=USER, reason="ticket 18")

    told = erased.json()
    assert (told["recovery_codes"], told["challenges"]) == (10, 2)
    assert await tags(ahead) == set()
    assert (await behind.verify(old, code, binding="tab-2")).status_code == 404


async def test_wrong_codes_are_counted_on_over_both_processes(pair: Pair) -> None:
    """A04: ten in half an hour block, however the processes take turns."""
    behind, ahead = await pair()
    for opening in (behind, ahead):
        challenge = await opening.request(subject=USER)
        wrong = opening.wrong_code()
        for guess in range(5):
            await (ahead, behind)[guess % 2].verify(challenge, wrong)
        for each in (behind, ahead):
            each.advance(121)

    for each in (behind, ahead):
        refused = await each.post("/otp/request", to=TO, purpose="login", subject=USER)
        assert refused.json()["code"] == "subject_blocked"
    guard = keys.guard(subject_address(ahead.settings.ring(), "shop", f"subject:{USER}"), FACTOR)
    found = [await hands.redis(ahead).exists(name) for name in (guard, *guard.former)]  # type: ignore[attr-defined]
    assert sum(found) == 1


async def test_merged_timelines_are_trimmed(pair: Pair) -> None:
    """A17: two bounded timelines make one of the same bound."""
    _, ahead = await pair()
    client = hands.redis(ahead)
    await ahead.post("/recovery-codes", subject=USER)
    own = keys.timeline(subject_address(ahead.settings.ring(), "shop", f"subject:{USER}"))
    (old,) = own.former  # type: ignore[attr-defined]
    at = await ahead.now() * 1000
    for name, word in ((old, "tried"), (own, "issued")):
        await client.delete(name)
        await client.rpush(name, *(f"{at} {word} - n={n}" for n in range(150)))
        await client.expire(name, 1000)

    await ahead.post("/timeline", subject=USER)

    lines = await client.lrange(own, 0, -1)
    assert len(lines) == 200
    assert await client.exists(old) == 0
    assert [line.split(" ")[1] for line in lines] == ["tried"] * 50 + ["issued"] * 150


async def test_guesses_at_once_in_both_processes_spend_one_budget(pair: Pair) -> None:
    """A01: the keys move under them, and not one guess more is evaluated."""
    behind, ahead = await pair()
    challenge = await behind.request(subject=USER)
    wrong = behind.wrong_code()

    answers = await asyncio.gather(
        *((behind, ahead)[i % 2].verify(challenge, wrong) for i in range(20))
    )

    words = [a.json()["code"] for a in answers]
    assert words.count("invalid_code") == 4
    assert set(words) == {"invalid_code", "challenge_exhausted"}


async def enrolled(service: Service) -> tuple[str, pyotp.TOTP]:
    made = (await service.post("/factors/totp", subject=USER, account_name="a")).json()
    totp = pyotp.TOTP(made["secret"])
    path = f"/factors/totp/{made['factor_id']}/confirm"
    answer = await service.post(path, code=totp.at(await service.now()))
    assert answer.status_code == 200, answer.text
    return made["factor_id"], totp


async def test_authenticators_and_recovery_codes_outlive_the_route_key(
    pair: Pair, start_service: Starter, ring_file: RingFile
) -> None:
    """Q11: found before, between and after; ids of factors stay what they were; nothing is left under the old key."""
    behind, ahead = await pair()
    old, new = [e["kid"] for e in ring_file.entries() if e["kind"] == "route"]
    factor_id, _ = await enrolled(behind)
    codes = (await behind.post("/recovery-codes", subject=USER)).json()["codes"]
    used = await ahead.post(
        "/recovery-codes/verify", subject=USER, code=codes[0], purpose="recovery"
    )
    assert used.json()["remaining"] == 9
    listed = (await behind.http.get("/factors", params={"subject": USER})).json()
    assert listed["recovery_codes_remaining"] == 9
    assert tag(behind) in await tags(ahead)

    ring_file.age(old, days=2)
    refused = ring_file.run("retire", old)
    assert refused.exit_code == 1
    assert "1 × factors" in refused.output
    assert "1 × recovery" in refused.output
    assert "1 × factors" in ring_file.do("reseal")
    assert tag(behind) not in await tags(ahead)
    ring_file.do("retire", old)

    after = await start_service(OTP_KEYRING=ring_file.text)
    assert [key.kid for key in after.settings.ring().live(Kind.ROUTE)] == [new]
    listed = (await after.http.get("/factors", params={"subject": USER})).json()
    assert [f["factor_id"] for f in listed["factors"]] == [factor_id]
    used = await after.post(
        "/recovery-codes/verify", subject=USER, code=codes[1], purpose="recovery"
    )
    assert used.json()["remaining"] == 8
    assert (await after.http.delete(f"/factors/{factor_id}")).status_code == 204


async def test_what_a_process_counted_that_did_not_know_the_key_is_added_up(
    start_service: Starter, ring_file: RingFile
) -> None:
    """A host whose ring came late: the wrong codes of both sides count, and what it opened is found."""
    late = await start_service(OTP_KEYRING=ring_file.text, OTP_DELIVER="false")
    ring_file.rotate("route")
    ahead = await start_service(OTP_KEYRING=ring_file.text, OTP_DELIVER="false")
    late.http.headers.update(ahead.http.headers)

    async def wrong_codes(service: Service) -> dict[str, Any]:
        for each in (late, ahead):
            each.advance(121)
        sent = {"to": TO, "purpose": "login", "subject": USER}
        challenge = dict((await service.post("/otp/request", **sent)).json())
        await hands.plant(service, challenge, "123456")
        for _ in range(4):
            assert (await service.verify(challenge, "654321")).status_code == 400
        return challenge

    await wrong_codes(late)
    await wrong_codes(ahead)  # moves the first four
    challenge = await wrong_codes(late)  # counts anew under the old name

    guard = keys.guard(subject_address(ahead.settings.ring(), "shop", f"subject:{USER}"), FACTOR)
    assert int(await hands.redis(late).hget(guard, "streak")) == 8
    answer = await ahead.verify(challenge, "654321")
    counted = await hands.redis(ahead).hget(guard, "streak")

    assert answer.json()["code"] == "challenge_exhausted"
    assert int(counted) == 13
    refused = await ahead.post("/otp/request", to=TO, purpose="login", subject=USER)
    assert refused.json()["code"] == "subject_blocked"


class Unmoved(Scripts):
    """As if nothing were moved."""

    async def run(self, name: str, keys: Any, args: Any, *, durable: bool = False) -> Any:
        return await super().run(name, [str.__str__(key) for key in keys], args, durable=durable)


async def test_without_moving_the_attack_works(pair: Pair) -> None:
    """The negative control of the tests above: a rotation gives every blocked person a fresh budget."""
    behind, ahead = await pair()
    for service in (behind, ahead):
        service.container.scripts.__class__ = Unmoved
    await ahead.container.worker.stop()
    for _ in range(2):
        challenge = await behind.request(subject=USER)
        for _ in range(5):
            await behind.verify(challenge, behind.wrong_code())
        behind.advance(121)
    ahead.advance(242)
    refused = await behind.post("/otp/request", to=TO, purpose="login", subject=USER)

    assert refused.json()["code"] == "subject_blocked"
    allowed = await ahead.post("/otp/request", to=TO, purpose="login", subject=USER)
    assert allowed.status_code == 202


MOVED = {
    "subject": "hash", "guard": "hash", "timeline": "list", "factors": "hash", "recovery": "hash",
    "devices": "hash", "opt-in": "hash", "opt-in-guesses": "zset",
}  # fmt: skip


def test_every_kind_of_key_of_a_subject_is_listed() -> None:
    source = Path(keys.__file__).read_text()
    assert set(re.findall(r'_of_subject\([a-z.]+, f?"([a-z-]+)', source)) == set(MOVED)


@pytest.mark.parametrize("kind", MOVED)
async def test_two_values_of_a_key_become_one(pair: Pair, kind: str) -> None:
    """A17: what two processes wrote under two names of one key is merged, whatever its type."""
    _, ahead = await pair()
    client = hands.redis(ahead)
    new, old = (f"otp:{{00}}:{kind}:{tag}" for tag in ("new", "old"))
    for name, field, at in ((old, "a", 1), (new, "b", 2)):
        match MOVED[kind]:
            case "hash":
                await client.hset(name, mapping={field: "1"})
            case "list":
                await client.rpush(name, f"{at} tried - n={field}")
            case "zset":
                await client.zadd(name, {field: at})
        await client.expire(name, 1000)
    script = script_sources._fragment("_moving") + "\nreturn redis.call('EXISTS', KEYS[1])"

    assert await client.eval(script, 2, new, old, '{"former": [1]}') == 1

    assert await client.exists(old) == 0
    assert await client.type(new) == MOVED[kind]
    assert 0 < await client.ttl(new) <= 1000
    if kind == "opt-in-guesses":
        assert await client.zrange(new, 0, -1) == ["a", "b"]
