"""Stored challenges: their status, and their end without success."""

from dataclasses import dataclass

from otp_service.core.challenge import ChallengeAddress, DeliveryStatus, Status
from otp_service.store import keys
from otp_service.store.refusals import refusal
from otp_service.store.scripts import Scripts

FACTOR = "sms"


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
    """Reads and ends stored challenges."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

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
            [*keys.of_challenge(address), keys.timeline(address.subject)],
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
