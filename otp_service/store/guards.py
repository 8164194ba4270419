"""Counters of wrong codes (lua/_guard.lua): their arguments and answers."""

from collections.abc import Mapping
from typing import Any

from otp_service.core.challenge import SubjectAddress
from otp_service.core.limits import FailureBudget, Window
from otp_service.store import keys
from otp_service.store.scripts import Scripts

FACTORS = ("sms", "totp", "recovery")
ALL = "all"  # the guard of all factors of a subject together
_TRIES = 5  # of who was freed
_MEMORY_MS = 365 * 86_400_000


def budget_fields(budget: FailureBudget) -> dict[str, Any]:
    """Return a budget as the scripts read it, with that of all factors together as `all`."""
    counting = max(budget.short.seconds, budget.long.seconds, budget.block_seconds) * 1000
    return {
        **_windows(budget.short, budget.long, budget.block_seconds),
        "in_a_row": budget.in_a_row,
        "memory_ms": _MEMORY_MS,
        "all": {
            **_windows(budget.all_short, budget.all_long, budget.block_seconds),
            "memory_ms": counting,
        },
    }


def _windows(short: Window, long: Window, block_seconds: int) -> dict[str, int]:
    return {
        "short_count": short.count,
        "short_ms": short.seconds * 1000,
        "block_ms": block_seconds * 1000,
        "long_count": long.count,
        "long_ms": long.seconds * 1000,
    }


async def tell_blocked(
    scripts: Scripts,
    subject: SubjectAddress,
    *,
    factor: str,
    budget: Mapping[str, Any],
    event: Mapping[str, str] | None,
) -> None:
    """Tell that a factor without challenges is blocked, if it is. Raises Unavailable."""
    await scripts.run(
        "tell_factor_blocked",
        [
            keys.guard(subject, factor),
            keys.timeline(subject),
            keys.events(subject.bucket),
            keys.guard(subject, ALL),
        ],
        {"factor": factor, "budget": budget, "event": event},
    )


class Guards:
    """
    The guards, for who frees people.

    Args:
        history_ms: How long a subject's timeline is kept.
    """

    def __init__(self, scripts: Scripts, *, budget: FailureBudget, history_ms: int) -> None:
        self._scripts = scripts
        self._budget = budget_fields(budget)
        self._history_ms = history_ms
        self._tries = min(_TRIES, budget.short.count, budget.long.count, budget.in_a_row)

    async def is_blocked(self, subject: SubjectAddress, factor: str) -> bool:
        """Whether the subject is blocked with that factor. Raises Unavailable."""
        answer = await self._scripts.run(
            "read_timeline",
            [keys.timeline(subject), keys.guard(subject, factor), keys.guard(subject, ALL)],
            {"factors": [factor], "budget": self._budget},
        )
        return bool(answer["blocks"])

    async def unblock(self, subject: SubjectAddress, factor: str) -> int:
        """
        Give a blocked subject five more tries with one factor, fewer where fewer block; return them, 0 if not blocked.

        Nothing is forgotten: the long counts go on. Raises Unavailable.
        """
        answer = await self._scripts.run(
            "unblock_subject",
            [keys.guard(subject, factor), keys.timeline(subject), keys.guard(subject, ALL)],
            {
                "factor": factor,
                "tries": self._tries,
                "budget": self._budget,
                "life_ms": self._history_ms,
            },
            durable=True,
        )
        return self._tries if answer["verdict"] == "unblocked" else 0
