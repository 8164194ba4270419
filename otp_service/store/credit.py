"""The last balance of the SMS gateway, shared by all processes."""

from dataclasses import dataclass
from typing import Any

from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS
from otp_service.store.scripts import Scripts

_KEEP_MS = 7 * 86_400_000
_TELL_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCredit:
    """
    The last balance.

    Attributes:
        amount: A decimal number as text.
        unit: "" where the gateway names none.
        at: Unix milliseconds.
        low: Whether it is below the warning, or has been and is not well above it yet.
    """

    amount: str
    unit: str
    at: int
    low: bool


class CreditStore:
    """One record for all processes; it expires after a week."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def see(
        self, amount: str, unit: str, *, warn_below: float | None, well_above: float
    ) -> str:
        """
        Remember an amount; return `low` for one caller once it has fallen below the warning, else another word.

        Args:
            amount: A decimal number.
            unit: "" for none.
            warn_below: None: never low.
            well_above: From where on it may fall again.

        Raises:
            Unavailable: Redis.
        """
        answer = await self._scripts.run(
            "see_credit",
            [keys.CREDIT],
            {
                "amount": amount,
                "unit": unit,
                **({} if warn_below is None else {"warn_below": warn_below}),
                "well_above": well_above,
                "tell_ms": _TELL_MS,
                "keep_ms": _KEEP_MS,
            },
        )
        return str(answer["verdict"])

    async def told(self) -> None:
        """Confirm that the warning was emitted; else another process emits it a minute later. Raises Unavailable."""
        await self._scripts.run("credit_told", [keys.CREDIT], {})

    async def take_turn(self, what: str, *, every_ms: int) -> bool:
        """Whether it is this process that does it now, until `every_ms` are over. Raises Unavailable."""
        answer = await self._scripts.run("take_turn", [keys.turn(what)], {"every_ms": every_ms})
        return bool(answer["verdict"] == "yours")

    async def last(self) -> LastCredit | None:
        """Return what was seen last, or None. Raises Unavailable."""
        client: Any = self._scripts.connection.client
        try:
            found = await client.hgetall(keys.CREDIT)
        except FAULTS as error:
            raise Unavailable(f"redis: credit: {type(error).__name__}") from error
        if not found:
            return None
        return LastCredit(
            amount=found["amount"],
            unit=found["unit"],
            at=int(found["at"]),
            low=found.get("low") == "1",
        )
