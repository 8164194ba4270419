"""
Authenticator apps, as a caller sees them: enrol, confirm, verify, list, rename, remove.

A seed is shown once and rests sealed; a code is accepted by its step, and a step once. Time is Redis' clock, which
every process shares and no caller can move.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from otp_service.core import totp
from otp_service.core.challenge import (
    ChallengeAddress,
    SubjectAddress,
    address_of,
    challenge_id_for,
    lasting_id_for,
    subject_address,
)
from otp_service.core.envelopes import About, seed_of
from otp_service.core.keyring import Keyring
from otp_service.core.policy import Policy
from otp_service.core.proofs import ProofWish, Success
from otp_service.core.seal import SealBroken, seal, unseal
from otp_service.core.totp import Algorithm, Authenticator
from otp_service.errors import AlreadyIssued, FactorNotFound, InvalidCode
from otp_service.flows.events import Events
from otp_service.flows.factor_proofs import FactorProofs, Shown
from otp_service.flows.proofs import ProofMaking
from otp_service.store.factors import Factor, Factors, NewFactor, TriedFactors
from otp_service.store.recovery_codes import RecoveryCodes
from otp_service.telemetry import CHALLENGES

log = structlog.get_logger()

METHOD = "totp"
DEFAULT_NAME = "Authenticator app"
AMR = ("otp",)  # RFC 8176


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrollment:
    """
    A pending authenticator, with all that is shown of it, once.

    Attributes:
        secret: base32, to be typed.
        expires_at: Until when one code must confirm it; Unix milliseconds.
    """

    factor_id: str
    secret: str = field(repr=False)
    provisioning_uri: str = field(repr=False)
    qr_svg: str = field(repr=False)
    qr_terminal: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorVerified:
    """A right code, accepted. `verified_at` in Unix milliseconds."""

    factor_id: str
    verified_at: int
    proof: str = field(repr=False)
    proof_expires_in: int


class AuthenticatorApps:
    """The story of an authenticator app."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        factors: Factors,
        recovery: RecoveryCodes,
        proofs: ProofMaking,
        factor_proofs: FactorProofs,
        events: Events,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._factors = factors
        self._recovery = recovery
        self._proofs = proofs
        self._factor_proofs = factor_proofs
        self._events = events

    async def enroll(
        self,
        caller: str,
        subject: str,
        *,
        account_name: str,
        issuer: str | None,
        name: str,
        algorithm: Algorithm,
        digits: int,
        policy: Policy,
        shown: Shown,
        handle: str,
    ) -> Enrollment:
        """
        Make an authenticator that waits for its first code. `policy` is the caller's.

        Args:
            shown: A proof of a factor that the subject has.

        Raises:
            FactorProofRequired, TooManyFactors, Unavailable.
            AlreadyIssued: the call with this handle has shown its secret before.
        """
        keyring = self._keyring()
        address = _own(keyring, caller, subject)
        factor_id = lasting_id_for(keyring, address, handle)
        authenticator = Authenticator(seed=totp.new_seed(), algorithm=algorithm, digits=digits)
        expires_at = await self._factors.enroll(
            ChallengeAddress(factor_id, address),
            NewFactor(
                caller=caller,
                name=name,
                about=About(subject=subject, client_ref=None).seal(keyring, factor_id),
                seed=seal(keyring, authenticator.seed, belongs_to=seed_of(address, factor_id)),
                algorithm=algorithm,
                digits=digits,
            ),
            proof=await self._factor_proofs.of(caller, address, shown),
        )
        if expires_at is None:
            raise AlreadyIssued(factor_id)
        uri = authenticator.provisioning_uri(
            account_name=account_name, issuer=issuer or policy.brand or "otp_service"
        )
        qr_svg, qr_terminal = totp.qr_codes(uri)
        log.info("factor.enrolled", caller=caller, factor_id=factor_id)
        return Enrollment(
            factor_id=factor_id,
            secret=authenticator.seed,
            provisioning_uri=uri,
            qr_svg=qr_svg,
            qr_terminal=qr_terminal,
            expires_at=expires_at,
        )

    async def confirm(self, caller: str, factor_id: str, code: str, *, proof_required: bool) -> int:
        """
        Prove with one code that the app has the seed; return when, in Unix milliseconds.

        Raises:
            FactorNotFound, InvalidRequest: no try was spent.
            InvalidCode: a try was spent.
            FactorProofRequired: it was enrolled without, and the subject has confirmed another since.
            Unavailable.
        """
        keyring = self._keyring()
        address = _address(keyring, factor_id)
        tried = await self._factors.try_to_confirm(address, caller=caller, digits=len(code))
        past = self._policy.totp_past_steps
        matched = match(keyring, address.subject, tried.factors, code, tried.now, past=past)
        if matched is None:
            raise InvalidCode(tried.attempts_left)
        factor, step = matched
        at = await self._factors.confirm(
            address.subject,
            factor,
            caller=caller,
            step=step,
            events=await self._events.wanted(caller),
            proof_required=proof_required,
        )
        if at is None:
            raise InvalidCode(tried.attempts_left)
        log.info("factor.confirmed", caller=caller, factor_id=factor_id)
        return at

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
        wish: ProofWish,
    ) -> FactorVerified:
        """
        Accept the right code of any confirmed authenticator of the subject, each step once.

        Args:
            caller: Whose subject it is.
            subject: The caller's id of the person.
            code: ASCII digits, normalised.
            purpose: What the proof will say.
            binding: What the proof will be bound to, or "".
            handle: Of `new_handle`, the proof's own.
            diagnose: Whether a refusal may say that the person's clock is off.
            wish: What is wanted of the proof.

        Raises:
            FactorNotFound, SubjectBlocked, InvalidRequest: no try was spent.
            InvalidCode: a try was spent; also for a code that was accepted before.
            Unavailable.
        """
        keyring = self._keyring()
        address = _own(keyring, caller, subject)
        proof_id = challenge_id_for(keyring, address, handle)
        tried = await self._factors.try_to_verify(address, caller=caller, digits=len(code))
        past = self._policy.totp_past_steps
        matched = match(keyring, address, tried.factors, code, tried.now, past=past)
        if matched is None:
            off = diagnose and any(
                authenticator.clock_is_off(code, now=tried.now)
                for _, authenticator in readable(keyring, address, tried.factors)
            )
            CHALLENGES.labels(purpose, "wrong_code").inc()
            await self._tell_if_blocked(caller, subject, address, tried, proof_id)
            raise InvalidCode(tried.attempts_left, clock_off=off)
        factor, step = matched
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
        proof = self._proofs.begin(success, wish)
        at = await self._factors.accept(
            address, factor, caller=caller, step=step, proof=proof.record
        )
        if at is None:
            await self._tell_if_blocked(caller, subject, address, tried, proof_id)
            raise InvalidCode(tried.attempts_left)
        CHALLENGES.labels(purpose, "approved").inc()
        log.info("factor.verified", caller=caller, factor_id=factor.factor_id)
        return FactorVerified(
            factor_id=factor.factor_id,
            verified_at=at,
            proof=proof.at(at),
            proof_expires_in=proof.expires_in,
        )

    async def ways(self, caller: str, subject: str) -> tuple[list[Factor], int]:
        """Return a subject's authenticators, and how many recovery codes it has left. Raises Unavailable."""
        address = _own(self._keyring(), caller, subject)
        return await self._factors.all(address), await self._recovery.remaining(address)

    async def rename(self, caller: str, factor_id: str, name: str) -> Factor:
        """Give an authenticator another name. Raises FactorNotFound, Unavailable."""
        address = _address(self._keyring(), factor_id)
        return await self._factors.rename(address, caller=caller, name=name)

    async def remove(self, caller: str, factor_id: str, *, shown: Shown) -> None:
        """
        Remove an authenticator; its codes are refused from this moment. `shown` is as for `enroll`.

        Raises:
            FactorNotFound, FactorProofRequired, Unavailable.
        """
        address = _address(self._keyring(), factor_id)
        proof = await self._factor_proofs.of(caller, address.subject, shown)
        events = await self._events.wanted(caller)
        await self._factors.remove(address, caller=caller, events=events, proof=proof)
        log.info("factor.removed", caller=caller, factor_id=factor_id)

    async def _tell_if_blocked(
        self, caller: str, subject: str, address: SubjectAddress, tried: TriedFactors, event_id: str
    ) -> None:
        if tried.blocks:
            log.info("factor.blocked", caller=caller, factor=METHOD)
            event = await self._events.of_subject(caller, subject, event_id)
            await self._factors.tell_blocked(address, event=event)


def match(
    keyring: Keyring,
    subject: SubjectAddress,
    factors: tuple[Factor, ...],
    code: str,
    now: int,
    *,
    past: int,
) -> tuple[Factor, int] | None:
    """Return which authenticator the code is of, and its step, or None. `now` in Unix seconds."""
    found = None
    for factor, authenticator in readable(keyring, subject, factors):
        step = authenticator.matching_step(code, now=now, past=past)
        if step is not None:
            found = factor, step
    return found


def open_authenticator(keyring: Keyring, subject: SubjectAddress, factor: Factor) -> Authenticator:
    """Return the authenticator with its seed unsealed. Raises SealBroken."""
    seed = unseal(keyring, factor.seed, belongs_to=seed_of(subject, factor.factor_id))
    return Authenticator(seed=seed, algorithm=Algorithm(factor.algorithm), digits=factor.digits)


def readable(
    keyring: Keyring, subject: SubjectAddress, factors: Iterable[Factor]
) -> Iterator[tuple[Factor, Authenticator]]:
    """Yield the authenticators whose seeds can be opened; one whose key was taken away accepts nothing."""
    for factor in factors:
        try:
            yield factor, open_authenticator(keyring, subject, factor)
        except SealBroken as error:
            log.warning("factor.unreadable", factor_id=factor.factor_id, reason=str(error))


def _own(keyring: Keyring, caller: str, subject: str) -> SubjectAddress:
    return subject_address(keyring, caller, f"subject:{subject}")


def _address(keyring: Keyring, factor_id: str) -> ChallengeAddress:
    address = address_of(keyring, factor_id)
    if address is None:
        raise FactorNotFound
    return address
