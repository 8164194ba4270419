"""
The memory of what Redis had, kept outside of it, so that a Redis that went back in time is noticed.

A restored backup, a stale replica and a lost tail all bring back what was spent since: codes, proofs, steps. Each
process writes a tick into Redis once a second and compares; it does so too after each new connection, before it
believes an answer, because nothing goes back in time without closing connections. If its last tick is gone, the epoch
of the fence rises: challenges and proofs from before are refused, and people request once more. See docs/restore.md.

With a state directory this outlives the process: what was known at the last stop is compared at the next start.
"""

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from otp_service.core.audit import Entry
from otp_service.errors import Unavailable
from otp_service.flows.loops import end
from otp_service.store.audit import Audit
from otp_service.store.history import HistoryStore, Memory, StepBack, Tick
from otp_service.store.scripts import Fence, Scripts
from otp_service.telemetry import STEPS_BACK, STORE_EMPTIED

log = structlog.get_logger()

TICK_SECONDS = 1.0
SAVE_SECONDS = 10.0
FILE = "history.json"
_ACTS_REMEMBERED = 200
_ACTS_NOTED = 50
_DAY_MS = 86_400_000
_CHECKS = 3


class History:
    """
    The memory of one process. Start it with `start`, end it with `stop`.

    Args:
        directory: Where it is kept between two runs; None: nowhere.
    """

    def __init__(self, scripts: Scripts, audit: Audit, *, directory: Path | None) -> None:
        self._scripts = scripts
        self._store = HistoryStore(scripts)
        self._audit = audit
        self._file = None if directory is None else directory / FILE
        self._memories: dict[int, Memory] = {}
        self._acts: deque[Entry] = deque(maxlen=_ACTS_REMEMBERED)
        self._warnings: dict[str, str] = {}
        self._busy = asyncio.Lock()
        self._ticking: asyncio.Task[None] | None = None
        self._saved = 0.0
        self._loops: list[asyncio.Task[None]] = []

    @property
    def warnings(self) -> Mapping[str, str]:
        """What an operator has to do, for readiness."""
        return self._warnings

    async def start(self) -> None:
        """Compare with what was known at the last stop, and begin to tick."""
        self._load()
        self._scripts.recheck = self.check
        with contextlib.suppress(Unavailable):
            await self.tick()
        self._loops = [asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """Leave what is known for the next start."""
        await end(self._loops)
        self._save()

    async def check(self) -> None:
        """
        Compare, if a connection was opened since the last time. Raises Unavailable.

        On Redis Cluster a primary that is away is passed over, so that it takes no other with it; it is compared within
        a second of its return.
        """
        if self._ticking is asyncio.current_task():
            return  # what a tick itself asks
        connection = self._scripts.connection
        async with self._busy:
            for _ in range(_CHECKS):  # a tick may need a new connection itself
                if self._scripts.checked == connection.opened:
                    return
                opened = connection.opened
                await self._tick()
                self._scripts.checked = opened

    async def tick(self) -> None:
        """Write a tick at each place and compare. Raises Unavailable when none could be written."""
        async with self._busy:
            await self._tick()

    async def _tick(self) -> None:
        self._ticking = asyncio.current_task()
        try:
            await self._write_and_compare()
        finally:
            self._ticking = None

    async def _write_and_compare(self) -> None:
        faults, ticks = [], []
        for bucket in await self._store.places():
            known = bucket in self._memories
            memory = self._memories.get(bucket) or Memory(self._installation())
            seen_at, epoch = memory.seen_at, self._scripts.fence.epoch
            memory.epoch = max(memory.epoch, epoch)
            try:
                tick = await self._store.tick(bucket, memory, known=known)
            except Unavailable as error:
                faults.append(error)
                continue
            self._memories[bucket] = memory
            ticks.append(tick)
            if tick.epoch > epoch:
                self._scripts.fence = Fence(tick.epoch, tick.fenced_at)
            if tick.raised:
                await self._went_back(bucket, tick, seen_at)
        if not ticks:
            raise faults[0] if faults else Unavailable("redis: no primary")
        self._scripts.emptied = any(tick.emptied for tick in ticks)
        self._warn(ticks)
        with contextlib.suppress(Unavailable, ValueError):
            await self._remember_acts()

    def _installation(self) -> str:
        """The id for a place where none was read yet."""
        known = next(iter(self._memories.values()), None)
        return known.id if known else secrets.token_hex(16)

    async def _went_back(self, bucket: int, tick: Tick, seen_at: int) -> None:
        STEPS_BACK.labels(tick.why).inc()
        lost = 0
        acts: list[Entry] = []
        with contextlib.suppress(Unavailable, ValueError):
            lost, acts = await self._lost_acts()
        step = StepBack(
            why=tick.why,
            noticed_at=tick.now,
            newest_at=tick.newest_at,
            seen_at=seen_at,
            lost=lost,
            acts=[_told(entry) for entry in acts[-_ACTS_NOTED:]],
        )
        log.error(
            "redis.went_back",
            why=step.why,
            newest_tick=step.newest_at,
            last_seen=step.seen_at,
            epoch=tick.epoch,
            lost_acts=lost,
            advice="otp-service store after-restore",
        )
        with contextlib.suppress(Unavailable):
            await self._store.note(bucket, step)

    async def _lost_acts(self) -> tuple[int, list[Entry]]:
        """Return how many entries of the audit log are gone, and those of them that are remembered."""
        if not self._acts:
            return 0, []
        since = self._acts[0].at
        there = {entry.id: entry.mac async for entry in self._audit.entries(since=since)}
        acts = [entry for entry in self._acts if there.get(entry.id) != entry.mac]
        self._acts = deque((e for e in self._acts if e not in acts), maxlen=_ACTS_REMEMBERED)
        return len(acts), acts

    async def _remember_acts(self) -> None:
        """Read what was added to the audit log since the last time; at first the last day's."""
        if self._acts:
            new = self._audit.entries(after=self._acts[-1].id)
        else:
            new = self._audit.entries(since=max(0, await self._audit.now() - _DAY_MS))
        async for entry in new:
            self._acts.append(entry)

    def _warn(self, ticks: list[Tick]) -> None:
        found = {}
        if any(tick.steps_back or tick.raised for tick in ticks):
            found["redis"] = "went back in time; see otp-service store after-restore"
        if self._scripts.emptied:
            found["store"] = (
                "came back empty: restore it, or run otp-service store accept-empty; until then "
                "nothing that depends on people's factors is answered"
            )
        STORE_EMPTIED.set(1 if self._scripts.emptied else 0)
        self._warnings = found

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self.tick()
                if time.monotonic() - self._saved >= SAVE_SECONDS:
                    self._save()
            except Unavailable:
                pass  # what makes Redis unavailable is logged where it is met
            except Exception:
                log.exception("history.fault")

    def _load(self) -> None:
        if self._file is None or not self._file.exists():
            return
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            for bucket, fields in kept["places"].items():
                self._memories[int(bucket)] = Memory(**fields)
            self._acts.extend(Entry(**fields) for fields in kept["acts"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("history.unreadable", file=str(self._file), error=type(error).__name__)

    def _save(self) -> None:
        """Write the file anew: a process that dies meanwhile leaves the one before."""
        self._saved = time.monotonic()
        if self._file is None or not self._memories:
            return
        kept: dict[str, Any] = {
            "places": {
                str(bucket): {"id": m.id, "epoch": m.epoch, "seen_at": m.seen_at}
                for bucket, m in self._memories.items()
            },
            "acts": [asdict(entry) for entry in self._acts],
        }
        written = self._file.with_name(f"{FILE}.{os.getpid()}")
        try:
            written.touch(mode=0o600)
            written.write_text(json.dumps(kept), "utf-8")
            written.replace(self._file)
        except OSError as error:
            log.warning("history.not_kept", file=str(self._file), error=type(error).__name__)


def _told(entry: Entry) -> dict[str, str]:
    """An act as the operator reads it."""
    return {
        "id": entry.id,
        "act": entry.act,
        "by": entry.by,
        "caller": entry.caller,
        "subject": entry.subject,
        "reason": entry.reason,
        "details": json.dumps(dict(entry.details), sort_keys=True),
    }
