"""
The secret in the path to which the site's webhooks go: they carry no signature, so only who knows the path may call.

It is made of the ring, so nothing is stored; a key that may still check keeps its path alive through a rotation.
"""

import hmac

from otp_service.core.keyring import Key, Keyring, Kind


def hook_token(keyring: Keyring) -> str:
    """Return the path's secret: 128 bits as 32 hex digits."""
    return _token(keyring.active(Kind.CREDENTIAL))


def is_hook_token(keyring: Keyring, token: str) -> bool:
    """Whether it is the secret of a key that may still check; compared in constant time."""
    given = token.encode()
    # All are compared, whichever matches.
    found = [hmac.compare_digest(_token(k).encode(), given) for k in keyring.live(Kind.CREDENTIAL)]
    return True in found


def _token(key: Key) -> str:
    return key.mac("hook/wsms/v1")[:16].hex()
