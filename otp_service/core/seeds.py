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
from urllib.parse import parse_qsl, unquote, urlsplit

from otp_service.core import text
from otp_service.core.totp import PERIOD, Algorithm, Authenticator

COLUMNS = ("subject", "name", "secret", "algorithm", "digits", "period", "uri")
MIN_BITS = 128  # RFC 4226 section 4, R6
_MAX_BYTES = 128
_NUMBERS = frozenset({"digits", "period"})  # JSON may have numbers here
_BESIDE_A_URI = frozenset({"subject", "name", "uri"})
_PARAMETERS = frozenset({"secret", "issuer", "algorithm", "digits", "period", "encoder"})


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
    """One authenticator as it is imported and exported. `name` is None if it has none."""

    subject: str = field(repr=False)
    name: str | None
    authenticator: Authenticator


def read(row: Mapping[str, object]) -> Seed:
    """
    Return what a row holds; the account of a URI is the subject where the row names none.

    Raises:
        SeedRefused: see there.
    """
    given = _texts(row)
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
    if "subject" not in given and not account:
        raise SeedRefused("subject", "is not named by the URI without doubt: give it in a column")
    try:
        subject = text.subject(given.get("subject", account))
    except ValueError as error:
        raise SeedRefused("subject", str(error)) from None
    if name is not None and (len(name) > 64 or text.has_controls(name)):
        raise SeedRefused("name", "must be printable and have at most 64 characters")
    return Seed(subject=subject, name=name, authenticator=authenticator)


def _texts(row: Mapping[str, object]) -> dict[str, str]:
    """Return the columns that have a value, without spaces at their ends."""
    texts: dict[str, str] = {}
    for column, value in row.items():
        if value in (None, ""):
            continue
        if column not in COLUMNS:
            raise SeedRefused("row", f"has a column that is none of {', '.join(COLUMNS)}")
        if column in _NUMBERS and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise SeedRefused(column, "must be a string")
        if stripped := value.strip(" "):
            texts[column] = stripped
    return texts


def _read_columns(given: Mapping[str, str]) -> Authenticator:
    return Authenticator(
        seed=_base32(given["secret"], "secret"),
        algorithm=_algorithm(given.get("algorithm", Algorithm.SHA1), "algorithm"),
        digits=_digits(given.get("digits", "6"), "digits", given.get("period", str(PERIOD))),
    )


def _read_uri(uri: str) -> tuple[Authenticator, str, str | None]:
    """
    Return the authenticator, the account and the issuer of an `otpauth://` URI.

    The account is "" where the label has none, or where it could name one of two people.
    Source: https://github.com/google/google-authenticator/wiki/Key-Uri-Format
    """
    # urlsplit removes tabs and line breaks: `an<TAB>n` would become `ann`.
    if text.has_controls(uri):
        raise SeedRefused("uri", text.NO_CONTROLS)
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise SeedRefused("uri", "is no otpauth URI that can be read") from None
    scheme = parts.scheme.lower()
    if scheme == "otpauth-migration":
        raise SeedRefused("uri", "is Google's export of several: take them apart first")
    if scheme != "otpauth":
        raise SeedRefused("uri", "is no otpauth URI that can be read")
    if parts.netloc.lower() == "hotp":
        raise SeedRefused("uri", "is HOTP, which counts presses: only TOTP")
    given = _parameters(parts.query)
    if parts.netloc.lower() == "steam" or given.get("encoder", "").lower() == "steam":
        raise SeedRefused("uri", "is of Steam, whose codes are no digits")
    if parts.fragment:
        raise SeedRefused("uri", "must not have a raw #: write it as %23")
    if parts.netloc.lower() != "totp":
        raise SeedRefused("uri", "is no otpauth URI that can be read")
    account, issuer = _label(parts.path.removeprefix("/"), given.get("issuer"))
    authenticator = Authenticator(
        seed=_base32(given.get("secret", ""), "uri.secret"),
        algorithm=_algorithm(given.get("algorithm", Algorithm.SHA1), "uri.algorithm"),
        digits=_digits(given.get("digits", "6"), "uri.digits", given.get("period", str(PERIOD))),
    )
    return authenticator, account, issuer


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise SeedRefused("uri", "is no otpauth URI that can be read") from None
    named = [(name.lower(), value.strip(" ")) for name, value in pairs]
    known = [(name, value) for name, value in named if name in _PARAMETERS]
    if len(dict(known)) < len(known):
        raise SeedRefused("uri", "has a parameter twice")
    return {name: value for name, value in known if value}


def _label(label: str, issuer: str | None) -> tuple[str, str | None]:
    """
    Return account and issuer.

    Issuer and account are separated by a colon, encoded or not. An encoded one may also be part of the account, so it
    separates only what the parameter `issuer` confirms.
    """
    prefix, literal, rest = label.partition(":")
    try:
        if not literal:
            prefix, encoded, rest = unquote(label, errors="strict").partition(":")
            if not encoded:
                return prefix.strip(" "), issuer
            if issuer is None:
                return "", None
        prefix, account = (unquote(part, errors="strict").strip(" ") for part in (prefix, rest))
    except UnicodeDecodeError:
        raise SeedRefused("uri", "is no otpauth URI that can be read") from None
    if issuer is not None and prefix != issuer:
        raise SeedRefused("uri", "names one issuer in its label and another in its parameter")
    return account, prefix or None


def _algorithm(text: str, field: str) -> Algorithm:
    plain = text.upper().replace("-", "").removeprefix("HMAC")
    if plain not in list(Algorithm):
        raise SeedRefused(field, f"must be {', '.join(Algorithm)}")
    return Algorithm(plain)


def _digits(digits: str, field: str, period: str) -> int:
    if period != str(PERIOD):
        raise SeedRefused(field.replace("digits", "period"), f"must be {PERIOD} seconds")
    if digits not in ("6", "8"):
        raise SeedRefused(field, "must be 6 or 8")
    return int(digits)


def _base32(text: str, field: str) -> str:
    """Return the seed in one spelling: capitals, no spaces, no padding. Case, spaces and dashes do not matter."""
    plain = re.sub(r"[\s-]", "", text)
    if not plain.isascii():  # capitals of other letters may be ASCII: the long s becomes S
        raise SeedRefused(field, "is no base32")
    plain = plain.upper().rstrip("=")
    try:
        seed = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except (ValueError, binascii.Error):
        raise SeedRefused(field, "is no base32") from None
    if len(seed) * 8 < MIN_BITS:
        raise SeedRefused(field, f"has fewer than {MIN_BITS} bits")
    if len(seed) > _MAX_BYTES:
        raise SeedRefused(field, f"has more than {_MAX_BYTES} bytes")
    return base64.b32encode(seed).decode().rstrip("=")
