"""
Traces: what finds a sent message again at the provider, so that its fate can be learnt and its text deleted there.

begin_send.lua leaves one for each code that may have gone out. It holds the sealed number and the code's digest, never
number, code or text in clear, and for half an hour at most; once the message is found only ids of rows are left.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otp_service.core.challenge import BUCKETS, ChallengeAddress, DeliveryStatus, address_of
from otp_service.core.keyring import Keyring
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.scripts import Scripts

CLAIMED_AT_ONCE = 10
ROWS_MISSING = "rows_missing"
_REMEMBERED_SECONDS = 86_400
ROWS_KEPT_MS = 24 * 3600 * 1000
LONGEST_WAIT_MS = 300_000  # until a trace is looked at again; no lease is longer


@dataclass(frozen=True, slots=True)
class DeliveryLookup:
    """Which trace: of which code of which challenge."""

    address: ChallengeAddress
    generation: int

    @property
    def name(self) -> str:
        """What it is called on the list, and what its number is sealed for."""
        return f"{self.address.challenge_id}:{self.generation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLookup:
    """
    A trace and how the delivery of its code stands.

    Attributes:
        rows: Ids of rows that are to be deleted; without them the message has not been found yet, and with them the
            fields about the code are empty.
        sealed: The number.
        wall_at: When the send began, Unix milliseconds.
        delivery: None when nobody asks for it any more: the challenge is gone, or a newer code is on its way.
        age_ms: Since the send began.
        left_ms: Until its end; below 0 afterwards.
    """

    rows: Sequence[int]
    sealed: str = field(repr=False)
    digest: str = field(repr=False)
    kid: str
    caller: str
    purpose: str
    binding: str
    wall_at: int
    delivery: DeliveryStatus | None
    age_ms: int
    left_ms: int


@dataclass(frozen=True, slots=True)
class Sending:
    """Its message is being sent just now; look again after `wait_ms`."""

    wait_ms: int


class DeliveryLookups:
    """The traces as their workers see them."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def claim(self, keyring: Keyring, *, lease_ms: int) -> AsyncIterator[DeliveryLookup]:
        """
        Yield what is due; whatever is not put off or forgotten within the lease is due again.

        Raises:
            Unavailable: nothing could be looked at. A node that is away hides only its own.
        """
        faults = []
        for bucket in range(BUCKETS):
            try:
                answer = await self._scripts.run(
                    "claim_due",
                    [keys.traces(bucket)],
                    {"lease_ms": lease_ms, "longest_ms": LONGEST_WAIT_MS, "count": CLAIMED_AT_ONCE},
                )
            except Unavailable as error:
                faults.append(error)
                continue
            for member in answer["members"]:
                challenge_id, _, generation = str(member).rpartition(":")
                address = address_of(keyring, challenge_id)
                if address is not None:  # else of another ring; it ends with its list
                    yield DeliveryLookup(address, int(generation))
        if len(faults) == BUCKETS:
            raise faults[0]

    async def open(self, trace: DeliveryLookup) -> OpenLookup | Sending | None:
        """Return what a trace says, or None when it is gone. Raises Unavailable."""
        answer = await self._run("open_trace", trace, keys.challenge(trace.address))
        match answer["verdict"]:
            case "open":
                return _opened(answer)
            case "sending":
                return Sending(int(answer["wait_ms"]))
            case _:
                return None

    async def settle(
        self,
        trace: DeliveryLookup,
        delivery: DeliveryStatus | None,
        reason: str,
        *,
        certain: bool,
        rows: Sequence[int],
    ) -> bool:
        """
        Write what became of the delivery if nobody knew; whether that was so.

        Args:
            trace: Its message was found.
            delivery: Accepted or failed; None when the site uses another word.
            reason: A stable word, or "".
            certain: Whether that corrects a delivery that the site said to have accepted.
            rows: What is still to be deleted; without any the trace goes.

        Raises:
            Unavailable: Redis.
        """
        answer = await self._run(
            "settle_trace",
            trace,
            keys.challenge(trace.address),
            delivery=delivery or "",
            reason=reason,
            certain=certain,
            rows=",".join(map(str, rows)),
            keep_ms=ROWS_KEPT_MS,
        )
        return bool(answer["verdict"] == "settled")

    async def remember_missing(self) -> None:
        """Keep for a day that messages which the site accepted leave no row. Raises Unavailable."""
        await self._scripts.mark(keys.outbox_seen(ROWS_MISSING), _REMEMBERED_SECONDS)

    async def remembers_missing(self) -> bool:
        """Whether that was seen within a day. Raises Unavailable."""
        return await self._scripts.exists(keys.outbox_seen(ROWS_MISSING))

    async def put_off(self, trace: DeliveryLookup, wait_ms: int) -> None:
        """Look again later. Raises Unavailable."""
        await self._leave(trace, max(0, wait_ms))

    async def forget(self, trace: DeliveryLookup) -> None:
        """It has done its duty. Raises Unavailable."""
        await self._leave(trace, -1)

    async def _leave(self, trace: DeliveryLookup, wait_ms: int) -> None:
        own = [
            keys.trace(trace.address, trace.generation),
            keys.traces(trace.address.subject.bucket),
        ]
        await self._scripts.run("leave_trace", own, {"member": trace.name, "wait_ms": wait_ms})

    async def _run(
        self,
        script: str,
        trace: DeliveryLookup,
        *first: str,
        **args: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        bucket = trace.address.subject.bucket
        own = [keys.trace(trace.address, trace.generation), keys.traces(bucket)]
        if script == "settle_trace":
            own += [keys.events(bucket), keys.timeline(trace.address.subject)]
        told = {"id": trace.address.challenge_id, "generation": trace.generation}
        return await self._scripts.run(script, [*first, *own], {**told, **args})


def _opened(answer: Mapping[str, Any]) -> OpenLookup:
    fields = answer["trace"]
    return OpenLookup(
        rows=[int(row) for row in fields.get("rows", "").split(",") if row],
        sealed=fields.get("number", ""),
        digest=fields.get("digest", ""),
        kid=fields.get("kid", ""),
        caller=fields.get("caller", ""),
        purpose=fields.get("purpose", ""),
        binding=fields.get("binding", ""),
        wall_at=int(fields.get("wall_at", 0)),
        delivery=DeliveryStatus(answer["delivery"]) if answer["delivery"] else None,
        age_ms=int(answer["age_ms"]),
        left_ms=int(answer["left_ms"]),
    )
