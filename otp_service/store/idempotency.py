"""Idempotency keys (draft-ietf-httpapi-idempotency-key-header): one run for each, its answer kept sealed."""

from collections.abc import Sequence
from dataclasses import dataclass

from otp_service.errors import IdempotencyInProgress, IdempotencyKeyReused
from otp_service.store import keys
from otp_service.store.refusals import seconds
from otp_service.store.scripts import Scripts

MEMORY_MS = 86_400_000
LEASE_MS = (
    40_000  # longer than any call takes; after it a run is taken to have died and is taken up again
)


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

    async def begin(self, digest: str, *, fingerprints: Sequence[str], handle: str) -> Run | Done:
        """
        Claim a key.

        Args:
            digest: Of caller, call and key.
            fingerprints: Of the body, under each key that may have made the one that is kept; the first is kept.
            handle: What makes the run repeatable, such as the id that it will create.

        Raises:
            IdempotencyInProgress, IdempotencyKeyReused, Unavailable.
        """
        answer = await self._scripts.run(
            "begin_idempotent",
            [keys.idempotent(digest)],
            {
                "fingerprints": list(fingerprints),
                "handle": handle,
                "lease_ms": LEASE_MS,
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

    async def finish(self, digest: str, answer: str) -> None:
        """Keep the sealed answer. Raises Unavailable."""
        await self._scripts.evaluate("finish_idempotent", [keys.idempotent(digest)], answer)

    async def let_go(self, digest: str) -> None:
        """Forget the key: the run counted and created nothing. Raises Unavailable."""
        await self._scripts.evaluate("finish_idempotent", [keys.idempotent(digest)], "let_go")

    async def pause(self, digest: str) -> None:
        """Let the next call with the key take up the run that broke off. Raises Unavailable."""
        await self._scripts.evaluate("finish_idempotent", [keys.idempotent(digest)], "pause")
