"""How many codes each region asks for and approves, by caller, and which are paused for it. Counts only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from otp_service.core.region_pauses import PauseRules
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS
from otp_service.store.scripts import Scripts

PAIRS_AT_ONCE = 100  # some milliseconds in which Redis does nothing else
GRACE_SECONDS = 120  # in which nobody is expected to have typed the code


@dataclass(frozen=True, slots=True)
class Pair:
    """Whose requests to which region: a caller's name and an ISO 3166-1 code."""

    caller: str
    region: str

    @classmethod
    def read(cls, text: str) -> Self:
        return cls(*text.split(" "))

    def __str__(self) -> str:
        return f"{self.caller} {self.region}"


@dataclass(frozen=True, slots=True)
class Codes:
    """Recipients that codes were requested for, and codes that were approved."""

    requested: int = 0
    approved: int = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """A pair that is paused, since when (Unix ms), and what its counts were when it was weighed last."""

    pair: Pair
    since: int
    codes: Codes

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        pair, since, requested, approved = row
        return cls(Pair.read(pair), int(since), Codes(int(requested), int(approved)))


@dataclass(frozen=True, slots=True)
class Weighed:
    """All pauses there are, and those that this very call began and ended."""

    paused: Sequence[Pause]
    began: Sequence[Pause]
    ended: Sequence[Pause]


class RegionCodes:
    """The counts of the current window over all processes."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def weigh(self, news: Mapping[Pair, Codes], rules: PauseRules) -> Weighed:
        """
        Count the news, and judge the pairs that they are of.

        Raises:
            Unavailable: Redis; the news may have been counted, or a part of them.
        """
        rows, began, ended = list(news.items()), list[Pause](), list[Pause]()
        for start in range(0, max(1, len(rows)), PAIRS_AT_ONCE):
            weighed = await self._weigh(rows[start : start + PAIRS_AT_ONCE], rules)
            began += weighed.began
            ended += weighed.ended
        return Weighed(weighed.paused, began, ended)

    async def _weigh(self, rows: Sequence[tuple[Pair, Codes]], rules: PauseRules) -> Weighed:
        answer = await self._scripts.run(
            "evaluate_regions",
            [keys.PAUSED, *(keys.region_codes(pair.caller, pair.region) for pair, _ in rows)],
            {
                "pairs": [[str(pair), many.requested, many.approved] for pair, many in rows],
                "window_ms": rules.min_requests.seconds * 1000,
                "grace_ms": GRACE_SECONDS * 1000,
                "min_requests": rules.min_requests.count,
                "below": rules.below,
            },
        )
        return Weighed(
            *([Pause.of(row) for row in answer[name]] for name in ("paused", "began", "ended"))
        )

    async def paused(self) -> list[Pause]:
        """Return what was paused when it was weighed last. Raises Unavailable."""
        client: Any = self._scripts.connection.client
        try:
            found = await client.hgetall(keys.PAUSED)
        except FAULTS as error:
            raise Unavailable(f"redis: regions: {type(error).__name__}") from error
        return [Pause.of([pair, *told.split("|")]) for pair, told in sorted(found.items())]

    async def lift(self, pair: Pair) -> bool:
        """End a pause and forget the counts that led to it; say whether there was one. Raises Unavailable."""
        answer = await self._scripts.run(
            "lift_pause",
            [keys.PAUSED, keys.region_codes(pair.caller, pair.region)],
            {"pair": str(pair)},
        )
        return bool(answer["verdict"] == "lifted")
