"""What the service answers to a help desk; see `results` for times."""

from dataclasses import dataclass, field

from pydantic import AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """
    Something that happened.

    Attributes:
        event: `requested`, `refused`, `resent`, `sending`, `accepted`, `failed`, `unknown`, `tried`, `approved`,
            `exhausted`, `canceled`, `replaced`, `expired`, `blocked`, `unblocked`, `enrolled`, `confirmed`, `removed`,
            `issued`, `remembered`, `forgotten` or `reused`.
        factor: `sms`, `totp`, `recovery` or `device`.
        generation: Which code of the challenge.
        reason: Why a send failed or is unknown, or what refused.
        attempt: Try number so, of `attempts_allowed`.
        until: When the code or device expires, or the refusal or block ends.
        remaining: Recovery codes left.
    """

    at: AwareDatetime
    event: str
    factor: str
    challenge_id: str | None
    factor_id: str | None
    device_id: str | None
    purpose: str | None
    client_ref: str | None
    generation: int | None
    reason: str | None
    attempt: int | None
    attempts_allowed: int | None
    until: AwareDatetime | None
    remaining: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A factor that is blocked now; `blocked_until` is None where only an operator or another factor frees it."""

    factor: str
    blocked_until: AwareDatetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What happened to one person, the oldest first; `subject` is None where the number stands for the person."""

    subject: str | None = field(repr=False)
    blocks: tuple[Block, ...]
    entries: tuple[TimelineEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timelines:
    """One; by number, one for each person to whom codes went there, or none."""

    timelines: tuple[Timeline, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unblocked:
    """
    What was done.

    Attributes:
        status: `unblocked`, or `not_blocked` where there was nothing to do.
        tries: Wrong codes until the next block.
    """

    status: str
    factor: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How much there was of a person; `recovery_codes` are those that were left, `challenges` live and ended ones."""

    status: str
    factors: int
    recovery_codes: int
    devices: int
    challenges: int
