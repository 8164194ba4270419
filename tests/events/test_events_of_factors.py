"""What happens to a person's factors is told, so that a caller can tell the person (N-019)."""

import asyncio
import json
from typing import Any

import pyotp
import pytest
import redis

from otp_service.store import keys
from otp_service.store.webhooks import Endpoint
from tests.conftest import Service, Starter
from tests.events.conftest import Desk, Receivers
from tests.events.receiver import Receiver

Told = tuple[Service, Receiver, Endpoint]
USER = "user-1"


async def authenticator(service: Service) -> tuple[str, pyotp.TOTP]:
    enrolled = (await service.post("/factors/totp", subject=USER, account_name="a")).json()
    app = pyotp.TOTP(enrolled["secret"])
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"
    confirmed = await service.post(path, code=app.at(await service.now()))
    assert confirmed.status_code == 200, confirmed.text
    return enrolled["factor_id"], app


async def data(receiver: Receiver, count: int) -> list[tuple[str, Any]]:
    found = [(each.json["type"], each.json["data"]) for each in await receiver.wait_for(count)]
    return sorted(found, key=lambda each: each[0])


async def test_binding_and_removing_an_authenticator_is_told(told: Told) -> None:
    """N-019."""
    service, receiver, endpoint = told
    factor_id, app = await authenticator(service)
    await service.http.delete(f"/factors/{factor_id}")

    found = await data(receiver, 2)

    about = {
        "caller": "shop",
        "subject": USER,
        "factor": {"type": "totp", "factor_id": factor_id},
    }
    assert found == [("factor.confirmed", about), ("factor.removed", about)]
    for each in receiver.received:
        each.verify(endpoint.secrets[0])
        assert app.secret not in each.body


async def test_recovery_codes_are_told_as_they_are_issued_and_used(told: Told) -> None:
    """N-019, D-14: with how many are left, and none of them."""
    service, receiver, _ = told
    issued = (await service.post("/recovery-codes", subject=USER)).json()["codes"]
    answer = await service.post(
        "/recovery-codes/verify", subject=USER, code=issued[0], purpose="recovery"
    )
    assert answer.status_code == 200

    found = await data(receiver, 2)

    assert found == [
        ("recovery_code.used", {"caller": "shop", "subject": USER, "remaining": 9}),
        ("recovery_codes.issued", {"caller": "shop", "subject": USER, "remaining": 10}),
    ]
    sent = "".join(each.body for each in receiver.received)
    for code in issued:
        assert code not in sent
        assert code.replace("-", "") not in sent


@pytest.mark.parametrize("factor", ["totp", "recovery"])
async def test_a_block_of_a_factor_is_told_once(
    start_service: Starter, desk: Desk, receivers: Receivers, factor: str
) -> None:
    """A17: also where no challenge is there to be told of."""
    receiver = await receivers()
    await desk.endpoint(receiver.url, "factor.blocked", "challenge.blocked")
    service = await start_service(OTP_LOCKOUT_SHORT="3/30m")
    if factor == "totp":
        _, app = await authenticator(service)
        right = int(app.at(await service.now()))
        wrong, path = f"{(right + 1) % 10**6:06d}", "/factors/totp/verify"
    else:
        await service.post("/recovery-codes", subject=USER)
        wrong, path = "0" * 16, "/recovery-codes/verify"
    for _ in range(5):
        await service.post(path, subject=USER, code=wrong, purpose="login")

    ((word, about),) = await data(receiver, 1)

    assert word == "factor.blocked"
    assert about["blocked_until"] > receiver.received[0].json["timestamp"]
    assert about["subject"] == USER
    assert about["factor"] == {"type": factor, "factor_id": None}
    await settled(desk)
    assert receiver.types == ["factor.blocked"]
    timeline = (await service.post("/timeline", subject=USER)).json()["timelines"][0]
    assert [b["factor"] for b in timeline["blocks"]] == [factor]
    assert [e["event"] for e in timeline["entries"]][-2:] == ["blocked", "refused"]


async def test_a_right_code_on_the_try_that_would_block_is_no_block(
    start_service: Starter, desk: Desk, receivers: Receivers
) -> None:
    receiver = await receivers()
    await desk.endpoint(receiver.url, "factor.blocked", "recovery_code.used")
    service = await start_service(OTP_LOCKOUT_SHORT="3/30m")
    (right, *_) = (await service.post("/recovery-codes", subject=USER)).json()["codes"]
    for code in ("0" * 16, "0" * 16, right):
        await service.post("/recovery-codes/verify", subject=USER, code=code, purpose="login")

    await data(receiver, 1)

    await settled(desk)
    assert receiver.types == ["recovery_code.used"]


async def test_a_caller_hears_of_its_own_people_only(
    told: Told, desk: Desk, receivers: Receivers
) -> None:
    service, receiver, _ = told
    stranger = await receivers()
    await desk.endpoint(stranger.url, caller="stranger")

    await authenticator(service)

    await data(receiver, 1)
    await settled(desk)
    assert stranger.received == []


async def test_without_an_endpoint_nothing_is_written(service: Service, valkey_url: str) -> None:
    factor_id, _ = await authenticator(service)
    await service.post("/recovery-codes", subject=USER)
    await service.http.delete(f"/factors/{factor_id}")

    with redis.Redis.from_url(valkey_url) as client:
        assert not any(client.xlen(name) for name in keys.event_streams())


async def test_the_person_is_sealed_on_the_way(told: Told, valkey_url: str) -> None:
    """G12: in Redis an event holds a fingerprint and a seal, never the caller's id of the person."""
    service, _, _ = told
    await service.container.relay.stop()
    await service.post("/recovery-codes", subject="person-8a6f11")
    enrolled = await service.post("/factors/totp", subject="person-8a6f11", account_name="a")
    assert enrolled.status_code == 201

    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        kept = [client.xrange(name) for name in keys.event_streams() if client.xlen(name)]
        factors = [client.hgetall(name) for name in client.scan_iter("otp:*:factors:*")]

    assert len(kept) == len(factors) == 1
    assert "person-8a6f11" not in json.dumps([kept, factors])


async def settled(desk: Desk) -> None:
    """Whatever was told has been handed over."""
    async with asyncio.timeout(60):
        while await desk.outgoing.waiting() or [
            name for name in keys.event_streams() if await desk.scripts.connection.client.xlen(name)
        ]:
            await asyncio.sleep(0.02)
