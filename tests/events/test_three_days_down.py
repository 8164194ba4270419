"""
An endpoint is down for three days (X40): it is tried with growing pauses, what waits for it is bounded, logins go on.

Time moves by the clock inside the scripts. Of the service everything runs but the loops that send events: the test says
when it is a worker's turn, as often as turns fall due.
"""

from otp_service.services.webhooks import RETRY_SECONDS
from tests.conftest import Service, Starter
from tests.events.conftest import Desk, Receivers
from tests.reliability.harness import number

HOUR = 3600
DAYS = 3


async def logs_in(service: Service, i: int) -> None:
    challenge = await service.request(to=number(i), subject=f"user-{i}")
    assert challenge["delivery"]["status"] == "accepted"
    assert (await service.verify(challenge, service.code(number(i)))).status_code == 200


async def test_an_endpoint_that_is_down_for_three_days_costs_few_tries_and_no_login(
    start_service: Starter, small_desk: Desk, receivers: Receivers
) -> None:
    """X40: every hour somebody logs in, which makes events; the endpoint comes back and gets what was kept."""
    desk = small_desk  # keeps 30 messages and 20 dead letters of an endpoint
    service = await start_service()
    await service.container.relay.stop()
    receiver = await receivers(statuses=[503])
    endpoint = await desk.endpoint(receiver.url)
    first = await desk.queue(endpoint, name="first")

    for hour in range(DAYS * 24):
        await desk.queue(endpoint, name=f"{hour}")
        if hour % 6 == 0:
            await logs_in(service, hour)
        assert await desk.outgoing.waiting() <= 30
        for _ in range(4):
            await desk.worker.run_due()
            desk.advance(HOUR / 4)
        service.advance(HOUR)

    tries = [each.id for each in receiver.received]
    assert tries.count(first) <= len(RETRY_SECONDS) + 1
    assert len(tries) <= DAYS * 24 * 4  # one a turn, whatever waits
    assert await desk.outgoing.waiting() <= 30
    assert len(await desk.outgoing.dead_letters(endpoint.name)) <= 20

    receiver.statuses[:] = [204]
    receiver.received.clear()
    waited = await desk.outgoing.waiting()
    desk.advance(2 * RETRY_SECONDS[-1])
    while await desk.worker.run_due():
        pass
    assert len({each.id for each in receiver.received}) == waited > 0
    assert await desk.outgoing.waiting() == 0
    await logs_in(service, 99)
