"""
Callers' records, in memory for at most `MEMORY_SECONDS`, so that a revoked credential is refused everywhere within that
time. A cache miss reloads the record, at most once a second. While the server that has it is away, it is used for up to
a minute.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from otp_service.core import identities
from otp_service.core.identities import Identity
from otp_service.core.keyring import Keyring
from otp_service.core.policy import Policy
from otp_service.errors import Unavailable
from otp_service.store.callers import CallerRecord, Callers

T = TypeVar("T")

MEMORY_SECONDS = 5.0
_OUTAGE_SECONDS = (
    60.0  # how old a record may be that can't be read again; nobody can revoke it then either
)
_REREAD_SECONDS = 1.0
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class KnownCaller:
    """A caller's record, and the rules that hold for it: the service's, tightened by its own."""

    record: CallerRecord
    policy: Policy


class KnownCallers:
    """
    Finds callers.

    Args:
        policy: The service's.
        steady: Any steady clock, seconds.
    """

    def __init__(
        self,
        callers: Callers,
        policy: Policy,
        *,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._callers = callers
        self._policy = policy
        self._records: _TTLCache[KnownCaller] = _TTLCache(steady)
        self._names: _TTLCache[str] = _TTLCache(steady)

    async def named(self, name: str, *, anew: bool) -> KnownCaller | None:
        """Return the caller of that name as it is remembered, or read anew, or None. Raises Unavailable."""
        return await self._known(name, _REREAD_SECONDS if anew else MEMORY_SECONDS)

    async def identified(self, keyring: Keyring, given: Sequence[Identity]) -> list[KnownCaller]:
        """Return the callers, each once, to which these identities are bound. Raises Unavailable."""
        for max_age in (MEMORY_SECONDS, _REREAD_SECONDS):
            found: dict[str, KnownCaller] = {}
            for one in given:
                name = await self._names.get(str(one), max_age, partial(self._callers.named, one))
                known = await self._known(name, max_age) if name is not None else None
                if known is not None and _bound(keyring, known.record, one):
                    found[known.record.name] = known
            if found:
                break
        return list(found.values())

    async def _known(self, name: str, max_age: float) -> KnownCaller | None:
        async def read() -> KnownCaller | None:
            record = await self._callers.find(name)
            if record is None:
                return None
            return KnownCaller(record, record.policy.tighten(self._policy))

        return await self._records.get(name, max_age, read)


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    """A value, when it was read, and until when it is not read again because that failed. Steady seconds."""

    read_at: float
    value: T | None
    retry_at: float = 0


_NEVER: _Entry[Any] = _Entry(float("-inf"), None)


class _TTLCache(Generic[T]):
    """What was read last by name, also that there was nothing; the longest unread goes first."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._read: OrderedDict[str, _Entry[T]] = OrderedDict()

    async def get(
        self, name: str, max_age: float, read: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        now = self._steady()
        entry = self._read.get(name, _NEVER)
        if now - entry.read_at < max_age:
            return entry.value
        # A credential that the remembered record lacks is looked for in the record itself, or the answer is 503.
        serves_an_outage = (
            max_age > _REREAD_SECONDS
            and entry.value is not None
            and now - entry.read_at < _OUTAGE_SECONDS
        )
        if serves_an_outage and now < entry.retry_at:
            return entry.value
        try:
            value = await read()
        except Unavailable:
            if not serves_an_outage:
                raise
            if self._read.get(name) is entry:
                self._read[name] = replace(entry, retry_at=now + _REREAD_SECONDS)
            return entry.value
        self._read[name] = _Entry(now, value)
        self._read.move_to_end(name)
        while len(self._read) > _REMEMBERED:
            self._read.popitem(last=False)
        return value


def _bound(keyring: Keyring, record: CallerRecord, given: Identity) -> bool:
    return any(
        identities.belongs(keyring, record.name, given, stored) for stored in record.identities
    )
