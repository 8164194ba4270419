"""Readiness: reasons why no code can be requested now, and warnings."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from otp_service.channels.channel import Channel
from otp_service.errors import Unavailable
from otp_service.services.caller_tokens import CallerTokens
from otp_service.services.credit import CreditWatch
from otp_service.store.scripts import Scripts

Warnings = Mapping[str, str]


class Readiness:
    """
    Collects reasons and warnings from the parts of the service.

    Args:
        tokens: None without an issuer.
        opt_in: Returns why opt-in is refused now, or None.
        warnings: Each returns what one part of the service warns of now, by name.
    """

    def __init__(
        self,
        scripts: Scripts,
        channel: Channel,
        tokens: CallerTokens | None,
        credit: CreditWatch,
        opt_in: Callable[[], Awaitable[str | None]],
        warnings: Sequence[Callable[[], Warnings]] = (),
    ) -> None:
        self._scripts = scripts
        self._channel = channel
        self._tokens = tokens
        self._credit = credit
        self._opt_in = opt_in
        self._warnings = warnings

    async def __call__(self) -> tuple[Mapping[str, str], Warnings]:
        """Return what stands in the way of working now, and what is worth a warning, by part."""
        reasons: dict[str, str] = {}
        warnings = {name: told for part in self._warnings for name, told in part().items()}
        redis = await self._scripts.health()
        if redis.served == 0:
            reasons["redis"] = redis.trouble
        elif redis.served < redis.buckets:
            warnings["redis"] = f"serves {redis.served} of {redis.buckets} buckets: {redis.trouble}"
        if wait := self._channel.unavailable_for:
            warnings["sms"] = f"the WSMS site keeps failing; tried again in {round(wait)} s"
        if self._tokens is not None and (trouble := self._tokens.trouble):
            warnings["callers"] = trouble
        if not reasons and (low := await self._credit.low()):
            warnings["credit"] = low
        if not reasons and (misfit := await self._misfit()):
            warnings["opt_in"] = misfit
        return reasons, warnings

    async def _misfit(self) -> str | None:
        try:
            return await self._opt_in()
        except Unavailable:  # its node of a Redis Cluster is lost; the others serve codes
            return "opt-in is refused: Redis does not answer for what is known of the site"
