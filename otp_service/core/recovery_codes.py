"""
Recovery codes: ten of 80 random bits, as four groups of Crockford's base32 (`7K3M-0Q9X-W2ZT-VB5N`).

Stored is argon2id of an HMAC, beside an HMAC index that finds the one candidate, so a try costs one hash and not ten.
NIST SP 800-63B-4 section 4.2.1.1 asks for 64 bits. Both HMACs are under the name key, not under a pepper: the codes lie
in a drawer for years, through every rotation of the peppers, and 80 random bits need none.
"""

import secrets

from otp_service.core import typed
from otp_service.core.keyring import Key

COUNT = 10
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})
_LENGTH = 16


def draw() -> str:
    """Return a new code, as it is shown."""
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return "-".join(text[i : i + 4] for i in range(0, _LENGTH, 4))


def normalise(text: str) -> str | None:
    """
    Return the 16 characters that a typed code means, or None.

    Case, O for 0, I and L for 1 do not matter, nor what `typed.normalise` drops; line breaks separate groups too.
    """
    text = typed.normalise("".join(text.split())).upper().translate(_LOOKALIKES)
    return text if len(text) == _LENGTH and all(c in _ALPHABET for c in text) else None


def index(name: Key, *, pseudonym: str, code: str) -> str:
    """Return under what a code is stored: the key's id and 32 hex digits. `pseudonym` is the subject's."""
    return f"{name.kid}:{name.mac('recovery-index/v1', pseudonym, code)[:16].hex()}"


def message(name: Key, *, pseudonym: str, code: str) -> bytes:
    """Return the 32 bytes that are hashed."""
    return name.mac("recovery-code/v1", pseudonym, code)
