"""The clock of a Redis server, as a process knows it without being that machine."""

from dataclasses import dataclass

# Answers tell Redis' time; without any for so long the clocks may have drifted apart, and TIME is asked first.
STALE_SECONDS = 10.0
# A clock that is behind by more than this was set back. Rounding and slewing within STALE_SECONDS stay below it.
TOLERANCE_MS = 20


@dataclass(frozen=True, slots=True)
class Window:
    """When a script may run, by Redis' clock in Unix milliseconds; both ends are included."""

    not_before: int
    deadline: int


class ServerClock:
    """
    Bounds of the difference between a server's clock and this process' monotonic clock.

    An answer that tells the server's time gives both bounds: the time was read after the command was sent and before
    the answer came. Bounds of several answers are narrowed to what they share. An answer that shares nothing with
    those before it means that the server's clock was set, or that another server answers now: then it alone holds.

    Times are seconds of `time.monotonic()`, the server's are Unix milliseconds.
    """

    def __init__(self) -> None:
        self._least = 0.0
        self._most = -1.0
        self._learned_at = float("-inf")

    def is_known(self, at: float) -> bool:
        """Whether the server's time was told recently enough."""
        return at - self._learned_at < STALE_SECONDS

    def learn(self, server_ms: int, *, sent: float, received: float) -> None:
        """Take in that the server's clock read `server_ms` between those two moments."""
        least, most = server_ms - received * 1000, server_ms + 1 - sent * 1000
        if self.is_known(received) and least <= self._most and self._least <= most:
            least, most = max(least, self._least), min(most, self._most)
        self._least, self._most, self._learned_at = least, most, received

    def window(self, begin: float, end: float) -> Window:
        """Return what lies between two moments, on the server's clock; never later than they are there."""
        return Window(int(self._least + begin * 1000) - TOLERANCE_MS, int(self._least + end * 1000))
