"""A message is found at its time, whatever the site makes of it; what is deleted is seen to be gone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from otp_service.channels.outbox import OutboxUnavailable, WsmsOutbox
from otp_service.core.challenge import DeliveryStatus
from otp_service.sandbox.app import create_app
from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.site import Site
from otp_service.sandbox.users import default_user
from otp_service.wsms import WsmsClient
from otp_service.wsms.site import Site as SiteApi
from tests.conftest import PASSWORD, TO

HALF_AN_HOUR = timedelta(minutes=30)


class Clock:
    """The site's clock, moved by hand."""

    now = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def site_in(zone: str) -> AsyncIterator[tuple[Clock, Any, WsmsOutbox]]:
    clock = Clock()
    site = Site(
        SiteSettings(timezone=zone, unstable_ties=True),
        users=[default_user("otp", PASSWORD)],
        now=lambda: clock.now,
    )
    transport = httpx.ASGITransport(create_app(site))
    async with WsmsClient("http://127.0.0.1", "otp", PASSWORD, transport=transport) as wsms:

        async def send(at: datetime, text: str = "123456") -> None:
            clock.now = at
            await wsms.send(message=text, numbers=TO)

        yield clock, send, WsmsOutbox(wsms)


@pytest.mark.parametrize("minute", range(0, 180, 15))
async def test_in_the_night_that_repeats_an_hour(minute: int) -> None:
    """25 October 2026 in Berlin: 03:00 becomes 02:00, and the site does not say which 02:30 it means."""
    sent_at = datetime(2026, 10, 25, 0, 0, tzinfo=UTC) + timedelta(minutes=minute)
    async with site_in("Europe/Berlin") as (_, send, outbox):
        await send(sent_at)

        found = await outbox.find(TO, since=sent_at, until=sent_at + HALF_AN_HOUR)

    assert [sent.status for sent in found] == [DeliveryStatus.ACCEPTED]


@pytest.mark.parametrize("minute", range(0, 120, 15))
async def test_in_the_night_that_skips_an_hour(minute: int) -> None:
    """29 March 2026 in Berlin: 02:00 becomes 03:00."""
    sent_at = datetime(2026, 3, 29, 0, 0, tzinfo=UTC) + timedelta(minutes=minute)
    async with site_in("Europe/Berlin") as (_, send, outbox):
        await send(sent_at)

        assert await outbox.find(TO, since=sent_at, until=sent_at + HALF_AN_HOUR)
        earlier = sent_at - timedelta(hours=1)
        assert not await outbox.find(TO, since=earlier, until=earlier + HALF_AN_HOUR)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize("hour", [0, 9, 23])
async def test_at_any_hour_of_any_zone(zone: str, hour: int) -> None:
    """The filter of the site knows whole days of its own only."""
    sent_at = datetime(2026, 12, 31, hour, 59, tzinfo=UTC)
    async with site_in(zone) as (_, send, outbox):
        await send(sent_at)

        assert await outbox.find(TO, since=sent_at, until=sent_at + HALF_AN_HOUR)


async def test_older_and_newer_messages_to_the_number_are_left_out() -> None:
    now = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    async with site_in("Europe/Berlin") as (_, send, outbox):
        for minutes in (-60, -11, 41, 90):
            await send(now + timedelta(minutes=minutes), "elsewhen")
        for minutes in (9, 0, -9):
            await send(now + timedelta(minutes=minutes), f"at {minutes}")

        found = await outbox.find(TO, since=now, until=now + HALF_AN_HOUR)

    assert found[0].text == "at 0"
    assert {sent.text for sent in found} == {"at 0", "at 9", "at -9"}


async def test_a_site_that_moves_to_another_zone_is_asked_again() -> None:
    sent_at = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    clock = 0.0
    site = Site(users=[default_user("otp", PASSWORD)], now=lambda: sent_at)
    transport = httpx.ASGITransport(create_app(site))
    async with WsmsClient("http://127.0.0.1", "otp", PASSWORD, transport=transport) as wsms:
        there = SiteApi(wsms.site._calls, clock=lambda: clock)
        assert str(await there.zone()) == "UTC"
        site.settings.timezone = "Asia/Tokyo"
        assert str(await there.zone()) == "UTC"
        clock = 601.0
        assert str(await there.zone()) == "Asia/Tokyo"


async def test_a_row_that_is_only_said_to_be_deleted() -> None:
    row = {
        "id": 7,
        "date": "2026-06-01 12:00:00",
        "sender": "",
        "recipient": TO,
        "message": "123456",
        "status": "success",
    }

    def lie(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and "outbox" not in request.url.path:
            return httpx.Response(200, json={"namespaces": ["wpsms/v1"], "timezone_string": "UTC"})
        data = row if request.method == "GET" else []
        return httpx.Response(200, json={"message": "Done", "error": [], "data": data})

    transport = httpx.MockTransport(lie)
    async with WsmsClient("http://127.0.0.1", "otp", PASSWORD, transport=transport) as wsms:
        with pytest.raises(OutboxUnavailable, match="still_there"):
            await WsmsOutbox(wsms).delete(7)
