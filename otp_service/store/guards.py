"""What a guard of wrong codes is told, and what it says: see lua/_guard.lua."""

from collections.abc import Mapping

from otp_service.core.challenge import SubjectAddress
from otp_service.core.limits import FailureBudget
from otp_service.store import keys
from otp_service.store.scripts import Scripts

FACTORS = ("sms", "totp", "recovery")
_TRIES = 5  # of who was freed
_MEMORY_MS = 365 * 86_400_000


def budget_fields(budget: FailureBudget) -> dict[str, int]:
    """Return a budget as the scripts read it."""
    return {
        "short_count": budget.short.count,
        "short_ms": budget.short.seconds * 1000,
        "block_ms": budget.block_seconds * 1000,
        "long_count": budget.long.count,
        "long_ms": budget.long.seconds * 1000,
        "in_a_row": budget.in_a_row,
        "memory_ms": _MEMORY_MS,
    }


async def tell_blocked(
    scripts: Scripts,
    subject: SubjectAddress,
    *,
    factor: str,
    budget: Mapping[str, int],
    event: Mapping[str, str] | None,
) -> None:
    """Tell that a factor without challenges is blocked, if it is. Raises Unavailable."""
    await scripts.run(
        "tell_factor_blocked",
        [keys.guard(subject, factor), keys.timeline(subject), keys.events(subject.bucket)],
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
            [keys.timeline(subject), keys.guard(subject, factor)],
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
            [keys.guard(subject, factor), keys.timeline(subject)],
            {
                "factor": factor,
                "tries": self._tries,
                "budget": self._budget,
                "life_ms": self._history_ms,
            },
            durable=True,
        )
        return self._tries if answer["verdict"] == "unblocked" else 0
