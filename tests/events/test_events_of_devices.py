"""What happens to a person's remembered devices is told, a copied token above all."""

import json
from typing import Any

import pytest
import redis

from otp_service.store import keys
from tests.conftest import Service, Starter
from tests.devices.conftest import USER, People
from tests.events.conftest import Desk, Receivers
from tests.events.receiver import Receiver
from tests.events.test_events_of_factors import authenticator, data, settled

WORDS = ("device.remembered", "device.forgotten", "device.reused")


@pytest.fixture
async def receiver(desk: Desk, receivers: Receivers) -> Receiver:
    """An endpoint that hears of devices only."""
    receiver = await receivers()
    await desk.endpoint(receiver.url, *WORDS)
    return receiver


@pytest.fixture
async def people(receiver: Receiver, start_service: Starter) -> People:
    """After the endpoint, which a service knows for five seconds."""
    return People(await start_service(OTP_LIMIT_RECIPIENT="1000/1d", OTP_COOLDOWN="1"))


def about(device: dict[str, Any]) -> dict[str, Any]:
    return {"caller": "shop", "subject": USER, "device": {"device_id": device["device_id"]}}


async def test_a_device_is_told_as_it_is_remembered_and_forgotten(
    people: People, receiver: Receiver
) -> None:
    one, other = await people.remembered(), await people.remembered()
    await people.service.http.delete(f"/devices/{one['device_id']}")
    await people.service.http.delete("/devices", params={"subject": USER})

    found = await data(receiver, 4)

    assert sorted(found[:2], key=str) == sorted(
        (("device.forgotten", about(device)) for device in (one, other)), key=str
    )
    assert sorted(found[2:], key=str) == sorted(
        (("device.remembered", about(device)) for device in (one, other)), key=str
    )
    assert one["token"] not in "".join(each.body for each in receiver.received)


async def test_a_copied_token_is_told_once(people: People, receiver: Receiver, desk: Desk) -> None:
    device = await people.remembered()
    await people.verified(device["token"])
    people.service.advance(11)
    for _ in range(3):
        assert (await people.verify(device["token"])).json()["code"] == "device_reused"
    await people.service.http.delete("/devices", params={"subject": USER})

    found = await data(receiver, 2)

    await settled(desk)
    assert found == [("device.remembered", about(device)), ("device.reused", about(device))]
    assert len(receiver.received) == 2, "of a device that is of no use there is nothing to forget"


async def test_devices_that_go_with_an_authenticator_or_for_a_newer_one_are_told(
    people: People, receiver: Receiver
) -> None:
    factor_id, _ = await authenticator(people.service)
    devices = [await people.remembered() for _ in range(11)]
    await people.service.http.delete(f"/factors/{factor_id}")

    found = await data(receiver, 22)

    gone = [told["device"]["device_id"] for word, told in found if word == "device.forgotten"]
    assert sorted(gone) == sorted(device["device_id"] for device in devices)


async def test_without_an_endpoint_nothing_of_devices_is_written(
    service: Service, valkey_url: str
) -> None:
    people = People(service)
    device = await people.remembered()
    await people.verified(device["token"])
    service.advance(11)
    await people.verify(device["token"])

    with redis.Redis.from_url(valkey_url) as client:
        assert not any(client.xlen(name) for name in keys.event_streams())


async def test_whose_a_device_is_is_sealed(people: People, valkey_url: str) -> None:
    """E: neither the device nor an event on its way names the person in clear."""
    await people.service.container.relay.stop()
    await people.remembered("person-8a6f11")

    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        kept = [client.xrange(name) for name in keys.event_streams() if client.xlen(name)]
        devices = [client.hgetall(name) for name in client.scan_iter("otp:*:devices:*")]

    assert len(devices) == 1
    assert "device.remembered" in json.dumps(kept)
    assert "person-8a6f11" not in json.dumps([kept, devices])
