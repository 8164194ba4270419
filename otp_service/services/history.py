"""
Detection of a Redis that lost data or was restored, by what each process remembers of it.

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
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import structlog

from otp_service.core.audit import Entry
from otp_service.errors import Unavailable
from otp_service.services.loops import end
from otp_service.store.audit import Audit
from otp_service.store.history import HistoryStore, Memory, OtherInstallation, StepBack, Tick
from otp_service.store.scripts import Scripts
from otp_service.telemetry import STEPS_BACK, STORE_EMPTIED

log = structlog.get_logger()

TICK_SECONDS = 1.0
SAVE_SECONDS = 10.0
FILE = "history.json"
_KEPT = ("id", "former", "epoch", "fenced_at", "seen_at")  # of each place's memory, in the file
_ACTS_REMEMBERED = 200
_ACTS_NOTED = 50
_DAY_MS = 86_400_000
_OTHER = (
    "Redis holds another installation than OTP_STATE_DIR remembers: give each installation a "
    "directory of its own, or remove history.json from it if this Redis is meant"
)


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
        self._ticks: dict[int, Tick] = {}
        self._others: set[int] = set()
        self._pending: list[tuple[int, StepBack]] = []
        self._acts: deque[Entry] = deque(maxlen=_ACTS_REMEMBERED)
        self._warnings: dict[str, str] = {}
        self._busy: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._saved = 0.0
        self._loops: list[asyncio.Task[None]] = []

    @property
    def warnings(self) -> Mapping[str, str]:
        """What an operator has to do, for readiness."""
        return self._warnings

    async def start(self) -> None:
        """Compare with what was known at the last stop, and begin to tick. Raises OtherInstallation."""
        self._load()
        self._scripts.recheck = self.check
        with contextlib.suppress(Unavailable):
            await self.tick()
        if self._others:
            raise OtherInstallation(_OTHER)
        self._loops = [asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """Leave what is known for the next start."""
        await end(self._loops)
        self._save()

    async def check(self, server: str) -> None:
        """
        Compare what a server has with what is remembered of it.

        All callers await one check: a server that hangs costs each of them one timeout, and its failure fails them all.

        Args:
            server: As `Connection.opened` names it.

        Raises:
            Unavailable: The server does not answer.
        """
        check = self._checks.get(server)
        if check is None:
            check = self._checks[server] = asyncio.create_task(self._check(server))
            check.add_done_callback(lambda done: self._checked(server, done))
        await asyncio.shield(check)

    async def _check(self, server: str) -> None:
        opened = self._scripts.connection.opened(server)
        bucket = (await self._store.places()).get(server)
        if bucket is not None:  # else it serves no bucket, and has no ticks
            await self._tick(bucket)
        self._scripts.checked[server] = opened

    def _checked(self, server: str, check: asyncio.Task[None]) -> None:
        del self._checks[server]
        if not check.cancelled():
            check.exception()  # also when every caller has given up

    async def tick(self) -> None:
        """
        Write a tick at each place and compare. Raises Unavailable when none could be written.

        A place that does not answer fails no other: it is compared when a connection to it is opened, and each second.
        """
        places = await self._store.places()
        for bucket in self._ticks.keys() - places.values():  # served by another place since
            del self._ticks[bucket]
        ends = await asyncio.gather(*map(self._tick, places.values()), return_exceptions=True)
        faults = [end for end in ends if isinstance(end, BaseException)]
        for fault in faults:
            if not isinstance(fault, Unavailable):
                raise fault
        if len(faults) == len(ends):
            raise faults[0] if faults else Unavailable("redis: no primary")
        await self._look_at_acts()

    async def _tick(self, bucket: int) -> None:
        async with self._busy[bucket]:
            known = bucket in self._memories
            memory = self._memories.get(bucket) or Memory(self._installation())
            memory.epoch = max(memory.epoch, self._scripts.fence.epoch)
            seen_at = memory.seen_at
            try:
                tick = await self._store.tick(bucket, memory, known=known)
            except OtherInstallation:
                self._others.add(bucket)
                self._warn()
                log.error("redis.other_installation", advice=_OTHER)  # noqa: TRY400
                raise Unavailable(f"redis: {_OTHER}") from None
            self._others.discard(bucket)
            self._memories[bucket], self._ticks[bucket] = memory, tick
            self._scripts.fence = self._scripts.fence.with_place(
                tick.epoch, tick.fenced_at, now=tick.now
            )
            if tick.raised:
                self._went_back(bucket, tick, seen_at)
            self._warn()

    def _installation(self) -> str:
        """The id for a place where none was read yet."""
        known = next(iter(self._memories.values()), None)
        return known.id if known else secrets.token_hex(16)

    def _went_back(self, bucket: int, tick: Tick, seen_at: int) -> None:
        STEPS_BACK.labels(tick.why).inc()
        step = StepBack(
            why=tick.why,
            noticed_at=tick.now,
            newest_at=tick.newest_at,
            seen_at=seen_at,
            lost=0,
            acts=[],
        )
        self._pending.append((bucket, step))
        log.error(
            "redis.went_back",
            why=step.why,
            newest_tick=step.newest_at,
            last_seen=step.seen_at,
            epoch=tick.epoch,
            advice="otp-service store after-restore",
        )

    async def _look_at_acts(self) -> None:
        """Write the steps back that wait for it, each with the acts that it lost; then remember what is new."""
        with contextlib.suppress(Unavailable, ValueError):
            while self._pending:
                bucket, step = self._pending[0]
                lost = await self._lost_acts()
                acts = [_told(entry) for entry in lost[-_ACTS_NOTED:]]
                await self._store.note(bucket, replace(step, lost=len(lost), acts=acts))
                self._acts = deque(
                    (e for e in self._acts if e not in lost), maxlen=_ACTS_REMEMBERED
                )
                del self._pending[0]
                log.error("redis.lost_acts", lost=len(lost), why=step.why)
            await self._remember_acts()

    async def _lost_acts(self) -> list[Entry]:
        """Return the entries of the audit log that are remembered and gone."""
        if not self._acts:
            return []
        since = self._acts[0].at
        there = {entry.id: entry.mac async for entry in self._audit.entries(since=since)}
        return [entry for entry in self._acts if there.get(entry.id) != entry.mac]

    async def _remember_acts(self) -> None:
        """Read what was added to the audit log since the last time; at first the last day's."""
        if self._acts:
            new = self._audit.entries(after=self._acts[-1].id)
        else:
            new = self._audit.entries(since=max(0, await self._audit.now() - _DAY_MS))
        async for entry in new:
            self._acts.append(entry)

    def _warn(self) -> None:
        self._scripts.emptied = any(tick.emptied for tick in self._ticks.values())
        found = {}
        if self._pending or any(tick.steps_back or tick.raised for tick in self._ticks.values()):
            found["redis"] = "went back in time; see otp-service store after-restore"
        if self._others:
            found["redis"] = _OTHER
        if self._scripts.emptied:
            found["store"] = (
                "came back empty: restore it, or create the callers anew and run otp-service store "
                "accept-empty; until then unknown callers and calls on factors get 503"
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
                self._memories[int(bucket)] = memory = Memory(**fields)
                self._scripts.fence = self._scripts.fence.with_place(
                    memory.epoch, memory.fenced_at, now=memory.seen_at
                )
            self._pending = [(b, StepBack.of(fields)) for b, fields in kept.get("pending", ())]
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
                str(bucket): {name: getattr(m, name) for name in _KEPT}
                for bucket, m in self._memories.items()
            },
            "pending": [[bucket, asdict(step)] for bucket, step in self._pending],
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
