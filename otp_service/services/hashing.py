"""
argon2id off the event loop, with a capacity that callers share.

A hash needs a slot, and every use of the pool has its own bound:

- A verification gets its slot before its attempt is counted, so a call that is refused costs no guess.
- Issuing recovery codes takes one slot for the whole set and hashes one code after the other.
- Deliveries and reconciliation wait for a slot: their work is queued in Redis already.

Threads take hashes from one lane after the other. Each verifying caller has a lane; so have issuing, deliveries and
reconciliation. So a backlog in one lane delays another lane by a few hashes, however long it is.

A slot is released when its hash ends, not when the waiting request goes away, so a storm of cancelled requests frees
nothing early.
"""

import asyncio
import os
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from otp_service.core import codes
from otp_service.core.codes import HashCost
from otp_service.core.fair_share import FairShare
from otp_service.errors import Overloaded, Unavailable
from otp_service.telemetry import HASHES, HASHES_WAITING

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]

# Sets of recovery codes that are hashed or wait for it. At the default cost the last one waits about two seconds.
ISSUING_CAPACITY = 8

_ISSUING, _DELIVERING, _RECONCILING = "issue", "draw", "reconcile"


class Slot:
    """
    The right to one hash at a time. Only a `HashPool` makes one.

    Attributes:
        refusal: Why there is no capacity, of a slot by `try_verifying`: asking for a hash raises it. Else None.
    """

    def __init__(
        self,
        run: Callable[[Callable[[], Any]], "asyncio.Future[Any]"],
        cost: HashCost,
        refusal: Overloaded | None = None,
    ) -> None:
        self.refusal = refusal
        self._run = run
        self._cost = cost
        self._running: asyncio.Future[Any] | None = None

    async def digest(self, message: bytes) -> str:
        """Return the PHC string of a message."""
        return await self._hash(lambda: codes.digest(message, self._cost))

    async def matches(self, phc: str, message: bytes) -> bool:
        """Whether the digest was made of the message. Raises Unavailable: no memory for it."""
        return await self._hash(lambda: codes.matches(phc, message))

    async def _hash(self, work: Callable[[], T]) -> T:
        if self.refusal is not None:
            raise self.refusal
        self._running = running = self._run(work)
        return await asyncio.shield(running)

    def when_idle(self, release: Callable[[], None]) -> None:
        """Call `release` when the slot's hash has ended; at once if none is running."""
        if self._running is None or self._running.done():
            release()
        else:
            self._running.add_done_callback(lambda _: release())


class HashPool:
    """
    A bounded pool of hashing threads, shared fairly by callers.

    Args:
        cost: Of each hash.
        threads: As many as this process has cores; more only cost.
        queue: How many verifications may wait for a thread before further ones are refused.
        caller_share: Percent of the slots that one caller may hold while others hold some.

    Raises:
        RuntimeError: the process may not start so many threads.
    """

    def __init__(self, cost: HashCost, *, threads: int, queue: int, caller_share: int = 50) -> None:
        self._cost = cost
        self._executor = _started(threads)
        self._lanes: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._submitted = 0
        # One more than runs for each thread, so that no thread waits for the event loop between two hashes.
        self._most_submitted = 2 * threads
        self._verifying = FairShare(threads + queue, caller_share)
        self._issuing = FairShare(ISSUING_CAPACITY, caller_share)
        self._turns = {
            _ISSUING: asyncio.Semaphore(max(1, threads // 2)),
            _DELIVERING: asyncio.Semaphore(threads),
            _RECONCILING: asyncio.Semaphore(1),
        }

    @asynccontextmanager
    async def verifying(self, caller: str) -> AsyncIterator[Slot]:
        """
        Hold a slot for the verification of a code.

        Raises:
            Overloaded: all slots are taken, or this caller's share of them.
        """
        async with self.try_verifying(caller) as slot:
            if slot.refusal is not None:
                raise slot.refusal
            yield slot

    @asynccontextmanager
    async def try_verifying(self, caller: str) -> AsyncIterator[Slot]:
        """Hold a slot as `verifying` does, or one with a `refusal`: for a call that may turn out to need no hash."""
        lane, refusal = f"caller:{caller}", _refusal(self._verifying, caller, "hash capacity")
        slot = self._slot(lane, "verify", refusal)
        if refusal is not None:
            yield slot
            return
        self._verifying.take(caller)
        HASHES_WAITING.inc()

        def release() -> None:
            self._verifying.release(caller)
            HASHES_WAITING.dec()

        try:
            yield slot
        finally:
            slot.when_idle(release)

    @asynccontextmanager
    async def issuing(self, caller: str) -> AsyncIterator[Slot]:
        """
        Hold a slot for a set of recovery codes. At most half of the threads hash for such sets.

        Raises:
            Overloaded: too many sets wait, or too many of this caller.
        """
        refusal = _refusal(self._issuing, caller, "capacity to issue recovery codes")
        if refusal is not None:
            raise refusal
        self._issuing.take(caller)
        try:
            async with self._waiting(_ISSUING) as slot:
                yield slot
        finally:
            self._issuing.release(caller)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[Slot]:
        """Wait for a slot for a code that is about to be sent."""
        async with self._waiting(_DELIVERING) as slot:
            yield slot

    @asynccontextmanager
    async def reconciling(self) -> AsyncIterator[Slot]:
        """Wait for a slot to recognise a sent code; there is one."""
        async with self._waiting(_RECONCILING) as slot:
            yield slot

    def close(self) -> None:
        """Wait for the running hashes and end the threads."""
        for lane in self._lanes.values():
            for _, done in lane:
                done.cancel()
        self._lanes.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)

    @asynccontextmanager
    async def _waiting(self, use: str) -> AsyncIterator[Slot]:
        turn, slot = self._turns[use], self._slot(use, use)
        await turn.acquire()
        try:
            yield slot
        finally:
            slot.when_idle(turn.release)

    def _slot(self, lane: str, use: str, refusal: Overloaded | None = None) -> Slot:
        return Slot(partial(self._enqueue, lane, use), self._cost, refusal)

    def _enqueue(self, lane: str, use: str, work: Callable[[], T]) -> "asyncio.Future[T]":
        HASHES.labels(use).inc()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(lane, deque()).append((work, done))
        self._submit()
        return done

    def _submit(self) -> None:
        """Hand hashes to the threads, one of each lane in turn."""
        while self._lanes and self._submitted < self._most_submitted:
            name, lane = self._lanes.popitem(last=False)
            work, done = lane.popleft()
            if lane:
                self._lanes[name] = lane
            try:
                running = asyncio.wrap_future(self._executor.submit(work))
            except RuntimeError:  # the pool is closed
                done.set_exception(Unavailable("no thread for a hash"))
                continue
            self._submitted += 1
            running.add_done_callback(partial(self._finished, done))

    def _finished(self, done: "asyncio.Future[T]", running: "asyncio.Future[T]") -> None:
        self._submitted -= 1
        self._submit()
        if running.cancelled():
            done.cancel()
        elif error := running.exception():
            done.set_exception(error)
        else:
            done.set_result(running.result())


def _started(threads: int) -> ThreadPoolExecutor:
    """
    Return an executor whose threads all run, so that no hash needs a new thread after its try was counted.

    Raises:
        RuntimeError: they can't be started.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
    all_run = threading.Barrier(threads + 1)
    try:
        for _ in range(threads):  # each waits for the others, so each needs a thread of its own
            executor.submit(all_run.wait)
    except RuntimeError as error:
        all_run.abort()
        executor.shutdown()
        raise RuntimeError(f"can't start the {threads} threads that hash: {error}") from error
    all_run.wait()
    return executor


def _refusal(share: FairShare, caller: str, what: str) -> Overloaded | None:
    match share.refusal(caller):
        case "full":
            return Overloaded(f"The {what} is in use.")
        case "share":
            return Overloaded(f"This caller's share of the {what} is in use.")
    return None


def default_threads(workers: int) -> int:
    """Return the threads for one of `workers` processes: the cores it may use, shared out."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, cores // max(1, workers))
