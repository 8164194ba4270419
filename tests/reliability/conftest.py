"""What the reliability tests start and stop."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from otp_service.cli import valkey
from otp_service.cli.valkey import Valkey
from otp_service.store.script_sources import names, source
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
from tests.reliability.own_redis import Own, end

Spawn = Callable[..., Process]


@pytest.fixture
def frozen_at_ms() -> None:
    """Time goes on: other processes share the Redis."""


@pytest.fixture
async def gate(
    valkey_url: str, environment: dict[str, str]
) -> AsyncIterator[tuple[Gate, dict[str, str]]]:
    """A gate before Redis, which knows all scripts: what is held runs. And an environment whose Redis is behind it."""
    with redis.Redis.from_url(valkey_url) as client:
        for name in names():
            client.script_load(source(name))
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

        def start(environment: dict[str, str], **how: int | None) -> Process:
            process = serve(environment, **how)
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Own]:
    """Start servers that the test may harm: `own_valkey("name", "--option", "value")`."""
    with ExitStack() as stack:

        def start(name: str = "primary", *options: str, **places: Any) -> Valkey:
            if "port" not in places:  # held, so that a server that died can come back to it
                places["port"] = stack.enter_context(valkey.free_port())
            server = valkey.start(tmp_path / name, options=options, **places)
            stack.callback(end, server)
            return server

        yield start
