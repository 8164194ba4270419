"""
Time-based one-time passwords (RFC 6238), by steps: a code is never "valid", it belongs to one step of 30 seconds.

Accepting is up to the script that remembers the last step; here codes are made and matched to steps, and time is Unix
seconds as an argument.
"""

import base64
import hashlib
import hmac
import io
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

import pyotp
import segno

PERIOD = 30  # seconds; what every authenticator app takes for granted
SEED_BYTES = 20  # RFC 4226 section 4, R6: 160 bits
CLOCK_OFF_STEPS = (
    10  # how far a person's clock is looked for when it is only to be told that it is off
)


class Algorithm(StrEnum):
    """The hash inside; many apps know only SHA1, and HMAC-SHA-1 is not broken by SHA-1's collisions."""

    SHA1 = "SHA1"
    SHA256 = "SHA256"
    SHA512 = "SHA512"


DIGESTS = {
    Algorithm.SHA1: hashlib.sha1,
    Algorithm.SHA256: hashlib.sha256,
    Algorithm.SHA512: hashlib.sha512,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """
    What an authenticator app and we share.

    Attributes:
        seed: base32 without padding; at least 128 bits.
        digits: 6 or 8.
    """

    seed: str = field(repr=False)
    algorithm: Algorithm = Algorithm.SHA1
    digits: int = 6

    def code(self, step: int) -> str:
        """Return the code of a step."""
        return self._totp().generate_otp(step)

    def matching_step(self, code: str, *, now: int, past: int = 1, future: int = 0) -> int | None:
        """
        Return the step at which the code is right, or None. Every allowed step is compared, in constant time each.

        Args:
            code: Decimal digits, already normalised.
            now: Unix seconds.
            past: Steps before the current one that count; RFC 6238 section 5.2 allows one for the delay on the way.
            future: Steps after it; none by default.
        """
        current = now // PERIOD
        found = None
        for step in range(current - past, current + future + 1):
            if step >= 0 and hmac.compare_digest(self.code(step), code):
                found = step
        return found

    def clock_is_off(self, code: str, *, now: int) -> bool:
        """Whether the code is right within ten steps to either side: the person's clock is off, not the code wrong."""
        far = CLOCK_OFF_STEPS
        return self.matching_step(code, now=now, past=far, future=far) is not None

    def provisioning_uri(self, *, account_name: str, issuer: str) -> str:
        """Return the `otpauth://` URI that apps read from a QR code."""
        return self._totp().provisioning_uri(name=account_name, issuer_name=issuer)

    def _totp(self) -> pyotp.TOTP:
        return pyotp.TOTP(
            self.seed, digits=self.digits, digest=DIGESTS[self.algorithm], interval=PERIOD
        )


def new_seed() -> str:
    """Return 160 random bits in base32."""
    return base64.b32encode(secrets.token_bytes(SEED_BYTES)).decode()


# Readers take any of the eight; to look for the best one is four fifths of the work, and matters for data that repeats.
_MASK = 3
MAX_URI = 2000  # characters; the largest QR code holds 2331 with this much error correction


def qr_codes(uri: str) -> tuple[str, str]:
    """
    Return the QR code of a URI twice: as SVG, and as lines of half blocks for a terminal.

    The SVG stands alone (`<img src="data:image/svg+xml,…">`) or in a page, scales to the size that the page gives it,
    has a title for screen readers, and brings its own white with the quiet zone of four modules, for dark pages.
    """
    code = segno.make(uri, error="m", micro=False, mask=_MASK)
    svg, terminal = io.BytesIO(), io.StringIO()
    code.save(
        svg,
        kind="svg",
        scale=4,
        border=4,
        light="#fff",
        unit="px",  # with a unit it has a viewBox besides its size
        title="QR code for an authenticator app",
        xmldecl=False,
        nl=False,
    )
    code.terminal(terminal, border=4, compact=True)
    return svg.getvalue().decode(), terminal.getvalue()
