"""What the service answers about authenticator apps and recovery codes; see `results` for times and spans."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import AwareDatetime

from otp_service.client.results import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpEnrolled:
    """
    A seed for an authenticator app, shown this once; it counts for nothing until `confirm_totp`.

    Attributes:
        status: `pending`.
        secret: base32.
        provisioning_uri: `otpauth://totp/…`.
        qr_svg: That URI as an SVG image.
        qr_terminal: The same for a terminal: lines of half blocks.
        expires_at: Until when it must be confirmed.
    """

    factor_id: str
    status: str
    secret: str = field(repr=False)
    provisioning_uri: str = field(repr=False)
    qr_svg: str = field(repr=False)
    qr_terminal: str = field(repr=False)
    expires_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpConfirmed:
    """The authenticator counts from now on."""

    factor_id: str
    status: Literal["confirmed"]
    confirmed_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpVerification(Verified):
    """The authenticator's code was right. `method` is `totp`."""

    method: str
    factor_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """
    One factor, without its secret.

    Attributes:
        type: `totp`.
        name: What the person calls it.
        status: `pending` or `confirmed`.
        algorithm: `SHA1`, `SHA256` or `SHA512`.
        digits: 6 or 8.
        confirmed_at: None while it is pending.
    """

    factor_id: str
    type: str
    name: str
    status: str
    algorithm: str
    digits: int
    created_at: AwareDatetime
    confirmed_at: AwareDatetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """
    Which factors a subject has.

    Attributes:
        methods: How the person can show who they are, the one that `channel="auto"` picks first.
    """

    subject: str
    factors: tuple[Factor, ...]
    methods: tuple[str, ...]
    recovery_codes_remaining: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCodes:
    """A set of recovery codes, shown this once; older ones are void."""

    codes: tuple[str, ...] = field(repr=False)
    created_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryVerification(Verified):
    """
    The recovery code was right, and is burned. `method` is `recovery_code`, and `amr` empty.

    Attributes:
        remaining: Recovery codes that are left.
    """

    method: str
    remaining: int
