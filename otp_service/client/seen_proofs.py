"""A memory of signed proofs, which makes each of them single-use."""

import heapq
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from otp_service.client.errors import Unavailable


class ProofMemory(Protocol):
    """
    What a `ProofVerifier` remembers proofs by.

    For several processes it is shared: with Redis, `SET proof:<jti> 1 NX EXAT <until>` answers it.
    """

    def first_time(self, jti: str, until: float) -> bool | Awaitable[bool]:
        """
        Remember the id until then (Unix seconds); return whether it is new. One caller of many at once gets True.

        Only an `AsyncProofVerifier` takes an awaitable.
        """


class SeenProofs:
    """
    The ids of one process' proofs, until they end; threads may share it.

    Args:
        size: How many at once, at most. Beyond it nothing is believed rather than anything forgotten.
        clock: Unix seconds.
    """

    def __init__(self, size: int = 100_000, *, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._seen: set[str] = set()
        self._ends: list[tuple[float, str]] = []
        self._lock = threading.Lock()

    def first_time(self, jti: str, until: float) -> bool:
        """
        Remember the id; return whether it is new.

        Raises:
            Unavailable: there are more live proofs than fit.
        """
        with self._lock:
            now = self._clock()
            while self._ends and self._ends[0][0] <= now:
                self._seen.discard(heapq.heappop(self._ends)[1])
            if jti in self._seen:
                return False
            if len(self._seen) >= self._size:
                raise Unavailable({"code": "unavailable", "title": "too many proofs to remember"})
            self._seen.add(jti)
            heapq.heappush(self._ends, (until, jti))
            return True
