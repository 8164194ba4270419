"""
The same call again gives the same answer: `Idempotency-Key` for every call that sends, creates or spends.

Each run has a handle of 128 random bits from which whatever it creates takes its id. When a run dies, the next call
with the key takes up the same handle, so what the dead run did is found and not done twice.

A key is found under the name key, which is never rotated, so that no rotation makes the service forget one; the body is
recognised under the phone keys, since it may hold a number.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from otp_service.core.challenge import fingerprint, new_handle
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.seal import SealBroken, seal, unseal
from otp_service.errors import Unavailable
from otp_service.store.idempotency import Done, Idempotency

Answer = dict[str, Any]


class IdempotentCalls:
    """
    Runs calls at most once for each key.

    An answer is a JSON object; it is kept sealed for 24 hours.
    """

    def __init__(self, idempotency: Idempotency, keyring: Callable[[], Keyring]) -> None:
        self._idempotency = idempotency
        self._keyring = keyring

    async def run(
        self,
        *,
        caller: str,
        call: str,
        key: str | None,
        body: Mapping[str, Any],
        work: Callable[[str], Awaitable[tuple[Answer, bool]]],
    ) -> tuple[Answer, bool]:
        """
        Return the answer, and whether it was given before.

        Args:
            call: Method and path.
            key: Of the header, or None: then the work is simply done.
            body: What must be the same again.
            work: Takes the handle; returns the answer, and whether to keep it. One that counted and created nothing is
                not kept, so that the same call may succeed later.

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
        begun = await self._idempotency.begin(
            digest, fingerprints=marks, handle=new_handle(keyring)
        )
        if isinstance(begun, Done):
            return self._open(keyring, digest, begun.answer), True
        try:
            answer, keep = await work(begun.handle)
        except BaseException:
            await self._idempotency.pause(digest)
            raise
        if keep:
            sealed = seal(keyring, json.dumps(answer), belongs_to=f"idempotent:{digest}")
            await self._idempotency.finish(digest, sealed)
        else:
            await self._idempotency.let_go(digest)
        return answer, False

    def _open(self, keyring: Keyring, digest: str, sealed: str) -> Answer:
        try:
            return dict(json.loads(unseal(keyring, sealed, belongs_to=f"idempotent:{digest}")))
        except SealBroken as error:
            raise Unavailable(f"seal: {error}") from None
