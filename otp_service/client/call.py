"""One call, before anything is sent: what goes out, what comes back, and whether it may go out twice."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T_co]):
    """
    A call of the API.

    Attributes:
        path: From the top of the service, its parameters encoded.
        result: A dataclass of `results`, or None for an answer without a body.
        body: JSON members; those that are None are left out.
        query: What stands in the query string.
        idempotency_key: With it the call may be sent again: the service acts on it once.
        wait: Seconds to ask the service to wait for the delivery (RFC 7240), or None.
    """

    method: str
    path: str
    result: type[T_co]
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    query: Mapping[str, str] | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    wait: int | None = None

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no more than sending it once."""
        return self.method == "GET" or self.idempotency_key is not None

    @property
    def headers(self) -> dict[str, str]:
        """Its own headers."""
        found = {}
        if self.idempotency_key is not None:
            found["Idempotency-Key"] = self.idempotency_key
        if self.wait is not None:
            found["Prefer"] = f"wait={self.wait}"
        return found


def given(**members: object) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def key(idempotency_key: str | None) -> str:
    """
    Return the caller's key, or a fresh one.

    Raises:
        ValueError: it is not 1 to 255 printable ASCII characters.
    """
    if idempotency_key is None:
        return str(uuid.uuid4())
    if not (
        1 <= len(idempotency_key) <= 255
        and idempotency_key.isascii()
        and idempotency_key.isprintable()
    ):
        raise ValueError("an idempotency key is 1 to 255 printable ASCII characters")
    return idempotency_key


def segment(value: str) -> str:
    """Return the value as one segment of a path, whatever is in it: no id leads to another path."""
    return quote(value, safe="").replace(".", "%2E")
