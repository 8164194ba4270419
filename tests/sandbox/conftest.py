"""What the sandbox's tests share: a site in memory and clients for it, and the count of the replay."""

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from recorded_sites import PASSWORD, Clock, accounts

from otp_service.sandbox.app import create_app
from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.site import Site

REPLAYED = pytest.StashKey[dict[str, int]]()


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
    transport = httpx.ASGITransport(create_app(site))
    token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://sandbox.test/wp-json/wpsms/v1/", headers=headers
    ) as client:
        yield client


@pytest.fixture(scope="session")
def replayed(pytestconfig: pytest.Config) -> Iterator[dict[str, int]]:
    """Exchanges replayed, by recording; the summary prints their sum."""
    counts: dict[str, int] = {}
    pytestconfig.stash[REPLAYED] = counts
    return counts


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counts = config.stash.get(REPLAYED, {})
    if counts:
        terminalreporter.write_line(
            f"sandbox: {sum(counts.values())} exchanges of {len(counts)} recordings replayed"
        )
