"""
Standard output for log lines, and nobody waits for it.

A reader that stopped, a full disk or a closed output must not hold up an answer: lines are handed to a thread that
writes them. While it can't, a bounded number waits; what comes on top, and what could not be written, is dropped and
counted.
"""

import atexit
import io
import os
import select
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

WAITING_AT_MOST = 10_000  # lines, of a few hundred bytes each
LAST_WORDS_SECONDS = 1.0  # for what still waits when the process ends


class LogOutput(io.TextIOBase):
    """
    What loggers write to, one whole line at a time.

    Args:
        fd: The file descriptor behind it; None drops everything.
        dropped: Called with how many lines are lost, and why: `blocked` (too many wait) or `failed` (the output is
            closed or its disk full).
    """

    def __init__(self, fd: int | None, dropped: Callable[[int, str], None]) -> None:
        self._fd = fd
        self._dropped = dropped
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._torn = False
        self._lock = threading.Lock()

    def write(self, line: str) -> int:
        """Hand a line over. Never waits, never raises."""
        if self._lines.qsize() >= WAITING_AT_MOST:
            self._dropped(1, "blocked")
        else:
            self._lines.put(line)
            if self._thread is None:
                self._start()
        return len(line)

    def drain(self, seconds: float = LAST_WORDS_SECONDS) -> bool:
        """Wait until all that was handed over is written or lost, at most so long; return whether it is."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._lines.put(done)
        return done.wait(seconds)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                # A daemon: a write that blocks for ever must not keep the process alive.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.drain)

    def _run(self) -> None:
        while True:
            taken = [self._lines.get()]
            try:
                while len(taken) < WAITING_AT_MOST:
                    taken.append(self._lines.get_nowait())
            except Empty:
                pass
            self._put([line for line in taken if isinstance(line, str)])
            for each in taken:
                if isinstance(each, threading.Event):
                    each.set()

    def _put(self, lines: list[str]) -> None:
        """Write them; when that fails all of them count as lost, though some may have got through."""
        left = ("\n" * self._torn + "".join(lines)).encode()
        try:
            if self._fd is None:
                raise BrokenPipeError
            while left:
                select.select(
                    [], [self._fd], []
                )  # whoever gave it to us may have made it non-blocking
                written = os.write(self._fd, left)
                self._torn = not left[:written].endswith(b"\n")
                left = left[written:]
        except OSError:
            self._dropped(len(lines), "failed")
