"""What the doctor says of one thing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One look at one thing.

    Attributes:
        level: `ok`, `note` (nothing is judged), `warn` (it runs) or `refuse` (it does not start, or of the site: no
            code goes out).
        what: The setting, or the part looked at.
        message: What was found and what to do.
    """

    level: Literal["ok", "note", "warn", "refuse"]
    what: str
    message: str
