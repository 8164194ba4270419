"""
Proofs of success, in two formats.

An opaque one is `otpp_` + bucket + 32 bytes in base64url: derived, not drawn, by HMAC under the proof key over what it
proves. So a retried call can be answered with the same proof although Redis holds only its fingerprint.

A signed one is a JWT that its audience checks alone, with a key of our JSON Web Key Set. Nobody counts how often it is
shown: it is one-time only where the audience remembers `jti` until `exp`.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from otp_service.core import challenge
from otp_service.core.challenge import fingerprint
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.signing import Algorithm, sign_proof

PREFIX = "otpp_"
TYPE = "otp-proof+jwt"
_SHAPE = re.compile(r"otpp_([0-9a-f]{2})[A-Za-z0-9_-]{43}", re.ASCII)


class ProofFormat(StrEnum):
    """How a proof is made."""

    OPAQUE = "opaque"
    JWT = "jwt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofOptions:
    """
    What a caller wants of the proof of a success.

    Attributes:
        audience: The caller that shall believe it; None for the one that verifies.
        ttl: Seconds that it lives at most; None for the service's own.
    """

    audience: str | None = None
    format: ProofFormat = ProofFormat.OPAQUE
    ttl: int | None = None


FOR_ITSELF = ProofOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """
    What a proof says.

    Attributes:
        caller: Who verified, and so whose `subject` it is.
        id: Of the challenge, or one made for this success where there is none; begins with its bucket.
        attempt_id: 32 hex digits, the same for a repeated call.
        challenge_id: Of a code that was sent; None for other methods.
        method: `sms`, `totp` or `recovery_code`.
        amr: Method references of RFC 8176; empty where it has none.
        binding: As the caller gave it, or "".
    """

    caller: str
    id: str
    attempt_id: str
    challenge_id: str | None
    method: str
    amr: tuple[str, ...]
    purpose: str
    binding: str = field(default="", repr=False)
    subject: str | None = field(default=None, repr=False)


def derive(
    keyring: Keyring, *, caller: str, challenge_id: str, attempt_id: str, kid: str = ""
) -> str:
    """Return the proof that this attempt at this challenge succeeded, under the active key or one that was so then."""
    key = keyring.find(Kind.PROOF, kid) or keyring.active(Kind.PROOF)
    mac = key.mac("proof/v1", caller, challenge_id, attempt_id)
    return f"{PREFIX}{challenge.bucket_of(challenge_id):02x}{_base64url(mac)}"


def bucket_of(proof: str) -> int | None:
    """Return the bucket that holds the proof's record, or None for what can be no proof of ours."""
    match = _SHAPE.fullmatch(proof)
    return int(match[1], 16) if match else None


def digest(proof: str) -> str:
    """Return the SHA-256 of a proof, hex: what Redis may hold of 256 random bits."""
    return hashlib.sha256(proof.encode()).hexdigest()


def bound(keyring: Keyring, proof: str, binding: str) -> str:
    """Return the fingerprint of a binding for this proof alone, or "" for none: what Redis may hold and compare."""
    if not binding:
        return ""
    return fingerprint(keyring.active(Kind.NAME), "proof-binding/v1", digest(proof), binding)


def binding_hash(binding: str) -> str | None:
    """Return base64url(SHA-256(binding)), which an audience can compute without any key; None for no binding."""
    return _base64url(hashlib.sha256(binding.encode()).digest()) if binding else None


def id_of(keyring: Keyring, success: Success) -> str:
    """Return the `jti`: the same for a repeated call, also when the proof key has been rotated in between."""
    name = keyring.active(Kind.NAME)
    return fingerprint(name, "proof-jti/v1", success.caller, success.id, success.attempt_id)


def signed(
    keyring: Keyring,
    success: Success,
    *,
    issuer: str,
    audience: str,
    algorithm: Algorithm,
    verified_at: int,
    ttl: int,
) -> str:
    """
    Return the success as a JWT (RFC 7519, RFC 8725 section 3.11), for `ttl` seconds.

    Args:
        verified_at: Unix milliseconds.
    """
    seconds = verified_at // 1000
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": success.subject,
        "client_id": success.caller,
        "purpose": success.purpose,
        "binding": binding_hash(success.binding),
        "challenge_id": success.challenge_id,
        "method": success.method,
        "amr": list(success.amr) or None,
        "auth_time": seconds,
        "iat": seconds,
        "nbf": seconds,
        "exp": seconds + ttl,
        "jti": id_of(keyring, success),
    }
    known = {name: value for name, value in claims.items() if value is not None}
    return sign_proof(keyring, known, typ=TYPE, algorithm=algorithm)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
