"""
Signatures that others check with a published key: ES256 (RFC 7518 section 3.4), by joserfc.

The private key is derived from the ring's secret, so a ring stays a list of random bytes; the public half is in the
JSON Web Key Set for as long as the ring keeps the key as active or for checking.
"""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.jwk import ECKey

from otp_service.core.keyring import Key, Keyring, Kind

ALGORITHM = "ES256"
# The order of P-256's base point (SP 800-186 section 3.2.1.3): a private key is 1 to order - 1.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def sign(keyring: Keyring, claims: Mapping[str, Any], *, typ: str) -> str:
    """Return a compact JWS of the claims under the active signing key, with its `kid` and an explicit `typ`."""
    key = keyring.active(Kind.SIGNING)
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": typ}
    payload = json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode()
    return jws.serialize_compact(header, payload, _private(key), algorithms=[ALGORITHM])


def key_set(keyring: Keyring) -> dict[str, Any]:
    """Return the JSON Web Key Set (RFC 7517) of every signing key that is active or still checks."""
    return {"keys": [_private(key).as_dict(private=False) for key in keyring.live(Kind.SIGNING)]}


def _private(key: Key) -> ECKey:
    # 48 bytes reduced by the order are uniform to 2^-128 (FIPS 186-5 appendix A.2.1).
    seed = key.mac("es256/v1", "0") + key.mac("es256/v1", "1")[:16]
    number = int.from_bytes(seed, "big") % (_ORDER - 1) + 1
    pem = ec.derive_private_key(number, ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ECKey.import_key(pem, {"kid": key.kid, "use": "sig", "alg": ALGORITHM})
