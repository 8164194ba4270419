"""Creation of challenges and new codes, if every limit passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import structlog

from otp_service.core.challenge import ChallengeAddress, Status
from otp_service.core.limits import FailureBudget
from otp_service.core.policy import OPT_IN
from otp_service.errors import ChallengeNotFound, Unavailable
from otp_service.store import keys
from otp_service.store.challenges import FACTOR, Challenges
from otp_service.store.deliveries import GROUP, Job
from otp_service.store.guards import ALL, budget_fields
from otp_service.store.limits import ChargedLimit, Limits, WindowState
from otp_service.store.scripts import Scripts

# A code for an opt-in is queued only behind so few in one of the 16 queues, so that a flood of sign-ups is refused at
# once and the queues stay short for login codes.
_OPT_IN_QUEUE = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChallenge:
    """The fields of a new challenge. Times are milliseconds; `binding` is a fingerprint or ""."""

    address: ChallengeAddress
    caller: str
    purpose: str
    binding: str
    about: str  # sealed: what the caller calls it
    sealed: str  # sealed: where the code goes
    region: str  # of the number, ISO 3166-1 alpha-2; "" where nothing is sent
    locale: str
    digits: int
    max_attempts: int
    max_sends: int
    ttl_ms: int
    grace_ms: int
    min_life_ms: int
    retention_ms: int
    channel: str = (
        FACTOR  # `sms`; `totp`: the person has the code, `sealed` is "" and nothing is sent
    )
    events: bool = False  # whether the caller's webhooks want to know what becomes of it


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedChallenge:
    """A challenge after its creation or a resend. Unix milliseconds; `next_ms` from now."""

    now: int
    purpose: str
    expires_at: int
    sends_left: int
    attempts_left: int
    windows: Sequence[WindowState]
    next_ms: int
    job: Job | None = None  # what was taken along off the queue: this challenge's, or an older one

    @classmethod
    def of(
        cls,
        answer: Mapping[str, Any],
        address: ChallengeAddress,
        *,
        purpose: str,
        attempts_left: int,
    ) -> Self:
        job = answer.get("job")
        return cls(
            now=int(answer["now"]),
            purpose=purpose,
            expires_at=int(answer["expires_at"]),
            sends_left=int(answer["sends_left"]),
            attempts_left=attempts_left,
            windows=[WindowState.of(window) for window in answer["windows"] or []],
            next_ms=int(answer["next_ms"]),
            job=Job.of(keys.queue(address.subject.bucket), job["message_id"], job) if job else None,
        )


class ChallengeCreation:
    """
    Creates challenges and resends codes.

    Args:
        challenges: Where the challenge is ended whose place another takes.
        max_bindings: How many live challenges a subject may have for one purpose, each with a binding of its own.
        queue_limit: How many jobs may wait in a delivery queue.
        caller_share: Percent of a queue that one caller may use while others use it too.
    """

    def __init__(
        self,
        scripts: Scripts,
        *,
        challenges: Challenges,
        budget: FailureBudget,
        max_bindings: int,
        queue_limit: int,
        caller_share: int = 50,
    ) -> None:
        self._challenges = challenges
        self._limits = Limits(scripts)
        self._max_bindings = max_bindings
        self._queue_limit = queue_limit
        self._caller_share = caller_share
        self._budget = budget_fields(budget)

    async def open(
        self, new: NewChallenge, limits: Sequence[ChargedLimit], *, consumer: str = ""
    ) -> CreatedChallenge | None:
        """
        Open a challenge if every limit passes, or return None if its id is there already.

        Args:
            new: The challenge.
            limits: To be charged.
            consumer: The consumer of the delivery queue that takes its next job along; "": nobody does.

        Raises:
            RateLimited, SubjectBlocked, QuotaExceeded: and nothing was counted.
            Overloaded: the queue is full, or the caller's share of it.
            Unavailable: Redis.
        """
        address = new.address
        answer = await self._charged(
            "open_challenge",
            address,
            limits,
            member=f"{address.challenge_id}:1",
            factor=new.channel,
            args={
                "id": address.challenge_id,
                "channel": new.channel,
                "caller": new.caller,
                "purpose": new.purpose,
                "binding": new.binding,
                "about": new.about,
                "sealed": new.sealed,
                "region": new.region,
                "locale": new.locale,
                "digits": new.digits,
                "max_attempts": new.max_attempts,
                "max_sends": new.max_sends,
                "ttl_ms": new.ttl_ms,
                "grace_ms": new.grace_ms,
                "min_life_ms": new.min_life_ms,
                "retention_ms": new.retention_ms,
                "max_bindings": self._max_bindings,
                "events": new.events,
                "group": GROUP,
                "consumer": consumer,
            },
        )
        if answer["verdict"] == "exists":
            return None
        if replaced := answer.get("replaced"):
            await self._tidy(ChallengeAddress(replaced, address.subject), caller=new.caller)
        return CreatedChallenge.of(
            answer, address, purpose=new.purpose, attempts_left=new.max_attempts
        )

    async def _tidy(self, replaced: ChallengeAddress, *, caller: str) -> None:
        """
        Take number and digest of a replaced challenge away early. Its pointer has moved, so it is dead already.

        The new challenge is open, so nothing here is an error of the call: what stays ends by itself.
        """
        try:
            await self._challenges.end(replaced, caller=caller, status=Status.REPLACED)
        except ChallengeNotFound:
            pass  # an erasure was first
        except Unavailable as error:
            log.warning("challenge.replaced_not_tidied", error=error.detail)

    async def resend(
        self,
        address: ChallengeAddress,
        limits: Sequence[ChargedLimit],
        *,
        caller: str,
        resend_id: str,
    ) -> CreatedChallenge:
        """
        Queue a new code; the same `resend_id` again queues nothing.

        Raises:
            ChallengeNotFound, ChallengeEnded, RateLimited, SubjectBlocked, Overloaded, Unavailable.
        """
        answer = await self._charged(
            "resend_code",
            address,
            limits,
            member=resend_id,
            factor=FACTOR,
            args={"id": address.challenge_id, "caller": caller, "resend_id": resend_id},
        )
        attempts_left = int(answer["attempts_left"])
        return CreatedChallenge.of(
            answer, address, purpose=answer["purpose"], attempts_left=attempts_left
        )

    async def _charged(
        self,
        script: str,
        address: ChallengeAddress,
        limits: Sequence[ChargedLimit],
        *,
        member: str,
        factor: str,
        args: Mapping[str, Any],
    ) -> dict[str, Any]:
        return await self._limits.run_charged(
            script,
            [
                *keys.of_challenge(address),
                keys.guard(address.subject, factor),
                keys.queue(address.subject.bucket),
                keys.events(address.subject.bucket),
                keys.timeline(address.subject),
                keys.queue_shares(address.subject.bucket),
                keys.guard(address.subject, ALL),
            ],
            {
                **args,
                "budget": self._budget,
                "queue_limit": self._queue_limit,
                "caller_share": self._caller_share,
                "opt_in_purpose": OPT_IN,
                "opt_in_limit": min(self._queue_limit, _OPT_IN_QUEUE),
            },
            limits,
            member=member,
            passed=("opened", "exists", "resent"),
        )
