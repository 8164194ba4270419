"""What makes a signed proof good, step by step (RFC 8725): its form, its key, its signature, and then what it says."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import CompactSignature, JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from pydantic import TypeAdapter, ValidationError

from otp_service.client.errors import ProofInactive
from otp_service.client.key_set import ALGORITHMS, PublishedKey
from otp_service.client.results import Proven

TYPE = "otp-proof+jwt"
MAX_LENGTH = 4096
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_PROVEN = TypeAdapter(Proven)


class _Registry(JWSRegistry):
    """joserfc's, with Ed25519 under both of its names and nothing that could verify anything else."""

    algorithms = {  # noqa: RUF012 - as the class above has it
        "ES256": JWSRegistry.algorithms["ES256"],
        "EdDSA": JWSRegistry.algorithms["Ed25519"],
        "Ed25519": JWSRegistry.algorithms["Ed25519"],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """
    What a signed proof must say.

    Attributes:
        issuer: The service's `OTP_ISSUER`.
        audience: Us: the name that the verifying caller gives as `audience`.
        algorithms: Those that may sign.
        leeway: Seconds by which clocks may differ.
    """

    issuer: str
    audience: str
    algorithms: Collection[str]
    leeway: int

    def __post_init__(self) -> None:
        if not self.algorithms or not ALGORITHMS.issuperset(self.algorithms):
            raise ValueError(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}")
        if not self.issuer or not self.audience or not 0 <= self.leeway <= 300:
            raise ValueError("issuer and audience must be given, and leeway is 0 to 300 seconds")


def read(proof: str, expected: Expected) -> tuple[CompactSignature, str]:
    """
    Return the proof, taken apart and not yet believed, and the id of the key that it names.

    Raises:
        ProofInactive: it can't be one of ours, whatever its key says.
    """
    if len(proof) > MAX_LENGTH or _SHAPE.fullmatch(proof) is None:
        raise inactive("it is no JWT")
    try:
        taken = jws.extract_compact(proof.encode())
    except (JoseError, ValueError, TypeError, RecursionError):
        raise inactive("it is no JWT") from None
    header: Any = taken.headers()
    if not isinstance(header, dict) or header.get("typ") != TYPE:
        raise inactive(f"typ is not {TYPE}")
    if "crit" in header or "b64" in header:
        raise inactive("it asks for an extension (crit)")
    if header.get("alg") not in expected.algorithms:
        raise inactive("alg is not allowed")
    if not isinstance(kid := header.get("kid"), str):
        raise inactive("it names no key")
    return taken, kid


def check(
    taken: CompactSignature,
    key: PublishedKey | None,
    expected: Expected,
    *,
    now: float,
    purpose: str | None,
    binding: str | None,
) -> Proven:
    """
    Return what the proof proves.

    Args:
        key: The published key of its `kid`; what else the header says of keys (`jwk`, `jku`, `x5u`) is not looked at.
        now: Unix seconds.
        purpose: What it must be for, or None.
        binding: What it must be bound to; None for nothing.

    Raises:
        ProofInactive: for every reason.
    """
    algorithm = taken.headers()["alg"]
    if key is None or algorithm not in key.algorithms:
        raise inactive("its key is not published")
    try:
        good = jws.validate_compact(taken, key.key, registry=_Registry(algorithms=[algorithm]))
    except (JoseError, ValueError, TypeError) as error:
        raise inactive(type(error).__name__) from None
    if not good:
        raise inactive("the signature is wrong")
    claims = _claims(taken.payload, expected, now=now)
    try:
        proven = _PROVEN.validate_python({**claims, "active": True})
    except ValidationError:
        raise inactive("its claims are not those of a proof") from None
    if purpose is not None and proven.purpose != purpose:
        raise inactive("it is for another purpose")
    if not hmac.compare_digest((proven.binding or "").encode(), _hash(binding).encode()):
        raise inactive("it is bound to something else")
    return proven


def inactive(reason: str) -> ProofInactive:
    """Return the refusal; the reason is for a log."""
    told = {"code": "proof_inactive", "title": "The proof proves nothing", "detail": reason}
    return ProofInactive(told)


def _claims(payload: bytes, expected: Expected, *, now: float) -> Mapping[str, Any]:
    registry = JWTClaimsRegistry(
        now=int(now),
        leeway=expected.leeway,
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True},
        exp={"essential": True},
        nbf={"essential": True},
        iat={"essential": True},
        jti={"essential": True},
    )
    try:
        claims = json.loads(payload, parse_constant=_refuse)
        registry.validate(claims)
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise inactive(str(error)[:200]) from None
    if claims["aud"] != expected.audience:  # one name and no list: ours is never meant for several
        raise inactive("it is for another audience")
    return dict(claims)


def _refuse(constant: str) -> Callable[[], None]:
    raise ValueError(f"{constant} is no JSON")


def _hash(binding: str | None) -> str:
    if not binding:
        return ""
    return base64.urlsafe_b64encode(hashlib.sha256(binding.encode()).digest()).decode().rstrip("=")
