"""What a guard of wrong codes is told, and what it says: see lua/_guard.lua."""

from collections.abc import Mapping
from typing import Any

from otp_service.core.challenge import SubjectAddress
from otp_service.core.limits import FailureBudget
from otp_service.errors import SubjectBlocked
from otp_service.store import keys
from otp_service.store.scripts import Scripts

FACTORS = ("sms", "totp", "recovery")
UNBLOCKED_TRIES = 5

_UNTIL_FREED = (
    86_400  # seconds told to a caller whose subject's factor is disabled: waiting alone won't help
)
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


def blocked(answer: Mapping[str, Any]) -> SubjectBlocked:
    """Return the refusal for a script's verdict `blocked`."""
    until, now = int(answer["until_ms"]), int(answer["now"])
    wait = _UNTIL_FREED if until < 0 else max(1, -(-(until - now) // 1000))
    return SubjectBlocked("failures", wait)


async def unblock(
    scripts: Scripts, subject: SubjectAddress, *, factor: str, budget: FailureBudget
) -> bool:
    """
    Give a blocked subject five more tries with one factor; False if it is not blocked.

    Nothing is forgotten: the long counts go on. Raises Unavailable.
    """
    answer = await scripts.run(
        "unblock_subject",
        [keys.guard(subject, factor)],
        {"tries": UNBLOCKED_TRIES, "budget": budget_fields(budget)},
        durable=True,
    )
    return bool(answer["verdict"] == "unblocked")
