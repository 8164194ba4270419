"""
Tokens by which callers say who they are: JWTs of one issuer, short-lived (RFC 7519, RFC 8725, RFC 9068).

Read in two steps. `peek` refuses all that needs no key, so that garbage makes nobody fetch one; `verify` checks the
signature first, then the claims.
"""

import base64
import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning

from otp_service.core.issuer_keys import IssuerKey, canonical

LEEWAY_SECONDS = 30
MAX_LENGTH = 8192
# What an access token may call itself (RFC 8725 section 3.11); a proof or receipt of ours is none.
_TYPES = frozenset({"jwt", "at+jwt"})
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)


class TokenRefused(ValueError):
    """It is no token to go by. `reason` is a stable word, for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """
    What tokens must say.

    Attributes:
        issuer: Their `iss`.
        audience: One of their `aud`.
        algorithms: By which they may be signed, of `core.issuer_keys.ALGORITHMS`.
        claim: What names the caller.
        max_life: Seconds from `iat` to `exp`, at most.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    claim: str
    max_life: int


@dataclass(frozen=True, slots=True)
class Peeked:
    """A token's header, believed for nothing but finding the key."""

    kid: str
    algorithm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """
    What a token says.

    Attributes:
        subject: Whom it names.
        scopes: What it may be used for at most; None: it does not say.
        thumbprint: Of the certificate to which it is bound (RFC 8705), or None.
    """

    subject: str
    scopes: frozenset[str] | None
    thumbprint: str | None


def is_token(text: str) -> bool:
    """Whether a credential has the shape of a signed token."""
    return len(text) <= MAX_LENGTH and _SHAPE.fullmatch(text) is not None


def peek(token: str, rules: TokenRules) -> Peeked:
    """
    Return which key the token asks for.

    Raises:
        TokenRefused: nothing that a key could make good: its shape, algorithm, type, a `crit` or another issuer.
    """
    match = _SHAPE.fullmatch(token)
    if match is None or len(token) > MAX_LENGTH:
        raise TokenRefused("malformed")
    header, claims = _object(match[1]), _object(match[2])
    algorithm, kid = canonical(header.get("alg")), header.get("kid")
    if algorithm is None or algorithm not in rules.algorithms:
        raise TokenRefused("algorithm")
    if "crit" in header or header.get("b64", True) is not True:
        raise TokenRefused("crit")  # there is no extension that we understand
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise TokenRefused("type")
    if not isinstance(kid, str) or not kid:
        raise TokenRefused("no_kid")
    if claims.get("iss") != rules.issuer:
        raise TokenRefused("issuer")
    return Peeked(kid, algorithm)


def verify(token: str, key: IssuerKey, rules: TokenRules, *, now: float) -> TokenClaims:
    """
    Return what the token says. `jku`, `x5u`, `x5c` and `jwk` in its header count for nothing.

    Args:
        token: As it came.
        key: The issuer's, by the `kid` that `peek` gave.
        rules: What it must say.
        now: Unix seconds.

    Raises:
        TokenRefused: and nothing in it is to be believed.
    """
    peeked = peek(token, rules)
    if peeked.algorithm not in key.algorithms:
        raise TokenRefused("algorithm_of_key")
    name = _object(token.partition(".")[0])["alg"]
    registry = jws.JWSRegistry(algorithms=[name], strict_check_header=False)
    registry.max_header_length = MAX_LENGTH
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA, RFC 9864
            jws.deserialize_compact(token, key.key, registry=registry)
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRefused("signature") from error
    return _claims(_object(token.split(".")[1]), rules, now)


def _claims(claims: Mapping[str, Any], rules: TokenRules, now: float) -> TokenClaims:
    audience = claims.get("aud")
    if rules.audience not in (audience if isinstance(audience, list) else [audience]):
        raise TokenRefused("audience")
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    if now >= expires + LEEWAY_SECONDS:
        raise TokenRefused("expired")
    if issued > now + LEEWAY_SECONDS:
        raise TokenRefused("issued_in_the_future")
    if expires - issued > rules.max_life:
        raise TokenRefused("lives_too_long")
    if "nbf" in claims and _time(claims, "nbf") > now + LEEWAY_SECONDS:
        raise TokenRefused("not_yet_valid")
    subject = claims.get(rules.claim)
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
        raise TokenRefused("no_subject")
    return TokenClaims(
        subject=subject, scopes=_scopes(claims), thumbprint=_thumbprint(claims.get("cnf"))
    )


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefused(f"no_{name}")
    return value


def _scopes(claims: Mapping[str, Any]) -> frozenset[str] | None:
    """`scope` as RFC 9068 section 2.2.3 has it, or `scp` as some issuers do; a list is read too."""
    told = claims.get("scope", claims.get("scp"))
    if told is None:
        return None
    words = told.split() if isinstance(told, str) else told
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise TokenRefused("scope")
    return frozenset(words)


def _thumbprint(confirmation: object) -> str | None:
    """A token bound to a key is worth nothing without it; ways of showing a key that we don't check are refused."""
    if confirmation is None:
        return None
    if not isinstance(confirmation, dict) or list(confirmation) != ["x5t#S256"]:
        raise TokenRefused("confirmation")
    thumbprint = confirmation["x5t#S256"]
    if not isinstance(thumbprint, str) or not thumbprint:
        raise TokenRefused("confirmation")
    return thumbprint


def _object(segment: str) -> dict[str, Any]:
    """Return the JSON object of one segment; a name twice is refused, whichever of the two others would read."""
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        found = json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise TokenRefused("malformed") from None
    if not isinstance(found, dict):
        raise TokenRefused("malformed")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found
