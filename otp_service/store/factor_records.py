"""Stored authenticators: seed and owner, both encrypted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FACTOR = "totp"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFactor:
    """What is written of a new authenticator; `about` (whose it is) and `seed` are sealed."""

    caller: str
    name: str
    about: str
    seed: str
    algorithm: str
    digits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """
    One authenticator. Times in Unix milliseconds; `seed` is sealed.

    Attributes:
        confirmed: Whether a code has proven it; until then it counts for nothing.
    """

    factor_id: str
    caller: str
    name: str
    about: str  # sealed: whose it is; "" where that was not written yet
    seed: str
    algorithm: str
    digits: int
    confirmed: bool
    created_at: int
    confirmed_at: int | None


def factors_in(answer: Mapping[str, Any]) -> list[Factor]:
    """Return the authenticators that a script hands out, id to fields."""
    return [
        factor_in(factor_id, fields) for factor_id, fields in dict(answer["factors"] or {}).items()
    ]


def factor_in(factor_id: str, fields: Mapping[str, Any]) -> Factor:
    """Return one authenticator of the fields that Redis holds of it."""
    confirmed_at = fields.get("confirmed_at")
    return Factor(
        factor_id=factor_id,
        caller=str(fields["caller"]),
        name=str(fields["name"]),
        about=str(fields.get("about", "")),
        seed=str(fields["seed"]),
        algorithm=str(fields["algorithm"]),
        digits=int(fields["digits"]),
        confirmed=fields["status"] == "confirmed",
        created_at=int(fields["created_at"]),
        confirmed_at=int(confirmed_at) if confirmed_at is not None else None,
    )
