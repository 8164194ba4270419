"""
Authenticator apps: enrol, confirm, list, rename, remove.

A seed is shown once and rests sealed. Time is Redis' clock, which every process shares and no caller can move.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from otp_service.core import totp
from otp_service.core.challenge import (
    ChallengeAddress,
    SubjectAddress,
    address_of,
    lasting_id_for,
    person_address,
)
from otp_service.core.envelopes import About, seed_of
from otp_service.core.keyring import Keyring
from otp_service.core.policy import Policy
from otp_service.core.seal import seal
from otp_service.core.totp import Algorithm, Authenticator
from otp_service.errors import (
    AlreadyIssued,
    FactorNotFound,
    FieldError,
    InvalidCode,
    InvalidRequest,
)
from otp_service.services.authenticators import METHOD, match
from otp_service.services.clock_skew import ClockAgreement
from otp_service.services.events import Events
from otp_service.services.factor_proofs import FactorProofs, PresentedProof
from otp_service.services.qr_codes import QrCodes
from otp_service.store.factor_records import Factor, NewFactor
from otp_service.store.factor_tries import AcceptedStep, FactorTries, TriedFactors
from otp_service.store.factors import Factors
from otp_service.store.recovery_codes import RecoveryCodes

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrollment:
    """
    A pending authenticator with its secret, which is shown once.

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


class AuthenticatorApps:
    """Manages authenticator apps."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        factors: Factors,
        tries: FactorTries,
        recovery: RecoveryCodes,
        factor_proofs: FactorProofs,
        events: Events,
        clock: ClockAgreement,
        qr_codes: QrCodes,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._factors = factors
        self._tries = tries
        self._recovery = recovery
        self._factor_proofs = factor_proofs
        self._events = events
        self._qr_codes = qr_codes
        self._clock = clock

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
        shown: PresentedProof,
        handle: str,
    ) -> Enrollment:
        """
        Make an authenticator that waits for its first code. `policy` is the caller's.

        Args:
            shown: A proof of a factor that the subject has.

        Raises:
            FactorProofRequired, TooManyFactors, Overloaded, Unavailable.
            InvalidRequest: the names are too long for a QR code.
            AlreadyIssued: the call with this handle has shown its secret before.
        """
        keyring = self._keyring()
        address = person_address(keyring, caller, subject)
        factor_id = lasting_id_for(keyring, address, handle)
        authenticator = Authenticator(seed=totp.new_seed(), algorithm=algorithm, digits=digits)
        uri = authenticator.provisioning_uri(
            account_name=account_name, issuer=issuer or policy.brand or "otp_service"
        )
        if len(uri) > totp.MAX_URI:
            raise InvalidRequest(
                FieldError("account_name", "is too long for a QR code, together with issuer")
            )
        async with self._qr_codes.rendering(caller) as render:
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
            qr_svg, qr_terminal = await render(uri)
        log.info("factor.enrolled", caller=caller, factor_id=factor_id)
        return Enrollment(
            factor_id=factor_id,
            secret=authenticator.seed,
            provisioning_uri=uri,
            qr_svg=qr_svg,
            qr_terminal=qr_terminal,
            expires_at=expires_at,
        )

    async def confirm(
        self, caller: str, factor_id: str, code: str, *, proof_required: bool, handle: str
    ) -> int:
        """
        Prove with one code that the app has the seed; return when, in Unix milliseconds.

        The same handle again after success succeeds again.

        Raises:
            FactorNotFound, SubjectBlocked, InvalidRequest, ClockSkew: no try was spent.
            InvalidCode: a try was spent.
            FactorProofRequired: it was enrolled without, and the subject has confirmed another since.
            Unavailable.
        """
        self._clock.require()
        keyring = self._keyring()
        address = _address(keyring, factor_id)
        tried = await self._tries.try_to_confirm(
            address, caller=caller, digits=len(code), attempt_id=handle
        )
        if isinstance(tried, AcceptedStep):
            return tried.at
        past = self._policy.totp_past_steps
        matched = match(keyring, address.subject, tried.factors, code, tried.now, past=past)
        if matched is None:
            raise await self._wrong(caller, address.subject, tried)
        factor, step = matched
        accepted = await self._tries.confirm(
            address.subject,
            factor,
            caller=caller,
            step=step,
            attempt_id=handle,
            events=await self._events.wanted(caller),
            proof_required=proof_required,
        )
        if accepted is None:
            raise await self._wrong(caller, address.subject, tried)
        log.info("factor.confirmed", caller=caller, factor_id=factor_id)
        return accepted.at

    async def _wrong(
        self, caller: str, subject: SubjectAddress, tried: TriedFactors
    ) -> InvalidCode:
        if tried.blocks:
            log.info("factor.blocked", caller=caller, factor=METHOD)
            await self._tries.tell_blocked(subject, event=None)
        return InvalidCode(tried.attempts_left)

    async def factors_of(self, caller: str, subject: str) -> tuple[list[Factor], int]:
        """Return a subject's authenticators, and how many recovery codes it has left. Raises Unavailable."""
        address = person_address(self._keyring(), caller, subject)
        return await self._factors.all(address), await self._recovery.remaining(address)

    async def rename(self, caller: str, factor_id: str, name: str) -> Factor:
        """Give an authenticator another name. Raises FactorNotFound, Unavailable."""
        address = _address(self._keyring(), factor_id)
        return await self._factors.rename(address, caller=caller, name=name)

    async def remove(self, caller: str, factor_id: str, *, shown: PresentedProof) -> None:
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


def _address(keyring: Keyring, factor_id: str) -> ChallengeAddress:
    address = address_of(keyring, factor_id)
    if address is None:
        raise FactorNotFound
    return address
