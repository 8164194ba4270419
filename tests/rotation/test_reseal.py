"""`keys reseal` and `keys retire`: what lasts comes under the new key before the old one goes."""

import json

import pyotp
import pytest
import redis

from otp_service.cli.webhooks import app as webhooks
from otp_service.core.events import Message
from otp_service.core.keyring import Kind
from otp_service.services.resealing import reseal
from otp_service.store import keys
from otp_service.store.outgoing import Outgoing, Record
from otp_service.store.reencryption import ReencryptionScan, Sealed
from otp_service.store.webhooks import Webhooks
from tests.conftest import Service, Starter
from tests.rotation.conftest import RingFile
from tests.web import hands

USER = "user-1"
OLD = {"days": 30}


@pytest.fixture
async def service(start_service: Starter, ring_file: RingFile) -> Service:
    """A service whose ring does not change by itself: each test starts another one for the new ring."""
    return await start_service(OTP_KEYRING=ring_file.text)


async def enrolled(service: Service, subject: str = USER) -> tuple[str, pyotp.TOTP]:
    made = (await service.post("/factors/totp", subject=subject, account_name="a")).json()
    totp = pyotp.TOTP(made["secret"])
    path = f"/factors/totp/{made['factor_id']}/confirm"
    assert (await service.post(path, code=totp.at(await service.now()))).status_code == 200
    return made["factor_id"], totp


def endpoint(ring_file: RingFile) -> str:
    made = ring_file.run_on(webhooks, "create", "shop", "http://127.0.0.1:9/hook")
    assert made.exit_code == 0, made.output
    return str(made.output.split()[0])


async def test_all_that_is_sealed_for_long_comes_under_the_new_key(
    service: Service, start_service: Starter, ring_file: RingFile
) -> None:
    """Q11, N-047: seeds, endpoints' secrets and waiting messages; then the old key may go."""
    factor_id, totp = await enrolled(service)
    hook = endpoint(ring_file)
    outgoing = Outgoing(service.container.scripts)
    message = Message("msg_1", "challenge.created", "{}")
    await outgoing.enqueue(f"shop/{hook}", "msg_1", Record.of(ring_file.ring, message, at=0))
    old, _ = ring_file.rotate("seal")
    ring_file.age(old, **OLD)

    refused = ring_file.run("retire", old)
    assert refused.exit_code == 1
    for word in ("1 × authenticator", "1 × webhook endpoint", "1 × webhook message"):
        assert word in refused.output
    told = ring_file.do("reseal")
    assert (
        "1 × authenticator, 1 × name of a subject, 1 × webhook endpoint, 1 × webhook message"
        in told
    )
    assert "nothing was to do" in ring_file.do("reseal")
    ring_file.do("retire", old)

    after = await start_service(OTP_KEYRING=ring_file.text)
    after.advance(31)
    code = totp.at(await after.now())
    answer = await after.post("/factors/totp/verify", subject=USER, code=code, purpose="login")
    assert answer.status_code == 200, answer.text
    [found] = await Webhooks(after.container.scripts.connection).of(ring_file.ring, "shop")
    assert found.url == "http://127.0.0.1:9/hook"
    [(_, record)] = await outgoing.take(f"shop/{hook}", count=1)
    assert record.open(ring_file.ring, "msg_1").body == "{}"
    assert factor_id in (await after.http.get("/factors", params={"subject": USER})).text


async def test_what_changes_while_it_is_sealed_anew_is_never_overwritten(
    service: Service, ring_file: RingFile
) -> None:
    """B22: the step of a code that was accepted in between stays spent; the next look seals what is there then."""
    await enrolled(service)
    ring_file.rotate("seal")
    lasting = Overtaken(service.container.scripts)

    done = await reseal(lasting, ring_file.ring)

    [name] = [k async for k in hands.redis(service).scan_iter("otp:*:factors:*")]
    [text] = (await hands.redis(service).hgetall(name)).values()
    assert json.loads(text)["last_step"] == 4711_4711_4711
    assert json.loads(text)["seed"].startswith(ring_file.active("seal"))
    assert done.done == {"authenticator": 1, "name of a subject": 1}


class Overtaken(ReencryptionScan):
    """A code is accepted between reading and writing, once."""

    overtaken = False

    async def replace(self, found: Sealed, sealed: str) -> bool:
        if not self.overtaken:
            self.overtaken = True
            text = json.dumps({**json.loads(found.text), "last_step": 4711_4711_4711})
            await self._scripts.connection.client.hset(found.key, found.name, text)  # type: ignore[misc]
        return await super().replace(found, sealed)


async def test_what_no_key_opens_is_told_and_stops_nothing(
    service: Service, ring_file: RingFile
) -> None:
    """K06: what the emergency removal of a seal key has voided."""
    await enrolled(service, "user-1")
    old, _ = ring_file.rotate("seal")
    ring_file.do("retire", old, "--force")

    told = ring_file.run("reseal")

    assert told.exit_code == 1
    assert "2 left, which no key of the ring opens" in told.output
    assert f"no key '{old}'" in told.output
    [name] = [k async for k in hands.redis(service).scan_iter("otp:*:factors:*")]
    assert str(name) in told.output


async def test_orphans_of_a_retired_route_key_are_erased_and_nothing_else(
    service: Service, start_service: Starter, ring_file: RingFile
) -> None:
    """K06: after an emergency removal nobody finds them again, so they would lie there for ever."""
    await enrolled(service, "user-1")
    old, _ = ring_file.rotate("route")
    ring_file.do("retire", old, "--force")
    after = await start_service(OTP_KEYRING=ring_file.text)
    await enrolled(after, "user-2")
    stranger = f"otp:{{00}}:factors:{'0' * 32}"  # of no key that this ring ever had
    await hands.redis(service).hset(stranger, "id", "{}")

    async def left() -> set[str]:
        return {str(key) async for key in hands.redis(service).scan_iter("otp:*:factors:*")}

    before = await left()
    assert "named by no live route key" in ring_file.run("reseal").output
    assert await left() == before

    erased = ring_file.run("reseal", "--erase-orphans")

    assert "1 × factors of nobody, erased" in erased.output
    assert stranger in erased.output
    assert erased.exit_code == 1
    assert len(before - await left()) == 1
    assert stranger in await left()
    await hands.redis(service).delete(stranger)
    assert "nothing was to do" in ring_file.do("reseal", "--erase-orphans")
    listed = (await after.http.get("/factors", params={"subject": "user-2"})).json()
    assert [factor["status"] for factor in listed["factors"]] == ["confirmed"]


async def test_nothing_is_erased_with_a_ring_that_has_retired_no_route_key(
    service: Service, ring_file: RingFile
) -> None:
    """A ring file of another time, or of another installation, must not take everybody's authenticators."""
    await enrolled(service)

    refused = ring_file.run("reseal", "--erase-orphans")

    assert (refused.exit_code, "no retired route key" in refused.output) == (1, True)
    assert len([key async for key in hands.redis(service).scan_iter("otp:*:factors:*")]) == 1


@pytest.mark.parametrize("kind", ["pepper", "proof", "phone", "route", "seal"])
def test_a_key_is_not_retired_while_what_it_made_may_live(ring_file: RingFile, kind: str) -> None:
    """K04: the refusal says until when."""
    old, new = ring_file.rotate(kind)

    refused = ring_file.run("retire", old)
    assert refused.exit_code == 1
    assert "what it made lives until 20" in refused.output
    assert next(e for e in ring_file.entries() if e["kid"] == old)["state"] == "verify"

    ring_file.age(old, **OLD)
    ring_file.do("retire", old)
    assert [key.kid for key in ring_file.ring.live(Kind(kind))] == [new]


def test_a_key_that_has_made_nothing_yet_goes_at_once(ring_file: RingFile) -> None:
    ring_file.do("retire", ring_file.add("pepper"))


def test_a_key_that_was_made_active_again_is_as_new(ring_file: RingFile) -> None:
    """Back to the older one, when the newer one turns out wrong."""
    old, new = ring_file.rotate("pepper")
    ring_file.promote(old)

    assert ring_file.active("pepper") == old
    assert "what it made lives until" in ring_file.run("retire", new).output


def test_a_signing_key_goes_only_by_a_persons_word(ring_file: RingFile) -> None:
    """Receipts are kept for years, and nobody knows by whom."""
    old, _ = ring_file.rotate("signing")
    ring_file.age(old, **OLD)

    assert "as long as anybody keeps it" in ring_file.run("retire", old).output
    ring_file.do("retire", old, "--force")


async def test_a_credential_key_stays_while_a_credential_of_it_lives(
    service: Service, ring_file: RingFile
) -> None:
    """Q11: named, so that the operator knows whom to ask."""
    old, _ = ring_file.rotate("credential")
    ring_file.age(old, **OLD)

    refused = ring_file.run("retire", old)

    assert refused.exit_code == 1
    assert "of shop" in refused.output
    assert "callers rotate" in refused.output


async def test_an_event_that_no_worker_has_read_keeps_its_seal_key(
    start_service: Starter, ring_file: RingFile
) -> None:
    """It can't be changed where it lies, and goes by itself where a worker runs."""
    service = await start_service(OTP_KEYRING=ring_file.text, OTP_DELIVER="false")
    old, _ = ring_file.rotate("seal")
    ring_file.age(old, **OLD)
    await hands.redis(service).xadd(keys.events(0), {"about": f"{old}.x", "type": "none"})

    assert "1 × event that no worker has read" in ring_file.run("retire", old).output


async def test_emptied_store_refuses_reseal_and_retire(
    service: Service, ring_file: RingFile, valkey_url: str
) -> None:
    """X42: what a restore brings back may depend on the key, and nothing of it can be seen."""
    await enrolled(service)
    old, _ = ring_file.rotate("seal")
    ring_file.age(old, **OLD)
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    await service.container.history.tick()
    for arguments in (("reseal",), ("retire", old)):
        refused = ring_file.run(*arguments)
        assert refused.exit_code == 1
        assert "otp-service store accept-empty" in refused.output
    ring_file.do("retire", old, "--force")
