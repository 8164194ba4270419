"""A circuit breaker: after a row of failures, spare a sick site, and ask it again by one probe.

    closed ──N failures in a row──> open ──after `open_for` seconds──> half-open
       ^                             ^                                    │ one probe
       └────────── success ──────────┴───────────── failure ──────────────┘

Rules of this file: no I/O, and time only from the given clock.
"""

import time
from collections.abc import Callable
from enum import StrEnum


class Circuit(StrEnum):
    """The three states."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Permit:
    """
    Leave to make one call; say once how it ended.

    A permit of an earlier state changes nothing: a call that began before the circuit opened
    must not close it when it ends well minutes later.
    """

    def __init__(self, breaker: "CircuitBreaker", era: int) -> None:
        self._breaker = breaker
        self._era = era

    def succeeded(self) -> None:
        """Say that the site is alive, whatever it thinks of the call."""
        self._breaker._ended(self._era, failed=False)

    def failed(self) -> None:
        """Say that the site is away, broken, or refuses the credential."""
        self._breaker._ended(self._era, failed=True)

    def abandoned(self) -> None:
        """Say that nothing was learnt, e.g. by cancellation; the next call may probe."""
        self._breaker._abandoned(self._era)


class CircuitBreaker:
    """
    Counts failures in a row and refuses calls for a while once there are too many.

    For one event loop: it is not meant to be shared between threads.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        open_for: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Start closed.

        Args:
            failures: Failures in a row that open the circuit, at least 1.
            open_for: Seconds it stays open before one probe is let through.
            clock: Monotonic seconds.
        """
        if failures < 1 or open_for <= 0:
            raise ValueError("a breaker needs failures >= 1 and open_for > 0")
        self._limit = failures
        self._open_for = open_for
        self._clock = clock
        self._row = 0
        self._era = 0
        self._open_until: float | None = None
        self._probing = False

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.state}>"

    @property
    def state(self) -> Circuit:
        """Where the circuit stands now."""
        if self._open_until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self._clock() < self._open_until else Circuit.HALF_OPEN

    @property
    def is_open(self) -> bool:
        """Whether a call made now would be refused."""
        state = self.state
        return state is Circuit.OPEN or (state is Circuit.HALF_OPEN and self._probing)

    @property
    def retry_after(self) -> float:
        """
        Seconds until the next probe may pass; 0.0 when a call may pass now.

        While a probe is under way nobody knows: then it is a second.
        """
        if self._open_until is None:
            return 0.0
        if self._probing:
            return 1.0
        return max(0.0, self._open_until - self._clock())

    def admit(self) -> Permit | None:
        """Give a permit for one call, or None while the circuit is open."""
        if self.is_open:
            return None
        if self.state is Circuit.HALF_OPEN:
            self._probing = True
        return Permit(self, self._era)

    def pause(self, seconds: float) -> None:
        """Open for this long at once: the site named a time itself (Retry-After)."""
        self._open(max(seconds, 0.0))

    def _ended(self, era: int, *, failed: bool) -> None:
        if era != self._era:
            return
        if not failed:
            self._row = 0
            self._probing = False
            if self._open_until is not None:
                self._open_until = None
                self._era += 1
            return
        self._row += 1
        if self._probing or self._row >= self._limit:
            self._open(self._open_for)

    def _abandoned(self, era: int) -> None:
        if era == self._era:
            self._probing = False

    def _open(self, seconds: float) -> None:
        self._open_until = self._clock() + seconds
        self._probing = False
        self._row = 0
        self._era += 1
