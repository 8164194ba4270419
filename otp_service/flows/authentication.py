"""
Who calls: a credential, checked against its stored digest.

A caller's record is kept in memory for at most `MEMORY_SECONDS`, so a revoked credential is refused everywhere within
that time; a credential that a remembered record does not know makes it be read again, at most once a second.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from otp_service.core import credentials
from otp_service.core.credentials import Presented
from otp_service.core.keyring import Keyring
from otp_service.core.policy import Policy
from otp_service.errors import InsufficientScope, Unauthorized
from otp_service.store.callers import CallerRecord, Callers

MEMORY_SECONDS = 5.0
_REREAD_SECONDS = 1.0
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """
    An application that has shown its credential.

    Attributes:
        policy: The rules that hold for it: the service's, tightened by its own.
    """

    name: str
    scopes: frozenset[str]
    policy: Policy = field(repr=False)

    def require(self, scope: str) -> None:
        """Raise InsufficientScope without that scope."""
        if scope not in self.scopes:
            raise InsufficientScope(scope)


class Authentication:
    """
    Checks credentials.

    Args:
        policy: The service's.
        clock: Unix seconds.
        steady: Any steady clock, seconds.
    """

    def __init__(
        self,
        callers: Callers,
        keyring: Callable[[], Keyring],
        policy: Policy,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._callers = callers
        self._keyring = keyring
        self._policy = policy
        self._clock = clock
        self._steady = steady
        self._remembered: OrderedDict[str, tuple[float, CallerRecord | None]] = OrderedDict()

    async def authenticate(self, credential: str | None) -> Caller:
        """
        Return whose credential it is.

        Raises:
            Unauthorized: none came, or it is malformed, unknown, revoked or past its end: one answer.
            Unavailable: Redis.
        """
        if credential is None:
            raise Unauthorized(presented=False)
        presented = Presented.parse(credential)
        if presented is None:
            raise Unauthorized(presented=True)
        for max_age in (MEMORY_SECONDS, _REREAD_SECONDS):
            record = await self._record(presented.caller, max_age)
            if record is not None and self._knows(record, presented):
                return Caller(record.name, record.scopes, record.policy.tighten(self._policy))
        raise Unauthorized(presented=True)

    def _knows(self, record: CallerRecord, presented: Presented) -> bool:
        now, keyring = int(self._clock()), self._keyring()
        return any(
            credentials.check(keyring, presented, stored, now=now) for stored in record.credentials
        )

    async def _record(self, name: str, max_age: float) -> CallerRecord | None:
        now = self._steady()
        if remembered := self._remembered.get(name):
            read_at, record = remembered
            if now - read_at < max_age:
                return record
        record = await self._callers.find(name)
        self._remembered[name] = (now, record)
        self._remembered.move_to_end(name)
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return record
