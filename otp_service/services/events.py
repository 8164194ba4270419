"""
Events for callers' webhooks.

What happens to a challenge or a factor is written to a stream by the script that changes it, and `EventRelay` turns it
into messages; what happens elsewhere is queued by `publish`. `flows.webhooks` hands the messages over.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from otp_service.core import events
from otp_service.core.challenge import fingerprint
from otp_service.core.envelopes import About
from otp_service.core.events import Message
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.seal import SealBroken
from otp_service.errors import Unavailable
from otp_service.services.loops import end
from otp_service.services.webhooks import WebhookWorker
from otp_service.store.outgoing import Outgoing, Record
from otp_service.store.streams import Entry, Streams
from otp_service.store.webhooks import Endpoint, Webhooks
from otp_service.telemetry import WEBHOOKS

log = structlog.get_logger()

GROUP = "webhooks"
MEMORY_SECONDS = 5.0
BLOCK_MS = 1000
IDLE_MS = 15_000
SWEEP_SECONDS = 15.0
_AT_ONCE = 16  # entries of one stream
_REMEMBERED = 10_000


class Events:
    """
    Publishes events to the webhook endpoints of callers.

    Args:
        clock: Unix seconds.
        steady: Any steady clock, seconds.
    """

    def __init__(
        self,
        *,
        keyring: Callable[[], Keyring],
        webhooks: Webhooks,
        outgoing: Outgoing,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keyring = keyring
        self._webhooks = webhooks
        self._outgoing = outgoing
        self._clock = clock
        self._steady = steady
        self._remembered: dict[str, tuple[float, Sequence[Endpoint]]] = {}
        self._callers: tuple[float, Sequence[str]] = (-MEMORY_SECONDS, ())
        self.queued = asyncio.Event()  # set when this process has queued something

    async def endpoints(self, caller: str) -> Sequence[Endpoint]:
        """Return a caller's endpoints as they were at most 5 seconds ago. Raises Unavailable."""
        now = self._steady()
        read_at, known = self._remembered.get(caller, (-MEMORY_SECONDS, ()))
        if now - read_at < MEMORY_SECONDS:
            return known
        known = await self._webhooks.of(self._keyring(), caller)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[caller] = (now, known)
        return known

    async def wanted(self, caller: str) -> bool:
        """Whether the caller has an active endpoint; if Redis does not answer, as last known."""
        try:
            return any(not endpoint.off for endpoint in await self.endpoints(caller))
        except Unavailable as error:
            log.warning("events.unknown_endpoints", caller=caller, error=error.detail)
            _, known = self._remembered.get(caller, (0, ()))
            return any(not endpoint.off for endpoint in known)

    async def of_subject(
        self, caller: str, subject: str, event_id: str
    ) -> Mapping[str, str] | None:
        """
        Return what a script needs to tell of what happens to a person, or None when nobody wants to know.

        Args:
            caller: Whose endpoints.
            subject: The caller's id of the person.
            event_id: Any id of this one event.
        """
        if not await self.wanted(caller):
            return None
        about = About(subject=subject, client_ref=None).seal(self._keyring(), event_id)
        return {"id": event_id, "caller": caller, "about": about}

    async def publish(self, caller: str, event: str, data: Mapping[str, Any]) -> None:
        """
        Tell a caller of something.

        Args:
            caller: Whose endpoints.
            event: Its type.
            data: JSON; without numbers, codes and keys, since it leaves the house.

        Raises:
            Unavailable: Redis; some endpoints may not hear of it.
        """
        at = int(self._clock() * 1000)
        payload = events.body(event, at, {"caller": caller, **data})
        message = Message(f"msg_{secrets.token_hex(16)}", event, payload)
        await self.queue(message, await self.endpoints(caller), at=at)

    async def announce(self, caller: str, event: str, data: Mapping[str, Any]) -> None:
        """As `publish`, for what has happened whether or not it can be told: a fault is logged."""
        try:
            await self.publish(caller, event, data)
        except Unavailable as error:
            log.warning("events.lost", caller=caller, type=event, error=error.detail)

    async def broadcast(self, event: str, data: Mapping[str, Any]) -> None:
        """Tell every caller whose endpoints want to know. Raises Unavailable."""
        now = self._steady()
        if now - self._callers[0] >= MEMORY_SECONDS:
            self._callers = (now, await self._webhooks.callers())
        for caller in self._callers[1]:
            if any(endpoint.wants(event) for endpoint in await self.endpoints(caller)):
                await self.publish(caller, event, data)

    async def queue(self, message: Message, endpoints: Sequence[Endpoint], *, at: int) -> None:
        """Queue a message for each endpoint that wants it, once. Raises Unavailable."""
        record = None
        for endpoint in endpoints:
            if endpoint.wants(message.type):
                record = record or Record.of(self._keyring(), message, at=at)
                buried = await self._outgoing.enqueue(endpoint.name, message.id, record)
                if buried:
                    WEBHOOKS.labels("dropped").inc(buried)
                    log.warning("webhook.queue_full", endpoint=endpoint.id, dropped=buried)
        if record is not None:
            self.queued.set()


class EventRelay:
    """
    Turns entries of the event streams into webhook messages.

    Start it with `start`, end it with `stop`: what is being sent is finished, all else stays for other workers.
    """

    def __init__(
        self,
        *,
        keyring: Callable[[], Keyring],
        streams: Streams,
        events: Events,
        worker: WebhookWorker,
    ) -> None:
        self._keyring = keyring
        self._streams = streams
        self._events = events
        self._worker = worker
        self._stopping = False
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to read the streams and to send."""
        self._stopping = False
        self._loops = [
            asyncio.create_task(self._read(group)) for group in self._streams.reading_groups
        ]
        self._loops.append(asyncio.create_task(self._sweep()))
        await self._worker.start()

    async def stop(self) -> None:
        """Read no more, finish what is being sent."""
        self._stopping = True
        await end(self._loops)
        await self._worker.stop()
        try:
            await self._streams.leave()
        except Unavailable as error:
            log.warning("events.leave_failed", error=error.detail)

    async def relay(self, entry: Entry) -> None:
        """
        Queue what an entry tells, and take it off its stream.

        Raises:
            Unavailable: Redis; the entry stays and is relayed again, under the same id.
        """
        message = self._message(entry)
        if message is not None:
            endpoints = await self._events.endpoints(entry.fields["caller"])
            await self._events.queue(message, endpoints, at=int(entry.fields["at"]))
        await self._streams.take_out(entry.stream, entry.entry_id)

    def _message(self, entry: Entry) -> Message | None:
        keyring, fields = self._keyring(), entry.fields
        try:
            # A factor of before the service kept whose it is has nothing to open.
            about = (
                About.open(keyring, fields["about"], fields["id"])
                if fields["about"]
                else About(subject=None, client_ref=None)
            )
            of_challenge = "purpose" in fields
            data = (events.challenge_data if of_challenge else events.subject_data)(fields, about)
            payload = events.body(fields["type"], int(fields["at"]), data)
        except (SealBroken, KeyError, ValueError, TypeError) as error:
            log.warning("events.unreadable", stream=entry.stream, error=type(error).__name__)
            return None
        key = keyring.active(Kind.NAME)
        name = fingerprint(key, "event/v1", entry.stream, entry.entry_id)
        return Message(f"msg_{name}", fields["type"], payload)

    async def _read(self, names: Sequence[str]) -> None:
        while not self._stopping:
            try:
                for entry in await self._streams.read(names, count=_AT_ONCE, block_ms=BLOCK_MS):
                    await self.relay(entry)
            except Unavailable as error:
                log.warning("events.read_failed", error=error.detail)
                await asyncio.sleep(0.5)
            except Exception:  # a loop that ends silently would leave every event untold
                log.exception("events.fault")
                await asyncio.sleep(0.5)

    async def _sweep(self) -> None:
        while not self._stopping:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                for entry in await self._streams.claim_idle(idle_ms=IDLE_MS):
                    await self.relay(entry)
            except Unavailable as error:
                log.warning("events.sweep_failed", error=error.detail)
            except Exception:
                log.exception("events.fault")
