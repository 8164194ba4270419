"""What goes wrong on demand: at the site's own doors, or behind it at the SMS provider."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

ProviderKind: TypeAlias = Literal[
    "provider_error",
    "provider_error_after_sending",
    "provider_drop",
    "provider_drop_after_sending",
    "provider_html",
    "provider_empty",
    "slow",
    "balance_error",
    "balance",
    "queued",
]
SiteKind: TypeAlias = Literal[
    "hang",
    "drop_before",
    "drop_after",
    "html",
    "empty",
    "truncated",
    "huge",
    "drip",
    "redirect",
    "status",
    "maintenance",
    "wrong_shape",
]
Kind: TypeAlias = Literal[ProviderKind, SiteKind]

PROVIDER_KINDS: frozenset[str] = frozenset(ProviderKind.__args__)  # type: ignore[attr-defined]


class Fault(BaseModel):
    """One thing that goes wrong, for as long as `times` lasts.

    Provider kinds act wherever the site sends an SMS (or asks for the balance); site kinds act on calls
    of `endpoint`. `to` narrows both to messages for one number.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Kind
    times: Annotated[int, Field(ge=1)] | None = None
    """How often; null: until it is taken away."""
    to: str | None = None
    """Only for this number, E.164."""
    endpoint: str = "send"
    """Path behind `/wpsms/v1/`, e.g. `send`, `outbox`, `newsletter/verify`; `*` is every one."""
    delay: Annotated[float, Field(ge=0, le=3600)] = 0
    """Seconds before anything happens (`slow`: the provider's time; from 10 s on the plugin gives up)."""
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    """For `status` (default 500), `redirect` (302), `html` (200), and the provider's own status for
    `provider_error` (500)."""
    text: str | None = None
    """The provider's words."""
    location: str | None = None
    """Where `redirect` points; default: a path on this site that does not exist."""
    retry_after: str | None = None
    """Header of `status` and `maintenance`, as it is to be sent."""
    sent: bool = False
    """Site kinds: whether the message reaches the phone first. `drop_after` always sends."""
    size: Annotated[int, Field(ge=1, le=1_000_000_000)] = 50_000_000
    """Bytes of `huge`."""
    interval: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Seconds between the single bytes of `drip`."""
    value: Any = None
    """For `balance`: what the provider says is left, any JSON."""

    @model_validator(mode="after")
    def _maintenance_sends_nothing(self) -> "Fault":
        if self.kind == "maintenance" and self.sent:
            raise ValueError("WordPress in maintenance runs no plugin, so nothing is sent")
        return self

    @property
    def at_provider(self) -> bool:
        return self.kind in PROVIDER_KINDS


FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)
FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])


class Faults:
    """The faults in force, in order: the first that fits is taken."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)

    def replace(self, faults: Iterable[Fault]) -> None:
        self._faults = list(faults)

    def all(self) -> list[Fault]:
        """Those with something left to do; `times` is what is left."""
        return list(self._faults)

    def at_site(self, endpoint: str, numbers: Iterable[str]) -> Fault | None:
        numbers = set(numbers)
        for fault in self._faults:
            if fault.at_provider or fault.endpoint not in ("*", endpoint):
                continue
            if fault.to is None or fault.to in numbers:
                return self._take(fault)
        return None

    def at_provider(self, kinds: Iterable[str], numbers: Iterable[str] = ()) -> Fault | None:
        wanted, numbers = set(kinds), set(numbers)
        for fault in self._faults:
            if fault.kind in wanted and (fault.to is None or fault.to in numbers):
                return self._take(fault)
        return None

    def _take(self, fault: Fault) -> Fault:
        if fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                self._faults.remove(fault)
        return fault
