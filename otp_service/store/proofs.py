"""Proofs in Redis: what each proves, under its digest, until it is redeemed or its time is over."""

from dataclasses import dataclass

from otp_service.core import proofs
from otp_service.store import keys
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorProof:
    """
    What a change of a subject's factors comes with.

    Attributes:
        required: Whether there must be a proof if the subject has a confirmed factor.
        key: Where the record of the one that was shown lies; the change spends it. None when none was.
    """

    required: bool = False
    key: str | None = None

    @property
    def keys(self) -> list[str]:
        """The last of the script's KEYS."""
        return [] if self.key is None else [self.key]


class Proofs:
    """Redeeming."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def spend(self, proof: str, *, caller: str) -> dict[str, str] | None:
        """
        Return what the proof proves, once, to the caller it is meant for; None for everything else.

        Raises:
            Unavailable: Redis; the proof may be spent.
        """
        bucket = proofs.bucket_of(proof)
        if bucket is None:
            return None
        answer = await self._scripts.run(
            "spend_proof",
            [keys.proof(bucket, proofs.digest(proof))],
            {"caller": caller},
            durable=True,
        )
        return dict(answer["fields"]) if answer["verdict"] == "spent" else None

    async def look(self, proof: str, *, caller: str) -> dict[str, str] | None:
        """As `spend`, and the proof stays good. Raises Unavailable."""
        bucket = proofs.bucket_of(proof)
        if bucket is None:
            return None
        answer = await self._scripts.run(
            "look_at_proof", [keys.proof(bucket, proofs.digest(proof))], {"caller": caller}
        )
        return dict(answer["fields"]) if answer["verdict"] == "found" else None
