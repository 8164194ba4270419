"""Attempts at challenges: counted first, then compared outside, then consumed by one winner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from otp_service.core.challenge import ChallengeAddress
from otp_service.core.limits import FailureBudget
from otp_service.errors import Overloaded
from otp_service.store import keys
from otp_service.store.challenges import FACTOR
from otp_service.store.guards import ALL, budget_fields
from otp_service.store.proofs import ProofRecord, proof_args, proof_keys
from otp_service.store.refusals import refusal, wrong_length
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class IsTotpChallenge:
    """An authenticator app answers the challenge, not a code that was sent: see `store.totp_challenge_store`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A digest that the typed code may match."""

    digest: str
    kid: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """
    One attempt is spent; the newest digest first. `about` is sealed; `region` is the number's, "" if not known.

    `blocks`: unless this attempt succeeds, the subject is blocked.
    """

    candidates: Sequence[Candidate]
    attempts_left: int
    about: str
    region: str
    blocks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """This very attempt has succeeded, its proof made by the proof key of that id. `about` is sealed."""

    ended_at: int
    about: str
    proof_kid: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        return cls(
            ended_at=int(answer["ended_at"]),
            about=answer["about"],
            proof_kid=answer["proof_kid"],
        )


class Attempts:
    """Counts attempts, and consumes challenges."""

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
        overloaded: Overloaded | None = None,
    ) -> Reserved | Approved | IsTotpChallenge:
        """
        Spend one attempt and hand out the digests, or say that this attempt has succeeded before.

        Args:
            overloaded: Why no digest can be compared now; raised where an attempt would be counted.

        Raises:
            ChallengeNotFound, ChallengeMismatch, ChallengeEnded, SubjectBlocked, CodeNotSent, InvalidRequest: and
                nothing was counted.
            Unavailable: Redis; the attempt may have been counted.
        """
        answer = await self._scripts.run(
            "reserve_attempt",
            [
                *keys.of_challenge(address),
                keys.guard(address.subject, FACTOR),
                keys.timeline(address.subject),
                keys.guard(address.subject, ALL),
            ],
            {
                "id": address.challenge_id,
                "caller": caller,
                "purpose": purpose,
                "binding": binding,
                "digits": digits,
                "attempt_id": attempt_id,
                "budget": self._budget,
                "capacity": overloaded is None,
            },
            durable=True,
        )
        if overloaded is not None and answer["verdict"] == "no_capacity":
            raise overloaded
        match answer["verdict"]:
            case "reserved":
                candidates = [
                    Candidate(
                        digest=answer[f"{age}digest"],
                        kid=answer[f"{age}kid"],
                        generation=int(answer[f"{age}generation"]),
                    )
                    for age in ("", "old_")
                    if answer.get(f"{age}digest")
                ]
                return Reserved(
                    candidates=candidates,
                    attempts_left=int(answer["attempts_left"]),
                    about=answer["about"],
                    region=answer.get("region") or "",
                    blocks=bool(answer.get("blocks")),
                )
            case "approved":
                return Approved.of(answer)
            case "digits":
                raise wrong_length(answer)
            case "app":
                return IsTotpChallenge()
            case _:
                raise refusal(answer)

    async def consume(
        self,
        address: ChallengeAddress,
        *,
        generation: int,
        attempt_id: str,
        proof_kid: str,
        proof: ProofRecord | None,
    ) -> int:
        """
        Spend the challenge and write the proof; return when, in Unix milliseconds. One winner.

        Raises:
            ChallengeEnded: somebody else was first, or time ran out while hashing.
            CodeNotSent: a resend came between.
            Unavailable: Redis; the code may be spent.
        """
        answer = await self._scripts.run(
            "consume_challenge",
            [
                *keys.of_challenge(address),
                keys.guard(address.subject, FACTOR),
                keys.events(address.subject.bucket),
                keys.timeline(address.subject),
                keys.guard(address.subject, ALL),
                *proof_keys(proof),
            ],
            {
                "id": address.challenge_id,
                "generation": generation,
                "attempt_id": attempt_id,
                "proof_kid": proof_kid,
                "budget": self._budget,
                **proof_args(proof),
            },
            durable=True,
        )
        if answer["verdict"] == "approved":
            return int(answer["ended_at"])
        raise refusal(answer)

    async def tell_blocked(self, address: ChallengeAddress, *, factor: str = FACTOR) -> None:
        """Tell the caller's webhooks that the subject is blocked, if it is. Raises Unavailable."""
        await self._scripts.run(
            "tell_blocked",
            [
                keys.challenge(address),
                keys.guard(address.subject, factor),
                keys.events(address.subject.bucket),
                keys.timeline(address.subject),
                keys.guard(address.subject, ALL),
            ],
            {"id": address.challenge_id, "budget": self._budget},
        )
