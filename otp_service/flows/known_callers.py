"""
Callers' records, remembered: for at most `MEMORY_SECONDS`, so that what is revoked is refused everywhere within that
time. Who is not found in what is remembered makes it be read again, at most once a second.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from otp_service.core import identities
from otp_service.core.identities import Identity
from otp_service.core.keyring import Keyring
from otp_service.core.policy import Policy
from otp_service.store.callers import CallerRecord, Callers

T = TypeVar("T")

MEMORY_SECONDS = 5.0
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
        self._records: _Remembered[KnownCaller] = _Remembered(steady)
        self._names: _Remembered[str] = _Remembered(steady)

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


class _Remembered(Generic[T]):
    """What was read last by name, also that there was nothing; the longest unread goes first."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._read: OrderedDict[str, tuple[float, T | None]] = OrderedDict()

    async def get(
        self, name: str, max_age: float, read: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        now = self._steady()
        if remembered := self._read.get(name):
            read_at, value = remembered
            if now - read_at < max_age:
                return value
        value = await read()
        self._read[name] = (now, value)
        self._read.move_to_end(name)
        while len(self._read) > _REMEMBERED:
            self._read.popitem(last=False)
        return value


def _bound(keyring: Keyring, record: CallerRecord, given: Identity) -> bool:
    return any(
        identities.belongs(keyring, record.name, given, stored) for stored in record.identities
    )
