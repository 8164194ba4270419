"""SMS by the send endpoint of a WSMS site: one number a call, and the truth about what is known afterwards."""

import time
from collections.abc import Callable

from otp_service.channels.channel import Outcome
from otp_service.core.challenge import DeliveryStatus
from otp_service.telemetry import BREAKER_OPEN, DELIVERY_SECONDS
from otp_service.wsms.client import WsmsClient
from otp_service.wsms.outcome import Accepted, Json, Refused, Unknown


class WsmsChannel:
    """
    The `sms` channel.

    Args:
        client: Of one site; entered by whoever composes the service.
        deadline: Seconds for one delivery, connecting included.
        on_balance: Told what the gateway says is left, each time it says so; must not wait.
    """

    name = "sms"

    def __init__(
        self,
        client: WsmsClient,
        *,
        deadline: float,
        on_balance: Callable[[Json], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._on_balance = on_balance
        self.deadline = deadline

    @property
    def unavailable_for(self) -> float:
        breaker = self._client.breaker
        return breaker.retry_after if breaker.is_open else 0.0

    async def deliver(self, *, to: str, text: str, sender: str) -> Outcome:
        began = time.monotonic()
        outcome = await self._client.send(
            message=text, numbers=to, sender=sender, deadline=self.deadline
        )
        DELIVERY_SECONDS.labels(self.name).observe(time.monotonic() - began)
        BREAKER_OPEN.labels(self.name).set(1 if self._client.breaker.is_open else 0)
        match outcome:
            case Accepted(balance=balance):
                self._on_balance(balance)
                return Outcome(DeliveryStatus.ACCEPTED)
            case Refused(reason=refused):
                return Outcome(DeliveryStatus.FAILED, refused.value)
            case Unknown(reason=unknown):
                return Outcome(DeliveryStatus.UNKNOWN, unknown.value)
