"""
Where a subject and its challenges lie, and what a challenge's caller may see of it.

A person has a pseudonym, an HMAC of caller and subject under the name key: the same for ever, and written nowhere.
Names of keys hold its tag, the pseudonym encrypted under the active route key; who has an older route key and the
active one can turn a tag into the newer one without knowing the person, which is what makes route keys replaceable.

A challenge id is 34 characters: a mark of the route key that masked it and the bucket (a hex digit each), then 24 bytes
in base64url: 16 random ones, and the 8 of the pseudonym under a mask made of those. So the id alone leads to every key
a script needs, in one hash slot, and ids of one subject cannot be told from those of others without the route key. Ids
of factors and devices live as long as those and are masked under the name key.
"""

import base64
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from otp_service.core.keyring import MARKS, Key, Keyring, Kind

BUCKETS = 16  # one delivery stream each; see docs/architecture.md for why not the plan's 256

_LASTING = MARKS  # the mark of what the name key masked
_PSEUDONYM_BYTES = 8
_PADDING = bytes(16 - _PSEUDONYM_BYTES)
_ID = re.compile(r"[0-9a-f]{2}[A-Za-z0-9_-]{32}", re.ASCII)


class Status(StrEnum):
    """How a challenge stands or ended."""

    PENDING = "pending"
    APPROVED = "approved"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    CANCELED = "canceled"
    REPLACED = "replaced"


REPORTED_BY_SITE = "reported_by_site"  # the site's outbox: its gateway failed; the code stays valid
REFUSED_BY_SITE = "refused_by_site"  # WSMS undoes a subscription whose SMS its gateway refuses
# Reasons of a failed delivery that may have arrived all the same: some providers send the SMS and answer with an error.
MAY_HAVE_ARRIVED = frozenset({REPORTED_BY_SITE, REFUSED_BY_SITE})


class DeliveryStatus(StrEnum):
    """
    How the delivery of the newest code stands.

    `none`: there is nothing to deliver.
    `accepted` is the site's word, never the phone's. `unknown` may still become `accepted` or `failed`
    (`otp_service.services.reconciliation`).
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
        pseudonym: 16 hex digits, the same under every ring; for seals and hashes, never for names of keys.
        tag: 32 hex digits, the pseudonym under the active route key: for names of keys.
        former: Its tags under other live route keys, where something of the subject may lie still.
    """

    bucket: int
    pseudonym: str
    tag: str
    former: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OptInAddress:
    """Where the opt-in of one caller's number lies for one group, or for none."""

    number: SubjectAddress
    group_id: int | None


@dataclass(frozen=True, slots=True)
class ChallengeAddress:
    """Where a challenge and its subject lie, read from the id alone."""

    challenge_id: str
    subject: SubjectAddress


def subject_address(keyring: Keyring, caller: str, subject: str) -> SubjectAddress:
    """Return the address of a caller's subject: a keyed hash, which reveals nothing personal."""
    mac = keyring.active(Kind.NAME).mac("subject/v1", caller, subject)
    return _address(keyring, mac[0] % BUCKETS, mac[1:9])


def person_address(keyring: Keyring, caller: str, subject: str) -> SubjectAddress:
    """Return where the person lies whom this caller calls `subject`, with all their factors and devices."""
    return subject_address(keyring, caller, f"subject:{subject}")


def number_address(keyring: Keyring, caller: str, e164: str) -> SubjectAddress:
    """Return where what is kept of a number lies that this caller gave without a subject."""
    return subject_address(keyring, caller, f"recipient:{e164}")


def subject_of(keyring: Keyring, bucket: int, tag: str) -> tuple[SubjectAddress, Key] | None:
    """Return whose tag in the name of a key that is and which route key made it, or None when no live one did."""
    for key in keyring.live(Kind.ROUTE):
        pseudonym = _pseudonym(key, tag)
        if pseudonym is not None:
            return _address(keyring, bucket, pseudonym), key
    return None


def is_named_by(key: Key, tag: str) -> bool:
    """Whether that route key made the tag in the name of a key."""
    return _pseudonym(key, tag) is not None


def _pseudonym(key: Key, tag: str) -> bytes | None:
    block = _cipher(key).decryptor().update(bytes.fromhex(tag))
    return block[:_PSEUDONYM_BYTES] if block.endswith(_PADDING) else None


def new_handle(keyring: Keyring) -> str:
    """
    Return what makes one run of a call repeatable, and nobody else's: 33 hex digits, 128 random bits.

    The first digit is the mark of the active route key, so that a run which is taken up again after a rotation makes
    the same id.
    """
    return f"{keyring.active(Kind.ROUTE).mark:x}{secrets.token_hex(16)}"


def challenge_id_for(keyring: Keyring, subject: SubjectAddress, handle: str) -> str:
    """Return the id of the challenge of this subject that the handle opens; the same for the same two."""
    key = keyring.route(int(handle[0], 16)) or keyring.active(Kind.ROUTE)
    return _id(key, key.mark, subject, handle)


def lasting_id_for(keyring: Keyring, subject: SubjectAddress, handle: str) -> str:
    """Return the id of the factor or device of this subject that the handle makes; no rotation ends it."""
    return _id(keyring.active(Kind.NAME), _LASTING, subject, handle)


def address_of(keyring: Keyring, challenge_id: str) -> ChallengeAddress | None:
    """Return where the challenge, factor or device lies if it exists, or None for what can be no id of ours."""
    if _ID.fullmatch(challenge_id) is None:
        return None
    mark, bucket = int(challenge_id[0], 16), int(challenge_id[1], 16)
    key = keyring.active(Kind.NAME) if mark == _LASTING else keyring.route(mark)
    if key is None:
        return None
    raw = base64.urlsafe_b64decode(challenge_id[2:])
    pseudonym = _masked(key, bucket, raw[:16], raw[16:])
    return ChallengeAddress(challenge_id, _address(keyring, bucket, pseudonym))


def bucket_of(challenge_id: str) -> int:
    """Return in which bucket the challenge of a well-formed id lies."""
    return int(challenge_id[1], 16)


def _address(keyring: Keyring, bucket: int, pseudonym: bytes) -> SubjectAddress:
    tag, *former = (_tag(key, pseudonym) for key in keyring.live(Kind.ROUTE))
    return SubjectAddress(bucket, pseudonym.hex(), tag, tuple(former))


def _tag(key: Key, pseudonym: bytes) -> str:
    return _cipher(key).encryptor().update(pseudonym + _PADDING).hex()


def _cipher(key: Key) -> "Cipher[modes.ECB]":
    """One block for each name: a keyed permutation, of which the zeros tell that the key is the right one."""
    return Cipher(algorithms.AES(key.mac("subject-tag/v1")), modes.ECB())  # noqa: S305


def _id(key: Key, mark: int, subject: SubjectAddress, handle: str) -> str:
    nonce = bytes.fromhex(handle[-32:])
    masked = _masked(key, subject.bucket, nonce, bytes.fromhex(subject.pseudonym))
    return f"{mark:x}{subject.bucket:x}{base64.urlsafe_b64encode(nonce + masked).decode()}"


def _masked(key: Key, bucket: int, nonce: bytes, pseudonym: bytes) -> bytes:
    mask = key.mac("challenge-id/v1", bytes([bucket]), nonce)
    return bytes(a ^ b for a, b in zip(mask[:_PSEUDONYM_BYTES], pseudonym, strict=True))


def fingerprint(key: Key, domain: str, *parts: str) -> str:
    """Return 32 hex digits by which Redis recognises what it must not read."""
    return key.mac(domain, *parts)[:16].hex()


def bound(keyring: Keyring, caller: str, binding: str) -> str:
    """Return the fingerprint of a binding, or "" for none."""
    if not binding:
        return ""
    return fingerprint(keyring.active(Kind.NAME), "binding/v1", caller, binding)
