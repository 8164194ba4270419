"""What is not taken is tried again, for three days, and then kept; time moves by the clock inside the scripts."""

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from otp_service.services import webhooks
from otp_service.services.webhooks import LEASE_MS, RETRY_SECONDS
from otp_service.store import keys, outgoing
from otp_service.store.callers import Callers
from otp_service.store.outgoing import LATEST_TURN_MS
from tests.conftest import Service
from tests.events.conftest import Desk, Receivers, make_desk


async def test_a_failure_is_tried_again_under_the_same_id_with_growing_pauses(
    desk: Desk, receivers: Receivers
) -> None:
    receiver = await receivers(statuses=[500])
    endpoint = await desk.endpoint(receiver.url)
    message_id = await desk.queue(endpoint)
    await desk.worker.run_due()

    for number, pause in enumerate(RETRY_SECONDS, 1):
        desk.advance(min(pause, LATEST_TURN_MS / 1000) * 0.9)
        await desk.worker.run_due()
        assert len(receiver.received) == number, f"before {pause} s are over"
        desk.advance(pause * (1 + webhooks.JITTER))
        await desk.worker.run_due()
        assert len(receiver.received) == number + 1, f"after {pause} s"

    assert {each.id for each in receiver.received} == {message_id}
    assert [each.verify(endpoint.secrets[0])["data"] for each in receiver.received] == [
        {"n": "1"}
    ] * 10
    assert len({each.headers["webhook-signature"] for each in receiver.received}) >= 1
    ((dead_id, record),) = await desk.outgoing.dead_letters(endpoint.name)
    assert (dead_id, record.tries, record.last) == (message_id, 10, "http_500")
    assert await desk.outgoing.waiting() == 0
    assert sum(RETRY_SECONDS) > 3 * 86_400


async def test_each_try_has_its_own_time(desk: Desk, receivers: Receivers) -> None:
    receiver = await receivers(statuses=[500, 204])
    endpoint = await desk.endpoint(receiver.url)
    await desk.queue(endpoint)
    times = iter([1_700_000_000.7, 1_700_000_006.2])
    desk.worker._clock = lambda: next(times)

    await desk.worker.run_due()
    desk.advance(6)
    await desk.worker.run_due()

    assert [each.headers["webhook-timestamp"] for each in receiver.received] == [
        "1700000000",
        "1700000006",
    ]
    assert len({each.headers["webhook-signature"] for each in receiver.received}) == 2


async def test_no_pause_is_shorter_than_promised_and_they_differ() -> None:
    pauses = [webhooks.pause_ms(2) for _ in range(50)]
    assert all(300_000 <= (pause or 0) <= 330_000 for pause in pauses)
    assert len(set(pauses)) > 10


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_any_2xx_is_success(desk: Desk, receivers: Receivers, status: int) -> None:
    receiver = await receivers(statuses=[status])
    endpoint = await desk.endpoint(receiver.url)
    await desk.queue(endpoint)

    await desk.worker.run_due()
    desk.advance(86_400)
    await desk.worker.run_due()

    assert len(receiver.received) == 1
    assert await desk.outgoing.waiting() == 0
    assert await desk.outgoing.dead_letters(endpoint.name) == []


async def test_a_redirect_is_a_failure_and_not_followed(desk: Desk, receivers: Receivers) -> None:
    """G09."""
    inner = await receivers()
    receiver = await receivers(statuses=[302], headers=f"location: {inner.url}\r\n")
    endpoint = await desk.endpoint(receiver.url)
    await desk.queue(endpoint)

    await desk.worker.run_due()

    assert len(receiver.received) == 1
    assert inner.received == []
    assert await desk.outgoing.waiting() == 1


async def test_410_switches_the_endpoint_off_and_keeps_what_waited(
    desk: Desk, receivers: Receivers
) -> None:
    """G11."""
    receiver = await receivers(statuses=[410])
    endpoint = await desk.endpoint(receiver.url)
    for name in "123":
        await desk.queue(endpoint, name=name)

    await desk.worker.run_due()
    await desk.worker.run_due()

    assert len(receiver.received) == 1
    assert (await desk.find(endpoint)).off == "http_410"
    assert not await desk.events.wanted("shop")
    assert len(await desk.outgoing.dead_letters(endpoint.name)) == 3


async def test_a_dead_letter_can_be_sent_again(desk: Desk, receivers: Receivers) -> None:
    receiver = await receivers(statuses=[410, 204])
    endpoint = await desk.endpoint(receiver.url)
    message_id = await desk.queue(endpoint)
    await desk.worker.run_due()
    await desk.webhooks.switch_on(endpoint)
    ((_, record),) = await desk.outgoing.dead_letters(endpoint.name)

    assert await desk.outgoing.enqueue(endpoint.name, message_id, record, again=True) == 0
    assert await desk.outgoing.enqueue(endpoint.name, message_id, record, again=True) is None
    await desk.worker.run_due()

    assert [each.id for each in receiver.received] == [message_id] * 2
    assert await desk.outgoing.dead_letters(endpoint.name) == []


async def test_the_same_event_is_queued_once(desk: Desk, receivers: Receivers) -> None:
    receiver = await receivers(statuses=[500, 410])
    endpoint = await desk.endpoint(receiver.url)
    await desk.queue(endpoint)
    await desk.queue(endpoint)
    await desk.worker.run_due()
    await desk.queue(endpoint)  # relayed again while its next try is ahead
    desk.advance(4)
    await desk.worker.run_due()
    assert len(receiver.received) == 1

    desk.advance(3)
    await desk.worker.run_due()
    await desk.webhooks.switch_on(endpoint)
    await desk.queue(endpoint)  # and once it was given up
    await desk.worker.run_due()
    assert len(receiver.received) == 2


async def test_what_a_killed_worker_was_sending_is_sent_again_under_the_same_id(
    desk: Desk, receivers: Receivers, environment: dict[str, str], root: Path
) -> None:
    receiver = await receivers(statuses=[0, 204])
    endpoint = await desk.endpoint(receiver.url)
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "otp_service", "worker"],
        env={**environment, "OTP_ADMIN_PORT": "0", "PATH": ""},
        stdout=subprocess.DEVNULL,
        cwd=root,
    )
    try:
        message_id = await desk.queue(endpoint)
        await receiver.wait_for(1)
    finally:
        process.kill()
        process.wait(60)

    assert await desk.worker.run_due() == 0, "its turn is not over"
    desk.advance(LEASE_MS / 1000 + 3600)  # by its clock, which did not stand still
    assert await desk.worker.run_due() == 1

    assert [each.id for each in receiver.received] == [message_id] * 2
    assert await desk.outgoing.waiting() == 0


async def test_an_entry_that_a_killed_reader_left_is_relayed_by_another(
    desk: Desk, receivers: Receivers, service: Service
) -> None:
    """Twice relayed is once queued: both times it is the same message."""
    receiver = await receivers()
    await desk.endpoint(receiver.url)
    relay = service.container.relay
    await relay.stop()
    await service.request()
    streams = relay._streams
    entries = await streams.read(streams.reading_groups[0], count=16, block_ms=100)
    taken_out = streams.take_out

    async def die(name: str, entry_id: str) -> None:
        """As if it had been killed between the two."""

    streams.take_out = die
    for entry in entries:
        await relay.relay(entry)
    streams.take_out = taken_out
    for entry in await streams.claim_idle(idle_ms=0):
        await relay.relay(entry)
    await desk.worker.run_due()

    assert sorted(receiver.types) == ["challenge.created", "delivery.accepted"]
    assert await streams.waiting() == 0


async def test_a_removed_endpoint_leaves_nothing_behind(desk: Desk, receivers: Receivers) -> None:
    receiver = await receivers()
    endpoint = await desk.endpoint(receiver.url)
    await desk.queue(endpoint)
    await desk.webhooks.remove(endpoint)

    await desk.worker.run_due()

    assert receiver.received == []
    client = desk.scripts.connection.client
    assert [name async for name in client.scan_iter(match="otp:{outgoing}*")] == []


async def test_who_removes_a_caller_removes_its_endpoints(desk: Desk, receivers: Receivers) -> None:
    receiver = await receivers()
    endpoint = await desk.endpoint(receiver.url)
    await desk.queue(endpoint)
    await Callers(desk.scripts.connection).remove("shop")

    await desk.worker.run_due()

    assert receiver.received == []
    assert await desk.webhooks.all(desk.ring) == []


async def test_logins_go_on_while_ten_thousand_events_wait_for_a_dead_endpoint(
    desk: Desk, service: Service
) -> None:
    """G11."""
    down = await desk.endpoint("http://127.0.0.1:9/hook")
    names = [str(n) for n in range(10_000)]
    for first in range(0, len(names), 50):
        batch = names[first : first + 50]
        await asyncio.gather(*(desk.queue(down, name=name) for name in batch))

    async with asyncio.timeout(60):  # they wait for nothing of it
        challenge = await service.request()
        verified = await service.verify(challenge, service.code())

    assert verified.status_code == 200
    assert await desk.outgoing.waiting() <= outgoing.WAITING_AT_MOST
    client = desk.scripts.connection.client
    kept = await client.hlen(f"otp:{{outgoing}}:records:{down.name}")
    assert kept <= outgoing.WAITING_AT_MOST + outgoing.DEAD_AT_MOST


async def test_a_storm_for_a_dead_endpoint_is_bounded_and_the_oldest_go(
    small_desk: Desk, receivers: Receivers
) -> None:
    """G11."""
    desk = small_desk
    down = await desk.endpoint("http://127.0.0.1:9/hook")
    up = await receivers()
    other = await desk.endpoint(up.url, caller="other")
    names = [f"{n:03}" for n in range(100)]
    for name in names:
        await desk.queue(down, name=name)
        desk.advance(0.01)
    await desk.queue(other)

    await desk.worker.run_due()

    assert len(up.received) == 1, "another caller's goes out at once"
    client = desk.scripts.connection.client
    waiting = await client.zrange(f"otp:{{outgoing}}:waiting:{down.name}", 0, -1)
    assert sorted(each[-3:] for each in waiting) == names[70:]
    dead = [message_id[-3:] for message_id, _ in await desk.outgoing.dead_letters(down.name)]
    assert dead == names[50:70]
    assert await client.hlen(f"otp:{{outgoing}}:records:{down.name}") == 50


async def test_a_dead_endpoint_costs_one_try_a_turn(desk: Desk, receivers: Receivers) -> None:
    """G11."""
    receiver = await receivers(statuses=[503])
    endpoint = await desk.endpoint(receiver.url)
    for n in range(200):
        await desk.queue(endpoint, name=str(n))

    for _ in range(10):
        await desk.worker.run_due()
        desk.advance(1)

    assert len(receiver.received) <= 3


async def test_an_endpoint_that_hangs_holds_up_nobody(
    environment: dict[str, str], frozen_at_ms: int | None, receivers: Receivers
) -> None:
    """It hangs for longer than the other is waited for."""
    slow, quick = await receivers(statuses=[0]), await receivers()
    async with AsyncExitStack() as stack:
        desk = make_desk(environment, frozen_at_ms, stack, deadline=3600)
        hanging = await desk.endpoint(slow.url)
        other = await desk.endpoint(quick.url, caller="other")
        for n in range(20):
            await desk.queue(hanging, name=str(n))
        await desk.worker.start()
        try:
            await slow.wait_for(1)
            for n in range(20):
                await desk.queue(other, name=str(n))
            await quick.wait_for(20)
            assert len(slow.received) == 1
        finally:
            slow.released.set()
            await desk.worker.stop()


async def until_failing(desk: Desk, count: int) -> None:
    """Try everything that is due until so many endpoints are known to fail."""
    for _ in range(20):
        if await desk.scripts.connection.client.zcard(keys.FAILING) == count:
            return
        await desk.worker.run_due()
        desk.advance(1)
    raise AssertionError("not all were tried")


async def test_failing_endpoints_take_half_of_the_places(
    environment: dict[str, str], frozen_at_ms: int | None, receivers: Receivers
) -> None:
    """Eight of four callers failed before and hang now; the ninth's message arrives meanwhile."""
    slow, quick = await receivers(statuses=[500] * 8 + [0]), await receivers()
    async with AsyncExitStack() as stack:
        desk = make_desk(environment, frozen_at_ms, stack, deadline=3600)
        hanging = [await desk.endpoint(slow.url, caller=f"caller-{n % 4}") for n in range(8)]
        await desk.queue(*hanging)
        await until_failing(desk, 8)
        slow.received.clear()
        desk.advance(60)
        await desk.worker.start()
        try:
            await slow.wait_for(4)
            await desk.queue(await desk.endpoint(quick.url), name="2")
            await quick.wait_for(1)
            assert len(slow.received) == 4
        finally:
            slow.released.set()
            await desk.worker.stop()


async def test_one_caller_takes_half_of_the_places(
    environment: dict[str, str], frozen_at_ms: int | None, receivers: Receivers
) -> None:
    """Nine endpoints of one caller hang at their first message."""
    slow, quick = await receivers(statuses=[0]), await receivers()
    async with AsyncExitStack() as stack:
        desk = make_desk(environment, frozen_at_ms, stack, deadline=3600)
        await desk.queue(*[await desk.endpoint(slow.url) for _ in range(9)])
        await desk.worker.start()
        try:
            await slow.wait_for(4)
            await desk.queue(await desk.endpoint(quick.url, caller="other"), name="2")
            await quick.wait_for(1)
            assert len(slow.received) == 4
        finally:
            slow.released.set()
            await desk.worker.stop()


async def test_endpoint_that_recovers_is_no_longer_failing(
    desk: Desk, receivers: Receivers
) -> None:
    receiver = await receivers(statuses=[500, 204])
    endpoint = await desk.endpoint(receiver.url)
    await desk.queue(endpoint)
    await until_failing(desk, 1)
    await desk.worker.run_due()  # nothing is due: that it fails is not forgotten
    await until_failing(desk, 1)
    desk.advance(60)
    await desk.worker.run_due()
    await desk.queue(endpoint, name="2")
    client = desk.scripts.connection.client
    assert [await client.zcard(key) for key in (keys.DUE, keys.FAILING)] == [1, 0]


async def test_an_endpoint_that_came_back_gets_all_that_waited(
    desk: Desk, receivers: Receivers
) -> None:
    receiver = await receivers(statuses=[503, 503, 204])
    endpoint = await desk.endpoint(receiver.url)
    for n in range(50):
        await desk.queue(endpoint, name=str(n))
    for _ in range(10):
        await desk.worker.run_due()
        desk.advance(70)
    desk.advance(400)
    await desk.worker.run_due()

    assert len({each.id for each in receiver.received}) == 50
    assert await desk.outgoing.waiting() == 0
