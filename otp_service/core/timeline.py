"""
A subject's timeline, as the help desk reads it: what the scripts noted (`store/lua/_timeline.lua`), understood.

Ids, words and numbers of ours only: never a code, a recipient or what somebody typed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class TimelineEventType(StrEnum):
    """What may have happened; `expired` is no act of anybody, and is read off the clock."""

    REQUESTED = "requested"
    REFUSED = "refused"
    RESENT = "resent"
    SENDING = "sending"
    ACCEPTED = "accepted"
    FAILED = "failed"
    UNKNOWN = "unknown"
    TRIED = "tried"
    APPROVED = "approved"
    EXHAUSTED = "exhausted"
    CANCELED = "canceled"
    REPLACED = "replaced"
    EXPIRED = "expired"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    ENROLLED = "enrolled"
    IMPORTED = "imported"
    CONFIRMED = "confirmed"
    REMOVED = "removed"
    ISSUED = "issued"
    REMEMBERED = "remembered"
    FORGOTTEN = "forgotten"
    REUSED = "reused"


_ENDS = frozenset(
    {
        TimelineEventType.APPROVED,
        TimelineEventType.EXHAUSTED,
        TimelineEventType.CANCELED,
        TimelineEventType.REPLACED,
    }
)
_LIVES = frozenset({TimelineEventType.REQUESTED, TimelineEventType.RESENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """
    One line. Times are Unix milliseconds.

    Attributes:
        factor: `sms`, `totp` or `recovery`, or the `device` that stands in for one.
        id: Of the challenge, the factor or the device, or None.
        of_challenge: Whether `id` is of a challenge, whichever factor answers it.
        generation: Which code of the challenge.
        reason: Why a send failed or is unknown, or what refused: `blocked`, or a limit's name.
        attempt, of: Try number so of so many.
        until: When the code or device expires, the refusal or the block ends; None where nothing but an operator or
            success ends a block.
        remaining: Recovery codes left.
    """

    at: int
    what: TimelineEventType
    factor: str
    id: str | None
    of_challenge: bool
    purpose: str | None = None
    generation: int | None = None
    reason: str | None = None
    attempt: int | None = None
    of: int | None = None
    until: int | None = None
    remaining: int | None = None


def read(lines: Iterable[str], *, now: int, since: int) -> Sequence[TimelineEvent]:
    """Return the moments at or after `since`, the oldest first, with what has expired by `now`."""
    channels: dict[str, str] = {}  # of challenges, as their first lines say it
    told = [_moment(line, channels) for line in lines]
    moments = [moment for moment in told if moment.at >= since]
    return sorted([*moments, *_expiries(moments, now)], key=lambda moment: moment.at)


def _moment(line: str, channels: dict[str, str]) -> TimelineEvent:
    at, what, name, *rest = line.split(" ")
    fields = dict(field.split("=", 1) for field in rest)

    def number(name: str) -> int | None:
        return int(fields[name]) if name in fields else None

    if "channel" in fields:
        channels[name] = fields["channel"]
    until = number("until")
    return TimelineEvent(
        at=int(at),
        what=TimelineEventType(what),
        factor=fields.get("factor") or fields.get("channel") or channels.get(name, "sms"),
        id=None if name == "-" else name,
        of_challenge="factor" not in fields,
        purpose=fields.get("purpose"),
        generation=number("generation"),
        reason=fields.get("why") or None,
        attempt=number("try"),
        of=number("of"),
        until=None if until == -1 else until,
        remaining=number("remaining"),
    )


def _expiries(moments: Iterable[TimelineEvent], now: int) -> Iterable[TimelineEvent]:
    """What died of its age: what is requested and not ended, after the last time that it was given."""
    alive: dict[str, TimelineEvent] = {}
    for moment in moments:
        if moment.id is None or not moment.of_challenge:
            continue
        if moment.what in _LIVES:
            alive[moment.id] = moment
        elif moment.what in _ENDS:
            alive.pop(moment.id, None)
    for moment in alive.values():
        if moment.until is not None and moment.until <= now:
            yield replace(
                moment,
                at=moment.until,
                what=TimelineEventType.EXPIRED,
                purpose=None,
                of=None,
                until=None,
            )
