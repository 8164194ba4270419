"""When a region is paused: many recipients were sent codes, and few codes came back. Somebody pumps."""

from dataclasses import dataclass
from enum import StrEnum

from otp_service.core.limits import Window


class PauseMode(StrEnum):
    """What is done: nothing, telling it, or refusing."""

    OFF = "off"
    RECORD = "record"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRules:
    """
    The rules, the same for every caller and region; each pair of the two is judged by itself.

    Attributes:
        mode: What a pause does.
        min_requests: From how many recipients on in which time the share is looked at.
        below: The share of approved codes under which a region is paused; 0.01 to 0.9.
        trickle: What is let through meanwhile, so that an end shows.
        exempt: Regions where a pause is only told.
    """

    mode: PauseMode
    min_requests: Window
    below: float
    trickle: Window
    exempt: frozenset[str]

    def enforced(self, region: str) -> bool:
        """Whether a pause of that region refuses."""
        return self.mode is PauseMode.ENFORCE and region not in self.exempt
