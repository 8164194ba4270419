"""
How callers share a capacity that none of them may use up for the others.

`store/lua/_queue.lua` has the same rule for the delivery queues.
"""

from collections import Counter


class FairShare:
    """
    Counts what each caller holds of a capacity.

    A caller that is alone may hold all of it. While others hold something too, a caller gets at most `percent` of the
    capacity, and an equal part is never refused, even if the total then exceeds the capacity for a while: otherwise
    a caller that came first could lock out the next one.

    Args:
        capacity: How much there is, at least 1.
        percent: The largest share of one caller while others hold something, 1 to 100.
    """

    def __init__(self, capacity: int, percent: int) -> None:
        self._capacity = capacity
        self._largest = max(1, capacity * percent // 100)
        self._held: Counter[str] = Counter()

    def refusal(self, caller: str) -> str | None:
        """Return why this caller gets no more now: `full`, or `share` if only its own share is in use."""
        own, callers = self._held[caller], len(self._held.keys() | {caller})
        largest = self._capacity if callers == 1 else self._largest
        if self._held.total() < self._capacity:
            return "share" if own >= largest else None
        equal = max(1, min(largest, self._capacity // callers))
        if own < equal:
            return None
        return "full" if callers == 1 else "share"

    def take(self, caller: str) -> None:
        """Count one more."""
        self._held[caller] += 1

    def release(self, caller: str) -> None:
        """Count one less."""
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
