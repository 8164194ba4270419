"""What the commands work with: callers' endpoints, what waits for them, and the audit log."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from otp_service.cli.audit import operator
from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.in_redis import in_redis
from otp_service.core.audit import Act, Detail
from otp_service.core.keyring import Keyring
from otp_service.store.audit import Audit
from otp_service.store.callers import Callers
from otp_service.store.connection import Connection
from otp_service.store.outgoing import Outgoing
from otp_service.store.webhooks import Endpoint, Webhooks

T = TypeVar("T")


@dataclass(frozen=True)
class AppContext:
    """What the commands work with."""

    ring: Keyring
    callers: Callers
    webhooks: Webhooks
    outgoing: Outgoing
    audit: Audit
    allow_private: bool

    async def find(self, endpoint_id: str) -> Endpoint:
        """Return the endpoint with that id; exit 1 when there is none."""
        found = [each for each in await self.webhooks.all(self.ring) if each.id == endpoint_id]
        if not found:
            refuse([f"ID: there is no endpoint {endpoint_id}; see `otp-service webhooks list`"])
        return found[0]

    async def record(self, act: Act, endpoint: Endpoint, **details: str) -> None:
        """Write what is about to be done to an endpoint."""
        named = {Detail.ENDPOINT: endpoint.id} | {Detail(k): v for k, v in details.items()}
        await self.audit.record(act, by=operator(), caller=endpoint.caller, details=named)


def run(work: Callable[[AppContext], Awaitable[T]]) -> T:
    """Return what `work` makes with the context of this environment; exit 1 when Redis is away."""
    from otp_service.store.scripts import Scripts

    settings = load_settings()

    def at_desk(connection: Connection) -> Awaitable[T]:
        ring, scripts = settings.ring(), Scripts(connection)
        desk = AppContext(
            ring,
            Callers(connection),
            Webhooks(connection),
            Outgoing(scripts),
            Audit(scripts, lambda: ring, days=settings.audit_days),
            settings.webhooks_allow_private,
        )
        return work(desk)

    return in_redis(settings, at_desk)
