"""Limits per subject for operations that send nothing."""

from otp_service.core.challenge import fingerprint
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.limits import Window
from otp_service.store import keys
from otp_service.store.limits import ChargedLimit


def subject_limits(
    keyring: Keyring, name: str, window: Window, caller: str, subject: str
) -> list[ChargedLimit]:
    """Return the limit `name` of this subject, counted under each live phone key as in `send_limits`."""
    return [
        ChargedLimit(
            key=keys.limit(name, fingerprint(phone, f"limit/{name}/v1", caller, subject)),
            windows=[(name, window)],
        )
        for phone in keyring.in_order(Kind.PHONE)
    ]
