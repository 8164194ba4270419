from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from otp_service.channels.webhooks import WebhookChannel
from otp_service.connections import open_redis
from otp_service.core.events import Message, body, new_secret
from otp_service.core.keyring import Keyring
from otp_service.services.events import Events
from otp_service.services.webhooks import WebhookWorker
from otp_service.settings.environment import load
from otp_service.store.outgoing import Outgoing
from otp_service.store.scripts import Scripts
from otp_service.store.webhooks import Endpoint, Webhooks
from tests.conftest import Service, Starter
from tests.events.receiver import Receiver, receiving

Receivers = Callable[..., Awaitable[Receiver]]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "OTP_WEBHOOKS_ALLOW_PRIVATE": "true"}


@pytest.fixture
async def receivers() -> AsyncIterator[Receivers]:
    async with AsyncExitStack() as stack:

        async def start(**about: Any) -> Receiver:
            return await stack.enter_async_context(receiving(**about))

        yield start


@dataclass
class Desk:
    """The parts that send, without the loops that drive them: a test says when."""

    ring: Keyring
    scripts: Scripts
    webhooks: Webhooks
    outgoing: Outgoing
    events: Events
    worker: WebhookWorker

    async def endpoint(self, url: str, *types: str, caller: str = "shop", **about: Any) -> Endpoint:
        """Register one as it is, without looking at its address."""
        number = len(await self.webhooks.of(self.ring, caller))
        endpoint = Endpoint(
            id=f"ep_{number:016x}",
            caller=caller,
            url=url,
            types=frozenset(types),
            secrets=about.pop("secrets", (new_secret(),)),
            created_at=number,
        )
        await self.webhooks.put(self.ring, endpoint)
        return endpoint

    async def queue(
        self, *endpoints: Endpoint, name: str = "1", event: str = "challenge.created"
    ) -> str:
        """Queue a message, made now."""
        message = Message(f"msg_{name:0>32}", event, body(event, 0, {"n": name}))
        await self.events.queue(message, endpoints, at=0)
        return message.id

    def advance(self, seconds: float) -> None:
        self.scripts.offset_ms += int(seconds * 1000)

    async def find(self, endpoint: Endpoint) -> Endpoint:
        found = await self.webhooks.of(self.ring, endpoint.caller)
        return next(each for each in found if each.id == endpoint.id)


DEADLINE = 60.0  # for a busy machine


def make_desk(
    environment: dict[str, str],
    frozen_at_ms: int | None,
    stack: AsyncExitStack,
    *,
    deadline: float = DEADLINE,
    **caps: int,
) -> Desk:
    settings = load(environment)
    channel = WebhookChannel(allow_private=True, deadline=deadline)
    connection = open_redis(settings, name="otp_service_test")
    stack.push_async_callback(connection.aclose)
    stack.callback(channel.close)
    ring, webhooks = settings.ring(), Webhooks(connection)
    scripts = Scripts(connection, frozen_at_ms=frozen_at_ms)
    outgoing = Outgoing(scripts, **caps)
    events = Events(keyring=lambda: ring, webhooks=webhooks, outgoing=outgoing)
    worker = WebhookWorker(
        keyring=lambda: ring,
        webhooks=webhooks,
        outgoing=outgoing,
        channel=channel,
        woken=events.queued,
        concurrency=8,
    )
    return Desk(ring, scripts, webhooks, outgoing, events, worker)


@pytest.fixture
async def desk(environment: dict[str, str], frozen_at_ms: int | None) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        yield make_desk(environment, frozen_at_ms, stack)


@pytest.fixture
async def small_desk(environment: dict[str, str], frozen_at_ms: int | None) -> AsyncIterator[Desk]:
    """One that keeps 30 waiting messages and 20 dead letters of an endpoint."""
    async with AsyncExitStack() as stack:
        yield make_desk(environment, frozen_at_ms, stack, waiting_at_most=30, dead_at_most=20)


@pytest.fixture
async def told(
    start_service: Starter, desk: Desk, receivers: Receivers
) -> tuple[Service, Receiver, Endpoint]:
    """A running service whose caller `shop` has an endpoint."""
    receiver = await receivers()
    endpoint = await desk.endpoint(receiver.url)
    return await start_service(), receiver, endpoint
