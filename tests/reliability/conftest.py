"""What the reliability tests start and stop."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Sandbox
from tests.reliability.harness import (
    Gate,
    Process,
    SiteGate,
    gate_before,
    gate_before_site,
    serve,
    work,
)

Spawn = Callable[..., Process]


@pytest.fixture
def stands_at() -> None:
    """Time goes on: other processes share the Redis."""


@pytest.fixture
async def gate(
    valkey_url: str, environment: dict[str, str]
) -> AsyncIterator[tuple[Gate, dict[str, str]]]:
    """A gate before Redis, and an environment whose Redis is behind it."""
    async with gate_before(valkey_url) as (found, url):
        yield found, {**environment, "OTP_REDIS_URL": url}


@pytest.fixture
async def site_gate(sandbox: Sandbox) -> AsyncIterator[SiteGate]:
    """A gate before the site, shut."""
    async with gate_before_site(sandbox) as found:
        yield found


@pytest.fixture
def spawn_worker() -> Iterator[Spawn]:
    """Start `otp-service worker` with an environment."""
    with ExitStack() as stack:

        def start(environment: dict[str, str]) -> Process:
            process = work(environment)
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture
def spawn_server() -> Iterator[Spawn]:
    """Start `otp-service serve` with an environment."""
    with ExitStack() as stack:

        def start(environment: dict[str, str]) -> Process:
            process = serve(environment)
            stack.callback(process.close)
            return process

        yield start
