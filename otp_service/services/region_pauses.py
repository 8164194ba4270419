"""
SMS pumping by region: a caller that requests many codes of which few are approved is limited to a reduced rate.

Counted in the process and told to Redis a second later, all at once: no request waits for it. What a process that dies
has not told is not counted, and one that knows of no pause yet lets a request pass before it hears of it.
"""

import asyncio
import contextlib
import contextvars
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import structlog

from otp_service.core.limits import Window
from otp_service.core.region_pauses import PauseMode, PauseRules
from otp_service.errors import Unavailable
from otp_service.services.loops import end
from otp_service.store.limits import WindowState
from otp_service.store.region_codes import GRACE_SECONDS, Codes, Pair, Pause, RegionCodes
from otp_service.telemetry import REGION_PAUSES, REGIONS

log = structlog.get_logger()

TELL_SECONDS = 1.0
STALE_SECONDS = 10.0  # after which what is known of pauses is no ground for refusing


class RegionPauses:
    """
    The counts of this process, and the paused pairs of caller and region.

    Args:
        steady: Any steady clock, seconds.
    """

    def __init__(
        self,
        rules: PauseRules,
        codes: RegionCodes,
        *,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._codes = codes
        self._steady = steady
        self._requested: Counter[Pair] = Counter()
        self._approved: Counter[Pair] = Counter()
        self._watched: dict[Pair, float] = {}  # when its last codes would be typed, if ever
        self._paused: frozenset[Pair] = frozenset()
        self._known_at = -STALE_SECONDS
        self._due = False
        self._telling: asyncio.Task[None] | None = None

    def requested(self, caller: str, region: str, recipient: Sequence[WindowState]) -> None:
        """
        Take note of a code that will be sent. Never waits.

        Args:
            recipient: How the recipient's limit stands now, the longest window first. Only the first send in one of
                them weighs, so that asking again and again for one number brings nobody closer to a pause. It is
                none longer than the time that is looked at: else whoever goes round in a pool of numbers would
                weigh nothing.
        """
        REGIONS.labels(region, "requested").inc()
        fitting = (w for w in recipient if w.window_ms <= self._rules.min_requests.seconds * 1000)
        window = next(fitting, None)
        if window is None or window.used == 1:
            self._note(self._requested, Pair(caller, region))

    def approved(self, caller: str, region: str) -> None:
        """Take note of a right code. Never waits."""
        REGIONS.labels(region, "approved").inc()
        self._note(self._approved, Pair(caller, region))

    def trickle(self, caller: str, region: str) -> Window | None:
        """Return the limit on sends of this caller to this region while it is paused; None when it is not."""
        if not self._paused or Pair(caller, region) not in self._paused:
            return None
        if self._steady() - self._known_at >= STALE_SECONDS:
            return None
        REGIONS.labels(region, "paused").inc()
        return self._rules.trickle if self._rules.enforced(region) else None

    async def weigh(self, again: Collection[Pair] | None = None) -> None:
        """
        Tell what is new, and hear which pairs are paused.

        Args:
            again: Pairs to be judged although nothing is new; None for all of which something was a short while ago.

        Raises:
            Unavailable: Redis; what was new is not counted.
        """
        requested, self._requested = self._requested, Counter()
        approved, self._approved = self._approved, Counter()
        now, grace = self._steady(), GRACE_SECONDS + self._rules.min_requests.seconds / 60
        pairs = {*(self._watched if again is None else again), *self._paused}
        self._watched = {pair: at for pair, at in self._watched.items() if at > now}
        self._watched |= dict.fromkeys({*requested, *approved}, now + grace)
        weighed = await self._codes.weigh(
            {p: Codes(requested[p], approved[p]) for p in {*pairs, *requested, *approved}},
            self._rules,
        )
        self._paused = frozenset(pause.pair for pause in weighed.paused)
        self._known_at = self._steady()
        for pause in weighed.began:
            self._tell("paused", pause)
        for pause in weighed.ended:
            self._tell("resumed", pause)

    async def stop(self) -> None:
        """Tell what is left."""
        if self._telling is not None:
            await end([self._telling])
        if self._requested or self._approved:
            with contextlib.suppress(Unavailable):
                await self.weigh()

    def _tell(self, event: str, pause: Pause) -> None:
        REGION_PAUSES.labels(pause.pair.region, event).inc()
        (log.warning if event == "paused" else log.info)(
            f"region.{event}",
            caller=pause.pair.caller,
            region=pause.pair.region,
            requested=pause.codes.requested,
            approved=pause.codes.approved,
            enforced=self._rules.enforced(pause.pair.region),
        )

    def _note(self, counter: Counter[Pair], pair: Pair) -> None:
        if self._rules.mode is not PauseMode.OFF:
            counter[pair] += 1
            self._due = True
            if self._telling is None or self._telling.done():
                # In no request's context: the log would name the request and the caller.
                self._telling = asyncio.create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        """Go on while there is something to tell, to wait for, or to hear the end of."""
        while self._due or self._watched or self._paused:
            await asyncio.sleep(TELL_SECONDS)
            now = self._steady()
            ripe = [pair for pair, at in self._watched.items() if at <= now]
            aging = self._paused and now - self._known_at >= STALE_SECONDS / 2
            if not (self._due or ripe or aging):
                continue
            self._due = False
            try:
                await self.weigh(ripe)
            except Unavailable as error:
                log.warning("regions.unavailable", error=error.detail)
            except Exception:
                log.exception("regions.fault")
