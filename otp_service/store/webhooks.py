"""Webhook endpoints of callers: one hash a caller, addresses and secrets sealed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from otp_service.core.events import ON_REQUEST
from otp_service.core.keyring import Keyring
from otp_service.core.seal import SealBroken, seal, unseal
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS, Connection

UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """
    A webhook endpoint of a caller.

    Attributes:
        id: `ep_` and 16 hex digits.
        types: Event types; none: all but those that must be asked for by name.
        secrets: One, or two while they are rotated: `whsec_…`, the newest first.
        created_at: Unix seconds.
        off: Why nothing is sent to it; "" while it is active.
    """

    id: str
    caller: str
    url: str = field(repr=False)  # its path may hold a secret of the caller's
    types: frozenset[str]
    secrets: tuple[str, ...] = field(repr=False)
    created_at: int
    off: str = ""

    @property
    def name(self) -> str:
        """What its keys are named by: of which caller, and which."""
        return f"{self.caller}/{self.id}"

    def wants(self, event: str) -> bool:
        """Whether it receives such events."""
        if self.off:
            return False
        return event in self.types if self.types else event not in ON_REQUEST


class Webhooks:
    """The endpoints; each field is written as a whole, so that what one process changes another does not undo."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of(self, keyring: Keyring, caller: str) -> list[Endpoint]:
        """Return a caller's endpoints, the oldest first. Raises Unavailable."""
        found = await self._command("HGETALL", keys.webhooks(caller))
        fields = dict(found) if isinstance(found, dict) else _pairs(found)
        endpoints = [
            _read(keyring, caller, name, text, fields.get(name + keys.OFF, ""))
            for name, text in fields.items()
            if not name.endswith(keys.OFF)
        ]
        return sorted(endpoints, key=lambda endpoint: (endpoint.created_at, endpoint.id))

    async def callers(self) -> list[str]:
        """Return the callers that have endpoints. Raises Unavailable."""
        client: Any = self._connection.client
        try:
            found = [key async for key in client.scan_iter(match=keys.WEBHOOKS, count=1000)]
        except FAULTS as error:
            raise Unavailable(f"redis: webhooks: {type(error).__name__}") from error
        return sorted({str(key).rpartition(":")[2] for key in found})

    async def all(self, keyring: Keyring) -> list[Endpoint]:
        """Return every endpoint, by caller. Raises Unavailable."""
        return [
            endpoint
            for caller in await self.callers()
            for endpoint in await self.of(keyring, caller)
        ]

    async def put(self, keyring: Keyring, endpoint: Endpoint) -> None:
        """Store a new or changed endpoint; whether it is active stays as it is. Raises Unavailable."""
        sealed = seal(
            keyring,
            json.dumps({"url": endpoint.url, "secrets": endpoint.secrets}),
            belongs_to=f"webhook:{endpoint.id}",
        )
        text = json.dumps(
            {"types": sorted(endpoint.types), "created_at": endpoint.created_at, "sealed": sealed}
        )
        await self._command("HSET", keys.webhooks(endpoint.caller), endpoint.id, text)

    async def switch_off(self, endpoint: Endpoint, reason: str) -> None:
        """Send nothing to it any more until it is enabled. Raises Unavailable."""
        await self._command("HSET", keys.webhooks(endpoint.caller), endpoint.id + keys.OFF, reason)

    async def switch_on(self, endpoint: Endpoint) -> None:
        """Send to it again. Raises Unavailable."""
        await self._command("HDEL", keys.webhooks(endpoint.caller), endpoint.id + keys.OFF)

    async def remove(self, endpoint: Endpoint) -> None:
        """Forget it. Raises Unavailable."""
        name = keys.webhooks(endpoint.caller)
        await self._command("HDEL", name, endpoint.id, endpoint.id + keys.OFF)

    async def _command(self, *command: str) -> Any:  # noqa: ANN401
        client: Any = self._connection.client
        try:
            return await client.execute_command(*command)
        except FAULTS as error:
            raise Unavailable(f"redis: webhooks: {type(error).__name__}") from error


def _pairs(flat: Sequence[Any] | None) -> dict[str, str]:
    flat = flat or ()
    return {str(flat[i]): str(flat[i + 1]) for i in range(0, len(flat), 2)}


def _read(keyring: Keyring, caller: str, name: str, text: str, off: str) -> Endpoint:
    try:
        data = json.loads(text)
        private = json.loads(unseal(keyring, data["sealed"], belongs_to=f"webhook:{name}"))
        return Endpoint(
            id=name,
            caller=caller,
            url=private["url"],
            types=frozenset(data["types"]),
            secrets=tuple(private["secrets"]),
            created_at=int(data["created_at"]),
            off=off,
        )
    except (SealBroken, ValueError, KeyError, TypeError):
        # Damaged, or its key is gone: shown as such, and no reason to leave the caller's others alone.
        return Endpoint(
            id=name,
            caller=caller,
            url="",
            types=frozenset(),
            secrets=(),
            created_at=0,
            off=UNREADABLE,
        )
