"""Whether a code could be requested now, and what deserves a look."""

from collections.abc import Mapping

from otp_service.channels.channel import Channel
from otp_service.flows.caller_tokens import CallerTokens
from otp_service.flows.credit import CreditWatch
from otp_service.store.scripts import Scripts


class Readiness:
    """
    What the parts of the service say of themselves.

    Args:
        tokens: None without an issuer.
    """

    def __init__(
        self, scripts: Scripts, channel: Channel, tokens: CallerTokens | None, credit: CreditWatch
    ) -> None:
        self._scripts = scripts
        self._channel = channel
        self._tokens = tokens
        self._credit = credit

    async def __call__(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return what stands in the way of working now, and what is worth a warning, by part."""
        reasons, warnings = {}, {}
        if not await self._scripts.answers():
            reasons["redis"] = "does not answer"
        if wait := self._channel.unavailable_for:
            warnings["sms"] = f"the WSMS site keeps failing; tried again in {round(wait)} s"
        if self._tokens is not None and (trouble := self._tokens.trouble):
            warnings["callers"] = trouble
        if not reasons and (low := await self._credit.low()):
            warnings["credit"] = low
        return reasons, warnings
