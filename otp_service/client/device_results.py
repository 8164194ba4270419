"""What the service answers about remembered devices; see `results` for times and spans."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import AwareDatetime

from otp_service.client.results import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRemembered:
    """
    A device, with its first token, shown this once.

    Attributes:
        token: For the person's browser to keep, good once.
        purpose: What it stands in for: the proof's.
        expires_in: Seconds.
    """

    device_id: str
    token: str = field(repr=False)
    purpose: str
    expires_at: AwareDatetime
    expires_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceVerification(Verified):
    """
    The device is remembered. `method` is `device`, and `amr` empty: it is no factor.

    Attributes:
        token: Takes the place of the one that was sent: that is dead.
        expires_at: Until when the device is remembered.
    """

    method: Literal["device"]
    device_id: str
    token: str = field(repr=False)
    expires_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """
    One remembered device, without its token.

    Attributes:
        name: What the person calls it, if anything.
        purpose: What it stands in for.
        last_used_at: None until its first verification.
    """

    device_id: str
    name: str | None
    purpose: str
    created_at: AwareDatetime
    last_used_at: AwareDatetime | None
    expires_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Which devices of a subject are remembered, the newest first."""

    subject: str
    devices: tuple[Device, ...]
