"""The status of a caller's challenge: read it, wait for its delivery, cancel it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from otp_service.core.challenge import DeliveryStatus, Status
from otp_service.core.keyring import Keyring
from otp_service.services.challenge_ids import about_behind, address_behind
from otp_service.store.challenges import Challenges, View

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The status of a challenge."""

    challenge_id: str
    client_ref: str | None
    view: View


class ChallengeStatusReader:
    """Reads, awaits and cancels challenges of every method."""

    def __init__(self, *, keyring: Callable[[], Keyring], challenges: Challenges) -> None:
        self._keyring = keyring
        self._challenges = challenges

    async def look(self, caller: str, challenge_id: str) -> Standing:
        """
        Return how a challenge stands or ended; never a code, a number or a proof.

        Raises:
            ChallengeNotFound, Unavailable.
        """
        keyring = self._keyring()
        address = address_behind(keyring, challenge_id)
        view = await self._challenges.view(address, caller=caller)
        about = about_behind(keyring, view.about, challenge_id)
        return Standing(challenge_id=challenge_id, client_ref=about.client_ref, view=view)

    async def wait_for_delivery(
        self, caller: str, challenge_id: str, seconds: float
    ) -> tuple[DeliveryStatus, str]:
        """Return how the delivery stands once it is settled, or after so many seconds. Raises Unavailable."""
        address = address_behind(self._keyring(), challenge_id)
        end, pause = time.monotonic() + seconds, 0.02
        while True:
            view = await self._challenges.view(address, caller=caller)
            left = end - time.monotonic()
            if view.delivery.settled or view.status is not Status.PENDING or left <= 0:
                return view.delivery, view.delivery_reason
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.4)

    async def cancel(self, caller: str, challenge_id: str) -> tuple[Status, int]:
        """
        End a challenge; return how and when it ended, also if it had before.

        Raises:
            ChallengeNotFound, Unavailable.
        """
        address = address_behind(self._keyring(), challenge_id)
        ended = await self._challenges.end(address, caller=caller, status=Status.CANCELED)
        log.info("challenge.canceled", caller=caller, challenge_id=challenge_id, status=ended[0])
        return ended
