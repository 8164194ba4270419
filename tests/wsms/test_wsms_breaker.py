"""The breaker spares a sick site, and the client feeds it with the failures that mean sickness."""

import asyncio

import pytest
from odd_sites import NUMBER, SUCCESS, Now, OddSite, Talk, client_of

from otp_service.wsms import (
    Accepted,
    CapabilityMissing,
    Circuit,
    CircuitBreaker,
    Refused,
    RefusedReason,
    SendOutcome,
    SiteDown,
    WsmsClient,
)


def breaker_of(now: Now, failures: int = 3) -> CircuitBreaker:
    return CircuitBreaker(failures=failures, open_for=30.0, clock=now)


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.admit()
        assert permit is not None
        permit.failed()


def test_it_opens_after_so_many_failures_in_a_row(now: Now) -> None:
    breaker = breaker_of(now)

    fail(breaker, 2)
    assert not breaker.is_open
    fail(breaker)

    assert breaker.is_open
    assert breaker.state is Circuit.OPEN
    assert breaker.retry_after == 30.0
    assert breaker.admit() is None


def test_a_success_starts_the_count_afresh(now: Now) -> None:
    breaker = breaker_of(now)

    fail(breaker, 2)
    permit = breaker.admit()
    assert permit is not None
    permit.succeeded()
    fail(breaker, 2)

    assert not breaker.is_open


def test_half_open_lets_one_probe_through(now: Now) -> None:
    breaker = breaker_of(now)
    fail(breaker, 3)
    now.seconds += 30

    assert breaker.state is Circuit.HALF_OPEN
    assert not breaker.is_open
    probe = breaker.admit()
    assert probe is not None
    assert breaker.is_open
    assert breaker.admit() is None
    assert breaker.retry_after == 1.0
    probe.succeeded()

    assert breaker.state is Circuit.CLOSED
    assert breaker.retry_after == 0.0


def test_a_failed_probe_opens_it_again_at_once(now: Now) -> None:
    breaker = breaker_of(now)
    fail(breaker, 3)
    now.seconds += 31
    fail(breaker)

    assert breaker.state is Circuit.OPEN
    assert breaker.retry_after == 30.0


def test_an_abandoned_probe_makes_room_for_another(now: Now) -> None:
    """A cancelled probe must not leave the circuit open for ever."""
    breaker = breaker_of(now)
    fail(breaker, 3)
    now.seconds += 30
    probe = breaker.admit()
    assert probe is not None
    probe.abandoned()

    assert breaker.admit() is not None


def test_an_end_from_before_it_opened_changes_nothing(now: Now) -> None:
    """A slow call that ends well minutes later says nothing about the site now."""
    breaker = breaker_of(now)
    slow = breaker.admit()
    assert slow is not None
    fail(breaker, 3)
    slow.succeeded()

    assert breaker.is_open


def test_a_pause_opens_it_for_as_long_as_the_site_asked(now: Now) -> None:
    breaker = breaker_of(now)
    breaker.pause(7)

    assert breaker.retry_after == 7
    now.seconds += 7
    assert not breaker.is_open


@pytest.mark.parametrize(("failures", "open_for"), [(0, 1.0), (1, 0.0)])
def test_senseless_settings_are_refused(failures: int, open_for: float) -> None:
    with pytest.raises(ValueError, match="breaker"):
        CircuitBreaker(failures=failures, open_for=open_for)


async def send(client: WsmsClient) -> SendOutcome:
    return await client.send(message="x", numbers=NUMBER)


@pytest.mark.parametrize("status", [401, 403, 500, 502, 503])
async def test_an_open_circuit_refuses_without_a_call(odd: OddSite, now: Now, status: int) -> None:
    """X30: a revoked credential does not become a hot loop, nor does a broken site."""
    odd.answers(status, {"code": "rest_forbidden", "message": "m", "data": {"status": status}})
    async with client_of(odd.url, breaker=breaker_of(now)) as client:
        for _ in range(3):
            await send(client)
        outcome = await send(client)

        assert client.breaker.is_open
        assert isinstance(outcome, Refused)
        assert outcome.reason is RefusedReason.CIRCUIT_OPEN
        assert outcome.retry_after == 30.0
        assert len(odd.seen) == 3

        with pytest.raises(SiteDown) as caught:
            await client.credit.stored()
        assert not caught.value.maybe_done
        assert caught.value.retry_after == 30.0
        assert len(odd.seen) == 3

        now.seconds += 30
        odd.answers(200, SUCCESS)
        assert not client.breaker.is_open


async def test_the_probe_closes_it(odd: OddSite, now: Now) -> None:
    odd.answers(500)
    async with client_of(odd.url, breaker=breaker_of(now)) as client:
        for _ in range(3):
            await send(client)
    odd.answers(200, SUCCESS)
    now.seconds += 30
    async with client_of(odd.url, breaker=client.breaker) as client:
        assert isinstance(await send(client), Accepted)
        assert client.breaker.state is Circuit.CLOSED


async def test_a_gateway_that_fails_is_no_reason_to_open(odd: OddSite, now: Now) -> None:
    """The site is alive; the next number may have another provider."""
    odd.answers(400, {"error": {"code": 400, "message": "provider says no"}})
    async with client_of(odd.url, breaker=breaker_of(now, failures=1)) as client:
        await send(client)

        assert not client.breaker.is_open


async def test_a_capability_that_another_call_lacks_does_not_stop_sends(
    odd: OddSite, now: Now
) -> None:
    odd.answers(403, {"code": "rest_forbidden", "message": "m", "data": {"status": 403}})
    async with client_of(odd.url, breaker=breaker_of(now, failures=1)) as client:
        with pytest.raises(CapabilityMissing) as caught:
            await client.credit.stored()

        assert caught.value.capability == "wpsms_setting"
        assert not client.breaker.is_open


@pytest.mark.parametrize(("header", "pause"), [("7", 7.0), ("86400", 300.0)])
async def test_retry_after_is_honoured_within_reason(
    odd: OddSite, now: Now, header: str, pause: float
) -> None:
    """X31."""
    odd.answers(429, b"", {"Retry-After": header})
    async with client_of(odd.url, breaker=breaker_of(now)) as client:
        await send(client)

        assert client.breaker.retry_after == pause


async def test_a_cancelled_probe_leaves_room_for_the_next(odd: OddSite, now: Now) -> None:
    async def hang(talk: Talk, site: OddSite) -> None:
        await site.read(talk)
        await site.ended.wait()

    odd.behave = hang
    async with client_of(odd.url, breaker=breaker_of(now)) as client:
        fail(client.breaker, 3)
        now.seconds += 30
        probe = asyncio.create_task(client.send(message="x", numbers=NUMBER))
        await odd.asked.wait()
        assert client.breaker.is_open
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)

        assert not client.breaker.is_open
