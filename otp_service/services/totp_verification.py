"""Verification of authenticator codes without a challenge: each time step is accepted once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import structlog

from otp_service.core.challenge import SubjectAddress, challenge_id_for, person_address
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.policy import Policy
from otp_service.core.proofs import ProofOptions, Success
from otp_service.errors import InvalidCode
from otp_service.services.authenticators import AMR, METHOD, clock_is_off, match
from otp_service.services.clock_skew import ClockAgreement
from otp_service.services.events import Events
from otp_service.services.proofs import PendingProof, ProofMaking
from otp_service.store.factor_tries import AcceptedStep, FactorTries, TriedFactors
from otp_service.telemetry import CHALLENGES

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorVerified:
    """A right code, accepted. `verified_at` in Unix milliseconds."""

    factor_id: str
    verified_at: int
    proof: str = field(repr=False)
    proof_expires_in: int

    @classmethod
    def of(cls, accepted: AcceptedStep, proof: PendingProof) -> Self:
        return cls(
            factor_id=accepted.factor_id,
            verified_at=accepted.at,
            proof=proof.at(accepted.at),
            proof_expires_in=proof.expires_in,
        )


class TotpVerificationService:
    """Verifies codes of authenticator apps."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        tries: FactorTries,
        proofs: ProofMaking,
        events: Events,
        clock: ClockAgreement,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._tries = tries
        self._proofs = proofs
        self._events = events
        self._clock = clock

    async def verify(
        self,
        caller: str,
        subject: str,
        code: str,
        *,
        purpose: str,
        binding: str,
        handle: str,
        diagnose: bool,
        proof_options: ProofOptions,
    ) -> FactorVerified:
        """
        Accept the right code of any confirmed authenticator of the subject, each step once.

        Args:
            caller: Whose subject it is.
            subject: The caller's id of the person.
            code: ASCII digits, normalised.
            purpose: What the proof will say.
            binding: What the proof will be bound to, or "".
            handle: Of `new_handle`, the proof's own; the same again after success succeeds again with the same proof.
            diagnose: Whether a refusal may say that the person's clock is off.
            proof_options: Format, lifetime and audience of the proof.

        Raises:
            FactorNotFound, SubjectBlocked, InvalidRequest, ClockSkew: no try was spent.
            InvalidCode: a try was spent, unless the code was accepted before.
            Unavailable.
        """
        self._clock.require()
        keyring = self._keyring()
        address = person_address(keyring, caller, subject)
        proof_id = challenge_id_for(keyring, address, handle)
        success = Success(
            caller=caller,
            id=proof_id,
            attempt_id=handle,
            challenge_id=None,
            method=METHOD,
            amr=AMR,
            purpose=purpose,
            binding=binding,
            subject=subject,
        )
        tried = await self._tries.try_to_verify(
            address, caller=caller, digits=len(code), attempt_id=handle
        )
        if isinstance(tried, AcceptedStep):
            return FactorVerified.of(
                tried, self._proofs.begin(success, proof_options, kid=tried.proof_kid)
            )
        past = self._policy.totp_past_steps
        matched = match(keyring, address, tried.factors, code, tried.now, past=past)
        if matched is None:
            off = diagnose and clock_is_off(keyring, address, tried.factors, code, tried.now)
            await self._wrong(caller, subject, address, tried, proof_id, purpose)
            raise InvalidCode(tried.attempts_left, hint="clock_off" if off else None)
        factor, step = matched
        proving = keyring.active(Kind.PROOF).kid
        proof = self._proofs.begin(success, proof_options, kid=proving)
        accepted = await self._tries.accept(
            address,
            factor,
            caller=caller,
            step=step,
            attempt_id=handle,
            proof_kid=proving,
            proof=proof.record,
        )
        if accepted is None:
            CHALLENGES.labels(purpose, "wrong_code").inc()
            raise InvalidCode(tried.attempts_left + 1, hint="already_used")
        CHALLENGES.labels(purpose, "approved").inc()
        log.info("factor.verified", caller=caller, factor_id=factor.factor_id)
        return FactorVerified.of(accepted, proof)

    async def _wrong(
        self,
        caller: str,
        subject: str,
        address: SubjectAddress,
        tried: TriedFactors,
        event_id: str,
        purpose: str,
    ) -> None:
        CHALLENGES.labels(purpose, "wrong_code").inc()
        if tried.blocks:
            log.info("factor.blocked", caller=caller, factor=METHOD)
            event = await self._events.of_subject(caller, subject, event_id)
            await self._tries.tell_blocked(address, event=event)
