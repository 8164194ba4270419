"""
A code's life outside Redis: drawn, digested and compared.

The digest is `argon2id(HMAC-SHA256(pepper, domain, caller, purpose, challenge, generation, binding, code))`.
The pepper, which Redis never sees, is what protects six digits in a leaked dump; argon2id (RFC 9106) is the
second wall. What is bound into the HMAC fails cryptographically elsewhere, even if a check were missed.
argon2 has its one home here.
"""

import secrets
from dataclasses import dataclass

from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type, error_to_str, hash_secret, verify_secret

from otp_service.core.keyring import Key
from otp_service.errors import Unavailable

MIN_DIGITS, MAX_DIGITS = 4, 10

# Memory in KiB that OWASP and ASVS 5.0 appendix C ask for, by passes.
_APPROVED_MEMORY = {1: 47104, 2: 19456}
_APPROVED_MEMORY_FROM_3 = 12288

_NO_MEMORY = -22  # ARGON2_MEMORY_ALLOCATION_ERROR


@dataclass(frozen=True, slots=True)
class HashCost:
    """
    The cost of one argon2id.

    Attributes:
        passes: t, 1 to 10.
        memory_kib: m, KiB.
        lanes: p.
    """

    passes: int = 2
    memory_kib: int = 19456
    lanes: int = 1

    @property
    def approved(self) -> bool:
        """Whether it is at or above a row of OWASP's and ASVS' table."""
        floor = _APPROVED_MEMORY.get(self.passes, _APPROVED_MEMORY_FROM_3)
        return self.passes >= 1 and self.memory_kib >= floor


@dataclass(frozen=True, slots=True)
class CodeContext:
    """What a code is good for, bound into its digest. `generation` counts from 1."""

    caller: str
    purpose: str
    challenge_id: str
    generation: int
    binding: str


def draw(digits: int) -> str:
    """Return a new code: `digits` decimal digits, uniform over all of them, leading zeros kept."""
    return f"{secrets.randbelow(10**digits):0{digits}d}"


def is_code(text: str) -> bool:
    """Whether the text is 4 to 10 ASCII digits and nothing else."""
    return MIN_DIGITS <= len(text) <= MAX_DIGITS and text.isascii() and text.isdigit()


def message(pepper: Key, context: CodeContext, code: str) -> bytes:
    """Return the 32 bytes that are hashed: the code under the pepper, with all it is bound to."""
    return pepper.mac(
        "otp-code/v1",
        context.caller,
        context.purpose,
        context.challenge_id,
        str(context.generation),
        context.binding,
        code,
    )


def digest(message: bytes, cost: HashCost) -> str:
    """Return a PHC string with a fresh 128-bit salt. Takes about 17 ms at the default cost, without the GIL."""
    return hash_secret(
        message,
        secrets.token_bytes(16),
        time_cost=cost.passes,
        memory_cost=cost.memory_kib,
        parallelism=cost.lanes,
        hash_len=32,
        type=Type.ID,
    ).decode()


def matches(phc: str, message: bytes) -> bool:
    """
    Whether the digest was made of this message, compared in constant time. A broken digest matches nothing.

    Raises:
        Unavailable: there is no memory for it, which says nothing of the message.
    """
    try:
        return verify_secret(phc.encode(), message, Type.ID)
    except (VerificationError, InvalidHashError) as error:
        if str(error) == error_to_str(_NO_MEMORY):
            raise Unavailable("no memory for a hash") from error
        return False
