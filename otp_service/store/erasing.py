"""Erasure of a subject's keys by one script."""

from dataclasses import dataclass
from typing import Any

from otp_service.core.challenge import ChallengeAddress, SubjectAddress
from otp_service.core.limits import FailureBudget
from otp_service.store import keys
from otp_service.store.guards import ALL, FACTORS
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Counts of what was erased; `recovery_codes` are those that were left."""

    factors: int
    recovery_codes: int
    devices: int
    challenges: int


class Erasing:
    """Erases subjects."""

    def __init__(self, scripts: Scripts, *, budget: FailureBudget) -> None:
        self._scripts = scripts
        seconds = max(budget.short.seconds, budget.long.seconds, budget.block_seconds)
        self._guarded_ms = seconds * 1000
        self._in_a_row = budget.in_a_row

    async def is_kept(self, subject: SubjectAddress) -> bool:
        """Return whether there is anything to erase. Raises Unavailable."""
        answer = await self._run(subject, look=True)
        return bool(answer["verdict"] == "kept")

    async def erase(self, subject: SubjectAddress) -> Erased:
        """
        Erase what is kept of a subject; what begins meanwhile may be left.

        Raises:
            Unavailable: it may be done all the same.
        """
        answer = await self._run(subject, look=False)
        return Erased(
            factors=int(answer["factors"]),
            recovery_codes=int(answer["recovery_codes"]),
            devices=int(answer["devices"]),
            challenges=int(answer["challenges"]),
        )

    async def _run(self, subject: SubjectAddress, *, look: bool) -> dict[str, Any]:
        own = [keys.subject(subject), keys.timeline(subject)]
        found = await self._scripts.run("challenges_of_subject", own, {})
        ids = dict.fromkeys(map(str, found["ids"] or ()))
        challenges = [ChallengeAddress(each, subject) for each in ids]
        guarded = (*FACTORS, ALL)
        return await self._scripts.run(
            "erase_subject",
            [
                keys.factors(subject),
                keys.recovery(subject),
                keys.devices(subject),
                *own,
                *(keys.guard(subject, factor) for factor in guarded),
                *(key for each in challenges for key in (keys.challenge(each), keys.secret(each))),
            ],
            {
                "guards": len(guarded),
                "guarded_ms": self._guarded_ms,
                "in_a_row": self._in_a_row,
                "look": look,
            },
            durable=not look,
        )
