"""Authenticators in Redis: seeds sealed, the last accepted step, and the tries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otp_service.core.challenge import ChallengeAddress, SubjectAddress
from otp_service.core.limits import FailureBudget
from otp_service.errors import FactorNotFound, TooManyFactors
from otp_service.store import keys
from otp_service.store.guards import blocked, budget_fields
from otp_service.store.proofs import ProofRecord, proof_args, proof_keys
from otp_service.store.scripts import Scripts

FACTOR = "totp"
MAX_FACTORS = 10
PENDING_MS = 900_000
CONFIRM_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """
    One authenticator. Times in Unix milliseconds; `seed` is sealed.

    Attributes:
        confirmed: Whether a code has proven it; until then it counts for nothing.
    """

    factor_id: str
    name: str
    seed: str
    algorithm: str
    digits: int
    confirmed: bool
    created_at: int
    confirmed_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedFactors:
    """One try is spent. `now` is Redis' clock in Unix seconds: the only one that counts."""

    factors: tuple[Factor, ...]
    now: int
    attempts_left: int


class Factors:
    """One hash for each subject."""

    def __init__(self, scripts: Scripts, *, budget: FailureBudget) -> None:
        self._scripts = scripts
        self._budget = budget_fields(budget)

    async def enroll(
        self,
        address: ChallengeAddress,
        *,
        caller: str,
        name: str,
        seed: str,
        algorithm: str,
        digits: int,
    ) -> int | None:
        """
        Write a pending authenticator; return until when it can be confirmed, or None if its id is there already.

        Raises:
            TooManyFactors, Unavailable.
        """
        factor = {
            "type": FACTOR,
            "caller": caller,
            "name": name,
            "seed": seed,
            "algorithm": algorithm,
            "digits": digits,
        }
        answer = await self._scripts.run(
            "enroll_factor",
            [keys.factors(address.subject)],
            {
                "id": address.challenge_id,
                "factor": factor,
                "ttl_ms": PENDING_MS,
                "max_factors": MAX_FACTORS,
            },
            durable=True,
        )
        if answer["verdict"] == "full":
            raise TooManyFactors
        return int(answer["expires_at"]) if answer["verdict"] == "enrolled" else None

    async def all(self, subject: SubjectAddress) -> list[Factor]:
        """Return a subject's authenticators, the oldest first. Raises Unavailable."""
        answer = await self._scripts.run("list_factors", [keys.factors(subject)], {})
        return sorted(_factors(answer), key=lambda factor: (factor.created_at, factor.factor_id))

    async def rename(self, address: ChallengeAddress, *, caller: str, name: str) -> Factor:
        """
        Rename one.

        Raises:
            FactorNotFound, Unavailable.
        """
        return await self._change(address, {"caller": caller, "name": name})

    async def remove(self, address: ChallengeAddress, *, caller: str) -> Factor:
        """
        Remove one; it is refused from this moment, and with a confirmed one every remembered device of the subject.

        Raises:
            FactorNotFound, Unavailable.
        """
        return await self._change(address, {"caller": caller})

    async def try_to_confirm(self, address: ChallengeAddress, *, caller: str) -> TriedFactors:
        """
        Spend a try at a pending authenticator.

        Raises:
            FactorNotFound: also when its tries or its time are over.
            Unavailable: the try may be spent.
        """
        fields = {"caller": caller, "id": address.challenge_id, "max_attempts": CONFIRM_ATTEMPTS}
        return await self._reserve(address.subject, fields)

    async def try_to_verify(self, subject: SubjectAddress, *, caller: str) -> TriedFactors:
        """
        Spend a try at the confirmed authenticators of a subject.

        Raises:
            FactorNotFound, SubjectBlocked: and nothing was counted.
            Unavailable: the try may be spent.
        """
        return await self._reserve(subject, {"caller": caller})

    async def confirm(
        self, subject: SubjectAddress, factor: Factor, *, caller: str, step: int
    ) -> int | None:
        """
        Accept the first code; return when.

        Raises:
            FactorNotFound, Unavailable.
        """
        answer = await self._scripts.run(
            "accept_step",
            [keys.factors(subject), keys.guard(subject, FACTOR)],
            {"id": factor.factor_id, "caller": caller, "step": step, "confirm": True},
            durable=True,
        )
        return _accepted(answer)

    async def accept(
        self,
        subject: SubjectAddress,
        factor: Factor,
        *,
        caller: str,
        step: int,
        proof: ProofRecord | None,
    ) -> int | None:
        """
        Accept a step and write the proof; return when, or None if this step or a later one was accepted before.

        Raises:
            FactorNotFound, Unavailable.
        """
        answer = await self._scripts.run(
            "accept_step",
            [keys.factors(subject), keys.guard(subject, FACTOR), *proof_keys(proof)],
            {
                "id": factor.factor_id,
                "caller": caller,
                "step": step,
                "confirm": False,
                **proof_args(proof),
            },
            durable=True,
        )
        return _accepted(answer)

    async def _change(self, address: ChallengeAddress, fields: Mapping[str, Any]) -> Factor:
        answer = await self._scripts.run(
            "change_factor",
            [keys.factors(address.subject), keys.devices(address.subject)],
            {"id": address.challenge_id, **fields},
            durable=True,
        )
        if answer["verdict"] != "changed":
            raise FactorNotFound
        return _factor(address.challenge_id, answer["factor"])

    async def _reserve(self, subject: SubjectAddress, fields: Mapping[str, Any]) -> TriedFactors:
        answer = await self._scripts.run(
            "reserve_factor",
            [keys.factors(subject), keys.guard(subject, FACTOR)],
            {"budget": self._budget, **fields},
            durable=True,
        )
        match answer["verdict"]:
            case "reserved":
                return TriedFactors(
                    factors=tuple(_factors(answer)),
                    now=int(answer["now"]) // 1000,
                    attempts_left=int(answer["attempts_left"]),
                )
            case "blocked":
                raise blocked(answer)
            case _:
                raise FactorNotFound


def _accepted(answer: Mapping[str, Any]) -> int | None:
    match answer["verdict"]:
        case "accepted":
            return int(answer["at"])
        case "replayed":
            return None
        case _:
            raise FactorNotFound


def _factors(answer: Mapping[str, Any]) -> list[Factor]:
    return [
        _factor(factor_id, fields) for factor_id, fields in dict(answer["factors"] or {}).items()
    ]


def _factor(factor_id: str, fields: Mapping[str, Any]) -> Factor:
    confirmed_at = fields.get("confirmed_at")
    return Factor(
        factor_id=factor_id,
        name=str(fields["name"]),
        seed=str(fields["seed"]),
        algorithm=str(fields["algorithm"]),
        digits=int(fields["digits"]),
        confirmed=fields["status"] == "confirmed",
        created_at=int(fields["created_at"]),
        confirmed_at=int(confirmed_at) if confirmed_at is not None else None,
    )
