"""
Who a caller is besides its credentials: a subject of the issuer's tokens, or a certificate.

Kept with a keyed code over caller and identity, so that who can write to Redis still can't make one.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from otp_service.core.certificates import Certificate
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.message_values import host_problem

MAX_IDENTITIES = 8  # of one caller: a certificate can be replaced without a gap


class IdentityKind(StrEnum):
    """What names a caller."""

    JWT_SUBJECT = "jwt-subject"
    CERTIFICATE_SHA256 = "certificate-sha256"
    CERTIFICATE_SAN = "certificate-san"


@dataclass(frozen=True, slots=True)
class Identity:
    """One name of a caller; `value` in one spelling, see `identity`."""

    kind: IdentityKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """What is kept of one: itself, and by which key its code was made, in 64 hex digits."""

    kind: str
    value: str
    kid: str
    mac: str


def identity(kind: IdentityKind, text: str) -> Identity:
    """
    Return the identity that an operator wrote.

    Args:
        kind: Of what.
        text: A token's subject as it is; SHA-256 in hex, colons allowed; a URI as it is, or a DNS name.

    Raises:
        ValueError: it can be none.
    """
    match kind:
        case IdentityKind.JWT_SUBJECT:
            if not (1 <= len(text) <= 255 and text.isprintable()):
                raise ValueError("1 to 255 printable characters")
        case IdentityKind.CERTIFICATE_SHA256:
            text = text.replace(":", "").lower()
            if re.fullmatch(r"[0-9a-f]{64}", text, re.ASCII) is None:
                raise ValueError(
                    "64 hex digits, as `openssl x509 -fingerprint -sha256` prints them"
                )
        case IdentityKind.CERTIFICATE_SAN if "://" in text:
            if not (len(text) <= 255 and text.isascii() and text.isprintable()):
                raise ValueError(
                    "a URI of at most 255 characters, such as spiffe://example.org/shop"
                )
        case IdentityKind.CERTIFICATE_SAN:
            text = text.lower()
            if reason := host_problem(text):
                raise ValueError(
                    f"a URI such as spiffe://example.org/shop, or a DNS name: {reason}"
                )
    return Identity(kind, text)


def of_certificate(certificate: Certificate) -> Sequence[Identity]:
    """Return all that a certificate may be registered as."""
    names = [Identity(IdentityKind.CERTIFICATE_SAN, name) for name in certificate.names]
    return [Identity(IdentityKind.CERTIFICATE_SHA256, certificate.sha256), *names]


def bind(keyring: Keyring, caller: str, given: Identity) -> StoredIdentity:
    """Return what is kept when an operator says that this is that caller."""
    key = keyring.active(Kind.CREDENTIAL)
    mac = key.mac("identity/v1", caller, given.kind, given.value).hex()
    return StoredIdentity(given.kind, given.value, key.kid, mac)


def belongs(keyring: Keyring, caller: str, given: Identity, stored: StoredIdentity) -> bool:
    """Whether this is what an operator bound to that caller, compared in constant time."""
    key = keyring.find(Kind.CREDENTIAL, stored.kid)
    if key is None or (stored.kind, stored.value) != (given.kind, given.value):
        return False
    return hmac.compare_digest(
        key.mac("identity/v1", caller, given.kind, given.value).hex(), stored.mac
    )
