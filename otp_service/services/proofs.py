"""
Proofs: made after a success, redeemed by their audience.

Every way of verifying ends in `ProofMaking`, whatever it verified; opaque proofs are redeemed by `ProofRedemption`,
the RFC 7662 introspection that spends them. Signed ones are checked by their audience itself and are not recorded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from otp_service.core import proofs
from otp_service.core.challenge import bucket_of
from otp_service.core.envelopes import About
from otp_service.core.keyring import Keyring
from otp_service.core.proofs import ProofFormat, ProofOptions, Success
from otp_service.core.seal import SealBroken
from otp_service.core.signing import Algorithm
from otp_service.store import keys
from otp_service.store.proofs import ProofMisplaced, ProofRecord, Proofs

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingProof:
    """
    The proof of a success that a script is about to write.

    Attributes:
        record: What that script writes with it; None where the proof is signed.
        at: Returns the proof of a success at that time, Unix milliseconds.
        expires_in: Its life in seconds.
    """

    record: ProofRecord | None
    at: Callable[[int], str] = field(repr=False)
    expires_in: int


class ProofMaking:
    """
    Makes the proofs of successes, in the requested format.

    Args:
        keyring: The ring as it is now.
        ttl: Seconds that a proof lives.
        issuer: Who signs.
        algorithm: By which.
    """

    def __init__(
        self, keyring: Callable[[], Keyring], *, ttl: int, issuer: str, algorithm: Algorithm
    ) -> None:
        self._keyring = keyring
        self._ttl = ttl
        self._issuer = issuer
        self._algorithm = algorithm

    def begin(
        self, success: Success, proof_options: ProofOptions, *, kid: str = ""
    ) -> PendingProof:
        """Return the proof of what is about to be accepted; the same for the same success and proof key."""
        ttl = min(self._ttl, proof_options.ttl or self._ttl)
        if proof_options.format is ProofFormat.JWT:
            return self._signed(success, proof_options, ttl)
        keyring = self._keyring()
        proof = proofs.derive(
            keyring,
            caller=success.caller,
            challenge_id=success.id,
            attempt_id=success.attempt_id,
            kid=kid,
        )
        fields = {
            "audience": proof_options.audience or success.caller,
            "caller": success.caller,
            "id": success.id,
            "jti": proofs.id_of(keyring, success),
            "challenge_id": success.challenge_id or "",
            "purpose": success.purpose,
            "binding": proofs.bound(keyring, proof, success.binding),
            "about": About(subject=success.subject, client_ref=None).seal(keyring, success.id),
            "method": success.method,
            "amr": " ".join(success.amr),
        }
        key = keys.proof(bucket_of(success.id), proofs.digest(proof))
        record = ProofRecord(key=key, fields=fields, ttl_ms=ttl * 1000)
        return PendingProof(record=record, at=lambda _: proof, expires_in=ttl)

    def _signed(self, success: Success, proof_options: ProofOptions, ttl: int) -> PendingProof:
        def at(verified_at: int) -> str:
            return proofs.signed(
                self._keyring(),
                success,
                issuer=self._issuer,
                audience=proof_options.audience or success.caller,
                algorithm=self._algorithm,
                verified_at=verified_at,
                ttl=ttl,
            )

        return PendingProof(record=None, at=at, expires_in=ttl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """
    The content of a redeemed proof.

    Attributes:
        caller: Who verified; `subject` is its name of the person.
        audience: Who may believe it.
        id: The `jti`.
        challenge_id: Of a code that was sent; None for other methods.
        method: `sms`, `totp`, `recovery_code` or `device`.
        binding: base64url(SHA-256) of what it is bound to, or None.
        subject: The caller's id of the person, if it gave one.
        amr: Method references of RFC 8176.
        verified_at: Unix milliseconds.
        expires_at: Unix milliseconds.
    """

    issuer: str
    caller: str
    audience: str
    id: str
    challenge_id: str | None
    method: str
    purpose: str
    binding: str | None
    subject: str | None = field(repr=False)
    amr: tuple[str, ...]
    verified_at: int
    expires_at: int


class ProofRedemption:
    """Redeems opaque proofs, each once."""

    def __init__(self, proofs: Proofs, keyring: Callable[[], Keyring], *, issuer: str) -> None:
        self._proofs = proofs
        self._keyring = keyring
        self._issuer = issuer

    async def redeem(
        self, caller: str, proof: str, *, purpose: str | None, binding: str
    ) -> Proven | None:
        """
        Return what the proof proves, once, to the caller it is meant for; None for all else.

        Args:
            caller: Who asks.
            proof: As it was shown.
            purpose: What it must be for, or None where the caller looks at the purpose itself.
            binding: What it must be bound to, or "": then it must be bound to nothing.

        Raises:
            Unavailable: Redis; the proof may be spent.
        """
        keyring = self._keyring()
        try:
            fields = await self._proofs.spend(
                proof,
                caller=caller,
                purpose=purpose,
                binding=proofs.bound(keyring, proof, binding),
            )
        except ProofMisplaced:
            log.warning("proof.misplaced", caller=caller)
            return None
        return None if fields is None else self._proven(fields, binding)

    async def look(self, caller: str, proof: str, *, binding: str) -> Proven | None:
        """
        As `redeem` for any purpose, and a good proof stays good; one that is bound to something else is spent.

        Raises:
            Unavailable: Redis.
        """
        fields = await self._proofs.look(proof, caller=caller)
        if fields is None:
            return None
        if fields["binding"] != proofs.bound(self._keyring(), proof, binding):
            return await self.redeem(caller, proof, purpose=None, binding=binding)
        return self._proven(fields, binding)

    def _proven(self, fields: Mapping[str, str], binding: str) -> Proven | None:
        try:
            about = About.open(self._keyring(), fields["about"], fields["id"])
        except SealBroken:
            return None  # its key was taken away: what it proved is void
        return Proven(
            issuer=self._issuer,
            caller=fields["caller"],
            audience=fields["audience"],
            id=fields["jti"],
            challenge_id=fields["challenge_id"] or None,
            method=fields["method"],
            purpose=fields["purpose"],
            binding=proofs.binding_hash(binding),
            subject=about.subject,
            amr=tuple(fields["amr"].split()),
            verified_at=int(fields["verified_at"]),
            expires_at=int(fields["expires_at"]),
        )
