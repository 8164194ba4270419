"""
Standard output for log lines, and nobody waits for it.

A reader that stopped, a full disk or a closed output must not hold up an answer: lines are handed to a thread that
writes them, all that came within a moment at once. While it can't, a bounded number waits; what comes on top, and what
could not be written, is dropped and counted.
"""

import atexit
import io
import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

WAITING_AT_MOST = 10_000  # lines, of a few hundred bytes each
LAST_WORDS_SECONDS = 1.0  # for what still waits when the process ends
# So long the first line waits for others: a thread that wakes up for each costs more than it writes.
GATHER_SECONDS = 0.02


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
        self._hurry = threading.Event()
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
        self._hurry.set()
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
            if self._hurry.wait(GATHER_SECONDS):
                self._hurry.clear()
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
        """Write them; when that fails all of a piece count as lost, though some may have got through."""
        for count, piece in _pieces(lines):
            left = b"\n" * self._torn + piece
            try:
                if self._fd is None:
                    raise BrokenPipeError
                while left:
                    left = left[self._write_some(self._fd, left) :]
            except OSError:
                self._dropped(count, "failed")

    def _write_some(self, fd: int, left: bytes) -> int:
        # Whoever gave it to us may have made it non-blocking; and then another process may have been faster.
        select.select([], [fd], [])
        with suppress(BlockingIOError):
            written = os.write(fd, left)
            self._torn = not left[:written].endswith(b"\n")
            return written
        return 0


def _pieces(lines: Iterable[str]) -> Iterator[tuple[int, bytes]]:
    """
    Yield the lines joined, with how many they are, in pieces that a pipe takes as a whole: it is every process' of
    `--workers`, and who waits in the middle of a larger piece finds the others' lines in its own.
    """
    count, piece = 0, b""
    for line in map(str.encode, lines):
        if count and len(piece) + len(line) >= select.PIPE_BUF:
            yield count, piece
            count, piece = 0, b""
        count, piece = count + 1, piece + line
    if count:
        yield count, piece
