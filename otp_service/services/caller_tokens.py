"""
Callers' tokens: checked by the issuer's keys, which are fetched seldom and kept well.

A set is fetched anew after `REFRESH_SECONDS`, beside the calls; for an unknown key at most once in `PAUSE_SECONDS`,
however many tokens ask. While the issuer is away or answers nonsense the last good set goes on to hold, for
`KEPT_SECONDS` from when it came; after that tokens are not checked but refused, with a 503.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from otp_service.channels.key_set import JwksUnavailable
from otp_service.core.caller_tokens import TokenClaims, TokenRefused, TokenRules, peek, verify
from otp_service.core.issuer_keys import IssuerKey, KeySetUnusable, read_key_set
from otp_service.errors import Unavailable
from otp_service.telemetry import KEY_SET_FETCHES

log = structlog.get_logger()

REFRESH_SECONDS = 600.0
PAUSE_SECONDS = 60.0
RETRY_SECONDS = 5.0  # while no set is held at all
KEPT_SECONDS = 86_400.0


class CallerTokens:
    """
    Checks tokens.

    Args:
        rules: What they must say.
        fetch: Returns the issuer's key set, or raises JwksUnavailable.
        clock: Unix seconds.
        steady: Any steady clock, seconds.
    """

    def __init__(
        self,
        rules: TokenRules,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._fetch = fetch
        self._clock = clock
        self._steady = steady
        self._keys: Mapping[str, IssuerKey] = {}
        self._fetched_at = -KEPT_SECONDS
        self._tried_at = -KEPT_SECONDS
        self._fetching = asyncio.Lock()
        self._beside: asyncio.Task[None] | None = None

    async def read(self, token: str) -> TokenClaims:
        """
        Return what the token says.

        Raises:
            TokenRefused: and nothing in it is to be believed.
            Unavailable: there are no keys to check it by.
        """
        kid = peek(token, self._rules).kid
        key = await self._find(kid)
        if key is None:
            raise TokenRefused("unknown_key")
        return verify(token, key, self._rules, now=self._clock())

    @property
    def trouble(self) -> str | None:
        """What an operator should know of the issuer's keys, or None."""
        if not self._keys or self._age < 2 * REFRESH_SECONDS or self._tried_at <= self._fetched_at:
            return None
        return f"the issuer's keys could not be fetched for {round(self._age / 60)} min"

    async def stop(self) -> None:
        """Cancel a fetch that runs in the background."""
        if self._beside is not None:
            self._beside.cancel()
            await asyncio.gather(self._beside, return_exceptions=True)

    @property
    def _age(self) -> float:
        return self._steady() - self._fetched_at

    async def _find(self, kid: str) -> IssuerKey | None:
        if not self._held:
            await self._refresh(RETRY_SECONDS)
            if not self._held:
                raise Unavailable("the issuer's keys are away", retry_after=int(RETRY_SECONDS))
        if kid not in self._keys:
            await self._refresh(PAUSE_SECONDS)
        elif self._age >= REFRESH_SECONDS and (self._beside is None or self._beside.done()):
            self._beside = asyncio.create_task(self._refresh(PAUSE_SECONDS))
        return self._keys.get(kid)

    @property
    def _held(self) -> bool:
        return bool(self._keys) and self._age < KEPT_SECONDS

    async def _refresh(self, pause: float) -> None:
        """Fetch, at most once in `pause` seconds; concurrent calls share one fetch."""
        async with self._fetching:
            if self._steady() - self._tried_at < pause:
                return
            self._tried_at = self._steady()
            try:
                self._keys = read_key_set(await self._fetch())
            except (JwksUnavailable, KeySetUnusable) as error:
                outcome = "away" if isinstance(error, JwksUnavailable) else "unusable"
                KEY_SET_FETCHES.labels(outcome).inc()
                log.warning("callers.key_set_refused", outcome=outcome, why=str(error))
                return
            self._fetched_at = self._steady()
            KEY_SET_FETCHES.labels("good").inc()
