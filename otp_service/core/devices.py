"""
Tokens of remembered devices: `otpd_` + device id + generation + HMAC-SHA256 in base64url.

A token is derived, not drawn: who holds the key ring can make it again, Redis can't. Redis knows only which generation
of a device is the good one, and each use makes the next. What is no token of ours is told without asking Redis, and
there is no limit on guesses, for there is nothing to guess: 256 bits stand between a stranger and the first question.
"""

import base64
import hmac
import re
from dataclasses import dataclass

from otp_service.core.challenge import ChallengeAddress, SubjectAddress, address_of
from otp_service.core.keyring import Key, Keyring, Kind

PREFIX = "otpd_"
_SHAPE = re.compile(
    r"otpd_([0-9a-f]{2}[A-Za-z0-9_-]{32})([0-9a-f]{8})([A-Za-z0-9_-]{43})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Genuine:
    """What a token of ours says: whose device it is of, and how many came before it."""

    device: ChallengeAddress
    generation: int


def token(keyring: Keyring, device: ChallengeAddress, generation: int, *, caller: str) -> str:
    """Return the token of that generation of the caller's device, 90 characters, under the active key."""
    mac = _mac(keyring.active(Kind.DEVICE), device, generation, caller)
    return f"{PREFIX}{device.challenge_id}{generation:08x}{mac}"


def read(keyring: Keyring, text: str, *, caller: str, subject: SubjectAddress) -> Genuine | None:
    """Return what a token says, made under any key still in use; None if we never made it for them."""
    match = _SHAPE.fullmatch(text)
    device = address_of(keyring, match[1]) if match else None
    if match is None or device is None or device.subject.pseudonym != subject.pseudonym:
        return None
    generation = int(match[2], 16)
    macs = [_mac(key, device, generation, caller) for key in keyring.live(Kind.DEVICE)]
    if not any(hmac.compare_digest(mac, match[3]) for mac in macs):
        return None
    return Genuine(device, generation)


def _mac(key: Key, device: ChallengeAddress, generation: int, caller: str) -> str:
    whose = (caller, device.subject.pseudonym, device.challenge_id)
    mac = key.mac("device-token/v1", *whose, f"{generation:08x}")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")
