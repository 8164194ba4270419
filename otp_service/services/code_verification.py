"""Verification of one-time codes: attempts are counted before the comparison, a right code is accepted once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import structlog

from otp_service.core import codes
from otp_service.core.challenge import Status, bound
from otp_service.core.codes import CodeContext
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.proofs import FOR_ITSELF, ProofOptions, Success
from otp_service.errors import ChallengeExhausted, InvalidCode, Overloaded, Refusal
from otp_service.services.challenge_ids import about_behind, address_behind
from otp_service.services.code_sending import METHOD
from otp_service.services.hashing import HashPool
from otp_service.services.proofs import PendingProof, ProofMaking
from otp_service.services.region_pauses import RegionPauses
from otp_service.services.test_numbers import TestNumberBudget
from otp_service.store.attempts import Approved, Attempts, IsTotpChallenge
from otp_service.store.challenges import Challenges
from otp_service.telemetry import CHALLENGES

log = structlog.get_logger()

AMR = ("sms",)  # RFC 8176: confirmation using SMS text message to the user at a registered number


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A right code, accepted. `verified_at` in Unix milliseconds, `proof_expires_in` in seconds."""

    challenge_id: str
    purpose: str
    subject: str | None
    method: str
    amr: tuple[str, ...]
    verified_at: int
    proof: str = field(repr=False)
    proof_expires_in: int

    @classmethod
    def of(cls, success: Success, proof: PendingProof, verified_at: int) -> Self:
        return cls(
            challenge_id=success.id,
            purpose=success.purpose,
            subject=success.subject,
            method=success.method,
            amr=success.amr,
            verified_at=verified_at,
            proof=proof.at(verified_at),
            proof_expires_in=proof.expires_in,
        )


class CodeVerification:
    """Verifies one-time codes."""

    def __init__(
        self,
        *,
        keyring: Callable[[], Keyring],
        attempts: Attempts,
        challenges: Challenges,
        hashes: HashPool,
        proofs: ProofMaking,
        regions: RegionPauses,
        test_numbers: TestNumberBudget,
    ) -> None:
        self._keyring = keyring
        self._attempts = attempts
        self._challenges = challenges
        self._hashes = hashes
        self._proofs = proofs
        self._regions = regions
        self._test_numbers = test_numbers

    async def verify(
        self,
        caller: str,
        challenge_id: str,
        code: str,
        *,
        purpose: str,
        binding: str,
        handle: str,
        proof_options: ProofOptions = FOR_ITSELF,
    ) -> Verified | IsTotpChallenge:
        """
        Accept the right code, once, or say that this is no challenge of a code that was sent.

        Only the comparison needs hash capacity: every other answer comes without it.

        Args:
            caller: Who asks; the one that requested.
            challenge_id: As it was given.
            code: 4 to 10 ASCII digits, normalised.
            purpose: As requested.
            binding: As requested, or "".
            handle: Of `new_handle`; the same again after success succeeds again with the same proof.
            proof_options: Format, lifetime and audience of the proof.

        Raises:
            ChallengeNotFound, ChallengeMismatch, CodeNotSent, ChallengeEnded, SubjectBlocked, InvalidRequest,
                Overloaded: no try was spent.
            InvalidCode, ChallengeExhausted: a try was spent.
            Unavailable: a try may have been spent.
        """
        keyring = self._keyring()
        address = address_behind(keyring, challenge_id)
        bound_to = bound(keyring, caller, binding)
        async with self._hashes.try_verifying(caller) as hashing:
            charge = await self._test_numbers.charge(caller, address, handle)
            try:
                reserved = await self._attempts.reserve(
                    address,
                    caller=caller,
                    purpose=purpose,
                    binding=bound_to,
                    digits=len(code),
                    attempt_id=handle,
                    overloaded=hashing.refusal,
                )
            except (Refusal, Overloaded):  # nothing was evaluated
                await self._test_numbers.take_back(charge)
                raise
            if isinstance(reserved, IsTotpChallenge):
                return reserved
            success = Success(
                caller=caller,
                id=challenge_id,
                attempt_id=handle,
                challenge_id=challenge_id,
                method=METHOD,
                amr=AMR,
                purpose=purpose,
                binding=binding,
                subject=about_behind(keyring, reserved.about, challenge_id).subject,
            )
            if isinstance(reserved, Approved):
                before = self._proofs.begin(success, proof_options, kid=reserved.proof_kid)
                return Verified.of(success, before, reserved.ended_at)
            proving = keyring.active(Kind.PROOF).kid
            proof = self._proofs.begin(success, proof_options, kid=proving)
            for candidate in reserved.candidates:
                pepper = keyring.find(Kind.PEPPER, candidate.kid)
                if pepper is None:
                    continue
                context = CodeContext(caller, purpose, challenge_id, candidate.generation, bound_to)
                if await hashing.matches(candidate.digest, codes.message(pepper, context, code)):
                    ended_at = await self._attempts.consume(
                        address,
                        generation=candidate.generation,
                        attempt_id=handle,
                        proof_kid=proving,
                        proof=proof.record,
                    )
                    await self._test_numbers.take_back(charge)
                    CHALLENGES.labels(purpose, "approved").inc()
                    if reserved.region:
                        self._regions.approved(caller, reserved.region)
                    log.info("challenge.approved", caller=caller, challenge_id=challenge_id)
                    return Verified.of(success, proof, ended_at)
        log.info(
            "challenge.wrong_code",
            caller=caller,
            challenge_id=challenge_id,
            attempts_left=reserved.attempts_left,
        )
        CHALLENGES.labels(purpose, "wrong_code").inc()
        if reserved.blocks:
            log.info("challenge.blocked", caller=caller, challenge_id=challenge_id)
            await self._attempts.tell_blocked(address)
        if reserved.attempts_left > 0:
            raise InvalidCode(reserved.attempts_left)
        _, ended_at = await self._challenges.end(address, caller=caller, status=Status.EXHAUSTED)
        CHALLENGES.labels(purpose, "exhausted").inc()
        raise ChallengeExhausted(ended_at)
