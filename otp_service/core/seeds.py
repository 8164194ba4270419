"""
Authenticators from elsewhere, read strictly: what is not surely a TOTP of 30 seconds with a proper seed is refused.

A row has `subject`, and `secret` (base32) or `uri` (`otpauth://`). `name` may stand beside both; `algorithm` (SHA1,
SHA256, SHA512), `digits` (6 or 8) and `period` (30) beside a secret. No reason ever repeats a value.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyotp
from pyotp.contrib import Steam

from otp_service.core.totp import DIGESTS, PERIOD, Algorithm, Authenticator

COLUMNS = ("subject", "name", "secret", "algorithm", "digits", "period", "uri")
MIN_BITS = 128  # RFC 4226 section 4, R6
_MAX_BYTES = 128
_SUBJECT = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_BESIDE_A_URI = frozenset({"subject", "name", "uri"})


class SeedRefused(ValueError):
    """
    A row is none that can be taken.

    Attributes:
        field: The column, dotted for a part of a URI; `row` for all of it.
        reason: A sentence; never repeats what was given.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One person's authenticator, as it comes and goes. `name` is None where nobody gave one."""

    subject: str = field(repr=False)
    name: str | None
    authenticator: Authenticator


def read(row: Mapping[str, object]) -> Seed:
    """
    Return what a row holds; the account of a URI is the subject where the row names none.

    Raises:
        SeedRefused: see there.
    """
    given = {column: str(value).strip() for column, value in row.items() if value not in (None, "")}
    if set(given) - set(COLUMNS):
        raise SeedRefused("row", f"has a column that is none of {', '.join(COLUMNS)}")
    if ("secret" in given) == ("uri" in given):
        raise SeedRefused("secret", "or uri must be given, and not both")
    account, name = "", given.get("name")
    if "uri" in given:
        if set(given) - _BESIDE_A_URI:
            raise SeedRefused("uri", "says algorithm, digits and period itself")
        authenticator, account, issuer = _read_uri(given["uri"])
        name = name or issuer
    else:
        authenticator = _read_columns(given)
    subject = given.get("subject", account)
    if _SUBJECT.fullmatch(subject) is None:
        raise SeedRefused("subject", "must be 1 to 128 printable ASCII characters without spaces")
    if name is not None and not (name.isprintable() and len(name) <= 64):
        raise SeedRefused("name", "must be printable and have at most 64 characters")
    return Seed(subject=subject, name=name, authenticator=authenticator)


def _read_columns(given: Mapping[str, str]) -> Authenticator:
    algorithm = given.get("algorithm", Algorithm.SHA1).upper().replace("-", "")
    if algorithm not in list(Algorithm):
        raise SeedRefused("algorithm", f"must be {', '.join(Algorithm)}")
    return Authenticator(
        seed=_base32(given["secret"], "secret"),
        algorithm=Algorithm(algorithm),
        digits=_digits(given.get("digits", "6"), "digits", given.get("period", str(PERIOD))),
    )


def _read_uri(uri: str) -> tuple[Authenticator, str, str | None]:
    """Return the authenticator, the account and the issuer of an `otpauth://` URI."""
    if uri.lower().startswith("otpauth-migration:"):
        raise SeedRefused("uri", "is Google's export of several: take them apart first")
    try:
        found = pyotp.parse_uri(uri)
    except (ValueError, binascii.Error):
        raise SeedRefused("uri", "is no otpauth URI that can be read") from None
    if isinstance(found, pyotp.HOTP):
        raise SeedRefused("uri", "is HOTP, which counts presses: only TOTP")
    if isinstance(found, Steam) or not isinstance(found, pyotp.TOTP):
        raise SeedRefused("uri", "is of Steam, whose codes are no digits")
    algorithm = next(name for name, made in DIGESTS.items() if made is found.digest)
    authenticator = Authenticator(
        seed=_base32(found.secret, "uri.secret"),
        algorithm=algorithm,
        digits=_digits(str(found.digits), "uri.digits", str(found.interval)),
    )
    # What pyotp calls an account that the URI does not name.
    return authenticator, "" if found.name == "Secret" else found.name, found.issuer or None


def _digits(digits: str, field: str, period: str) -> int:
    if period != str(PERIOD):
        raise SeedRefused(field.replace("digits", "period"), f"must be {PERIOD} seconds")
    if digits not in ("6", "8"):
        raise SeedRefused(field, "must be 6 or 8")
    return int(digits)


def _base32(text: str, field: str) -> str:
    """Return the seed in one spelling: capitals, no spaces, no padding. Case, spaces and dashes do not matter."""
    plain = re.sub(r"[\s-]", "", text).upper().rstrip("=")
    try:
        seed = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except (ValueError, binascii.Error):
        raise SeedRefused(field, "is no base32") from None
    if len(seed) * 8 < MIN_BITS:
        raise SeedRefused(field, f"has fewer than {MIN_BITS} bits")
    if len(seed) > _MAX_BYTES:
        raise SeedRefused(field, f"has more than {_MAX_BYTES} bytes")
    return base64.b32encode(seed).decode().rstrip("=")
