"""
The ring of secret keys, each kind separate.

A ring is JSON: `{"keys": [{"kid", "kind", "state", "secret", "created_at"}, …]}`, `secret` being 32 to 64
random bytes in base64. The working key of a kind is derived from its secret by HKDF-SHA256 (RFC 5869) with
the kind as label, so that the same bytes under two kinds still are two keys.

States: `active` makes new things, exactly one of each kind; `verify` still checks old ones; `retired` does
nothing. Rules of the file: no key ever shows in a repr, an error or a log.
"""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Self
from zlib import crc32

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MARKS = 15

_KID = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)


class Kind(StrEnum):
    """What a key is for."""

    NAME = "name"  # what must be found again for ever: subjects' pseudonyms, bindings, retried calls; never rotated
    PEPPER = "pepper"  # codes, before argon2id
    ROUTE = "route"  # pseudonyms, where they stand in names of keys and in ids
    PHONE = "phone"  # numbers and addresses, where Redis must recognise them
    SEAL = "seal"  # what must be read again: AES-256-GCM
    CREDENTIAL = "credential"  # callers' credentials
    PROOF = "proof"  # proofs of success, opaque and signed
    DEVICE = "device"  # tokens of remembered devices
    SIGNING = "signing"  # receipts, which others check for years


class State(StrEnum):
    """What a key may still do."""

    ACTIVE = "active"
    VERIFY = "verify"
    RETIRED = "retired"


class KeyringError(ValueError):
    """The ring can't be used; the message names the key and the reason, never a secret."""


class KindMissing(KeyringError):
    """
    The ring is sound, and was made before there was a kind of keys that is needed now.

    Attributes:
        kinds: Those without an active key.
    """

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = kinds
        super().__init__(
            "; ".join(
                f"no active key of kind {kind}: add one with `otp-service keys add {kind}`"
                for kind in kinds
            )
        )


@dataclass(frozen=True, slots=True)
class Key:
    """
    One working key.

    Attributes:
        kid: Its id, 1 to 32 of `[a-z0-9-]`, stored beside all it made.
        secret: 32 bytes, derived for its kind.
    """

    kid: str
    secret: bytes = field(repr=False)
    _keyed: HMAC = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keyed", HMAC(self.secret, hashes.SHA256()))

    @property
    def mark(self) -> int:
        """What tells the key in an id that it masked: 0 to 14, of its kid; no two live route keys share one."""
        return crc32(self.kid.encode()) % MARKS

    def mac(self, *parts: str | bytes) -> bytes:
        """Return HMAC-SHA256 over the length-prefixed parts: no two lists of parts give one message."""
        message = bytearray()
        for part in parts:
            data = part.encode() if isinstance(part, str) else part
            message += len(data).to_bytes(4, "big") + data
        keyed = self._keyed.copy()  # costs a third of keying anew
        keyed.update(message)
        return keyed.finalize()


class Keyring:
    """The keys the service may use now."""

    def __init__(self, keys: Iterable[tuple[Kind, State, Key]]) -> None:
        self._active: dict[Kind, Key] = {}
        self._live: dict[Kind, dict[str, Key]] = {kind: {} for kind in Kind}
        for kind, state, key in keys:
            if state is State.RETIRED:
                continue
            if state is State.ACTIVE:
                if kind in self._active:
                    raise KeyringError(f"kind {kind}: two active keys")
                self._active[kind] = key
            if key.kid in self._live[kind]:
                raise KeyringError(f"kind {kind}: kid {key.kid} occurs twice")
            self._live[kind][key.kid] = key
        self._routes = {key.mark: key for key in self._live[Kind.ROUTE].values()}
        if len(self._routes) < len(self._live[Kind.ROUTE]):
            raise KeyringError("two route keys with one mark: let `otp-service keys add` draw one")
        if missing := [kind for kind in Kind if kind not in self._active]:
            raise KindMissing(missing)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(f'{kind}:{key.kid}' for kind, key in self._active.items())})"

    def active(self, kind: Kind) -> Key:
        """Return the key that makes new things of this kind."""
        return self._active[kind]

    def find(self, kind: Kind, kid: str) -> Key | None:
        """Return the key of that id if it may still check, else None."""
        return self._live[kind].get(kid)

    def live(self, kind: Kind) -> Iterator[Key]:
        """Yield every key of a kind that may still check, the active one first."""
        active = self._active[kind]
        yield active
        yield from (key for key in self._live[kind].values() if key is not active)

    def in_order(self, kind: Kind) -> Sequence[Key]:
        """Return every key of a kind that may still check, as they were added: which is active changes nothing."""
        return list(self._live[kind].values())

    def route(self, mark: int) -> Key | None:
        """Return the route key of that mark if it may still check, else None."""
        return self._routes.get(mark)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """
        Read a ring.

        Raises:
            KeyringError: not JSON, a field missing or wrong, a secret too short, two entries sharing one.
            KindMissing: all that is there is right, and a kind is not there.
        """
        return cls(_read(text))


def retired(text: str, kind: Kind) -> Sequence[Key]:
    """Return a kind's keys that a ring has retired: they tell what they made. Raises KeyringError."""
    return [key for of, state, key in _read(text) if of is kind and state is State.RETIRED]


def _read(text: str) -> list[tuple[Kind, State, Key]]:
    try:
        entries = list(json.loads(text)["keys"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyringError('not a key ring: expected JSON {"keys": […]}') from None
    seen: dict[bytes, str] = {}
    keys: list[tuple[Kind, State, Key]] = []
    for number, entry in enumerate(entries, 1):
        try:
            kid, kind, state = str(entry["kid"]), Kind(entry["kind"]), State(entry["state"])
            raw = base64.b64decode(entry["secret"], validate=True)
        except (KeyError, ValueError, TypeError, binascii.Error):
            raise KeyringError(
                f"key number {number}: kid, kind, state or secret is wrong"
            ) from None
        if _KID.fullmatch(kid) is None:
            raise KeyringError(f"key number {number}: kid is not 1 to 32 of a-z, 0-9 and -")
        if not 32 <= len(raw) <= 64 or len(set(raw)) < 8:
            raise KeyringError(f"key {kid}: secret is not 32 to 64 random bytes")
        if raw in seen:
            raise KeyringError(f"keys {seen[raw]} and {kid} share one secret")
        seen[raw] = kid
        keys.append((kind, state, Key(kid, _derive(raw, kind))))
    return keys


def generate(*, created_at: str) -> str:
    """Return the JSON of a new ring with one active key of each kind. `created_at` is RFC 3339."""
    entries = [new_entry(kind, State.ACTIVE, created_at=created_at) for kind in Kind]
    return json.dumps({"keys": entries}, indent=2) + "\n"


def completed(ring: str, *, created_at: str) -> str:
    """Return the JSON of a ring with an active key of each kind that it lacks. Raises KeyringError."""
    try:
        Keyring.from_json(ring)
    except KindMissing as error:
        entries = json.loads(ring)["keys"]
        entries += [new_entry(k, State.ACTIVE, created_at=created_at) for k in error.kinds]
        return json.dumps({"keys": entries}, indent=2) + "\n"
    return ring


def new_entry(
    kind: Kind, state: State, *, created_at: str, beside: Iterable[str] = ()
) -> dict[str, str]:
    """Return a new key ring entry: 32 random bytes and a key id that is not in the ring yet."""
    taken = {Key(kid, b"").mark for kid in beside}
    kids = (f"{kind}-{secrets.token_hex(4)}" for _ in count())
    return {
        "kid": next(kid for kid in kids if Key(kid, b"").mark not in taken),
        "kind": kind.value,
        "state": state.value,
        "secret": base64.b64encode(secrets.token_bytes(32)).decode(),
        "created_at": created_at,
    }


def _derive(raw: bytes, kind: Kind) -> bytes:
    hkdf = HKDF(hashes.SHA256(), length=32, salt=None, info=f"otp_service/{kind}/v1".encode())
    return hkdf.derive(raw)
