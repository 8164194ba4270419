"""What the sandbox's tests share: a site in memory and clients for it."""

import base64
from collections.abc import AsyncIterator

import httpx
import pytest
from recorded_sites import PASSWORD, Clock, accounts

from otp_service.sandbox.app import create_app
from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.site import Site


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> Site:
    """The default site with the recordings' accounts, two groups, and time that only moves by sleeping."""
    return Site(
        SiteSettings(),
        users=accounts(),
        groups=("Staff", "Ops"),
        now=clock.now,
        sleep=clock.sleep,
        draw_code=lambda: 5678,
    )


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator, over ASGI."""
    transport = httpx.ASGITransport(create_app(site, hosts=["sandbox.test"]))
    token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://sandbox.test/wp-json/wpsms/v1/", headers=headers
    ) as client:
        yield client
