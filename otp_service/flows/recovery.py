"""Recovery codes, as a caller sees them: a set is shown once, each code opens once."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from otp_service.core import proofs, recovery_codes
from otp_service.core.challenge import challenge_id_for, subject_address
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.policy import Policy
from otp_service.errors import InvalidCode
from otp_service.flows.factors import proof_fields
from otp_service.flows.hashing import HashPool
from otp_service.store import keys
from otp_service.store.recovery_codes import RecoveryCodes
from otp_service.telemetry import CHALLENGES

log = structlog.get_logger()

METHOD = "recovery_code"
AMR: tuple[
    str, ...
] = ()  # RFC 8176 has no value for them, and they never count as more than one factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """A right code, burned. `verified_at` in Unix milliseconds; `remaining` codes are left."""

    verified_at: int
    remaining: int
    proof: str = field(repr=False)
    proof_expires_in: int


class Recovery:
    """The story of recovery codes."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        codes: RecoveryCodes,
        hashes: HashPool,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._codes = codes
        self._hashes = hashes

    async def issue(self, caller: str, subject: str) -> tuple[Sequence[str], int]:
        """
        Return ten new codes, to be shown once, and when they were made; every older one is void.

        Raises:
            Unavailable.
        """
        keyring = self._keyring()
        address = subject_address(keyring, caller, f"subject:{subject}")
        name = keyring.active(Kind.NAME)
        shown = [recovery_codes.draw() for _ in range(recovery_codes.COUNT)]
        plain = [code.replace("-", "") for code in shown]
        whose = address.pseudonym
        digests = await asyncio.gather(
            *(
                self._hashes.digest(recovery_codes.message(name, pseudonym=whose, code=code))
                for code in plain
            )
        )
        indexes = [recovery_codes.index(name, pseudonym=whose, code=code) for code in plain]
        at = await self._codes.replace(address, dict(zip(indexes, digests, strict=True)))
        log.info("recovery_codes.issued", caller=caller)
        return shown, at

    async def redeem(
        self, caller: str, subject: str, code: str, *, purpose: str, binding: str, handle: str
    ) -> Redeemed:
        """
        Accept a code, once.

        Args:
            caller: Whose subject it is.
            subject: The caller's id of the person.
            code: 16 characters, normalised.
            purpose: What the proof will say.
            binding: What the proof will be bound to, or "".
            handle: Of `new_handle`, the proof's own.

        Raises:
            FactorNotFound, SubjectBlocked, Overloaded: no try was spent.
            InvalidCode: a try was spent.
            Unavailable.
        """
        keyring = self._keyring()
        address = subject_address(keyring, caller, f"subject:{subject}")
        name, whose = keyring.active(Kind.NAME), address.pseudonym
        index = recovery_codes.index(name, pseudonym=whose, code=code)
        async with self._hashes.admit() as hashing:
            tried = await self._codes.reserve(address, index)
            if tried.phc is None:
                raise InvalidCode(tried.attempts_left)
            message = recovery_codes.message(name, pseudonym=whose, code=code)
            if not await hashing.matches(tried.phc, message):
                raise InvalidCode(tried.attempts_left)
        proof_id = challenge_id_for(keyring, address, handle)
        proof = proofs.derive(keyring, caller=caller, challenge_id=proof_id, attempt_id=handle)
        redeemed = await self._codes.redeem(
            address,
            index=index,
            phc=tried.phc,
            proof_key=keys.proof(address.bucket, proofs.digest(proof)),
            proof=proof_fields(
                keyring,
                caller,
                subject,
                proof_id,
                purpose=purpose,
                binding=binding,
                method=METHOD,
                amr=AMR,
            ),
            proof_ttl_ms=self._policy.proof_ttl * 1000,
        )
        if redeemed is None:
            raise InvalidCode(tried.attempts_left)
        verified_at, remaining = redeemed
        CHALLENGES.labels(purpose, "approved").inc()
        log.info("recovery_code.used", caller=caller, remaining=remaining)
        return Redeemed(
            verified_at=verified_at,
            remaining=remaining,
            proof=proof,
            proof_expires_in=self._policy.proof_ttl,
        )
