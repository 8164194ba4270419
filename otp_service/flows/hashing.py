"""
argon2id off the event loop, on a bounded pool.

Who verifies is admitted before its attempt is counted: a call that is shed costs no guess. A place is given back when
its thread ends, not when the waiting request goes away, so a storm of cancelled requests frees nothing early.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from otp_service.core import codes
from otp_service.core.codes import HashCost
from otp_service.errors import Overloaded
from otp_service.telemetry import HASHES, HASHES_WAITING

T = TypeVar("T")


class HashPool:
    """
    Threads for hashing.

    Args:
        cost: Of each hash.
        threads: As many as cores of this process; more only cost.
        queue: How many calls may wait for a thread before further ones are shed.
    """

    def __init__(self, cost: HashCost, *, threads: int, queue: int) -> None:
        self._cost = cost
        self._places = threads + queue
        self._taken = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")

    def admit(self) -> "Admission":
        """
        Return a place for one verification, to be held with `async with`.

        Raises:
            Overloaded: all places are taken.
        """
        if self._taken >= self._places:
            raise Overloaded("hashing is at capacity")
        return Admission(self)

    async def digest(self, message: bytes) -> str:
        """Return the PHC string of a message. Takes no place: deliveries are bounded by their own concurrency."""
        HASHES.labels("draw").inc()
        return await asyncio.wrap_future(self._threads.submit(codes.digest, message, self._cost))

    async def matches(self, phc: str, message: bytes) -> bool:
        """Whether the digest was made of the message. Takes no place: nobody waits for the answer."""
        HASHES.labels("reconcile").inc()
        return await self.submit(lambda: codes.matches(phc, message))

    def close(self) -> None:
        """Wait for the running hashes and end the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def enter(self) -> None:
        self._taken += 1
        HASHES_WAITING.inc()

    def leave(self) -> None:
        self._taken -= 1
        HASHES_WAITING.dec()

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.wrap_future(self._threads.submit(work))


class Admission:
    """One place in the pool."""

    def __init__(self, pool: HashPool) -> None:
        self._pool = pool
        self._running: asyncio.Future[bool] | None = None
        pool.enter()

    async def matches(self, phc: str, message: bytes) -> bool:
        """Whether the digest was made of the message."""
        HASHES.labels("verify").inc()
        self._running = self._pool.submit(lambda: codes.matches(phc, message))
        return await asyncio.shield(self._running)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running is None or self._running.done():
            self._pool.leave()
        else:
            self._running.add_done_callback(lambda _: self._pool.leave())


def default_threads(workers: int) -> int:
    """Return the threads for one of `workers` processes: the cores it may use, shared out."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, cores // max(1, workers))
