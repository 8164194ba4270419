"""
Monitoring of the SMS gateway's credit.

Each send tells the balance; every ten minutes one process asks the site what it remembers, where the user may. An
amount of 0 may also be a failed query (contract 3.1, quirk 8), so it counts only when the gateway itself was asked.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

import structlog

from otp_service.errors import Unavailable
from otp_service.services.loops import end
from otp_service.store.credit import CreditStore
from otp_service.telemetry import CREDIT, CREDIT_SEEN
from otp_service.wsms.credit import Credit, CreditCalls, CreditKind, parse_balance
from otp_service.wsms.errors import CapabilityMissing, GatewayRefused, WsmsError
from otp_service.wsms.outcome import Json

log = structlog.get_logger()

POLL_SECONDS = 600
FIRST_POLL_SECONDS = 60.0  # after the start, which must not hang on the site
PAUSE_SECONDS = 1.0  # between two reports of what sends tell
WELL_ABOVE = Decimal(
    "1.1"
)  # times the warning: from there on the credit may fall below it again, and be told of again

Tell = Callable[[str, Mapping[str, object]], Awaitable[None]]


class CreditWatch:
    """
    Watches the credit. Start it with `start`, end it with `stop`.

    Args:
        warn_below: In the gateway's own unit; None: the amount is only measured.
        tell: Called once for each time that the credit falls below it, with the event's type and data.
    """

    def __init__(
        self,
        *,
        calls: CreditCalls,
        store: CreditStore,
        warn_below: float | None,
        tell: Tell,
    ) -> None:
        self._calls = calls
        self._store = store
        self._warn_below = warn_below
        self._tell = tell
        self._allowed = True
        self._news: Credit | None = None
        self._doubt = False
        self._woken = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    def seen(self, balance: Json) -> None:
        """Take note of what a send told. Never waits."""
        self._note(parse_balance(balance), certain=False)

    async def start(self) -> None:
        """Begin to watch."""
        self._loops = [asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """Leave off."""
        await end(self._loops)

    async def low(self) -> str | None:
        """Return a warning if any process has seen a low balance, else None."""
        if self._warn_below is None:
            return None
        try:
            last = await self._store.last()
        except Unavailable:
            return None
        if last is None or not last.low:
            return None
        left = f"{last.amount} {last.unit}".strip()
        return f"the SMS gateway says that {left} is left; the warning is at {self._warn_below:g}"

    async def report(self) -> None:
        """Store a new balance for all processes, and emit the event of a low one. Raises Unavailable."""
        news, self._news = self._news, None
        if news is None or news.amount is None:
            return
        verdict = await self._store.see(
            f"{news.amount:f}",
            news.unit or "",
            warn_below=self._warn_below,
            well_above=float(Decimal(str(self._warn_below or 0)) * WELL_ABOVE),
        )
        if verdict == "low":
            log.warning("credit.low", amount=f"{news.amount:f}", warn_below=self._warn_below)
            await self._tell(
                "credit.low",
                {
                    "amount": f"{news.amount:f}",
                    "unit": news.unit,
                    "warn_below": self._warn_below,
                },
            )
            await self._store.told()
        elif verdict == "recovered":
            log.info("credit.recovered", amount=f"{news.amount:f}")

    async def poll(self) -> None:
        """Ask the site, if it is this process's turn; the gateway itself, if there is doubt. Raises Unavailable."""
        if not self._allowed or not await self._store.take_turn(
            "credit", every_ms=POLL_SECONDS * 1000
        ):
            return
        try:
            self._note(await self._calls.stored(), certain=False)
            if self._doubt:
                self._doubt = False
                self._note(await self._calls.refresh(), certain=True)
        except CapabilityMissing:
            self._allowed = False
            log.warning("credit.not_allowed", advice="give the user wpsms_setting, or do without")
        except GatewayRefused:
            CREDIT_SEEN.labels("failed").inc()  # so the 0 was no credit
        except WsmsError as error:
            log.warning("credit.unavailable", error=type(error).__name__)

    def _note(self, credit: Credit, *, certain: bool) -> None:
        doubtful = credit.doubtful and not certain
        CREDIT_SEEN.labels("doubtful" if doubtful else credit.kind).inc()
        if doubtful:
            self._doubt = True
        elif credit.kind is CreditKind.AMOUNT and credit.amount is not None:
            CREDIT.set(float(credit.amount))
            self._news = credit
            self._woken.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_poll = loop.time() + FIRST_POLL_SECONDS
        while True:
            self._woken.clear()
            try:
                await self.report()
                if loop.time() >= next_poll:
                    next_poll = loop.time() + FIRST_POLL_SECONDS
                    await self.poll()
                    await self.report()
            except Unavailable as error:
                log.warning("credit.interrupted", error=error.detail)
            except Exception:
                log.exception("credit.fault")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_poll - loop.time())):
                    await self._woken.wait()
                    await asyncio.sleep(PAUSE_SECONDS)
