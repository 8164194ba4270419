"""A service that delivers at once but looks at its traces only when a test says so, and the site's outbox."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY

from tests.conftest import Sandbox, Service, running_service

Traced = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start_traced(
    environment: dict[str, str], sandbox: Sandbox, frozen_at_ms: int | None
) -> AsyncIterator[Traced]:
    """`await start_traced(OTP_WSMS_SCRUB_OUTBOX="true")`; with `deliver=False` a test starts the worker itself."""
    async with AsyncExitStack() as stack:

        async def start(*, deliver: bool = True, **changes: str) -> Service:
            own = {**environment, "OTP_DELIVER": "false", **changes}
            service = await stack.enter_async_context(
                running_service(own, sandbox, frozen_at_ms=frozen_at_ms)
            )
            if deliver:
                await service.container.worker.start()
            stack.push_async_callback(service.container.worker.stop)
            return service

        yield start


@pytest.fixture
async def traced(start_traced: Traced) -> Service:
    return await start_traced()


@pytest.fixture
async def scrubbing(start_traced: Traced) -> Service:
    return await start_traced(OTP_WSMS_SCRUB_OUTBOX="true")


async def look(service: Service, *, after: float = 2.0) -> None:
    """Let time pass, and look at every trace that is due then."""
    service.advance(after)
    await service.container.reconciliation.sweep()


def outbox(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The site's outbox, newest first, as an administrator sees it."""
    return list(sandbox.state()["outbox"])


def faults(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The faults that are left."""
    return list(sandbox.ask("GET", "faults").json()["faults"])


def cron(sandbox: Sandbox) -> None:
    """Let the site send what it queued."""
    sandbox.ask("POST", "cron")


def metric(name: str, **labels: str) -> float:
    """A metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def may(sandbox: Sandbox, *capabilities: str) -> None:
    """Give the service's WordPress user these capabilities and no others."""
    user = {"login": "otp", "capabilities": list(capabilities)}
    sandbox.ask("PUT", "users", json=user)


def passwords(sandbox: Sandbox, *application_passwords: str) -> None:
    """Give the service's WordPress user these application passwords and no others."""
    user = {"login": "otp", "application_passwords": list(application_passwords)}
    sandbox.ask("PUT", "users", json=user)


@pytest.fixture
def capable(sandbox: Sandbox) -> Any:
    """All capabilities again afterwards: a reset of the sandbox keeps its accounts."""
    yield
    may(sandbox, "wpsms_sendsms", "wpsms_subscribers", "wpsms_outbox", "wpsms_setting")


def traces(valkey_url: str) -> list[str]:
    """The traces that are left."""
    with redis.Redis.from_url(valkey_url) as client:
        return sorted(key.decode() for key in client.scan_iter("otp:*:trace:*"))


@contextmanager
def at_time_zone(sandbox: Sandbox, name: str) -> Iterator[None]:
    """What the site writes meanwhile it writes in that zone's time, and reads it as its own zone's afterwards."""
    before = sandbox.ask("GET", "settings").json()["timezone"]
    sandbox.settings(timezone=name)
    yield
    sandbox.settings(timezone=before)
