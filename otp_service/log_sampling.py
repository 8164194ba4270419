"""
Log lines that strangers cause: a bounded number of them.

Whoever has no credential can send requests without end, and each would be a line. So the first lines of a minute are
written and the others are counted: in `otp_log_lines_dropped_total` at once, and in the log with the next line.
"""

import time
from collections.abc import Callable

import structlog

from otp_service.telemetry import LOG_LINES_DROPPED

log = structlog.get_logger()

LINES = 100  # enough to see who does what wrong; an attack of any size writes a few lines a second at most
SECONDS = 60.0


class SampledLines:
    """
    One kind of line, at most `lines` in `seconds` in this process.

    Args:
        steady: Any steady clock, seconds.
    """

    def __init__(
        self,
        *,
        lines: int = LINES,
        seconds: float = SECONDS,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = lines
        self._seconds = seconds
        self._steady = steady
        self._began = -seconds
        self._count = 0

    def info(self, event: str, **fields: str | float) -> None:
        """Write the line, or count it."""
        now = self._steady()
        if now - self._began >= self._seconds:
            left_out = self._count - self._lines
            if left_out > 0:
                log.warning("log.lines_left_out", of=event, lines=left_out)
            self._began, self._count = now, 0
        self._count += 1
        if self._count <= self._lines:
            log.info(event, **fields)
            return
        LOG_LINES_DROPPED.labels("sampled").inc()
        if self._count == self._lines + 1:
            log.warning("log.lines_left_out_now", of=event, seconds=self._seconds)
