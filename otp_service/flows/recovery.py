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
from otp_service.flows.factor_proofs import FactorProofs
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
        proofs: FactorProofs,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._codes = codes
        self._hashes = hashes
        self._proofs = proofs

    async def issue(
        self, caller: str, subject: str, *, proof: str | None, proof_required: bool
    ) -> tuple[Sequence[str], int]:
        """
        Return ten new codes, to be shown once, and when they were made; every older one is void.

        Args:
            caller: Whose subject it is.
            subject: The caller's id of the person.
            proof: By a factor that the subject has, spent by this; None for none.
            proof_required: Whether there must be one if the subject has a confirmed authenticator.

        Raises:
            FactorProofRequired, Unavailable.
        """
        keyring = self._keyring()
        address = subject_address(keyring, caller, f"subject:{subject}")
        shown_proof = await self._proofs.of(caller, address, proof, required=proof_required)
        pepper = keyring.active(Kind.PEPPER)
        shown = [recovery_codes.draw() for _ in range(recovery_codes.COUNT)]
        plain = [code.replace("-", "") for code in shown]
        tag = address.tag
        digests = await asyncio.gather(
            *(
                self._hashes.digest(
                    recovery_codes.message(pepper, caller=caller, tag=tag, code=code)
                )
                for code in plain
            )
        )
        indexes = [
            recovery_codes.index(pepper, caller=caller, tag=tag, code=code) for code in plain
        ]
        at = await self._codes.replace(
            address, dict(zip(indexes, digests, strict=True)), proof=shown_proof
        )
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
            handle: 32 hex digits, the proof's own.

        Raises:
            FactorNotFound, SubjectBlocked, Overloaded: no try was spent.
            InvalidCode: a try was spent.
            Unavailable.
        """
        keyring = self._keyring()
        address = subject_address(keyring, caller, f"subject:{subject}")
        peppers = {
            recovery_codes.index(key, caller=caller, tag=address.tag, code=code): key
            for key in keyring.live(Kind.PEPPER)
        }
        async with self._hashes.admit() as hashing:
            tried = await self._codes.reserve(address, list(peppers))
            if tried.index is None or tried.phc is None:
                raise InvalidCode(tried.attempts_left)
            pepper = peppers[tried.index]
            message = recovery_codes.message(pepper, caller=caller, tag=address.tag, code=code)
            if not await hashing.matches(tried.phc, message):
                raise InvalidCode(tried.attempts_left)
        proof_id = challenge_id_for(keyring, address, handle)
        proof = proofs.derive(keyring, caller=caller, challenge_id=proof_id, attempt_id=handle)
        redeemed = await self._codes.redeem(
            address,
            index=tried.index,
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
