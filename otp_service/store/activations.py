"""
Traces of activations: what finds the message of a code that the site drew, so that it can be deleted there.

Nobody but the site and the person has that code, so a trace holds no digest: only the sealed number, and from when to
when the site was asked. Once the message is found only the id of its row is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from otp_service.store import keys
from otp_service.store.delivery_lookups import CLAIMED_AT_ONCE, LONGEST_WAIT_MS, ROWS_KEPT_MS
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenActivation:
    """
    A trace, and what time it is. Unix milliseconds by Redis' clock.

    Attributes:
        rows: What is to be deleted; with them the rest about the call is empty.
        sealed: The number.
        wall_at: When the site was asked.
        wall_until: When it answered; the latest time that it may have, if nobody heard its answer.
        wall_now: Now.
        age_ms: Since the site was asked.
        left_ms: Until the trace's end; below 0 afterwards.
    """

    rows: Sequence[int]
    sealed: str = field(repr=False)
    wall_at: int
    wall_until: int
    wall_now: int
    age_ms: int
    left_ms: int


class ActivationLookups:
    """The traces, by the handle of the opt-in's request."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def begin(self, handle: str, sealed: str, *, longest_ms: int, trace_ms: int) -> None:
        """
        Leave one before the site is asked.

        Args:
            handle: 32 hex digits.
            sealed: The number.
            longest_ms: How long the site may take; it is looked at then at the latest.
            trace_ms: How long to look.

        Raises:
            Unavailable: Redis.
        """
        arguments = {
            "member": handle,
            "number": sealed,
            "longest_ms": longest_ms,
            "trace_ms": trace_ms,
        }
        await self._scripts.run(
            "begin_activation", [keys.activation(handle), keys.ACTIVATIONS], arguments
        )

    async def end(self, handle: str) -> None:
        """The site has answered: it is due. Raises Unavailable."""
        await self._scripts.run(
            "end_activation", [keys.activation(handle), keys.ACTIVATIONS], {"member": handle}
        )

    async def claim(self, *, lease_ms: int) -> Sequence[str]:
        """Return what is due; what is not put off or forgotten within the lease is due again. Raises Unavailable."""
        answer = await self._scripts.run(
            "claim_due",
            [keys.ACTIVATIONS],
            {"lease_ms": lease_ms, "longest_ms": LONGEST_WAIT_MS, "count": CLAIMED_AT_ONCE},
        )
        return [str(member) for member in answer["members"]]

    async def open(self, handle: str) -> OpenActivation | None:
        """Return what a trace says, or None when it is gone. Raises Unavailable."""
        answer = await self._scripts.run(
            "open_activation", [keys.activation(handle), keys.ACTIVATIONS], {"member": handle}
        )
        if answer["verdict"] != "open":
            return None
        fields = answer["trace"]
        return OpenActivation(
            rows=[int(row) for row in fields.get("rows", "").split(",") if row],
            sealed=fields.get("number", ""),
            wall_at=int(fields.get("wall_at", 0)),
            wall_until=int(fields.get("wall_until", 0)),
            wall_now=int(answer["wall_now"]),
            age_ms=int(answer["age_ms"]),
            left_ms=int(answer["left_ms"]),
        )

    async def settle(self, handle: str, row: int) -> None:
        """Its message was found: remember the row until it is deleted, and no number. Raises Unavailable."""
        await self._scripts.run(
            "settle_activation",
            [keys.activation(handle)],
            {"rows": str(row), "keep_ms": ROWS_KEPT_MS},
        )

    async def put_off(self, handle: str, wait_ms: int) -> None:
        """Look again later. Raises Unavailable."""
        await self._leave(handle, max(0, wait_ms))

    async def forget(self, handle: str) -> None:
        """It has done its duty. Raises Unavailable."""
        await self._leave(handle, -1)

    async def _leave(self, handle: str, wait_ms: int) -> None:
        await self._scripts.run(
            "leave_trace",
            [keys.activation(handle), keys.ACTIVATIONS],
            {"member": handle, "wait_ms": wait_ms},
        )
