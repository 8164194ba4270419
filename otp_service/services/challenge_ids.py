"""Challenge ids: their address in Redis. An id that resolves to none is an unknown challenge."""

from otp_service.core.challenge import ChallengeAddress, address_of
from otp_service.core.envelopes import About
from otp_service.core.keyring import Keyring
from otp_service.core.seal import SealBroken
from otp_service.errors import ChallengeNotFound


def address_behind(keyring: Keyring, challenge_id: str) -> ChallengeAddress:
    """Return where the challenge lies if it exists. Raises ChallengeNotFound for what can be no id of ours."""
    address = address_of(keyring, challenge_id)
    if address is None:
        raise ChallengeNotFound
    return address


def about_behind(keyring: Keyring, sealed: str, challenge_id: str) -> About:
    """Return what the caller calls the challenge. Raises ChallengeNotFound."""
    try:
        return About.open(keyring, sealed, challenge_id)
    except SealBroken:
        raise ChallengeNotFound from None  # its key was taken away: the challenge is void
