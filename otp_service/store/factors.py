"""Authenticators in Redis: seeds sealed, the last accepted step, and the tries."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from otp_service.core.challenge import ChallengeAddress, SubjectAddress
from otp_service.core.limits import FailureBudget
from otp_service.errors import (
    FactorNotFound,
    FactorProofRequired,
    FieldError,
    InvalidRequest,
    TooManyFactors,
    Unavailable,
)
from otp_service.store import keys
from otp_service.store.connection import FAULTS
from otp_service.store.guards import blocked, budget_fields
from otp_service.store.proofs import FactorProof, ProofRecord, proof_args, proof_keys
from otp_service.store.scripts import Scripts

FACTOR = "totp"
MAX_FACTORS = 10
PENDING_MS = 900_000
CONFIRM_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFactor:
    """What is written of a new authenticator; `about` (whose it is) and `seed` are sealed."""

    caller: str
    name: str
    about: str
    seed: str
    algorithm: str
    digits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """
    One authenticator. Times in Unix milliseconds; `seed` is sealed.

    Attributes:
        confirmed: Whether a code has proven it; until then it counts for nothing.
    """

    factor_id: str
    caller: str
    name: str
    about: str  # sealed: whose it is; "" where that was not written yet
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
            [keys.factors(address.subject), *proof.keys],
            {
                "id": address.challenge_id,
                "factor": {"type": FACTOR, **asdict(new)},
                "proof_required": proof.required,
                "ttl_ms": PENDING_MS,
                "max_factors": MAX_FACTORS,
            },
            durable=True,
        )
        _require_proven(answer)
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
            [keys.factors(address.subject)],
            {
                "id": address.challenge_id,
                "factor": {"type": FACTOR, **asdict(new)},
                "max_factors": MAX_FACTORS,
                "step_ms": step_ms,
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

    async def remove(self, address: ChallengeAddress, *, caller: str, proof: FactorProof) -> Factor:
        """
        Remove one; it is refused from this moment, and with a confirmed one every remembered device of the subject.

        Raises:
            FactorNotFound, FactorProofRequired: and the proof is not spent.
            Unavailable.
        """
        fields = {"caller": caller, "proof_required": proof.required}
        return await self._change(address, fields, proof.keys)

    async def try_to_confirm(
        self, address: ChallengeAddress, *, caller: str, digits: int
    ) -> TriedFactors:
        """
        Spend a try at a pending authenticator.

        Raises:
            FactorNotFound: also when its tries or its time are over.
            InvalidRequest: its codes have another length; nothing was counted.
            Unavailable: the try may be spent.
        """
        fields = {"id": address.challenge_id, "max_attempts": CONFIRM_ATTEMPTS}
        return await self._reserve(address.subject, {"caller": caller, "digits": digits, **fields})

    async def try_to_verify(
        self, subject: SubjectAddress, *, caller: str, digits: int
    ) -> TriedFactors:
        """
        Spend a try at those confirmed authenticators of a subject whose codes have so many digits.

        Raises:
            FactorNotFound, SubjectBlocked: and nothing was counted.
            InvalidRequest: all of them have codes of another length; nothing was counted.
            Unavailable: the try may be spent.
        """
        return await self._reserve(subject, {"caller": caller, "digits": digits})

    async def confirm(
        self,
        subject: SubjectAddress,
        factor: Factor,
        *,
        caller: str,
        step: int,
        proof_required: bool,
    ) -> int | None:
        """
        Accept the first code; return when.

        Raises:
            FactorNotFound, Unavailable.
            FactorProofRequired: it was enrolled without, and the subject has confirmed another since.
        """
        answer = await self._scripts.run(
            "accept_step",
            [keys.factors(subject), keys.guard(subject, FACTOR)],
            {
                "id": factor.factor_id,
                "caller": caller,
                "step": step,
                "confirm": True,
                "proof_required": proof_required,
            },
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

    async def _change(
        self, address: ChallengeAddress, fields: Mapping[str, Any], proof: Sequence[str] = ()
    ) -> Factor:
        answer = await self._scripts.run(
            "change_factor",
            [keys.factors(address.subject), keys.devices(address.subject), *proof],
            {"id": address.challenge_id, **fields},
            durable=True,
        )
        _require_proven(answer)
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
                    factors=tuple(factors_in(answer)),
                    now=int(answer["now"]) // 1000,
                    attempts_left=int(answer["attempts_left"]),
                )
            case "blocked":
                raise blocked(answer)
            case "digits":
                wanted = int(answer["digits"])
                raise InvalidRequest(FieldError("code", f"must have {wanted} digits"))
            case _:
                raise FactorNotFound


def _require_proven(answer: Mapping[str, Any]) -> None:
    if answer["verdict"] == "unproven":
        raise FactorProofRequired


def _accepted(answer: Mapping[str, Any]) -> int | None:
    _require_proven(answer)
    match answer["verdict"]:
        case "accepted":
            return int(answer["at"])
        case "replayed":
            return None
        case _:
            raise FactorNotFound


def factors_in(answer: Mapping[str, Any]) -> list[Factor]:
    """Return the authenticators that a script hands out, id to fields."""
    return [
        _factor(factor_id, fields) for factor_id, fields in dict(answer["factors"] or {}).items()
    ]


def _factor(factor_id: str, fields: Mapping[str, Any]) -> Factor:
    confirmed_at = fields.get("confirmed_at")
    return Factor(
        factor_id=factor_id,
        caller=str(fields["caller"]),
        name=str(fields["name"]),
        about=str(fields.get("about", "")),
        seed=str(fields["seed"]),
        algorithm=str(fields["algorithm"]),
        digits=int(fields["digits"]),
        confirmed=fields["status"] == "confirmed",
        created_at=int(fields["created_at"]),
        confirmed_at=int(confirmed_at) if confirmed_at is not None else None,
    )
