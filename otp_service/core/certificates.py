"""
A client's certificate as a proxy hands it on: RFC 9440 `:base64 of DER:`, or nginx's percent-encoded PEM.

The proxy has checked that the client holds its key; what is read here is who the certificate says it is, and when.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from cryptography import x509

MAX_LENGTH = 16_384  # characters of the header
_MAX_NAMES = 16


class CertificateRefused(ValueError):
    """It can't be read, or is not valid now. `reason` is a stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Certificate:
    """
    What a certificate says.

    Attributes:
        sha256: Of its DER, 64 hex digits.
        names: Its subject alternative names that are URIs or DNS names, the latter in small letters.
    """

    sha256: str
    names: tuple[str, ...]

    @property
    def thumbprint(self) -> str:
        """The same hash as tokens that are bound to it spell it (`x5t#S256`, RFC 8705 section 3.1)."""
        return base64.urlsafe_b64encode(bytes.fromhex(self.sha256)).decode().rstrip("=")


def read(header: str, *, now: float) -> Certificate:
    """
    Return what the header's certificate says.

    Args:
        header: The value as it came.
        now: Unix seconds.

    Raises:
        CertificateRefused: `malformed`, `not_yet_valid` or `expired`.
    """
    try:
        found = x509.load_der_x509_certificate(_der(header))
        begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
        names = _names(found)
    except (ValueError, TypeError, binascii.Error, x509.DuplicateExtension) as error:
        raise CertificateRefused("malformed") from error
    moment = datetime.fromtimestamp(now, UTC)
    if moment < begins:
        raise CertificateRefused("not_yet_valid")
    if moment > ends:
        raise CertificateRefused("expired")
    return Certificate(hashlib.sha256(_der(header)).hexdigest(), names)


def _der(header: str) -> bytes:
    text = header.strip()
    if len(text) > MAX_LENGTH:
        raise ValueError("too long")
    if text.startswith(":") and text.endswith(":"):
        return base64.b64decode(text[1:-1], validate=True)
    begins, ends = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    pem = unquote(text, errors="strict").strip()
    if not (pem.startswith(begins) and pem.endswith(ends)):
        raise ValueError("neither form")
    inside = pem.removeprefix(begins).removesuffix(ends)
    return base64.b64decode("".join(inside.split()), validate=True)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
    if len(uris) + len(hosts) > _MAX_NAMES:
        raise ValueError("too many names")
    return (*uris, *hosts)
