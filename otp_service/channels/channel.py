"""The interface of a delivery channel."""

from dataclasses import dataclass
from typing import Protocol

from otp_service.core.challenge import DeliveryStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The outcome of one delivery.

    Attributes:
        status: `accepted`, `failed` (it provably never reached the gateway) or `unknown` (anything else).
        reason: A stable word; "" when accepted.
    """

    status: DeliveryStatus
    reason: str = ""


class Channel(Protocol):
    """A delivery channel."""

    @property
    def name(self) -> str:
        """The word in the API: `sms`."""
        ...

    @property
    def deadline(self) -> float:
        """Seconds after which `deliver` has returned, whatever happens."""
        ...

    @property
    def unavailable_for(self) -> float:
        """Seconds for which it is not used since it kept failing; 0 while it is."""
        ...

    async def deliver(self, *, to: str, text: str, sender: str) -> Outcome:
        """
        Hand one message over, at most once. Never raises for what the other side does.

        `sender` is what the provider is given as such; "" is its default.
        """
        ...
