"""Stored recovery codes: digests by index, each consumed by its use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from otp_service.core.challenge import SubjectAddress
from otp_service.core.limits import FailureBudget
from otp_service.errors import FactorNotFound, Overloaded, Unavailable
from otp_service.store import keys
from otp_service.store.guards import ALL, budget_fields, tell_blocked
from otp_service.store.proofs import (
    FactorProof,
    ProofRecord,
    proof_args,
    proof_keys,
    require_proven,
)
from otp_service.store.refusals import blocked
from otp_service.store.scripts import Scripts

FACTOR = "recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedCode:
    """
    One try is spent; the candidate's PHC string, or None when there is none.

    `blocks`: unless this try succeeds, the subject is blocked.
    """

    phc: str | None
    attempts_left: int
    blocks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCode:
    """A code is burned by this attempt, now or before; `remaining` are left. `at` in Unix milliseconds."""

    at: int
    remaining: int
    proof_kid: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        return cls(
            at=int(answer["at"]),
            remaining=int(answer["remaining"]),
            proof_kid=answer["proof_kid"],
        )


class RecoveryCodes:
    """
    One set for each subject. `event`: see `flows.events.Events.of_subject`.

    Args:
        history_ms: How long the subject's timeline is kept.
    """

    def __init__(self, scripts: Scripts, *, budget: FailureBudget, history_ms: int) -> None:
        self._scripts = scripts
        self._budget = budget_fields(budget)
        self._history_ms = history_ms

    async def require_proof(self, subject: SubjectAddress, proof: FactorProof) -> None:
        """
        Check the proof that `replace` will spend, and spend nothing.

        Raises:
            FactorProofRequired, Unavailable.
        """
        require_proven(
            await self._scripts.run(
                "check_factor_proof",
                [keys.factors(subject), *proof.keys],
                {"proof_required": proof.required},
            )
        )

    async def replace(
        self,
        subject: SubjectAddress,
        codes: Mapping[str, str],
        *,
        event: Mapping[str, str] | None,
        proof: FactorProof,
    ) -> int:
        """
        Store a set, index to PHC string; every older code is void. Return when.

        Raises:
            FactorProofRequired: and the proof is not spent.
            Unavailable.
        """
        answer = await self._scripts.run(
            "replace_recovery_codes",
            [
                keys.recovery(subject),
                keys.timeline(subject),
                keys.events(subject.bucket),
                keys.factors(subject),
                *proof.keys,
            ],
            {
                "codes": [part for code in codes.items() for part in code],
                "life_ms": self._history_ms,
                "event": event,
                "proof_required": proof.required,
            },
            durable=True,
        )
        require_proven(answer)
        return int(answer["at"])

    async def remaining(self, subject: SubjectAddress) -> int:
        """Return how many are left. Raises Unavailable."""
        answer = await self._scripts.run("count_recovery_codes", [keys.recovery(subject)], {})
        return int(answer["remaining"])

    async def reserve(
        self,
        subject: SubjectAddress,
        index: str,
        *,
        attempt_id: str,
        overloaded: Overloaded | None = None,
    ) -> TriedCode | AcceptedCode:
        """
        Spend a try and return the one candidate, or say that this attempt has succeeded before.

        The same attempt again spends no other try.

        Args:
            overloaded: Why no digest can be compared now; raised where the answer depends on the code.

        Raises:
            FactorNotFound, SubjectBlocked: and nothing was counted.
            Unavailable: the try may be spent.
        """
        answer = await self._scripts.run(
            "reserve_recovery_code",
            [
                keys.recovery(subject),
                keys.guard(subject, FACTOR),
                keys.timeline(subject),
                keys.attempt(subject.bucket, attempt_id),
                keys.guard(subject, ALL),
            ],
            {
                "index": index,
                "budget": self._budget,
                "life_ms": self._history_ms,
                "capacity": overloaded is None,
            },
            durable=True,
        )
        if overloaded is not None and answer["verdict"] == "no_capacity":
            raise overloaded
        match answer["verdict"]:
            case "reserved":
                return TriedCode(
                    phc=answer.get("phc"),
                    attempts_left=int(answer["attempts_left"]),
                    blocks=bool(answer.get("blocks")),
                )
            case "accepted":
                return AcceptedCode.of(answer)
            case "blocked":
                raise blocked(answer)
            case "not_found":
                raise FactorNotFound
            case other:
                raise Unavailable(f"redis: unknown verdict {other!r}")

    async def redeem(
        self,
        subject: SubjectAddress,
        *,
        index: str,
        phc: str,
        attempt_id: str,
        proof_kid: str,
        proof: ProofRecord | None,
        event: Mapping[str, str] | None,
    ) -> AcceptedCode | None:
        """
        Burn a code and write the proof. One winner; None for everybody else.

        Raises:
            Unavailable: the code may be burned.
        """
        answer = await self._scripts.run(
            "redeem_recovery_code",
            [
                keys.recovery(subject),
                keys.guard(subject, FACTOR),
                keys.timeline(subject),
                keys.events(subject.bucket),
                keys.attempt(subject.bucket, attempt_id),
                keys.guard(subject, ALL),
                *proof_keys(proof),
            ],
            {
                "index": index,
                "phc": phc,
                "proof_kid": proof_kid,
                "event": event,
                **proof_args(proof),
            },
            durable=True,
        )
        return AcceptedCode.of(answer) if answer["verdict"] == "accepted" else None

    async def tell_blocked(
        self, subject: SubjectAddress, *, event: Mapping[str, str] | None
    ) -> None:
        """Tell that wrong codes have blocked the subject's recovery codes, if they have. Raises Unavailable."""
        await tell_blocked(self._scripts, subject, factor=FACTOR, budget=self._budget, event=event)
