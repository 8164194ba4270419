"""Fixtures of the WSMS client's tests; the servers themselves are in `odd_sites`."""

from collections.abc import AsyncIterator

import pytest
from odd_sites import PASSWORD, Now, OddSite, client_of, odd_site, served

from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.site import Site
from otp_service.sandbox.users import default_user
from otp_service.wsms import WsmsClient


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
async def odd() -> AsyncIterator[OddSite]:
    async with odd_site() as site:
        yield site


@pytest.fixture
async def client(odd: OddSite) -> AsyncIterator[WsmsClient]:
    """A client of the odd site."""
    async with client_of(odd.url) as wsms:
        yield wsms


@pytest.fixture
def sandbox_settings() -> SiteSettings:
    """Overridden by modules that need another site."""
    return SiteSettings()


@pytest.fixture
def sandbox(sandbox_settings: SiteSettings) -> Site:
    return Site(sandbox_settings, users=[default_user("otp", PASSWORD)], groups=["Staff", "News"])


@pytest.fixture
async def sandbox_url(sandbox: Site) -> AsyncIterator[str]:
    async with served(sandbox) as url:
        yield url


@pytest.fixture
async def wsms(sandbox_url: str) -> AsyncIterator[WsmsClient]:
    """A client of the sandbox."""
    async with client_of(sandbox_url) as client:
        yield client
