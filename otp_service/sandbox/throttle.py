"""How WSMS 7.2.6 and later limit wrong activation codes."""

from collections.abc import Callable
from datetime import datetime, timedelta

WRONG_CODES = 10
PERIOD = timedelta(minutes=15)


class Throttle:
    """
    Counts wrong codes for each address and number.

    Each wrong code renews the period. A right code deletes the count, a new activation does not.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._counts: dict[tuple[str, str], tuple[int, datetime]] = {}

    def refuses(self, address: str, number: str) -> bool:
        """Return whether every code is refused now, also the right one."""
        return self._count(address, number) >= WRONG_CODES

    def count(self, address: str, number: str) -> None:
        """Count a wrong code."""
        self._counts[address, number] = (self._count(address, number) + 1, self._now() + PERIOD)

    def forget(self, address: str, number: str) -> None:
        """Delete the count."""
        self._counts.pop((address, number), None)

    def _count(self, address: str, number: str) -> int:
        count, until = self._counts.get((address, number), (0, self._now()))
        return count if self._now() < until else 0
