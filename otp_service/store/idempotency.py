"""Idempotency keys (draft-ietf-httpapi-idempotency-key-header): one run for each, its answer kept sealed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otp_service.errors import IdempotencyInProgress, IdempotencyKeyReused
from otp_service.store import keys
from otp_service.store.refusals import seconds
from otp_service.store.scripts import Scripts

MEMORY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Run:
    """Do the work, under this handle: the one given, or that of a run that died."""

    handle: str


@dataclass(frozen=True, slots=True)
class Done:
    """It was done before; the sealed answer."""

    answer: str


class Idempotency:
    """One record for each caller, call and key."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def begin(
        self,
        digest: str,
        *,
        fingerprints: Sequence[str],
        handle: str,
        owner: str,
        lease_seconds: float,
    ) -> Run | Done:
        """
        Claim a key.

        Args:
            digest: Of caller, call and key.
            fingerprints: Of the body, under each key that may have made the one that is kept; the first is kept.
            handle: What makes the run repeatable, such as the id that it will create.
            owner: Names this run; only its owner releases a lease.
            lease_seconds: Longer than the run can take. After it the next call with the key takes the run up.

        Raises:
            IdempotencyInProgress, IdempotencyKeyReused, Unavailable.
        """
        answer = await self._scripts.run(
            "begin_idempotent",
            [keys.idempotent(digest)],
            {
                "fingerprints": list(fingerprints),
                "handle": handle,
                "owner": owner,
                "lease_ms": int(lease_seconds * 1000),
                "memory_ms": MEMORY_MS,
            },
            durable=True,
        )
        match answer["verdict"]:
            case "done":
                return Done(answer["answer"])
            case "running":
                raise IdempotencyInProgress(min(2, seconds(answer["wait_ms"])))
            case "reused":
                raise IdempotencyKeyReused
            case _:
                return Run(answer["handle"])

    async def keep(self, digest: str, owner: str, answer: str) -> None:
        """Keep the sealed answer. Raises Unavailable."""
        await self._finish(digest, {"owner": owner, "answer": answer})

    async def forget(self, digest: str, owner: str) -> None:
        """Forget the key: the run counted and created nothing. Raises Unavailable."""
        await self._finish(digest, {"owner": owner, "forget": True})

    async def abandon(self, digest: str, owner: str) -> None:
        """Let the next call with the key take up the run that broke off. Raises Unavailable."""
        await self._finish(digest, {"owner": owner})

    async def _finish(self, digest: str, fields: Mapping[str, Any]) -> None:
        await self._scripts.run("finish_idempotent", [keys.idempotent(digest)], fields)
