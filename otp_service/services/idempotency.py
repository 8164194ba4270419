"""
The same call again gives the same answer: `Idempotency-Key` for every call that sends, creates or spends.

Each run has a handle of 128 random bits from which whatever it creates takes its id. When a run dies, the next call
with the key takes up the same handle, so what the dead run did is found and not done twice. A run holds a lease of the
key and ends before the lease does: no two runs of a key are at work at once.

A key is found under the name key, which is never rotated, so that no rotation makes the service forget one; the body is
recognised under the phone keys, since it may hold a number.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from otp_service.core.challenge import fingerprint, new_handle
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.seal import SealBroken, seal, unseal
from otp_service.errors import Refusal, Unavailable
from otp_service.store.idempotency import Done, Idempotency

log = structlog.get_logger()

Answer = dict[str, Any]

# Redis commands of one call, with room: the longest runs eleven scripts, some waiting for a connection as well.
_COMMANDS = 25


class IdempotentCalls:
    """
    Runs calls at most once for each key.

    An answer is a JSON object; it is kept sealed for 24 hours.

    Args:
        redis_seconds: How long one command to Redis may take.
        site_seconds: How long one call to the WSMS site may take.
    """

    def __init__(
        self,
        idempotency: Idempotency,
        keyring: Callable[[], Keyring],
        *,
        redis_seconds: float,
        site_seconds: float,
    ) -> None:
        self._idempotency = idempotency
        self._keyring = keyring
        self._redis_seconds = redis_seconds
        self._site_seconds = site_seconds

    async def run(
        self,
        *,
        caller: str,
        call: str,
        key: str | None,
        body: Mapping[str, Any],
        work: Callable[[str], Awaitable[tuple[Answer, bool]]],
        wait: float = 0,
        site_calls: int = 0,
    ) -> tuple[Answer, bool]:
        """
        Return the answer, and whether it was given before.

        Args:
            call: Method and path.
            key: Of the header, or None: then the work is simply done.
            body: What must be the same again.
            work: Takes the handle; returns the answer, and whether to keep it. One that counted and created nothing is
                not kept, so that the same call may succeed later.
            wait: Seconds that the work waits on purpose.
            site_calls: How many calls to the site it makes, at most.

        Raises:
            IdempotencyInProgress, IdempotencyKeyReused, Unavailable, and what `work` raises.
        """
        keyring = self._keyring()
        if key is None:
            return (await work(new_handle(keyring)))[0], False
        name = keyring.active(Kind.NAME)
        digest = fingerprint(name, "idempotency-key/v1", caller, call, key)
        text = json.dumps(body, sort_keys=True)
        marks = [fingerprint(k, "idempotency-body/v1", text) for k in keyring.live(Kind.PHONE)]
        owner = new_handle(keyring)
        longest = wait + site_calls * self._site_seconds + _COMMANDS * self._redis_seconds
        try:
            async with asyncio.timeout(longest):
                begun = await self._idempotency.begin(
                    digest,
                    fingerprints=marks,
                    handle=owner,
                    owner=owner,
                    lease_seconds=longest + self._redis_seconds,
                )
                if isinstance(begun, Done):
                    return self._open(keyring, digest, begun.answer), True
                answer, keep = await work(begun.handle)
        except Refusal:  # of the key itself: the lease is another run's
            raise
        except BaseException as error:
            await self._release(self._idempotency.abandon(digest, owner))
            if isinstance(error, TimeoutError):
                raise Unavailable("the call took longer than its lease") from error
            raise
        if keep:
            sealed = seal(keyring, json.dumps(answer), belongs_to=f"idempotent:{digest}")
            await self._release(self._idempotency.keep(digest, owner, sealed))
        else:
            await self._release(self._idempotency.forget(digest, owner))
        return answer, False

    async def _release(self, releasing: Awaitable[None]) -> None:
        """Release a lease. Without Redis it ends by itself; what the caller is answered stays what it is."""
        try:
            await releasing
        except Unavailable as error:
            log.warning("idempotency.not_released", error=error.detail)

    def _open(self, keyring: Keyring, digest: str, sealed: str) -> Answer:
        try:
            return dict(json.loads(unseal(keyring, sealed, belongs_to=f"idempotent:{digest}")))
        except SealBroken as error:
            raise Unavailable(f"seal: {error}") from None
