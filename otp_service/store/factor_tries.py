"""Tries at authenticators: each is counted before a code is compared, and a step is accepted once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otp_service.core.challenge import ChallengeAddress, SubjectAddress
from otp_service.core.limits import FailureBudget
from otp_service.errors import FactorNotFound, FieldError, InvalidRequest
from otp_service.store import keys
from otp_service.store.factor_records import FACTOR, Factor, factors_in
from otp_service.store.guards import ALL, budget_fields, tell_blocked
from otp_service.store.proofs import ProofRecord, proof_args, proof_keys, require_proven
from otp_service.store.refusals import blocked
from otp_service.store.scripts import Scripts

CONFIRM_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedFactors:
    """
    One counted attempt.

    Attributes:
        now: Redis' clock in Unix seconds: the only one that counts.
        blocks: Unless this try succeeds, the subject is blocked.
    """

    factors: tuple[Factor, ...]
    now: int
    attempts_left: int
    blocks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedStep:
    """A step is accepted by this attempt, now or before. `at` in Unix milliseconds."""

    at: int
    factor_id: str
    proof_kid: str


class FactorTries:
    """
    Tries at the authenticators of each subject.

    Args:
        history_ms: How long its timeline is kept.
    """

    def __init__(self, scripts: Scripts, *, budget: FailureBudget, history_ms: int) -> None:
        self._scripts = scripts
        self._budget = budget_fields(budget)
        self._history_ms = history_ms

    async def try_to_confirm(
        self, address: ChallengeAddress, *, caller: str, digits: int, attempt_id: str
    ) -> TriedFactors | AcceptedStep:
        """
        Spend a try at a pending authenticator, or say that this attempt has succeeded before.

        The same attempt again spends no other try within a step.

        Raises:
            FactorNotFound: also when its tries or its time are over.
            SubjectBlocked: wrong codes with all factors together; nothing was counted.
            InvalidRequest: its codes have another length; nothing was counted.
            Unavailable: the try may be spent.
        """
        fields = {"id": address.challenge_id, "max_attempts": CONFIRM_ATTEMPTS}
        return await self._reserve(
            address.subject, {"caller": caller, "digits": digits, **fields}, attempt_id=attempt_id
        )

    async def try_to_verify(
        self, subject: SubjectAddress, *, caller: str, digits: int, attempt_id: str
    ) -> TriedFactors | AcceptedStep:
        """
        Spend a try at those confirmed authenticators of a subject whose codes have so many digits.

        As `try_to_confirm` for the same attempt again.

        Raises:
            FactorNotFound, SubjectBlocked: and nothing was counted.
            InvalidRequest: all of them have codes of another length; nothing was counted.
            Unavailable: the try may be spent.
        """
        return await self._reserve(
            subject, {"caller": caller, "digits": digits}, attempt_id=attempt_id
        )

    async def confirm(
        self,
        subject: SubjectAddress,
        factor: Factor,
        *,
        caller: str,
        step: int,
        attempt_id: str,
        events: bool,
        proof_required: bool,
    ) -> AcceptedStep | None:
        """
        Accept the first code. `events`: whether webhooks are told.

        Raises:
            FactorNotFound, Unavailable.
            FactorProofRequired: it was enrolled without, and the subject has confirmed another since.
        """
        answer = await self._scripts.run(
            "accept_step",
            _accepting(subject, attempt_id),
            {
                "id": factor.factor_id,
                "caller": caller,
                "step": step,
                "confirm": True,
                "proof_required": proof_required,
                "proof_kid": "",
                "budget": self._budget,
                "events": events,
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
        attempt_id: str,
        proof_kid: str,
        proof: ProofRecord | None,
    ) -> AcceptedStep | None:
        """
        Accept a step and write the proof; return None if this step or a later one was accepted before.

        The try is given back then.

        Raises:
            FactorNotFound, Unavailable.
        """
        answer = await self._scripts.run(
            "accept_step",
            [*_accepting(subject, attempt_id), *proof_keys(proof)],
            {
                "id": factor.factor_id,
                "caller": caller,
                "step": step,
                "confirm": False,
                "proof_kid": proof_kid,
                "budget": self._budget,
                **proof_args(proof),
            },
            durable=True,
        )
        return _accepted(answer)

    async def tell_blocked(
        self, subject: SubjectAddress, *, event: Mapping[str, str] | None
    ) -> None:
        """Tell that wrong codes have blocked the subject's authenticators, if they have. Raises Unavailable."""
        await tell_blocked(self._scripts, subject, factor=FACTOR, budget=self._budget, event=event)

    async def _reserve(
        self, subject: SubjectAddress, fields: Mapping[str, Any], *, attempt_id: str
    ) -> TriedFactors | AcceptedStep:
        answer = await self._scripts.run(
            "reserve_factor",
            [
                keys.factors(subject),
                keys.guard(subject, FACTOR),
                keys.timeline(subject),
                keys.attempt(subject.bucket, attempt_id),
                keys.guard(subject, ALL),
            ],
            {"budget": self._budget, "life_ms": self._history_ms, **fields},
            durable=True,
        )
        match answer["verdict"]:
            case "reserved":
                return TriedFactors(
                    factors=tuple(factors_in(answer)),
                    now=int(answer["now"]) // 1000,
                    attempts_left=int(answer["attempts_left"]),
                    blocks=bool(answer.get("blocks")),
                )
            case "accepted":
                return _step_of(answer)
            case "blocked":
                raise blocked(answer)
            case "digits":
                wanted = int(answer["digits"])
                raise InvalidRequest(FieldError("code", f"must have {wanted} digits"))
            case _:
                raise FactorNotFound


def _accepting(subject: SubjectAddress, attempt_id: str) -> list[str]:
    return [
        keys.factors(subject),
        keys.guard(subject, FACTOR),
        keys.timeline(subject),
        keys.events(subject.bucket),
        keys.attempt(subject.bucket, attempt_id),
        keys.guard(subject, ALL),
    ]


def _accepted(answer: Mapping[str, Any]) -> AcceptedStep | None:
    require_proven(answer)
    match answer["verdict"]:
        case "accepted":
            return _step_of(answer)
        case "replayed":
            return None
        case _:
            raise FactorNotFound


def _step_of(answer: Mapping[str, Any]) -> AcceptedStep:
    return AcceptedStep(
        at=int(answer["at"]), factor_id=answer["factor_id"], proof_kid=answer["proof_kid"]
    )
