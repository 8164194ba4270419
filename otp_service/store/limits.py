"""
Sliding-window limits in Redis.

On one node every limit is checked and charged in the script that opens the challenge. On Redis Cluster limits over more
than one subject lie in other slots: they are charged just before, each atomically, and taken back by the request's own
id when a later one refuses. A crash in between leaves a charge too much, never one too few.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import structlog

from otp_service.core.limits import Window
from otp_service.errors import Unavailable
from otp_service.store.refusals import limited, refusal
from otp_service.store.scripts import Scripts

log = structlog.get_logger()

# What every limit over all callers is called, whatever it counts: which one it is would tell a caller about the others.
# Its waits are rounded up in _limits.lua.
SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowState:
    """The state of one window. `reset_ms` is when its oldest entry leaves it."""

    name: str
    count: int
    window_ms: int
    remaining: int
    reset_ms: int

    @property
    def used(self) -> int:
        return self.count - self.remaining

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        name, count, window_ms, remaining, reset_ms = row
        return cls(
            name=name,
            count=int(count),
            window_ms=int(window_ms),
            remaining=int(remaining),
            reset_ms=int(reset_ms),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargedLimit:
    """
    One thing that is counted, in one or more windows.

    Attributes:
        key: Its sorted set.
        windows: By name, the longest first.
        cooldown: Seconds to wait after the first, second, … send within `cooldown_window` seconds; the last repeats.
        shown: Whether the caller learns how it stands, as it does of the first limit of a call.
    """

    key: str
    windows: Sequence[tuple[str, Window]]
    cooldown: Sequence[int] = ()
    cooldown_window: int = 0
    shown: bool = False

    def spec(self, index: int) -> dict[str, Any]:
        """Return it as _limits.lua reads it."""
        windows = [window.seconds for _, window in self.windows]
        keep = max(*windows, self.cooldown_window, *self.cooldown, 1)
        spec: dict[str, Any] = {
            "i": index,
            "windows": [[name, w.count, w.seconds * 1000] for name, w in self.windows],
            "keep": keep * 1000,
            "shown": self.shown,
        }
        if self.cooldown:
            spec["cooldown"] = [step * 1000 for step in self.cooldown]
            spec["cooldown_window"] = self.cooldown_window * 1000
        return spec


@dataclass(frozen=True, slots=True)
class FarCharge:
    """
    Charges of one run in other slots.

    Attributes:
        member: The call's own id in each limit.
        fresh: The limits that this run charged, and no earlier one of the same call, by slot.
        state: How the limits that are shown stand, as their scripts tell; None without any.
    """

    member: str
    fresh: Sequence[Sequence[ChargedLimit]]
    state: tuple[list[Any], int] | None


class Limits:
    """Charges and releases limits."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def run_charged(
        self,
        script: str,
        own: Sequence[str],
        args: Mapping[str, Any],
        limits: Sequence[ChargedLimit],
        *,
        member: str,
        passed: Collection[str],
        uncharged: Collection[str] = (),
    ) -> dict[str, Any]:
        """
        Run a script that does something if every limit passes; return its answer.

        Args:
            script: It takes its own keys, then those of limits, and `limits` among its arguments.
            own: Its own keys, all in one slot.
            args: Its other arguments.
            limits: To be charged.
            member: The call's own id in each limit: the same again is charged once.
            passed: Its verdicts that mean success; after any other nothing is charged.
            uncharged: Those of the others that are no refusal but returned.

        Raises:
            What `refusal` makes of a verdict: and nothing was counted.
            Unavailable: Redis; all may have been done.
        """
        shown = [replace(limit, shown=limit.shown or i == 0) for i, limit in enumerate(limits)]
        near, far = self._split(own[0], shown)
        charge = await self.charge_far(far, member)
        try:
            answer = await self._scripts.run(
                script,
                [*own, *(limit.key for limit in near)],
                {**args, "limits": [limit.spec(i) for i, limit in enumerate(near, len(own) + 1)]},
                durable=True,
            )
            if answer["verdict"] in uncharged:
                await self.release_far(charge)
            elif answer["verdict"] not in passed:
                raise refusal(answer)
        except Exception as error:
            # After Unavailable it may have been done all the same: then it must stay charged.
            if not isinstance(error, Unavailable) or not error.script_ran:
                await self.release_far(charge)
            raise
        if charge.state is not None:
            answer["windows"], answer["next_ms"] = charge.state
        return answer

    async def release(self, limits: Sequence[ChargedLimit], member: str) -> None:
        """Take back what a call was charged by this member: certainly nothing came of it. Raises Unavailable."""
        await asyncio.gather(
            *(self._scripts.evaluate("release_limits", [limit.key], member) for limit in limits)
        )

    async def charge_far(self, limits: Sequence[ChargedLimit], member: str) -> FarCharge:
        """
        Charge them all, or none. What an earlier run of the same call was charged stays as it is.

        Raises:
            RateLimited, QuotaExceeded, Unavailable.
        """
        groups = self._by_slot(limits)
        answers = await asyncio.gather(
            *(self._charge(group, member) for group in groups), return_exceptions=True
        )
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        told = [(group, a) for group, a in zip(groups, answers, strict=True) if isinstance(a, dict)]
        refused = [a for _, a in told if a["verdict"] != "charged"]
        charge = FarCharge(
            member,
            [group for group, a in told if a["verdict"] == "charged" and not a["again"]],
            None
            if failed or refused
            else _merged([a for group, a in told if any(limit.shown for limit in group)]),
        )
        if failed or refused:
            await self.release_far(charge)
        if failed:
            raise failed[0]
        if refused:
            worst = max(refused, key=lambda answer: int(answer["wait_ms"]))
            raise limited(worst)
        return charge

    def _split(
        self, key: str, limits: Sequence[ChargedLimit]
    ) -> tuple[list[ChargedLimit], list[ChargedLimit]]:
        """Return the limits that a script on `key` may touch, and those it may not."""
        near: list[ChargedLimit] = []
        far: list[ChargedLimit] = []
        for limit in limits:
            (near if self._scripts.connection.same_slot(key, limit.key) else far).append(limit)
        return near, far

    async def release_far(self, charge: FarCharge) -> None:
        """
        Take back what this run charged. Only for what certainly was not opened.

        A release that fails is logged: it leaves a charge too much, and must not hide why the call is refused.
        """
        released = await asyncio.gather(
            *(
                self._scripts.evaluate(
                    "release_limits", [limit.key for limit in group], charge.member
                )
                for group in charge.fresh
            ),
            return_exceptions=True,
        )
        for error in released:
            if isinstance(error, BaseException):
                log.warning("limits.release_failed", error=str(error))

    def _by_slot(self, limits: Sequence[ChargedLimit]) -> list[list[ChargedLimit]]:
        """Return the limits in groups that one script may touch."""
        by_key = {limit.key: limit for limit in limits}
        return [
            [by_key[key] for key in group] for group in self._scripts.connection.by_slot(by_key)
        ]

    async def _charge(self, limits: Sequence[ChargedLimit], member: str) -> dict[str, Any]:
        return await self._scripts.run(
            "charge_limits",
            [limit.key for limit in limits],
            {"member": member, "limits": [limit.spec(i) for i, limit in enumerate(limits, 1)]},
        )


def _merged(answers: Sequence[Mapping[str, Any]]) -> tuple[list[Any], int] | None:
    """Return how limits in several slots stand together, as `standing` of _limits.lua does for one script's."""
    if not answers:
        return None
    windows: dict[tuple[str, int], Any] = {}
    for answer in answers:
        for window in answer["windows"]:
            name, _, ms, remaining, _ = window
            known = windows.setdefault((name, ms), window)
            if remaining < known[3]:
                windows[name, ms] = window
    return list(windows.values()), max(int(answer["next_ms"]) for answer in answers)
