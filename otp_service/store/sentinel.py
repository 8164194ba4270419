"""
Connections to the primary that Sentinel names.

redis-py (8.1.0) asks Sentinel only when it opens a connection, so a process whose connections work keeps a primary that
every Sentinel has replaced: both accept the same code. Here the pool asks every second and closes what leads elsewhere.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from redis.asyncio.connection import Connection
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from otp_service.store.node import Pool

log = structlog.get_logger()

LOOK_SECONDS = 1.0

# Part of a look in which every Sentinel may still answer. A command waits one second for a connection by default, and a
# Sentinel on a host that just died answers never.
_SHARE_FOR_ALL = 0.3

Address = tuple[str, int]
_State = dict[str, Any]


class NoSentinelAnswers(MasterNotFoundError):
    """No Sentinel could be asked, or none knows the service."""


class Sentinels(Sentinel):
    """redis-py's Sentinel client, but it asks all of them instead of believing the first that answers."""

    def __init__(
        self, hosts: Sequence[Address], *, seconds: float, sentinel_kwargs: dict[str, Any]
    ) -> None:
        """`seconds` bounds how long one look waits for answers."""
        super().__init__(hosts, sentinel_kwargs=sentinel_kwargs)  # type: ignore[no-untyped-call]
        self.seconds = seconds
        self._asking: dict[Any, asyncio.Task[None]] = {}
        self._answers: dict[Any, tuple[float, _State]] = {}

    async def discover_master(self, service_name: str) -> Address:
        """
        Return the address of the primary.

        Sentinels that were cut off still name the old primary. The configuration with the highest epoch wins, as among
        Sentinels themselves: a majority has voted for it, so one Sentinel that knows it is enough.

        Raises:
            NoSentinelAnswers.
            MasterNotFoundError: Sentinel holds it for down and is about to promote another one. The view of one
                Sentinel is not enough: it may be the one that is cut off.
        """
        await self._ask_all(service_name)
        states = self._answered_since(time.monotonic() - 2 * LOOK_SECONDS)
        if not states:
            raise NoSentinelAnswers(f"no Sentinel answers for {service_name}")
        newest = _address(max(states, key=lambda state: int(state["config-epoch"])))
        naming = [state for state in states if _address(state) == newest]
        if _is_down(naming):
            raise MasterNotFoundError(f"Sentinel holds the primary of {service_name} for down")
        return newest

    async def stop_asking(self) -> None:
        """Cancel what still waits for an answer."""
        asks = list(self._asking.values())
        for ask in asks:
            ask.cancel()
        await asyncio.gather(*asks, return_exceptions=True)

    async def _ask_all(self, service_name: str) -> None:
        """
        Ask every Sentinel, and wait a moment for all of them, then only for a majority.

        A late Sentinel is not asked again and its connection stays: its answer counts in the next look.
        """
        for sentinel in self.sentinels:
            if sentinel not in self._asking:
                self._asking[sentinel] = asyncio.create_task(self._ask(sentinel, service_name))
        start = time.monotonic()
        moment = _SHARE_FOR_ALL * min(self.seconds, LOOK_SECONDS)
        _, late = await asyncio.wait(self._asking.values(), timeout=moment)
        while late and len(self._answered_since(start)) <= len(self.sentinels) / 2:
            left = start + self.seconds - time.monotonic()
            if left <= 0:
                break
            _, late = await asyncio.wait(late, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _ask(self, sentinel: Any, service_name: str) -> None:  # noqa: ANN401
        try:
            with suppress(RedisError, OSError):
                state = await sentinel.execute_command("SENTINEL MASTER", service_name)
                self._answers[sentinel] = time.monotonic(), state
        finally:
            del self._asking[sentinel]

    def _answered_since(self, start: float) -> list[_State]:
        return [state for at, state in self._answers.values() if at >= start]


class _SentinelConnection(SentinelManagedConnection):
    # `Node` handles READONLY, for the whole pool and without hiding what it was.
    read_response = Connection.read_response  # type: ignore[assignment]

    async def _connect_retry(self) -> None:
        await super()._connect_retry()  # type: ignore[no-untyped-call]
        if self.connection_pool.master_address != (self.host, self.port):
            await self.disconnect(nowait=True)
            raise RedisConnectionError("Sentinel named another primary meanwhile")


class SentinelPool(Pool, SentinelConnectionPool):
    """A pool whose connections all lead to the primary that Sentinel named a second ago."""

    master_address: Address | None

    def __init__(self, service_name: str, sentinels: Sentinels, **options: Any) -> None:  # noqa: ANN401
        super().__init__(
            service_name=service_name,
            sentinel_manager=sentinels,
            connection_class=_SentinelConnection,
            **options,
        )
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._watching: asyncio.Task[None] | None = None
        self._silent = False

    async def get_connection(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        self._watching = self._watching or asyncio.create_task(self._watch())
        return await super().get_connection()

    async def get_master_address(self) -> Address:
        """Return the primary's address; ask Sentinel unless that was done a moment ago. Raises MasterNotFoundError."""
        if not self._is_fresh():
            async with self._looking:
                if not self._is_fresh():
                    await self._look()
        if self.master_address is None:
            raise MasterNotFoundError(f"no primary of {self.service_name} is known")
        return self.master_address

    def distrust(self) -> None:
        super().distrust()
        self._looked_at = float("-inf")

    async def aclose(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self.sentinel_manager.stop_asking()
        await super().aclose()

    def _is_fresh(self) -> bool:
        """Whether the last look is as recent as `_watch` makes it, also if the next one takes all its time."""
        look_seconds: float = self.sentinel_manager.seconds
        return time.monotonic() - self._looked_at <= 2 * LOOK_SECONDS + look_seconds

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(RedisError, OSError):
                async with self._looking:
                    await self._look()

    async def _look(self) -> None:
        """
        Ask Sentinel, and close every connection when the primary is another one or is held for down.

        If no Sentinel answers, the last primary stays: an outage of Sentinel alone must not be one of every login, and
        a primary that was cut off with us refuses writes itself, by min-replicas-to-write.
        """
        try:
            found: Address | None = await self.sentinel_manager.discover_master(self.service_name)
        except NoSentinelAnswers:
            if not self._silent:
                log.warning("redis.sentinels_silent", service=self.service_name)
            self._silent, self._looked_at = True, time.monotonic()
            return
        except MasterNotFoundError:
            found = None
        self._silent, self._looked_at = False, time.monotonic()
        before, self.master_address = self.master_address, found
        if before not in (None, found):
            log.warning("redis.primary_left", host=before[0], port=before[1])
            await self._close_all()

    async def _close_all(self) -> None:
        """Calls on these connections fail: their answers come from a primary that no longer counts."""
        for connection in (*self._available_connections, *self._in_use_connections):
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)


def _is_down(naming: list[_State]) -> bool:
    """Whether a quorum holds the primary for down, or a majority of all Sentinels, those that are silent included."""
    known: int = max(len(naming), *(state["num-other-sentinels"] + 1 for state in naming))
    down: int = sum(state["is_sdown"] for state in naming)
    by_quorum = any(state["is_odown"] for state in naming)
    return by_quorum or down > known / 2


def _address(state: _State) -> Address:
    return str(state["ip"]), int(state["port"])
