"""
Consent receipts: what a caller needs to show, years later, that a person agreed (GDPR Article 7(1)).

A receipt is a JWS (`otp_service.core.signing`) with `typ: consent-receipt+jws`. It holds no number: the recipient is
masked, and named by a pseudonym that only the key ring can make again.
"""

import hashlib
from dataclasses import dataclass, field

from otp_service.core.challenge import fingerprint
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.recipients import mask
from otp_service.core.signing import sign

TYPE = "consent-receipt+jws"
METHOD = "double_opt_in_sms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """
    What the person was shown when it asked to be subscribed.

    Attributes:
        text_sha256: Of the text in UTF-8, hex, or None when the caller did not give it.
        version: The caller's name for that text.
        locale: Its language.
        requested_at: Unix milliseconds.
    """

    text_sha256: str | None = None
    version: str | None = None
    locale: str | None = None
    requested_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A confirmed opt-in. `confirmed_at` in Unix milliseconds."""

    caller: str
    e164: str = field(repr=False)
    group_id: int | None
    consent: Consent
    confirmed_at: int


def text_sha256(text: str) -> str:
    """Return the hash by which a text can be recognised, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def receipt(keyring: Keyring, confirmed: Confirmed, *, issuer: str, receipt_id: str) -> str:
    """Return the signed receipt; the same arguments under the same key say the same."""
    consent = confirmed.consent
    claims = {
        "iss": issuer,
        "aud": confirmed.caller,
        "jti": receipt_id,
        "iat": confirmed.confirmed_at // 1000,
        "method": METHOD,
        "list": {"group_id": confirmed.group_id},
        "recipient": {
            "masked": mask(confirmed.e164),
            "pseudonym": fingerprint(
                keyring.active(Kind.PHONE), "consent/v1", confirmed.caller, confirmed.e164
            ),
        },
        "consent": {
            "text_sha256": consent.text_sha256,
            "version": consent.version,
            "locale": consent.locale,
        },
        "requested_at": consent.requested_at // 1000,
        "confirmed_at": confirmed.confirmed_at // 1000,
    }
    return sign(keyring, claims, typ=TYPE)
