"""
Opaque proofs of success: `otpp_` + bucket + 32 bytes in base64url.

A proof is derived, not drawn: HMAC under the proof key over what it proves. So a retried call can be answered with the
same proof although Redis holds only its fingerprint.
"""

import base64
import hashlib
import re

from otp_service.core import challenge
from otp_service.core.keyring import Keyring, Kind

PREFIX = "otpp_"
_SHAPE = re.compile(r"otpp_([0-9a-f]{2})[A-Za-z0-9_-]{43}", re.ASCII)


def derive(
    keyring: Keyring, *, caller: str, challenge_id: str, attempt_id: str, kid: str = ""
) -> str:
    """Return the proof that this attempt at this challenge succeeded, under the active key or one that was so then."""
    key = keyring.find(Kind.PROOF, kid) or keyring.active(Kind.PROOF)
    mac = key.mac("proof/v1", caller, challenge_id, attempt_id)
    bucket = challenge.bucket_of(challenge_id)
    return f"{PREFIX}{bucket:02x}{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def bucket_of(proof: str) -> int | None:
    """Return the bucket that holds the proof's record, or None for what can be no proof of ours."""
    match = _SHAPE.fullmatch(proof)
    return int(match[1], 16) if match else None


def digest(proof: str) -> str:
    """Return the SHA-256 of a proof, hex: what Redis may hold of 256 random bits."""
    return hashlib.sha256(proof.encode()).hexdigest()
