"""Challenges in Redis: one method for each script, and its answer as a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otp_service.core.challenge import ChallengeAddress, DeliveryStatus, Status
from otp_service.core.limits import FailureBudget
from otp_service.errors import (
    ChallengeCanceled,
    ChallengeEnded,
    ChallengeExhausted,
    ChallengeExpired,
    ChallengeMismatch,
    ChallengeNotFound,
    ChallengeReplaced,
    ChallengeUsed,
    CodeNotSent,
    FieldError,
    InvalidRequest,
    Overloaded,
    Unavailable,
)
from otp_service.store import keys
from otp_service.store.deliveries import GROUP, Job
from otp_service.store.guards import blocked, budget_fields
from otp_service.store.limits import ChargedLimit, Limits, WindowState, limited
from otp_service.store.proofs import ProofRecord, proof_args, proof_keys
from otp_service.store.scripts import Scripts

FACTOR = "sms"
_UNTIL_FREED = (
    86_400  # seconds told to a caller whose subject's factor is disabled: waiting alone won't help
)
_RETRY_NOT_SENT = 2

_ENDED: Mapping[str, type[ChallengeEnded]] = {
    Status.APPROVED: ChallengeUsed,
    Status.EXPIRED: ChallengeExpired,
    Status.EXHAUSTED: ChallengeExhausted,
    Status.CANCELED: ChallengeCanceled,
    Status.REPLACED: ChallengeReplaced,
}


class AnsweredByApp(Exception):
    """The challenge waits for an authenticator app's code: see `store.app_challenges`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChallenge:
    """All that is written when a challenge is opened. Times are milliseconds; `binding` is a fingerprint or ""."""

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
class Opened:
    """What holds after a challenge was opened or a code resent. Unix milliseconds; `next_ms` from now."""

    now: int
    purpose: str
    expires_at: int
    sends_left: int
    attempts_left: int
    windows: Sequence[WindowState]
    next_ms: int
    job: Job | None = None  # what was taken along off the queue: this challenge's, or an older one


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A digest that the typed code may match."""

    digest: str
    kid: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """
    One attempt is spent; the newest digest first. `about` is sealed; `region` is the number's, "" if not known.

    `blocks`: unless this attempt succeeds, the subject is blocked.
    """

    candidates: Sequence[Candidate]
    attempts_left: int
    about: str
    region: str
    blocks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """This very attempt has succeeded, its proof made by the proof key of that id. `about` is sealed."""

    ended_at: int
    about: str
    proof_kid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a caller may see. `about` is sealed."""

    now: int
    channel: str
    status: Status
    ended_at: int | None
    purpose: str
    about: str
    opened_at: int
    expires_at: int
    attempts_left: int
    sends_left: int
    delivery: DeliveryStatus
    delivery_reason: str
    generation: int


class Challenges:
    """The life of challenges, decided inside Redis."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        budget: FailureBudget,
        max_bindings: int,
        queue_limit: int,
    ) -> None:
        self._scripts = scripts
        self._limits = Limits(scripts)
        self._max_bindings = max_bindings
        self._queue_limit = queue_limit
        self._budget = budget_fields(budget)

    async def open(
        self, new: NewChallenge, limits: Sequence[ChargedLimit], *, taker: str = ""
    ) -> Opened | None:
        """
        Open a challenge if every limit passes, or return None if its id is there already.

        Args:
            new: The challenge.
            limits: To be charged.
            taker: The consumer of the delivery queue that takes its next job along; "": nobody does.

        Raises:
            RateLimited, SubjectBlocked, QuotaExceeded: and nothing was counted.
            Overloaded: the queue is full.
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
                "taker": taker,
            },
        )
        if answer["verdict"] == "exists":
            return None
        if replaced := answer.get("replaced"):
            # The pointer has moved, so it is dead already; this only takes its number and digest away early.
            await self.end(
                ChallengeAddress(replaced, address.subject),
                caller=new.caller,
                status=Status.REPLACED,
            )
        return _opened(answer, address, purpose=new.purpose, attempts_left=new.max_attempts)

    async def resend(
        self,
        address: ChallengeAddress,
        limits: Sequence[ChargedLimit],
        *,
        caller: str,
        resend_id: str,
    ) -> Opened:
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
        return _opened(answer, address, purpose=answer["purpose"], attempts_left=attempts_left)

    async def reserve(
        self,
        address: ChallengeAddress,
        *,
        caller: str,
        purpose: str,
        binding: str,
        digits: int,
        attempt_id: str,
    ) -> Reserved | Approved:
        """
        Spend one attempt and hand out the digests, or say that this attempt has succeeded before.

        Raises:
            ChallengeNotFound, ChallengeMismatch, ChallengeEnded, SubjectBlocked, CodeNotSent, InvalidRequest: and
                nothing was counted.
            AnsweredByApp: it is none of a code that was sent; nothing was counted.
            Unavailable: Redis; the attempt may have been counted.
        """
        answer = await self._scripts.run(
            "reserve_attempt",
            [*_base(address), keys.guard(address.subject, FACTOR), keys.timeline(address.subject)],
            {
                "id": address.challenge_id,
                "caller": caller,
                "purpose": purpose,
                "binding": binding,
                "digits": digits,
                "attempt_id": attempt_id,
                "budget": self._budget,
            },
            durable=True,
        )
        match answer["verdict"]:
            case "reserved":
                candidates = [
                    Candidate(
                        digest=answer[f"{age}digest"],
                        kid=answer[f"{age}kid"],
                        generation=int(answer[f"{age}generation"]),
                    )
                    for age in ("", "old_")
                    if answer.get(f"{age}digest")
                ]
                return Reserved(
                    candidates=candidates,
                    attempts_left=int(answer["attempts_left"]),
                    about=answer["about"],
                    region=answer.get("region") or "",
                    blocks=bool(answer.get("blocks")),
                )
            case "approved":
                return Approved(
                    ended_at=int(answer["ended_at"]),
                    about=answer["about"],
                    proof_kid=answer["proof_kid"],
                )
            case "digits":
                raise wrong_length(answer)
            case "app":
                raise AnsweredByApp
            case _:
                raise refusal(answer)

    async def consume(
        self,
        address: ChallengeAddress,
        *,
        generation: int,
        attempt_id: str,
        proof_kid: str,
        proof: ProofRecord | None,
    ) -> int:
        """
        Spend the challenge and write the proof; return when, in Unix milliseconds. One winner.

        Raises:
            ChallengeEnded: somebody else was first, or time ran out while hashing.
            CodeNotSent: a resend came between.
            Unavailable: Redis; the code may be spent.
        """
        answer = await self._scripts.run(
            "consume_challenge",
            [
                *_base(address),
                keys.guard(address.subject, FACTOR),
                keys.events(address.subject.bucket),
                keys.timeline(address.subject),
                *proof_keys(proof),
            ],
            {
                "id": address.challenge_id,
                "generation": generation,
                "attempt_id": attempt_id,
                "proof_kid": proof_kid,
                **proof_args(proof),
            },
            durable=True,
        )
        if answer["verdict"] == "approved":
            return int(answer["ended_at"])
        raise refusal(answer)

    async def tell_blocked(self, address: ChallengeAddress, *, factor: str = FACTOR) -> None:
        """Tell the caller's webhooks that the subject is blocked, if it is. Raises Unavailable."""
        await self._scripts.run(
            "tell_blocked",
            [
                keys.challenge(address),
                keys.guard(address.subject, factor),
                keys.events(address.subject.bucket),
                keys.timeline(address.subject),
            ],
            {"id": address.challenge_id, "budget": self._budget},
        )

    async def end(
        self, address: ChallengeAddress, *, caller: str, status: Status
    ) -> tuple[Status, int]:
        """
        End a challenge without success; return how and when it ended, by this call or before it.

        Raises:
            ChallengeNotFound, Unavailable.
        """
        answer = await self._scripts.run(
            "end_challenge",
            [*_base(address), keys.timeline(address.subject)],
            {"id": address.challenge_id, "caller": caller, "status": status},
            durable=True,
        )
        if answer["verdict"] != "ended":
            raise refusal(answer)
        return Status(answer["status"]), int(answer["ended_at"])

    async def view(self, address: ChallengeAddress, *, caller: str) -> View:
        """
        Return what a caller may see of its challenge.

        Raises:
            ChallengeNotFound, Unavailable.
        """
        answer = await self._scripts.run(
            "view_challenge",
            [keys.challenge(address), keys.subject(address.subject)],
            {"id": address.challenge_id, "caller": caller},
        )
        if answer["verdict"] != "found":
            raise refusal(answer)
        ended_at = answer.get("ended_at")
        return View(
            now=int(answer["now"]),
            channel=answer["channel"],
            status=Status(answer["status"]),
            ended_at=int(ended_at) if ended_at is not None else None,
            purpose=answer["purpose"],
            about=answer["about"],
            opened_at=int(answer["opened_at"]),
            expires_at=int(answer["expires_at"]),
            attempts_left=int(answer["attempts_left"]),
            sends_left=int(answer["sends_left"]),
            delivery=DeliveryStatus(answer["delivery"]),
            delivery_reason=answer.get("delivery_reason") or "",
            generation=int(answer["generation"]),
        )

    async def sealed_recipient(self, address: ChallengeAddress) -> str | None:
        """Return where the code goes, sealed, while the challenge lives. None afterwards. Raises Unavailable."""
        return await self._scripts.field(keys.secret(address), "sealed")

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
        own = [
            *_base(address),
            keys.guard(address.subject, factor),
            keys.queue(address.subject.bucket),
            keys.events(address.subject.bucket),
            keys.timeline(address.subject),
        ]
        near, far = self._limits.split(own[0], limits)
        charge = await self._limits.charge_far(far, member)
        try:
            answer = await self._scripts.run(
                script,
                [*own, *(limit.key for limit in near)],
                {
                    **args,
                    "budget": self._budget,
                    "queue_limit": self._queue_limit,
                    "limits": [limit.spec(len(own) + i) for i, limit in enumerate(near, 1)],
                },
                durable=True,
            )
            if answer["verdict"] not in ("opened", "exists", "resent"):
                raise refusal(answer)
        except Unavailable:
            raise  # it may have been opened all the same: then it must stay charged
        except Exception:
            await self._limits.release_far(charge)
            raise
        if charge.state is not None:
            answer["windows"], answer["next_ms"] = charge.state
        return answer


def _base(address: ChallengeAddress) -> list[str]:
    return [keys.challenge(address), keys.secret(address), keys.subject(address.subject)]


def _opened(
    answer: Mapping[str, Any], address: ChallengeAddress, *, purpose: str, attempts_left: int
) -> Opened:
    job = answer.get("job")
    return Opened(
        now=int(answer["now"]),
        purpose=purpose,
        expires_at=int(answer["expires_at"]),
        sends_left=int(answer["sends_left"]),
        attempts_left=attempts_left,
        windows=[WindowState.of(window) for window in answer["windows"] or []],
        next_ms=int(answer["next_ms"]),
        job=Job.of(keys.queue(address.subject.bucket), job["message_id"], job) if job else None,
    )


def refusal(answer: Mapping[str, Any]) -> Exception:
    """Return what a script's verdict means that is no success."""
    match answer["verdict"]:
        case "not_found":
            return ChallengeNotFound()
        case "mismatch":
            return ChallengeMismatch()
        case "ended":
            return ended(Status(answer["status"]), int(answer["ended_at"]))
        case "not_sent":
            return CodeNotSent(_RETRY_NOT_SENT)
        case "blocked":
            return blocked(answer)
        case "limited":
            return limited(answer)
        case "overloaded":
            return Overloaded("the delivery queue is full", retry_after=5)
        case other:
            return Unavailable(f"redis: unknown verdict {other!r}")


def wrong_length(answer: Mapping[str, Any]) -> InvalidRequest:
    """Return the refusal of a code that can't be the right one for its length; it has cost no try."""
    return InvalidRequest(FieldError("code", f"must have {int(answer['digits'])} digits"))


def ended(status: Status, at: int) -> ChallengeEnded:
    """Return the refusal that tells how a challenge ended. `at` in Unix milliseconds; not for `pending`."""
    return _ENDED[status](at)
