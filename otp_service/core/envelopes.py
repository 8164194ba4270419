"""
What is sealed: what the caller calls a challenge, where its code goes, where a sent code went, and what an opt-in is
about until its code comes back.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from otp_service.core.challenge import OptInAddress, SubjectAddress
from otp_service.core.keyring import Keyring
from otp_service.core.receipts import Consent
from otp_service.core.seal import seal, unseal


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The caller's own names; kept as long as the challenge can be asked for."""

    subject: str | None = field(repr=False)
    client_ref: str | None

    def seal(self, keyring: Keyring, challenge_id: str) -> str:
        """Return it sealed for this challenge."""
        told = {"subject": self.subject, "client_ref": self.client_ref}
        return seal(keyring, json.dumps(told), belongs_to=about_of(challenge_id))

    @classmethod
    def open(cls, keyring: Keyring, sealed: str, challenge_id: str) -> Self:
        """Return it unsealed. Raises SealBroken."""
        return cls(**json.loads(unseal(keyring, sealed, belongs_to=about_of(challenge_id))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """
    Where a code goes and what is said beside it; gone with the challenge's end.

    `brand`, `sender`, `origin` and `app_hash` are those of the caller's policy when the challenge was opened.
    """

    to: str = field(repr=False)
    context: Mapping[str, str] = field(default_factory=dict, repr=False)
    client_ip: str | None = field(default=None, repr=False)
    brand: str = ""
    sender: str = ""
    origin: str | None = None
    app_hash: str | None = None

    def seal(self, keyring: Keyring, challenge_id: str) -> str:
        """Return it sealed for this challenge."""
        told = {name: value for name in self.__slots__ if (value := getattr(self, name))}
        return seal(keyring, json.dumps(told), belongs_to=f"destination:{challenge_id}")

    @classmethod
    def open(cls, keyring: Keyring, sealed: str, challenge_id: str) -> Self:
        """Return it unsealed. Raises SealBroken."""
        return cls(**json.loads(unseal(keyring, sealed, belongs_to=f"destination:{challenge_id}")))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOptIn:
    """
    What an opt-in is about, until its code comes back.

    Attributes:
        custom_fields: For the site, where it is told of the person only then.
        challenge_id: Of our own code; None when the site drew it.
    """

    consent: Consent
    custom_fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    challenge_id: str | None = None

    def seal(self, keyring: Keyring, address: OptInAddress) -> str:
        """Return it sealed for this person and group."""
        return seal(keyring, json.dumps(asdict(self)), belongs_to=_opt_in_of(address))

    @classmethod
    def open(cls, keyring: Keyring, sealed: str, address: OptInAddress) -> Self:
        """Return it unsealed. Raises SealBroken."""
        told = json.loads(unseal(keyring, sealed, belongs_to=_opt_in_of(address)))
        return cls(**{**told, "consent": Consent(**told["consent"])})


def _opt_in_of(address: OptInAddress) -> str:
    return f"opt-in:{address.number.pseudonym}:{address.group_id or 0}"


def about_of(challenge_id: str) -> str:
    """Return what an `About` is sealed for: a challenge, a factor or a proof."""
    return f"about:{challenge_id}"


def seed_of(subject: SubjectAddress, factor_id: str) -> str:
    """Return what the seed of an authenticator is sealed for. A pseudonym names the caller too."""
    return f"totp-seed:{subject.pseudonym}:{factor_id}"


def device_name_of(subject: SubjectAddress, device_id: str) -> str:
    """Return what the name of a device is sealed for."""
    return f"device-name:{subject.pseudonym}:{device_id}"


def seal_number(keyring: Keyring, number: str, trace: str) -> str:
    """Return the number that a code was sent to, sealed for the trace of that send."""
    return seal(keyring, number, belongs_to=f"trace:{trace}")


def open_number(keyring: Keyring, sealed: str, trace: str) -> str:
    """Return it unsealed. Raises SealBroken."""
    return unseal(keyring, sealed, belongs_to=f"trace:{trace}")
