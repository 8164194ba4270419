"""A Redis of a test's own, which it may harm: the service on it, and what its answers then must be."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import redis

from otp_service.cli.valkey import Valkey
from tests.conftest import Sandbox, Service, base_environment, running_service
from tests.reliability.harness import eventually

Own = Callable[..., Valkey]


def end(server: Valkey) -> None:
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGCONT)
        server.kill()


@asynccontextmanager
async def service_on(
    url: str, sandbox: Sandbox, ring: str, **changes: str
) -> AsyncIterator[Service]:
    environment = {**base_environment(url, sandbox.url, ring), **changes}
    async with running_service(environment, sandbox) as service:
        yield service


@asynccontextmanager
async def without_memory(
    url: str, sandbox: Sandbox, ring: str, **changes: str
) -> AsyncIterator[Service]:
    """As `service_on`, of a process that does not remember what Redis had, as if it had just been started."""
    async with service_on(url, sandbox, ring, **changes) as service:
        await service.container.history.stop()
        service.container.scripts.recheck = None
        yield service


def are_unavailable(answers: list[httpx.Response]) -> None:
    for answer in answers:
        path = answer.request.url.path
        assert (path, answer.status_code) == (path, 503), answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["code"] == "unavailable"


async def is_ready(service: Service) -> bool:
    return (await service.http.get("/readyz")).status_code == 200


async def not_ready_for(service: Service, reason: str) -> bool:
    ready = await service.http.get("/readyz")
    return ready.status_code == 503 and reason in ready.json()["reasons"]["redis"]


def on_disk(server: Valkey) -> bool:
    with redis.Redis.from_url(server.url) as client:
        return int(client.execute_command("WAITAOF", 1, 0, 1000)[0]) == 1


async def pair(own_valkey: Own, *options: str) -> tuple[Valkey, Valkey]:
    """A primary and a replica that is in step."""
    primary = own_valkey("primary", "--repl-diskless-sync-delay", "0", *options)
    replica = own_valkey("replica", *options, password=primary.password)
    with (
        redis.Redis.from_url(replica.url) as second,
        redis.Redis.from_url(primary.url) as first,
    ):
        second.config_set("masterauth", primary.password)
        second.replicaof("127.0.0.1", primary.port)

        def in_step() -> bool:
            first.set("otp:{00}:probe", 1, ex=1)
            return first.wait(1, 100) == 1

        await eventually(in_step, "a replica in step")
    return primary, replica
