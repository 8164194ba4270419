"""
Sealing what must be read again: AES-256-GCM with a key id, bound to what it belongs to.

A sealed text is `kid.base64url(nonce || ciphertext || tag)`. The nonce is 96 random bits: at 2^32 seals under one key
the chance of a repeat is 2^-32 (NIST SP 800-38D section 8.3), so a key is rotated long before.
"""

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from otp_service.core.keyring import Keyring, Kind


class SealBroken(ValueError):
    """It was sealed for something else, tampered with, or its key is gone."""


def seal(keyring: Keyring, text: str, *, belongs_to: str) -> str:
    """Return the text sealed under the active key; it opens only with the same `belongs_to`."""
    key = keyring.active(Kind.SEAL)
    nonce = secrets.token_bytes(12)
    box = nonce + AESGCM(key.secret).encrypt(nonce, text.encode(), belongs_to.encode())
    return f"{key.kid}.{base64.urlsafe_b64encode(box).decode()}"


def unseal(keyring: Keyring, sealed: str, *, belongs_to: str) -> str:
    """
    Return the text.

    Raises:
        SealBroken: see there.
    """
    kid, _, body = sealed.partition(".")
    key = keyring.find(Kind.SEAL, kid)
    if key is None:
        raise SealBroken(f"no key {kid!r}")
    try:
        box = base64.urlsafe_b64decode(body)
        return AESGCM(key.secret).decrypt(box[:12], box[12:], belongs_to.encode()).decode()
    except (InvalidTag, ValueError, binascii.Error):
        raise SealBroken("tampered with, or it belongs to something else") from None
