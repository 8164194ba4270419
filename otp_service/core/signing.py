"""
Signatures that others check with a published key: JWS (RFC 7515), by joserfc.

Every private key is derived from a secret of the ring, so a ring stays a list of random bytes; the public half is in
the JSON Web Key Set for as long as the ring keeps the key as active or for checking. Two kinds of key sign, each one
thing: `signing` receipts, which are checked for years, and `proof` proofs, which are over in minutes. So a key that had
to stay for old receipts can make no proof, and a proof key can be retired while receipts are out.
"""

import copy
import json
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry

from otp_service.core.keyring import Key, Keyring, Kind

CACHE_SECONDS = 300  # for which the key set may be cached, and so for which a new key must wait

# The order of P-256's base point (SP 800-186 section 3.2.1.3): a private key is 1 to order - 1.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Algorithm(StrEnum):
    """How it is signed, as `alg` says it: RFC 7518 section 3.4, RFC 8037 section 3.1."""

    ES256 = "ES256"
    EDDSA = "EdDSA"  # Ed25519 by the name that every library knows; RFC 9864's own is young


class _Registry(JWSRegistry):
    """joserfc's, but that `EdDSA`, the name that verifiers know, is written without a warning."""

    _eddsa = copy.copy(JWSRegistry.algorithms["EdDSA"])
    _eddsa.security_warning = None
    algorithms = {**JWSRegistry.algorithms, "EdDSA": _eddsa}  # noqa: RUF012 - as the class above has it


def sign(keyring: Keyring, claims: Mapping[str, Any], *, typ: str) -> str:
    """Return a receipt: a compact JWS of the claims under the active signing key (ES256), with an explicit `typ`."""
    return _signed(_receipt_key(keyring.active(Kind.SIGNING)), Algorithm.ES256, claims, typ)


def sign_proof(
    keyring: Keyring, claims: Mapping[str, Any], *, typ: str, algorithm: Algorithm
) -> str:
    """Return a signed proof: a compact JWS of the claims under the active proof key, with an explicit `typ`."""
    return _signed(_proof_key(keyring.active(Kind.PROOF), algorithm), algorithm, claims, typ)


def key_set(keyring: Keyring) -> dict[str, Any]:
    """
    Return the JSON Web Key Set (RFC 7517) of every key that signs or still checks.

    Proof keys are there for both algorithms, so that changing the algorithm asks for no key to be published first.
    """
    keys = [_receipt_key(key) for key in keyring.live(Kind.SIGNING)]
    proofs = [_proof_key(key, alg) for key in keyring.live(Kind.PROOF) for alg in Algorithm]
    return {"keys": [key.as_dict(private=False) for key in (*keys, *proofs)]}


def _signed(key: ECKey | OKPKey, algorithm: Algorithm, claims: Mapping[str, Any], typ: str) -> str:
    header = {"alg": algorithm.value, "kid": key.kid, "typ": typ}
    payload = json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode()
    return jws.serialize_compact(header, payload, key, registry=_Registry(algorithms=[algorithm]))


@lru_cache(maxsize=16)
def _receipt_key(key: Key) -> ECKey:
    return _p256(key, "es256/v1", kid=key.kid)


@lru_cache(maxsize=16)
def _proof_key(key: Key, algorithm: Algorithm) -> ECKey | OKPKey:
    # A ring's own ids have no dot: no id of a receipt's key can be that of a proof's.
    if algorithm is Algorithm.ES256:
        return _p256(key, "proof-es256/v1", kid=f"{key.kid}.es256")
    private = Ed25519PrivateKey.from_private_bytes(key.mac("proof-ed25519/v1"))
    kid = f"{key.kid}.ed25519"
    return OKPKey.import_key(private, {"kid": kid, "use": "sig", "alg": Algorithm.EDDSA.value})


def _p256(key: Key, domain: str, *, kid: str) -> ECKey:
    # 48 bytes reduced by the order are uniform to 2^-128 (FIPS 186-5 appendix A.2.1).
    seed = key.mac(domain, "0") + key.mac(domain, "1")[:16]
    number = int.from_bytes(seed, "big") % (_ORDER - 1) + 1
    private = derive_private_key(number, SECP256R1())
    return ECKey.import_key(private, {"kid": kid, "use": "sig", "alg": Algorithm.ES256.value})
