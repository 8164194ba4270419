"""
A challenge's ids and states, and what its caller may see of it.

A challenge id is 34 characters: the bucket (two hex digits), then 24 bytes in base64url: 16 random ones, and the
8-byte tag of its subject under a mask made of those. So the id alone leads to every key a script needs, in one
hash slot, and ids of one subject cannot be told from those of others without the route key.
"""

import base64
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from otp_service.core.keyring import Key, Keyring, Kind

BUCKETS = 16  # one delivery stream each; see docs/architecture.md for why not the plan's 256

_ID = re.compile(r"[0-9a-f]{2}[A-Za-z0-9_-]{32}", re.ASCII)


class Status(StrEnum):
    """How a challenge stands or ended."""

    PENDING = "pending"
    APPROVED = "approved"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    CANCELED = "canceled"
    REPLACED = "replaced"


class DeliveryStatus(StrEnum):
    """
    How the delivery of the newest code stands.

    `none`: there is nothing to deliver.
    `accepted` is the site's word, never the phone's. `unknown` may still become `accepted` or `failed`
    (`otp_service.flows.reconciliation`).
    """

    NONE = "none"
    QUEUED = "queued"
    SENDING = "sending"
    ACCEPTED = "accepted"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def settled(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self not in (DeliveryStatus.QUEUED, DeliveryStatus.SENDING)


@dataclass(frozen=True, slots=True)
class SubjectAddress:
    """
    Where everything of one subject of one caller lies.

    Attributes:
        bucket: 0 to 15, the hash slot.
        tag: 16 hex digits, a keyed fingerprint of caller and subject.
    """

    bucket: int
    tag: str


@dataclass(frozen=True, slots=True)
class ChallengeAddress:
    """Where a challenge and its subject lie, read from the id alone."""

    challenge_id: str
    subject: SubjectAddress


def subject_address(keyring: Keyring, caller: str, subject: str) -> SubjectAddress:
    """Return where this caller's subject lies. Keyed: nobody else can find it, and nothing personal shows."""
    mac = keyring.active(Kind.ROUTE).mac("subject/v1", caller, subject)
    return SubjectAddress(bucket=mac[0] % BUCKETS, tag=mac[1:9].hex())


def new_handle() -> str:
    """Return 128 random bits as 32 hex digits: what makes one run of a call repeatable, and nobody else's."""
    return secrets.token_hex(16)


def challenge_id_for(keyring: Keyring, subject: SubjectAddress, handle: str) -> str:
    """Return the id of the challenge of this subject that the handle opens; the same for the same two."""
    nonce = bytes.fromhex(handle)
    masked = _masked(keyring.active(Kind.ROUTE), subject.bucket, nonce, bytes.fromhex(subject.tag))
    return f"{subject.bucket:02x}{base64.urlsafe_b64encode(nonce + masked).decode()}"


def address_of(keyring: Keyring, challenge_id: str) -> ChallengeAddress | None:
    """Return where the challenge lies if it exists, or None for what can be no id of ours."""
    if _ID.fullmatch(challenge_id) is None:
        return None
    bucket = int(challenge_id[:2], 16)
    if bucket >= BUCKETS:
        return None
    raw = base64.urlsafe_b64decode(challenge_id[2:])
    tag = _masked(keyring.active(Kind.ROUTE), bucket, raw[:16], raw[16:])
    return ChallengeAddress(challenge_id, SubjectAddress(bucket, tag.hex()))


def _masked(key: Key, bucket: int, nonce: bytes, tag: bytes) -> bytes:
    mask = key.mac("challenge-id/v1", bytes([bucket]), nonce)
    return bytes(a ^ b for a, b in zip(mask[: len(tag)], tag, strict=True))


def fingerprint(key: Key, domain: str, *parts: str) -> str:
    """Return 32 hex digits by which Redis recognises what it must not read."""
    return key.mac(domain, *parts)[:16].hex()
