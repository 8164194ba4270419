"""Challenges that an authenticator app answers: attempts at them and their end, in one slot with the app's steps."""

from dataclasses import dataclass

from otp_service.core.challenge import ChallengeAddress
from otp_service.core.limits import FailureBudget
from otp_service.errors import FactorNotFound
from otp_service.store import keys
from otp_service.store.attempts import Approved
from otp_service.store.factor_records import FACTOR, Factor, factors_in
from otp_service.store.guards import ALL, budget_fields
from otp_service.store.proofs import ProofRecord, proof_args, proof_keys
from otp_service.store.refusals import refusal, wrong_length
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedStep:
    """
    One attempt is spent. `now` is Redis' clock in Unix seconds; `about` is sealed.

    `blocks`: unless this attempt succeeds, the subject is blocked.
    """

    factors: tuple[Factor, ...]
    now: int
    attempts_left: int
    about: str
    blocks: bool


class TotpChallengeStore:
    """Attempts at them."""

    def __init__(self, scripts: Scripts, *, budget: FailureBudget) -> None:
        self._scripts = scripts
        self._budget = budget_fields(budget)

    async def reserve(
        self,
        address: ChallengeAddress,
        *,
        caller: str,
        purpose: str,
        binding: str,
        digits: int,
        attempt_id: str,
    ) -> ReservedStep | Approved:
        """
        Spend one attempt and hand out the authenticators, or say that this attempt has succeeded before.

        Raises:
            ChallengeNotFound, ChallengeMismatch, ChallengeEnded, SubjectBlocked, FactorNotFound, InvalidRequest: and
                nothing was counted.
            Unavailable: Redis; the attempt may have been counted.
        """
        answer = await self._scripts.run(
            "reserve_step",
            [*_keys(address), keys.guard(address.subject, ALL)],
            {
                "id": address.challenge_id,
                "caller": caller,
                "purpose": purpose,
                "binding": binding,
                "digits": digits,
                "attempt_id": attempt_id,
                "budget": self._budget,
            },
            durable=True,
        )
        match answer["verdict"]:
            case "reserved":
                return ReservedStep(
                    factors=tuple(factors_in(answer)),
                    now=int(answer["now"]) // 1000,
                    attempts_left=int(answer["attempts_left"]),
                    about=answer["about"],
                    blocks=bool(answer["blocks"]),
                )
            case "approved":
                return Approved.of(answer)
            case "digits":
                raise wrong_length(answer)
            case "no_factor":
                raise FactorNotFound
            case _:
                raise refusal(answer)

    async def consume(
        self,
        address: ChallengeAddress,
        factor: Factor,
        *,
        caller: str,
        step: int,
        attempt_id: str,
        proof_kid: str,
        proof: ProofRecord | None,
    ) -> int | None:
        """
        Accept the step, spend the challenge and write the proof, in one; return when, in Unix milliseconds.

        None if this step or a later one was accepted before: the try is given back. One winner.

        Raises:
            ChallengeEnded: somebody else was first, or time ran out.
            FactorNotFound: the authenticator is gone.
            Unavailable: Redis; both may be spent.
        """
        answer = await self._scripts.run(
            "consume_by_step",
            [
                *_keys(address),
                keys.events(address.subject.bucket),
                keys.guard(address.subject, ALL),
                *proof_keys(proof),
            ],
            {
                "id": address.challenge_id,
                "caller": caller,
                "factor_id": factor.factor_id,
                "step": step,
                "attempt_id": attempt_id,
                "proof_kid": proof_kid,
                "budget": self._budget,
                **proof_args(proof),
            },
            durable=True,
        )
        match answer["verdict"]:
            case "approved":
                return int(answer["ended_at"])
            case "replayed":
                return None
            case "no_factor":
                raise FactorNotFound
            case _:
                raise refusal(answer)


def _keys(address: ChallengeAddress) -> list[str]:
    subject = address.subject
    return [
        keys.challenge(address),
        keys.subject(subject),
        keys.factors(subject),
        keys.guard(subject, FACTOR),
        keys.timeline(subject),
    ]
