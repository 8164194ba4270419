"""Recovery codes: a set is shown once, each code is accepted once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import structlog

from otp_service.core import recovery_codes
from otp_service.core.challenge import (
    SubjectAddress,
    challenge_id_for,
    new_handle,
    person_address,
)
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.limits import Window
from otp_service.core.proofs import ProofOptions, Success
from otp_service.errors import InvalidCode
from otp_service.services.events import Events
from otp_service.services.factor_proofs import FactorProofs, PresentedProof
from otp_service.services.hashing import HashPool
from otp_service.services.proofs import PendingProof, ProofMaking
from otp_service.services.subject_limits import subject_limits
from otp_service.store.limits import Limits
from otp_service.store.recovery_codes import AcceptedCode, RecoveryCodes, TriedCode
from otp_service.telemetry import CHALLENGES

log = structlog.get_logger()

METHOD = "recovery_code"
# Sets that a subject is issued: each costs ten hashes, and a person keeps one set for months.
PER_SUBJECT = Window(10, 3600)
AMR: tuple[
    str, ...
] = ()  # RFC 8176 has no value for them, and they never count as more than one factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """An accepted code. `verified_at` in Unix milliseconds; `remaining` codes are left."""

    verified_at: int
    remaining: int
    proof: str = field(repr=False)
    proof_expires_in: int

    @classmethod
    def of(cls, accepted: AcceptedCode, proof: PendingProof) -> Self:
        return cls(
            verified_at=accepted.at,
            remaining=accepted.remaining,
            proof=proof.at(accepted.at),
            proof_expires_in=proof.expires_in,
        )


class Recovery:
    """
    Issues and redeems recovery codes.

    Args:
        per_subject: Sets that one subject is issued at most.
    """

    def __init__(
        self,
        *,
        keyring: Callable[[], Keyring],
        codes: RecoveryCodes,
        limits: Limits,
        hashes: HashPool,
        proofs: ProofMaking,
        factor_proofs: FactorProofs,
        events: Events,
        per_subject: Window = PER_SUBJECT,
    ) -> None:
        self._keyring = keyring
        self._codes = codes
        self._limits = limits
        self._hashes = hashes
        self._proofs = proofs
        self._factor_proofs = factor_proofs
        self._events = events
        self._per_subject = per_subject

    async def issue(
        self, caller: str, subject: str, *, shown: PresentedProof, handle: str
    ) -> tuple[Sequence[str], int]:
        """
        Return ten new codes, to be shown once, and when they were made; every older one is void.

        Args:
            caller: Whose subject it is.
            subject: The caller's id of the person.
            shown: A proof of a factor that the subject has.
            handle: Of `new_handle`; the limit counts the same handle once.

        Raises:
            FactorProofRequired, RateLimited, Overloaded: nothing was replaced, and the proof is not spent.
            Unavailable.
        """
        keyring = self._keyring()
        address = person_address(keyring, caller, subject)
        proof = await self._factor_proofs.of(caller, address, shown)
        name, whose = keyring.active(Kind.NAME), address.pseudonym
        await self._codes.require_proof(address, proof)
        drawn = [recovery_codes.draw() for _ in range(recovery_codes.COUNT)]
        plain = [code.replace("-", "") for code in drawn]
        async with self._hashes.issuing(caller) as hashing:
            limits = subject_limits(keyring, "recovery_codes", self._per_subject, caller, subject)
            await self._limits.charge_far(limits, handle)
            digests = [
                await hashing.digest(recovery_codes.message(name, pseudonym=whose, code=code))
                for code in plain
            ]
        indexes = [recovery_codes.index(name, pseudonym=whose, code=code) for code in plain]
        event_id = challenge_id_for(keyring, address, new_handle(keyring))
        event = await self._events.of_subject(caller, subject, event_id)
        codes = dict(zip(indexes, digests, strict=True))
        at = await self._codes.replace(address, codes, event=event, proof=proof)
        log.info("recovery_codes.issued", caller=caller)
        return drawn, at

    async def redeem(
        self,
        caller: str,
        subject: str,
        code: str,
        *,
        purpose: str,
        binding: str,
        handle: str,
        proof_options: ProofOptions,
    ) -> Redeemed:
        """
        Accept a code, once.

        Only the comparison needs hash capacity, but a code that no candidate fits is refused without capacity too:
        otherwise the answer would tell which codes exist.

        Args:
            caller: Whose subject it is.
            subject: The caller's id of the person.
            code: 16 characters, normalised.
            purpose: What the proof will say.
            binding: What the proof will be bound to, or "".
            handle: Of `new_handle`, the proof's own; the same again after success succeeds again with the same proof.
            proof_options: Format, lifetime and audience of the proof.

        Raises:
            FactorNotFound, SubjectBlocked, Overloaded: no try was spent.
            InvalidCode: a try was spent.
            Unavailable.
        """
        keyring = self._keyring()
        address = person_address(keyring, caller, subject)
        name, whose = keyring.active(Kind.NAME), address.pseudonym
        index = recovery_codes.index(name, pseudonym=whose, code=code)
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
        async with self._hashes.try_verifying(caller) as hashing:
            tried = await self._codes.reserve(
                address, index, attempt_id=handle, overloaded=hashing.refusal
            )
            if isinstance(tried, AcceptedCode):
                before = self._proofs.begin(success, proof_options, kid=tried.proof_kid)
                return Redeemed.of(tried, before)
            if tried.phc is None:
                raise await self._wrong(caller, subject, address, tried, proof_id, purpose)
            message = recovery_codes.message(name, pseudonym=whose, code=code)
            if not await hashing.matches(tried.phc, message):
                raise await self._wrong(caller, subject, address, tried, proof_id, purpose)
        proving = keyring.active(Kind.PROOF).kid
        proof = self._proofs.begin(success, proof_options, kid=proving)
        event = await self._events.of_subject(caller, subject, proof_id)
        redeemed = await self._codes.redeem(
            address,
            index=index,
            phc=tried.phc,
            attempt_id=handle,
            proof_kid=proving,
            proof=proof.record,
            event=event,
        )
        if redeemed is None:
            raise await self._wrong(caller, subject, address, tried, proof_id, purpose)
        CHALLENGES.labels(purpose, "approved").inc()
        log.info("recovery_code.used", caller=caller, remaining=redeemed.remaining)
        return Redeemed.of(redeemed, proof)

    async def _wrong(
        self,
        caller: str,
        subject: str,
        address: SubjectAddress,
        tried: TriedCode,
        event_id: str,
        purpose: str,
    ) -> InvalidCode:
        CHALLENGES.labels(purpose, "wrong_code").inc()
        if tried.blocks:
            log.info("factor.blocked", caller=caller, factor=METHOD)
            event = await self._events.of_subject(caller, subject, event_id)
            await self._codes.tell_blocked(address, event=event)
        return InvalidCode(tried.attempts_left)
