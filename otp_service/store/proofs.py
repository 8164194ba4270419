"""Stored proofs, under their digests, until they are redeemed or expire."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otp_service.core import proofs
from otp_service.errors import FactorProofRequired, Unavailable
from otp_service.store import keys
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRecord:
    """
    What a script that accepts something writes of its proof, in the same step.

    Attributes:
        key: In the slot of the subject; see `keys.proof`.
        fields: What the proof proves; the script adds `verified_at` and `expires_at`.
    """

    key: str
    fields: Mapping[str, str]
    ttl_ms: int


def proof_keys(record: ProofRecord | None) -> list[str]:
    """Return the last of KEYS: the record's, or none for a proof that is not recorded."""
    return [record.key] if record else []


def proof_args(record: ProofRecord | None) -> dict[str, Any]:
    """Return the fields of ARGV[1] that `_proof.lua` reads."""
    if record is None:
        return {}
    flat = [part for item in record.fields.items() for part in item]
    return {"proof": flat, "proof_ttl_ms": record.ttl_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorProof:
    """
    The proof that comes with a change of a subject's factors.

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


def require_proven(answer: Mapping[str, Any]) -> None:
    """Raise FactorProofRequired where a script that changes factors says that the proof is missing or no good."""
    if answer["verdict"] == "unproven":
        raise FactorProofRequired


class ProofMisplaced(Exception):
    """A proof was shown by its own audience, for another purpose or binding."""


class Proofs:
    """Reads and redeems proofs."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def spend(
        self, proof: str, *, caller: str, purpose: str | None, binding: str
    ) -> dict[str, str] | None:
        """
        Return what the proof proves, once, to the caller it is meant for; None for everything else.

        Args:
            proof: As it was shown.
            caller: Who asks.
            purpose: What it must be for, or None for anything.
            binding: The fingerprint of what it must be bound to, or "" for nothing.

        Raises:
            ProofMisplaced: and it is spent.
            Unavailable: Redis; the proof may be spent.
        """
        bucket = proofs.bucket_of(proof)
        if bucket is None:
            return None
        answer = await self._scripts.run(
            "spend_proof",
            [keys.proof(bucket, proofs.digest(proof))],
            {"caller": caller, "binding": binding}
            | ({"purpose": purpose} if purpose is not None else {}),
            durable=True,
        )
        match answer["verdict"]:
            case "spent":
                return dict(answer["fields"])
            case "misplaced":
                raise ProofMisplaced
            case "inactive":
                return None
            case other:
                raise Unavailable(f"redis: unknown verdict {other!r}")

    async def look(self, proof: str, *, caller: str) -> dict[str, str] | None:
        """As `spend`, and the proof stays good. Raises Unavailable."""
        bucket = proofs.bucket_of(proof)
        if bucket is None:
            return None
        answer = await self._scripts.run(
            "read_proof", [keys.proof(bucket, proofs.digest(proof))], {"caller": caller}
        )
        return dict(answer["fields"]) if answer["verdict"] == "found" else None
