"""Stored double opt-ins: expiry, attempts and limits."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from otp_service.core.challenge import OptInAddress, Status
from otp_service.core.limits import FailureBudget
from otp_service.errors import ChallengeNotFound, SubjectBlocked
from otp_service.store import keys
from otp_service.store.limits import ChargedLimit, Limits
from otp_service.store.refusals import ended, refusal, seconds
from otp_service.store.scripts import Scripts

Said = Literal[
    "asked",
    "subscribed",
    "failed",
    "unsure",
    "unasked",
    Status.APPROVED,
    Status.EXHAUSTED,
    Status.CANCELED,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedOptIn:
    """
    An opt-in that waits for its code. Unix milliseconds; `next_ms` from now.

    Attributes:
        member: What this run is called in the limits that it was charged to.
        again: A retried call that went through before: the site must not be asked once more.
        failed: That call ended with a send that failed.
        pending_before: The site may hold an unconfirmed row of ours.
    """

    now: int
    expires_at: int
    next_ms: int
    member: str
    again: bool
    failed: bool
    pending_before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedTry:
    """
    One try is spent, or has succeeded before.

    Attributes:
        handle: Of the request.
        attempt: Of the call.
        consent: Sealed.
        unsure: A fingerprint of the code that the site may have taken at an earlier try, or "".
        subscribed: The site had the number before the request, so no code is right.
        approved_at: When this very try succeeded before, in Unix milliseconds; None when it has not.
    """

    handle: str
    attempt: str
    consent: str
    requested_at: int
    attempts_left: int
    unsure: str
    subscribed: bool
    last_guess: bool
    approved_at: int | None


SUBSCRIBES_AT_ONCE = "subscribes_at_once"
VERIFIES_TOO = "verifies_too"
_REMEMBERED_SECONDS = 86_400
SITE_CODES, SITE_PERIOD_SECONDS = 10, 900  # of wrong codes at WSMS 7.2.6 and later
_REFUSED_SECONDS = 900  # then one call asks the site again, so that a corrected site is noticed


class OptIns:
    """One record for each caller, number and group, and what is known of the site."""

    def __init__(self, scripts: Scripts, *, guesses: FailureBudget) -> None:
        self._scripts = scripts
        self._limits = Limits(scripts)
        self._guesses = guesses

    async def open(
        self,
        address: OptInAddress,
        limits: Sequence[ChargedLimit],
        *,
        handle: str,
        consent: str,
        max_attempts: int,
        ttl_ms: int,
        retention_ms: int,
        asked: bool,
    ) -> OpenedOptIn:
        """
        Begin one if every limit passes.

        Args:
            asked: Whether its code is on its way already.

        Raises:
            RateLimited, QuotaExceeded, SubjectBlocked: and nothing was counted.
            Unavailable: Redis.
        """
        member = f"{handle}:{secrets.token_hex(8)}"
        answer = await self._limits.run_charged(
            "open_opt_in",
            self._keys(address),
            {
                "handle": handle,
                "member": member,
                "asked": asked,
                "consent": consent,
                "max_attempts": max_attempts,
                "ttl_ms": ttl_ms,
                "retention_ms": retention_ms,
                "guesses": self._spec(address),
            },
            limits,
            member=member,
            passed=("opened",),
            uncharged=("again", "no_guesses"),
        )
        if answer["verdict"] == "no_guesses":
            raise _no_guesses(answer)
        return OpenedOptIn(
            now=int(answer["now"]),
            expires_at=int(answer["expires_at"]),
            next_ms=int(answer["next_ms"]),
            member=member,
            again=answer["verdict"] == "again",
            failed=bool(answer.get("failed")),
            pending_before=bool(answer.get("pending_before")),
        )

    async def undo(
        self,
        address: OptInAddress,
        limits: Sequence[ChargedLimit],
        opened: OpenedOptIn,
        *,
        handle: str,
        retention_ms: int,
        restore: bool,
    ) -> None:
        """
        Take back a request for which the site certainly sent nothing, and what it was charged.

        Args:
            restore: Bring back the pending opt-in that it replaced.

        Raises:
            Unavailable: Redis; some may have been taken back.
        """
        await self._scripts.run(
            "undo_opt_in",
            [keys.opt_in(address)],
            {"handle": handle, "retention_ms": retention_ms, "restore": restore},
            durable=True,
        )
        await self._limits.release(limits, opened.member)

    async def reserve(self, address: OptInAddress, *, attempt: str, counted: bool) -> ReservedTry:
        """
        Spend one try; the same attempt again spends none.

        Args:
            attempt: The call's handle.
            counted: False when the code is ours: then its challenge counts.

        Raises:
            ChallengeNotFound, ChallengeEnded, SubjectBlocked, CodeNotSent: and nothing was counted.
            Unavailable: Redis; the try may be spent.
        """
        answer = await self._scripts.run(
            "reserve_opt_in",
            self._keys(address),
            {"attempt": attempt, "counted": counted, "guesses": self._spec(address)},
            durable=True,
        )
        match answer["verdict"]:
            case "reserved" | "approved" as verdict:
                return ReservedTry(
                    handle=answer["handle"],
                    attempt=attempt,
                    consent=answer["consent"],
                    requested_at=int(answer["requested_at"]),
                    attempts_left=int(answer["attempts_left"]),
                    unsure=answer["unsure"],
                    subscribed=answer["subscribed"],
                    last_guess=answer["last_guess"],
                    approved_at=int(answer["ended_at"]) if verdict == "approved" else None,
                )
            case "ended":
                raise ended(Status(answer["status"]), int(answer["ended_at"]))
            case "no_guesses":
                raise _no_guesses(answer)
            case "not_sent":
                raise refusal(answer)
            case _:
                raise ChallengeNotFound

    async def settle(
        self, address: OptInAddress, said: Said, *, handle: str, code: str = "", attempt: str = ""
    ) -> int | None:
        """
        Write what the site said; return when it ended, in Unix milliseconds, or None when it is another one by now.

        Args:
            address: Of the record.
            said: See settle_opt_in.lua.
            handle: Of the request that was tried; "" for whichever there is.
            code: With `unsure`: a fingerprint of the code that the site may have taken.
            attempt: With `unasked`: the call whose try is given back.

        Raises:
            Unavailable: Redis.
        """
        answer = await self._settle(address, said, handle=handle, code=code, attempt=attempt)
        return int(answer["ended_at"]) if answer["verdict"] == "settled" else None

    async def exhaust(self, address: OptInAddress) -> bool:
        """End an opt-in because no more codes may be tried; return whether it was pending. Raises Unavailable."""
        answer = await self._settle(address, Status.EXHAUSTED, handle="", code="", attempt="")
        return bool(answer.get("was_pending"))

    async def _settle(self, address: OptInAddress, said: Said, **more: str) -> dict[str, Any]:
        arguments = {"said": said, **more}
        return await self._scripts.run(
            "settle_opt_in", self._keys(address), arguments, durable=True
        )

    async def site_wait(self, number: str) -> int:
        """
        Return for how many seconds the site refuses every code of a number, by the wrong codes counted here; 0 if none.

        Args:
            number: A fingerprint of the number, over all callers and groups: so does the site count.

        Raises:
            Unavailable: Redis.
        """
        answer = await self._site_codes("look", number)
        return seconds(answer["wait_ms"]) if answer["wait_ms"] else 0

    async def count_site_code(self, number: str) -> None:
        """Count a wrong code that the site has counted. Raises Unavailable."""
        await self._site_codes("count", number)

    async def forget_site_codes(self, number: str) -> None:
        """Delete the count, as the site does after a right code. Raises Unavailable."""
        await self._site_codes("forget", number)

    async def _site_codes(self, action: str, number: str) -> dict[str, Any]:
        arguments = {"action": action, "most": SITE_CODES, "period_ms": SITE_PERIOD_SECONDS * 1000}
        return await self._scripts.run("site_codes", [keys.site_codes(number)], arguments)

    async def remember(self, seen: str) -> None:
        """Keep that the site does what the mode does not fit. Raises Unavailable."""
        await self._scripts.mark(keys.opt_in_seen(seen), _REMEMBERED_SECONDS)
        await self._scripts.mark(keys.opt_in_refused(seen), _REFUSED_SECONDS)

    async def forget(self, seen: str) -> None:
        """Keep no longer that the site does so: it does not any more. Raises Unavailable."""
        if await self.remembers(seen):
            await self._scripts.mark(keys.opt_in_seen(seen), 1)

    async def remembers(self, seen: str) -> bool:
        """Whether that was seen within a day, and not otherwise since. Raises Unavailable."""
        return await self._scripts.exists(keys.opt_in_seen(seen))

    async def refuses(self, seen: str) -> bool:
        """Whether it was seen so lately that the site is not asked. Raises Unavailable."""
        return await self._scripts.exists(keys.opt_in_refused(seen))

    def _keys(self, address: OptInAddress) -> list[str]:
        return [keys.opt_in(address), keys.opt_in_guesses(address.number)]

    def _spec(self, address: OptInAddress) -> dict[str, Any]:
        windows = [("failures", self._guesses.long), ("failures", self._guesses.short)]
        limit = ChargedLimit(key=keys.opt_in_guesses(address.number), windows=windows)
        return limit.spec(2)


def _no_guesses(answer: dict[str, Any]) -> SubjectBlocked:
    return SubjectBlocked("failures", seconds(answer["wait_ms"]))
