"""The running service by the plugin that callers use, and both clients as one."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pyotp
import pytest

from otp_service.client import AsyncClient, Client, InvalidCode, TotpEnrolled
from otp_service.pytest_plugin import RunningService, otp_service, otp_settings
from tests.client.scripted import Scripted, scripted_server
from tests.conftest import NO_TLS

__all__ = ["otp_service", "otp_settings"]  # a conftest below the top may not name plugins


class Caller:
    """Either client, its methods to be awaited: one test says of both what they do."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.client, name)

        async def call(**arguments: Any) -> Any:
            answer = method(**arguments)
            return await answer if isinstance(self.client, AsyncClient) else answer

        return call


@pytest.fixture(params=["sync", "async"])
async def otp(otp_service: RunningService, request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    """A client of the running service."""
    url, credential = otp_service.url, otp_service.credential
    async with opened(request.param, url, credential, timeout=60) as caller:
        yield caller


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server that answers as told."""
    with scripted_server() as server:
        yield server


async def confirm(otp: Caller | AsyncClient, enrolled: TotpEnrolled) -> None:
    """Confirm by the code of the past step, so that the current one is left for the test."""
    try:
        code = pyotp.TOTP(enrolled.secret).at(int(time.time()) - 30)
        await otp.confirm_totp(factor_id=enrolled.factor_id, code=code)
    except InvalidCode:  # a new step began in between
        code = pyotp.TOTP(enrolled.secret).at(int(time.time()) - 30)
        await otp.confirm_totp(factor_id=enrolled.factor_id, code=code)


@asynccontextmanager
async def opened(
    kind: str, url: str, credential: Any = "secret", **options: Any
) -> AsyncIterator[Caller]:
    """A client of that kind, closed at the end."""
    if kind == "sync":
        sync_transport = httpx.HTTPTransport(verify=NO_TLS)
        with Client(url, credential, transport=sync_transport, **options) as client:
            yield Caller(client)
    else:
        transport = httpx.AsyncHTTPTransport(verify=NO_TLS)
        async with AsyncClient(url, credential, transport=transport, **options) as client:
            yield Caller(client)
