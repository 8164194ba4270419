"""What callers are told of their challenges, signed as Standard Webhooks, and what they are never told."""

import asyncio
import json
import re

import pytest
import redis
from standardwebhooks import Webhook

from otp_service.core.events import EVENTS
from otp_service.store import keys
from otp_service.store.webhooks import Endpoint
from tests.conftest import TO, Service, Starter
from tests.events.conftest import Desk, Receivers
from tests.events.receiver import Receiver

Told = tuple[Service, Receiver, Endpoint]


async def test_a_login_is_told_from_its_beginning_to_its_end(told: Told) -> None:
    service, receiver, endpoint = told
    challenge = await service.request(subject="user-1", client_ref="order-7")
    verified = await service.verify(challenge, service.code())

    received = await receiver.wait_for(3)

    assert sorted(receiver.types) == [
        "challenge.approved",
        "challenge.created",
        "delivery.accepted",
    ]
    by_type = {each.json["type"]: each.verify(endpoint.secrets[0]) for each in received}
    for payload in by_type.values():
        assert set(payload) == {"type", "timestamp", "data"}
        about = {"challenge_id", "caller", "purpose", "subject", "client_ref"}
        assert {name: payload["data"][name] for name in about} == {
            "challenge_id": challenge["challenge_id"],
            "caller": "shop",
            "purpose": "login",
            "subject": "user-1",
            "client_ref": "order-7",
        }
    assert by_type["delivery.accepted"]["data"]["delivery"] == {
        "status": "accepted",
        "reason": None,
        "generation": 1,
    }
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    assert all(stamp.fullmatch(payload["timestamp"]) for payload in by_type.values())
    assert by_type["challenge.approved"]["timestamp"][:19] == verified.json()["verified_at"][:19]
    assert len({each.id for each in received}) == 3


@pytest.mark.parametrize("status", ["failed", "unknown"])
async def test_a_delivery_that_failed_or_is_unknown_is_told_with_its_reason(
    told: Told, status: str
) -> None:
    service, receiver, _ = told
    if status == "failed":
        service.sandbox.settings(gateway_name="")
    else:
        service.sandbox.fail(kind="drop_after")
    challenge = await service.request()
    assert challenge["delivery"]["status"] == status

    await receiver.wait_for(2)

    delivery = next(
        e.json["data"]["delivery"] for e in receiver.received if "delivery" in e.json["type"]
    )
    assert delivery["status"] == status
    assert delivery["reason"] == challenge["delivery"]["reason"]


async def test_a_subject_that_wrong_codes_have_blocked_is_told_once(
    start_service: Starter, desk: Desk, receivers: Receivers
) -> None:
    receiver = await receivers()
    await desk.endpoint(receiver.url, "challenge.blocked")
    service = await start_service(OTP_LOCKOUT_SHORT="3/30m")
    challenge = await service.request()
    for _ in range(4):
        await service.verify(challenge, service.wrong_code())

    (blocked,) = await receiver.wait_for(1)

    assert blocked.json["data"]["attempts"] == 3
    assert blocked.json["data"]["blocked_until"] > blocked.json["timestamp"]
    await settled(desk)
    assert receiver.types == ["challenge.blocked"]


async def test_a_right_code_on_the_try_that_would_block_is_no_block(
    start_service: Starter, desk: Desk, receivers: Receivers
) -> None:
    receiver = await receivers()
    await desk.endpoint(receiver.url, "challenge.blocked", "challenge.approved")
    service = await start_service(OTP_LOCKOUT_SHORT="3/30m")
    challenge = await service.request()
    for _ in range(2):
        await service.verify(challenge, service.wrong_code())
    assert (await service.verify(challenge, service.code())).status_code == 200

    await receiver.wait_for(1)

    await settled(desk)
    assert receiver.types == ["challenge.approved"]


async def test_a_caller_hears_of_its_own_challenges_only(
    told: Told, desk: Desk, receivers: Receivers
) -> None:
    service, receiver, _ = told
    stranger = await receivers()
    await desk.endpoint(stranger.url, caller="stranger")

    await service.request()

    await receiver.wait_for(2)
    await settled(desk)
    assert stranger.received == []


async def test_without_an_endpoint_nothing_is_written(service: Service, valkey_url: str) -> None:
    challenge = await service.request()
    await service.verify(challenge, service.code())

    with redis.Redis.from_url(valkey_url) as client:
        assert not any(client.xlen(name) for name in keys.event_streams())
        assert client.exists(keys.DUE) == 0


async def test_events_hold_no_number_no_code_and_no_credential(
    told: Told, desk: Desk, valkey_url: str
) -> None:
    """G12: every type, on the wire and in Redis on its way; the subject is the caller's own word, sealed at rest."""
    service, receiver, endpoint = told
    await service.container.relay.stop()  # so that everything can be seen on its way
    challenge = await service.request(subject="user-secret-1")
    code = service.code()
    await service.verify(challenge, service.wrong_code())
    await service.verify(challenge, code)
    receipt = {"group_id": 3, "receipt": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}
    await desk.events.publish("shop", "optin.confirmed", receipt)
    private = [TO, TO[1:], TO[-7:], code, endpoint.secrets[0][6:]]
    at_rest = dump(valkey_url)
    for secret in [*private, "user-secret-1", receipt["receipt"], "key=1"]:
        assert not as_a_word(secret, at_rest)

    await service.container.relay.start()
    await receiver.wait_for(4)

    for each in receiver.received:
        sent = each.body + json.dumps(each.headers)
        credential = service.http.headers["authorization"].split()[1]
        for secret in [*private, credential]:
            assert not as_a_word(secret, sent)


def as_a_word(secret: str, text: str) -> bool:
    """Within a random word or a time it may be by chance."""
    return bool(re.search(rf"(?<![0-9A-Za-z]){re.escape(secret)}(?![0-9A-Za-z])", text))


async def test_a_type_of_the_operator_is_told_to_who_asked_for_it(
    desk: Desk, receivers: Receivers
) -> None:
    asking, silent = await receivers(), await receivers()
    await desk.endpoint(asking.url, "credit.low")
    await desk.endpoint(silent.url, caller="other")

    await desk.events.broadcast("credit.low", {"amount": "12", "unit": "EUR"})
    await desk.worker.run_due()

    assert asking.types == ["credit.low"]
    assert silent.received == []


async def test_both_secrets_sign_while_they_are_rotated(desk: Desk, receivers: Receivers) -> None:
    receiver = await receivers()
    old = await desk.endpoint(receiver.url)
    new = await desk.endpoint(receiver.url, caller="other")
    both = await desk.endpoint(receiver.url, caller="third", secrets=(*new.secrets, *old.secrets))
    await desk.queue(both)

    await desk.worker.run_due()

    (message,) = receiver.received
    for secret in both.secrets:
        assert Webhook(secret).verify(message.body, message.headers)["type"] == "challenge.created"
    assert len(message.headers["webhook-signature"].split(" ")) == 2


def test_every_type_is_documented(root) -> None:
    text = (root / "docs/events.md").read_text("utf-8")
    assert [event for event in EVENTS if f"`{event}`" not in text] == []


async def settled(desk: Desk) -> None:
    """Whatever was told has been handed over."""
    async with asyncio.timeout(60):
        while await desk.outgoing.waiting() or await entries(desk):
            await asyncio.sleep(0.02)


async def entries(desk: Desk) -> int:
    return sum([await desk.scripts.connection.client.xlen(name) for name in keys.event_streams()])


def dump(valkey_url: str) -> str:
    """All that webhooks leave in Redis."""
    found = []
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        for name in client.scan_iter(count=1000):
            if name.endswith(":events"):
                found.append(str(client.xrange(name)))
            elif name.startswith(("otp:webhooks:", "otp:{outgoing}:records:")):
                found.append(str(client.hgetall(name)))
    assert len(found) >= 3
    return "".join(found)
