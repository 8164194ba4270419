"""
The keys of a service that signs proofs: which of its JSON Web Key Set we take, and when it is fetched again.

No I/O and no clock: `now` is an argument, on any steady clock in seconds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

MAX_BYTES = 1 << 16  # of an answer; who fetches stops there
MAX_KEYS = 64
FRESH_SECONDS = 300.0  # a set is asked for anew when it is older
PAUSE_SECONDS = 60.0  # nothing makes us ask more often than this, whatever proofs name
FIRST_PAUSE_SECONDS = 5.0  # but while we have no set at all

# By `kty` and `crv`: the members that make the public key, and the algorithms that it checks.
_KINDS: Mapping[
    tuple[str, str], tuple[type[ECKey] | type[OKPKey], tuple[str, ...], frozenset[str]]
] = {
    ("EC", "P-256"): (ECKey, ("x", "y"), frozenset({"ES256"})),
    ("OKP", "Ed25519"): (OKPKey, ("x",), frozenset({"EdDSA", "Ed25519"})),  # RFC 8037, RFC 9864
}
ALGORITHMS: frozenset[str] = frozenset().union(
    *(algorithms for _, _, algorithms in _KINDS.values())
)


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A public key, and the names of the one algorithm that it checks."""

    key: ECKey | OKPKey
    algorithms: frozenset[str]


def read_key_set(content: bytes) -> Mapping[str, PublishedKey]:
    """
    Return the keys that check signatures, by `kid`; those that we don't know are left out (RFC 7517 section 5).

    Raises:
        ValueError: this is no key set, or one without any key of use.
    """
    try:
        entries = json.loads(content)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("no JSON Web Key Set") from None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError("no JSON Web Key Set of a sensible size")
    found: dict[str, PublishedKey] = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(kid := entry.get("kid"), str):
            if kid in found:
                raise ValueError("two keys of one kid")
            if key := _key(entry):
                found[kid] = key
    if not found:
        raise ValueError("a key set without a key of use")
    return found


def _key(entry: Mapping[str, object]) -> PublishedKey | None:
    kind = _KINDS.get((str(entry.get("kty")), str(entry.get("crv"))))
    if kind is None or entry.get("use", "sig") != "sig":
        return None
    made, members, algorithms = kind
    if entry.get("alg", next(iter(algorithms))) not in algorithms:
        return None
    public = {name: str(entry.get(name)) for name in ("kty", "crv", *members)}
    try:
        return PublishedKey(made.import_key(public), algorithms)  # type: ignore[arg-type]
    except (JoseError, ValueError, TypeError):
        return None


@dataclass(slots=True)
class JwksCache:
    """
    The last good set, for as long as it may be believed.

    Attributes:
        stale_after: Seconds for which a set that can't be fetched again still counts.
    """

    stale_after: float
    _keys: Mapping[str, PublishedKey] = field(default_factory=dict)
    _fetched_at: float | None = None
    _asked_at: float | None = None

    def find(self, kid: str, *, now: float) -> PublishedKey | None:
        """Return the key of that id."""
        return self._keys.get(kid) if self.usable(now=now) else None

    def usable(self, *, now: float) -> bool:
        """Whether there is a set that is not too old."""
        return self._fetched_at is not None and now - self._fetched_at < self.stale_after

    def wanted(self, kid: str, *, now: float) -> bool:
        """Whether the set is to be fetched before a proof that names this key is looked at."""
        pause = PAUSE_SECONDS if self.usable(now=now) else FIRST_PAUSE_SECONDS
        if self._asked_at is not None and now - self._asked_at < pause:
            return False
        fresh = self._fetched_at is not None and now - self._fetched_at < FRESH_SECONDS
        return not fresh or kid not in self._keys

    def asked(self, *, now: float) -> None:
        """Record that a fetch of the set has ended, successful or not; waiting callers see the result."""
        self._asked_at = now

    def take(self, content: bytes, *, now: float) -> None:
        """Replace the set. Raises ValueError, and keeps the last good one."""
        self._keys = read_key_set(content)
        self._fetched_at = now
