"""The timelines of subjects: one bounded list each, written by the scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otp_service.core.challenge import SubjectAddress
from otp_service.core.limits import FailureBudget
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS
from otp_service.store.guards import ALL, FACTORS, budget_fields
from otp_service.store.scripts import Scripts

_NEWEST = 50  # sends to one number that are followed to their subjects


@dataclass(frozen=True, slots=True)
class Timeline:
    """
    The stored lines, for `core.timeline`.

    Attributes:
        now: Unix milliseconds.
        blocks: Factors that are blocked now, and until when in Unix milliseconds; None: until freed.
    """

    now: int
    lines: Sequence[str]
    blocks: Mapping[str, int | None]


class Timelines:
    """Reads timelines."""

    def __init__(self, scripts: Scripts, *, budget: FailureBudget) -> None:
        self._scripts = scripts
        self._budget = budget_fields(budget)

    async def of(self, subject: SubjectAddress) -> Timeline:
        """Return a subject's timeline; empty for one that nothing is known of. Raises Unavailable."""
        answer = await self._scripts.run(
            "read_timeline",
            [
                keys.timeline(subject),
                *(keys.guard(subject, factor) for factor in (*FACTORS, ALL)),
            ],
            {"factors": FACTORS, "budget": self._budget},
        )
        blocks = {
            factor: None if int(until) < 0 else int(until)
            for factor, until in dict(answer["blocks"] or {}).items()
        }
        return Timeline(int(answer["now"]), list(answer["lines"] or ()), blocks)

    async def challenges_sent(self, limit_key: str) -> list[str]:
        """Return the ids of the challenges that a limit on sends has counted, the oldest first. Raises Unavailable."""
        client: Any = self._scripts.connection.client
        try:
            members = await client.zrange(limit_key, -_NEWEST, -1)
        except FAULTS as error:
            raise Unavailable(f"redis: timeline: {type(error).__name__}") from error
        return list(dict.fromkeys(str(member).partition(":")[0] for member in members))

    async def caller_of(self, challenge_key: str) -> str | None:
        """Return whose challenge it is, or None when it is gone. Raises Unavailable."""
        return await self._scripts.field(challenge_key, "caller")

    async def about(self, challenge_key: str) -> str | None:
        """Return what the caller calls a challenge, sealed, or None when it is gone. Raises Unavailable."""
        return await self._scripts.field(challenge_key, "about")
