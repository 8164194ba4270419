"""Double opt-ins whose code the site draws: what the site lacks, kept here: expiry, tries and limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from otp_service.core.challenge import Status, SubjectAddress
from otp_service.errors import ChallengeNotFound
from otp_service.store import keys
from otp_service.store.limits import ChargedLimit, Limits
from otp_service.store.refusals import ended
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedOptIn:
    """
    An opt-in that waits for its code. Unix milliseconds; `next_ms` from now.

    Attributes:
        again: A retried call: the site was asked before.
        pending_before: One of ours was waiting already, so the site holds a row that must go.
    """

    now: int
    expires_at: int
    next_ms: int
    again: bool
    pending_before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedTry:
    """
    One try is spent. `consent` is sealed.

    Attributes:
        unsure: The site may have taken an earlier try.
        approved_at: When this very attempt has succeeded before, in Unix milliseconds; then no try is spent.
    """

    handle: str
    consent: str
    requested_at: int
    attempts_left: int
    unsure: bool
    approved_at: int | None = None


SUBSCRIBES_AT_ONCE = "subscribes_at_once"
VERIFIES_TOO = "verifies_too"
_REMEMBERED_SECONDS = 86_400


class OptIns:
    """One record for each caller, number and group; and what was seen of the site, for the doctor."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._limits = Limits(scripts)

    async def open(
        self,
        address: SubjectAddress,
        limits: Sequence[ChargedLimit],
        *,
        handle: str,
        consent: str,
        max_attempts: int,
        ttl_ms: int,
        retention_ms: int,
    ) -> OpenedOptIn:
        """
        Begin one if every limit passes.

        Raises:
            RateLimited, QuotaExceeded: and nothing was counted.
            Unavailable: Redis.
        """
        answer = await self._limits.run_charged(
            "open_opt_in",
            [keys.opt_in(address)],
            {
                "handle": handle,
                "consent": consent,
                "max_attempts": max_attempts,
                "ttl_ms": ttl_ms,
                "retention_ms": retention_ms,
            },
            limits,
            member=handle,
            passed=("opened", "again"),
        )
        return OpenedOptIn(
            now=int(answer["now"]),
            expires_at=int(answer["expires_at"]),
            next_ms=int(answer["next_ms"]),
            again=answer["verdict"] == "again",
            pending_before=bool(answer.get("pending_before")),
        )

    async def reserve(self, address: SubjectAddress, *, attempt_id: str) -> ReservedTry:
        """
        Spend one try, or say that this attempt has succeeded before.

        Raises:
            ChallengeNotFound, ChallengeEnded: and nothing was counted.
            Unavailable: Redis; the try may be spent.
        """
        answer = await self._scripts.run(
            "reserve_opt_in", [keys.opt_in(address)], {"attempt_id": attempt_id}, durable=True
        )
        match answer["verdict"]:
            case "approved":
                return ReservedTry(
                    handle=answer["handle"],
                    consent=answer["consent"],
                    requested_at=int(answer["requested_at"]),
                    attempts_left=0,
                    unsure=False,
                    approved_at=int(answer["ended_at"]),
                )
            case "reserved":
                return ReservedTry(
                    handle=answer["handle"],
                    consent=answer["consent"],
                    requested_at=int(answer["requested_at"]),
                    attempts_left=int(answer["attempts_left"]),
                    unsure=bool(answer["unsure"]),
                )
            case "ended":
                raise ended(Status(answer["status"]), int(answer["ended_at"]))
            case _:
                raise ChallengeNotFound

    async def settle(
        self,
        address: SubjectAddress,
        status: Status | Literal["unsure"],
        *,
        handle: str,
        attempt_id: str = "",
    ) -> int | None:
        """
        Write what the site said; return when it ended, in Unix milliseconds, or None when it is another one by now.

        Args:
            address: Of the record.
            status: APPROVED, EXHAUSTED or CANCELED; "unsure" when the site may have taken the code.
            handle: Of the request that was tried; "" for whichever there is.
            attempt_id: Of the attempt that was right; "" when none was.

        Raises:
            Unavailable: Redis.
        """
        arguments: Mapping[str, Any] = {
            "handle": handle,
            "status": status,
            "attempt_id": attempt_id,
        }
        answer = await self._scripts.run(
            "settle_opt_in", [keys.opt_in(address)], arguments, durable=True
        )
        return int(answer["ended_at"]) if answer["verdict"] == "settled" else None

    async def remember(self, seen: str) -> None:
        """Keep for a day that the site does what the mode does not fit. Raises Unavailable."""
        await self._scripts.mark(keys.opt_in_seen(seen), _REMEMBERED_SECONDS)

    async def remembers(self, seen: str) -> bool:
        """Whether that was seen within a day. Raises Unavailable."""
        return await self._scripts.exists(keys.opt_in_seen(seen))
