"""
Callers, their credentials and identities: only keyed digests of credentials are stored, at most two live at a time.

An identity leads to a name by a key of its own. That key is a hint: what counts is the record, which must hold the
identity too, so the two need no common script and a key that was left behind leads nowhere.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from otp_service.core.caller_policy import CallerPolicy
from otp_service.core.credentials import StoredCredential
from otp_service.core.identities import Identity, StoredIdentity
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS, Connection
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class CallerRecord:
    """
    A caller.

    Attributes:
        name: 1 to 32 of `[a-z0-9-]`.
        scopes: What its credentials may do.
        created_at: Unix seconds.
        credentials: At most two, the newest last.
        policy: Its own rules.
        identities: As which it may come besides.
        read_as: The text that it was read from; "" for one that was not.
    """

    name: str
    scopes: frozenset[str]
    created_at: int
    credentials: tuple[StoredCredential, ...]
    policy: CallerPolicy = field(default_factory=CallerPolicy)
    identities: tuple[StoredIdentity, ...] = ()
    read_as: str = field(default="", repr=False, compare=False)

    def has(self, given: Identity) -> bool:
        """Whether an identity is among those of the record; not whether it was bound with our key."""
        return any(
            (known.kind, known.value) == (given.kind, given.value) for known in self.identities
        )


class Callers:
    """The callers, each one JSON text under its name: a change replaces the whole."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, name: str) -> CallerRecord | None:
        """Return the caller of that name, or None. Raises Unavailable."""
        text = await self._command("GET", keys.caller(name))
        return _read(name, text) if text is not None else None

    async def named(self, given: Identity) -> str | None:
        """Return the name to which an identity leads, or None. Raises Unavailable."""
        name = await self._command("GET", _key_of(given))
        return str(name) if name is not None else None

    async def holder(self, given: Identity) -> str | None:
        """Return the caller whose identity it is, or None. Raises Unavailable."""
        name = await self.named(given)
        record = await self.find(name) if name is not None else None
        return name if record is not None and record.has(given) else None

    async def bind(self, given: Identity, name: str) -> str | None:
        """
        Make an identity lead to a caller; return whose it is if it is another's, and change nothing.

        Raises:
            Unavailable.
        """
        if await self._command("SET", _key_of(given), name, "NX") is not None:
            return None
        held = await self.holder(given)
        if held not in (None, name):
            return held
        await self._command("SET", _key_of(given), name)
        return None

    async def unbind(self, given: Identity) -> None:
        """Make an identity lead nowhere. Raises Unavailable."""
        await self._command("DEL", _key_of(given))

    async def create(self, record: CallerRecord) -> bool:
        """Store a new caller; False if the name is taken. Raises Unavailable."""
        return (
            await self._command("SET", keys.caller(record.name), _write(record), "NX") is not None
        )

    async def replace(self, record: CallerRecord) -> None:
        """Store a caller, whatever was there. Raises Unavailable."""
        await self._command("SET", keys.caller(record.name), _write(record))

    async def change(self, record: CallerRecord) -> bool:
        """Store a changed record; False if it was changed concurrently. Raises Unavailable."""
        told = json.dumps({"read": record.read_as, "changed": _write(record)})
        scripts = Scripts(self._connection)
        return bool(await scripts.evaluate("replace_caller", [keys.caller(record.name)], told))

    async def remove(self, name: str) -> bool:
        """Remove a caller, its credentials and its webhooks; False if there was none. Raises Unavailable."""
        await self._command("DEL", keys.webhooks(name))
        return bool(await self._command("DEL", keys.caller(name)))

    async def all(self) -> list[CallerRecord]:
        """Return every caller by name. Raises Unavailable."""
        client: Any = self._connection.client
        try:
            found = [key async for key in client.scan_iter(match=keys.CALLERS, count=1000)]
        except FAULTS as error:
            raise Unavailable(f"redis: callers: {type(error).__name__}") from error
        names = sorted({str(key).rpartition(":")[2] for key in found})
        records = [await self.find(name) for name in names]
        return [record for record in records if record is not None]

    async def _command(self, *command: str) -> Any:  # noqa: ANN401
        client: Any = self._connection.client
        try:
            return await client.execute_command(*command)
        except FAULTS as error:
            raise Unavailable(f"redis: callers: {type(error).__name__}") from error


def _key_of(given: Identity) -> str:
    return keys.identity(hashlib.sha256(f"{given.kind}\0{given.value}".encode()).hexdigest())


def _write(record: CallerRecord) -> str:
    return json.dumps(
        {
            "scopes": sorted(record.scopes),
            "created_at": record.created_at,
            "credentials": [asdict(credential) for credential in record.credentials],
            "policy": record.policy.texts(),
            "identities": [asdict(identity) for identity in record.identities],
        }
    )


def _read(name: str, text: str) -> CallerRecord:
    try:
        data = json.loads(text)
        credentials: Iterable[dict[str, Any]] = data["credentials"]
        return CallerRecord(
            name=name,
            scopes=frozenset(data["scopes"]),
            created_at=int(data["created_at"]),
            credentials=tuple(StoredCredential(**entry) for entry in credentials),
            policy=CallerPolicy.read(data.get("policy", {})),
            identities=tuple(StoredIdentity(**entry) for entry in data.get("identities", ())),
            read_as=text,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unavailable("redis: a caller's record is damaged") from None
