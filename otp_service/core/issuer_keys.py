"""
The keys by which an issuer's tokens are checked, read from its JSON Web Key Set (RFC 7517).

Only public keys of algorithms in which the service believes are kept; a secret one, one without a `kid` or one whose
`kid` occurs twice is not.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

MAX_BYTES = 65_536
_MAX_KEYS = 64
_MAX_KID = 128
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS = frozenset({*_CURVES.values(), *_RSA})


class KeySetUnusable(ValueError):
    """What the issuer gave is no set of keys, or none of them can be used."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One key, and the algorithms for which it may be used (RFC 8725 section 3.1)."""

    key: ECKey | OKPKey | RSAKey
    algorithms: frozenset[str]


def canonical(algorithm: object) -> str | None:
    """Return an algorithm by the name used here (`EdDSA` for RFC 9864's `Ed25519`), or None for one not believed in."""
    name = "EdDSA" if algorithm == "Ed25519" else algorithm
    return name if isinstance(name, str) and name in ALGORITHMS else None


def read_key_set(content: bytes) -> Mapping[str, IssuerKey]:
    """
    Return the usable keys by `kid`.

    Raises:
        KeySetUnusable: there is none, or it is no key set.
    """
    try:
        entries = json.loads(content)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetUnusable("no JSON Web Key Set") from None
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise KeySetUnusable(f"no list of at most {_MAX_KEYS} keys")
    entries = [entry for entry in entries if isinstance(entry, dict)]
    times = Counter(entry["kid"] for entry in entries if isinstance(entry.get("kid"), str))
    found = {}
    for entry in entries:
        kid = entry.get("kid")
        if not isinstance(kid, str) or times[kid] > 1 or not 1 <= len(kid) <= _MAX_KID:
            continue
        if key := _usable(entry):
            found[kid] = key
    if not found:
        raise KeySetUnusable("none of its keys can be used")
    return found


def _usable(entry: Mapping[str, Any]) -> IssuerKey | None:
    kind, operations = entry.get("kty"), entry.get("key_ops", ["verify"])
    if not isinstance(kind, str) or kind not in _PUBLIC or entry.get("use", "sig") != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    public: dict[str, Any] = {name: entry.get(name) for name in ("kty", *_PUBLIC[kind])}
    if not all(isinstance(value, str) for value in public.values()):
        return None
    try:
        key: Any = JWKRegistry.import_key(public)
        bits = key.public_key.key_size if kind == "RSA" else 0
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if kind == "RSA":
        algorithms = frozenset(_RSA) if 2048 <= bits <= 8192 else frozenset[str]()
    else:
        algorithms = frozenset({_CURVES[key.curve_name]} if key.curve_name in _CURVES else ())
    if "alg" in entry:
        algorithms &= {canonical(entry["alg"]) or ""}
    return IssuerKey(key, algorithms) if algorithms else None
