"""Stored authenticators by subject: enrol, import, list, rename, remove."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from otp_service.core.challenge import ChallengeAddress, SubjectAddress
from otp_service.errors import FactorNotFound, TooManyFactors, Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS
from otp_service.store.factor_records import FACTOR, Factor, NewFactor, factor_in, factors_in
from otp_service.store.proofs import FactorProof, require_proven
from otp_service.store.scripts import Scripts

MAX_FACTORS = 10
PENDING_MS = 900_000


class Factors:
    """
    One hash for each subject.

    Args:
        history_ms: How long its timeline is kept.
    """

    def __init__(self, scripts: Scripts, *, history_ms: int) -> None:
        self._scripts = scripts
        self._history_ms = history_ms

    async def enroll(
        self,
        address: ChallengeAddress,
        new: NewFactor,
        *,
        proof: FactorProof,
    ) -> int | None:
        """
        Write a pending authenticator; return until when it can be confirmed, or None if its id is there already.

        Raises:
            FactorProofRequired, TooManyFactors: and the proof is not spent.
            Unavailable.
        """
        answer = await self._scripts.run(
            "enroll_factor",
            [keys.factors(address.subject), keys.timeline(address.subject), *proof.keys],
            {
                "id": address.challenge_id,
                "factor": {"type": FACTOR, **asdict(new)},
                "proof_required": proof.required,
                "ttl_ms": PENDING_MS,
                "max_factors": MAX_FACTORS,
                "life_ms": self._history_ms,
            },
            durable=True,
        )
        require_proven(answer)
        if answer["verdict"] == "full":
            raise TooManyFactors
        return int(answer["expires_at"]) if answer["verdict"] == "enrolled" else None

    async def bring(
        self,
        address: ChallengeAddress,
        new: NewFactor,
        *,
        step_ms: int,
    ) -> bool:
        """
        Write an authenticator that was confirmed elsewhere; False if its id is there already.

        Codes of steps until now are not accepted any more: they may have been, elsewhere.

        Raises:
            TooManyFactors, Unavailable.
        """
        answer = await self._scripts.run(
            "enroll_factor",
            [keys.factors(address.subject), keys.timeline(address.subject)],
            {
                "id": address.challenge_id,
                "factor": {"type": FACTOR, **asdict(new)},
                "max_factors": MAX_FACTORS,
                "step_ms": step_ms,
                "life_ms": self._history_ms,
            },
            durable=True,
        )
        if answer["verdict"] == "full":
            raise TooManyFactors
        return bool(answer["verdict"] == "enrolled")

    async def everyone(self) -> AsyncIterator[Factor]:
        """Yield the authenticators of all subjects of all callers, in no order. Raises Unavailable."""
        client: Any = self._scripts.connection.client
        try:
            found = {str(key) async for key in client.scan_iter(match=keys.FACTORS, count=1000)}
        except FAULTS as error:
            raise Unavailable(f"redis: factors: {type(error).__name__}") from error
        for key in sorted(found):
            for factor in factors_in(await self._scripts.run("list_factors", [key], {})):
                yield factor

    async def all(self, subject: SubjectAddress) -> list[Factor]:
        """Return a subject's authenticators, the oldest first. Raises Unavailable."""
        answer = await self._scripts.run("list_factors", [keys.factors(subject)], {})
        return sorted(factors_in(answer), key=lambda factor: (factor.created_at, factor.factor_id))

    async def rename(self, address: ChallengeAddress, *, caller: str, name: str) -> Factor:
        """
        Rename one.

        Raises:
            FactorNotFound, Unavailable.
        """
        return await self._change(address, {"caller": caller, "name": name})

    async def remove(
        self, address: ChallengeAddress, *, caller: str, events: bool, proof: FactorProof
    ) -> Factor:
        """
        Remove one; it is refused from this moment, and with a confirmed one every remembered device of the subject.

        `events`: whether webhooks are told.

        Raises:
            FactorNotFound, FactorProofRequired: and the proof is not spent.
            Unavailable.
        """
        fields = {"caller": caller, "events": events, "proof_required": proof.required}
        return await self._change(address, fields, proof.keys)

    async def _change(
        self, address: ChallengeAddress, fields: Mapping[str, Any], proof: Sequence[str] = ()
    ) -> Factor:
        answer = await self._scripts.run(
            "change_factor",
            [
                keys.factors(address.subject),
                keys.devices(address.subject),
                keys.timeline(address.subject),
                keys.events(address.subject.bucket),
                *proof,
            ],
            {"id": address.challenge_id, "life_ms": self._history_ms, **fields},
            durable=True,
        )
        require_proven(answer)
        if answer["verdict"] != "changed":
            raise FactorNotFound
        return factor_in(address.challenge_id, answer["factor"])
