"""
Delivery of webhook messages: signed, retried with growing pauses for three days, then kept as dead letters.

An endpoint has one turn at a time, of one worker: in it one message goes out, then two, four, eight at once as long as
the endpoint takes them; what fails ends the turn. So one that is slow or away costs little and holds up nobody else.

At most half of the places go to endpoints whose last try failed, and at most half to the endpoints of one caller.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable

import structlog

from otp_service.channels.webhooks import Reply, WebhookChannel, WebhookConnection
from otp_service.core import events
from otp_service.core.events import Message
from otp_service.core.keyring import Keyring
from otp_service.core.seal import SealBroken
from otp_service.errors import Unavailable
from otp_service.services.loops import end
from otp_service.store.outgoing import Outgoing, Record
from otp_service.store.webhooks import Endpoint, Webhooks
from otp_service.telemetry import WEBHOOKS, WEBHOOKS_WAITING

log = structlog.get_logger()

RETRY_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)  # Standard Webhooks
JITTER = 0.1  # a pause is up to so much longer
TURN_SECONDS = 15.0  # after which no more messages are begun
LEASE_MS = 40_000  # longer than a turn and the deadline of its last messages
WIDEST = 8  # messages of one endpoint at once
POLL_SECONDS = 1.0
GAUGE_SECONDS = 15.0


def pause_ms(tries: int) -> int | None:
    """Return the milliseconds after so many failed tries until the next one, jitter included; None for no more."""
    if tries > len(RETRY_SECONDS):
        return None
    return int(RETRY_SECONDS[tries - 1] * 1000 * (1 + JITTER * random.random()))  # noqa: S311


class WebhookWorker:
    """
    Sends to endpoints in turn, `concurrency` at a time. Start it with `start`, end it with `stop`.

    Args:
        woken: Set when there may be something new.
        clock: Unix seconds, for the time in signatures.
    """

    def __init__(
        self,
        *,
        keyring: Callable[[], Keyring],
        webhooks: Webhooks,
        outgoing: Outgoing,
        channel: WebhookChannel,
        woken: asyncio.Event,
        concurrency: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keyring = keyring
        self._webhooks = webhooks
        self._outgoing = outgoing
        self._channel = channel
        self._woken = woken
        self._concurrency = concurrency
        self._half = max(1, concurrency // 2)
        self._clock = clock
        self._stopping = False
        self._loops: list[asyncio.Task[None]] = []
        self._turns: dict[asyncio.Task[None], tuple[str, bool]] = {}  # caller, whether failing

    async def start(self) -> None:
        """Begin to send."""
        self._stopping = False
        self._loops = [asyncio.create_task(self._run()), asyncio.create_task(self._measure())]

    async def stop(self) -> None:
        """Begin no more turns, finish the messages that are being sent."""
        self._stopping = True
        await end(self._loops)
        await asyncio.gather(*self._turns, return_exceptions=True)

    async def run_due(self) -> int:
        """Give every endpoint that is due its turn, and wait for them; return how many. Raises Unavailable."""
        claimed = await self._claim()
        await asyncio.gather(*(self._turn(name) for name, _ in claimed))
        return len(claimed)

    async def _claim(self) -> list[tuple[str, bool]]:
        free = self._concurrency - len(self._turns)
        if not free:
            return []
        return await self._outgoing.claim(
            lease_ms=LEASE_MS,
            count=free,
            failing=self._half - sum(failing for _, failing in self._turns.values()),
            share=self._half,
            busy=Counter(caller for caller, _ in self._turns.values()),
        )

    async def _run(self) -> None:
        while not self._stopping:
            try:
                for name, failing in await self._claim():
                    task = asyncio.create_task(self._turn(name), name=name)
                    self._turns[task] = name.partition("/")[0], failing
                    task.add_done_callback(self._ended)
            except Unavailable as error:
                log.warning("webhook.claim_failed", error=error.detail)
            except Exception:
                log.exception("webhook.fault")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)
            self._woken.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._turns[task]
        self._woken.set()

    async def _measure(self) -> None:
        while not self._stopping:
            with contextlib.suppress(Unavailable):
                WEBHOOKS_WAITING.set(await self._outgoing.waiting())
            await asyncio.sleep(GAUGE_SECONDS)

    async def _turn(self, name: str) -> None:
        """Send what is due to one endpoint. Never raises: what is not settled is due again when the lease is over."""
        try:
            caller, _, endpoint_id = name.partition("/")
            endpoint = await self._find(caller, endpoint_id)
            if endpoint is None:
                await self._outgoing.forget(name)
                return
            pause, failed = await self._send_due(endpoint)
            await self._outgoing.rest(name, pause_ms=pause, failed=failed)
        except Unavailable as error:
            log.warning("webhook.interrupted", endpoint=name, error=error.detail)
        except Exception:
            log.exception("webhook.fault", endpoint=name)

    async def _find(self, caller: str, endpoint_id: str) -> Endpoint | None:
        found = await self._webhooks.of(self._keyring(), caller)
        return next((endpoint for endpoint in found if endpoint.id == endpoint_id), None)

    async def _send_due(self, endpoint: Endpoint) -> tuple[int, bool | None]:
        """Return the milliseconds to leave the endpoint alone, and whether its last try failed; None without a try."""
        end, width, failed = time.monotonic() + TURN_SECONDS, 1, None
        async with self._channel.line(endpoint.url) as line:
            while time.monotonic() < end and not self._stopping:
                due = await self._outgoing.take(endpoint.name, count=width)
                if not due:
                    return 0, failed
                if endpoint.off:
                    for message_id, record in due:
                        await self._bury(endpoint, message_id, record.tried(endpoint.off))
                    continue
                replies = await asyncio.gather(
                    *(self._try(endpoint, line, message_id, record) for message_id, record in due)
                )
                pauses = []
                for (message_id, record), reply in zip(due, replies, strict=True):
                    pauses.append(await self._settle(endpoint, message_id, record, reply))
                if any(reply is None or reply.gone for reply in replies):
                    return 0, failed
                if pause := max(pauses):
                    return pause, True
                failed = False
                width = min(width * 2, WIDEST)
        return 0, failed

    async def _try(
        self, endpoint: Endpoint, line: WebhookConnection, message_id: str, record: Record
    ) -> Reply | None:
        try:
            message = record.open(self._keyring(), message_id)
        except SealBroken:
            return None  # its key is gone, and will not come back
        return await line.post(message.body, self._headers(endpoint, message))

    def _headers(self, endpoint: Endpoint, message: Message) -> dict[str, str]:
        return events.headers(endpoint.secrets, message, now=self._clock())

    async def _settle(
        self, endpoint: Endpoint, message_id: str, record: Record, reply: Reply | None
    ) -> int:
        """Write how a try went; return the pause that a failure asks for, in ms."""
        tried = record.tried("unreadable" if reply is None else reply.reason)
        if reply is not None and reply.delivered:
            WEBHOOKS.labels("delivered").inc()
            await self._outgoing.settle(endpoint.name, message_id, tried, "delivered")
            return 0
        if reply is None:
            await self._bury(endpoint, message_id, tried)
            return 0
        log.info(
            "webhook.failed",
            endpoint=endpoint.id,
            caller=endpoint.caller,
            message_id=message_id,
            tries=tried.tries,
            reason=reply.reason,
        )
        if reply.gone:
            await self._webhooks.switch_off(endpoint, reply.reason)
            log.warning("webhook.switched_off", endpoint=endpoint.id, caller=endpoint.caller)
        pause = None if reply.gone else pause_ms(tried.tries)
        if pause is None:
            await self._bury(endpoint, message_id, tried)
            return RETRY_SECONDS[0] * 1000
        WEBHOOKS.labels("failed").inc()
        await self._outgoing.settle(endpoint.name, message_id, tried, "retry", delay_ms=pause)
        return min(pause, 60_000)

    async def _bury(self, endpoint: Endpoint, message_id: str, record: Record) -> None:
        WEBHOOKS.labels("dead").inc()
        await self._outgoing.settle(endpoint.name, message_id, record, "dead")
