"""
Callers' credentials: `otp_<caller>_<8 hex digits>_<43 base64url characters>`.

The prefix lets secret scanners find one that leaked; the name leads to its record; the rest is an id and 256 random
bits. Stored is HMAC-SHA256 of it under the credential key, so that who can write to Redis still can't forge one.
"""

import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Self

from otp_service.core.keyring import Keyring, Kind

CALLER_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
MAX_LIVE = 2  # so that a credential can be rotated without a gap

SCOPES = {
    "otp:request": "request, resend and cancel one-time codes, and read their status",
    "otp:verify": "verify one-time codes",
    "proof:redeem": "redeem proofs whose audience is this caller",
    "proof:vouch": "request proofs for another caller (`audience`)",
    "factors:manage": "enrol, list, rename and remove authenticators, issue recovery codes",
    "factors:verify": "list factors, verify authenticator codes and redeem recovery codes",
    "factors:diagnose": "receive the hint that a person's clock is off",
    "devices:manage": "remember devices after a proof, list and forget them",
    "devices:verify": "verify the tokens of remembered devices",
    "support:read": "read timelines of persons and challenges",
    "support:unblock": "unblock people after too many wrong codes",
    "subjects:erase": "erase a person's data, without a proof",
    "optin": "double opt-in: request, verify and unsubscribe",
}

_SHAPE = re.compile(r"otp_([a-z0-9-]{1,32})_([0-9a-f]{8})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """
    What is kept of a credential.

    Attributes:
        id: 8 hex digits, to name it when it is listed or revoked.
        kid: The credential key that made the digest.
        digest: 64 hex digits.
        created_at: Unix seconds.
        expires_at: Unix seconds, or None for never.
    """

    id: str
    kid: str
    digest: str
    created_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Presented:
    """A credential as it came, taken apart; `repr` shows no secret."""

    caller: str
    id: str
    text: str

    def __repr__(self) -> str:
        return f"Presented(caller={self.caller!r}, id={self.id!r})"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the parts, or None for what can be no credential of ours."""
        match = _SHAPE.fullmatch(text)
        return cls(match[1], match[2], text) if match else None


def issue(
    keyring: Keyring, caller: str, *, now: int, expires_in: int | None
) -> tuple[str, StoredCredential]:
    """Return a new credential, to be shown once, and what is kept of it. Times in seconds."""
    credential_id = secrets.token_hex(4)
    text = f"otp_{caller}_{credential_id}_{secrets.token_urlsafe(32)}"
    key = keyring.active(Kind.CREDENTIAL)
    digest = key.mac("credential/v1", text).hex()
    expires_at = None if expires_in is None else now + expires_in
    return text, StoredCredential(credential_id, key.kid, digest, now, expires_at)


def check(keyring: Keyring, presented: Presented, stored: StoredCredential, *, now: int) -> bool:
    """Whether the credential is that one and still valid, compared in constant time. `now` in Unix seconds."""
    key = keyring.find(Kind.CREDENTIAL, stored.kid)
    if key is None or stored.id != presented.id:
        return False
    same = hmac.compare_digest(key.mac("credential/v1", presented.text).hex(), stored.digest)
    return same and (stored.expires_at is None or now < stored.expires_at)
