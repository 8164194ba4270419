"""
Connections to the primary that Sentinel names, for as long as Sentinel names it.

redis-py (8.1.0) asks Sentinel only when it opens a connection, so a process whose connections work keeps a primary that
every Sentinel has replaced: both accept the same code. Here the pool asks every second and closes what leads elsewhere.
"""

import asyncio
import time
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

Address = tuple[str, int]


class NoSentinelAnswers(MasterNotFoundError):
    """No Sentinel could be asked, or none knows the service."""


class Sentinels(Sentinel):
    """redis-py's Sentinel client, but it asks all of them instead of believing the first that answers."""

    async def discover_master(self, service_name: str) -> Address:
        """
        Return the address of the primary.

        Sentinels that were cut off still name the old primary. The configuration with the highest epoch wins, as among
        Sentinels themselves: a majority has voted for it, so one Sentinel that knows it is enough.

        Raises:
            NoSentinelAnswers.
            MasterNotFoundError: most Sentinels that name it hold it for down. They are about to promote another one.
        """
        answers = await asyncio.gather(
            *(_state(sentinel, service_name) for sentinel in self.sentinels),
            return_exceptions=True,
        )
        states = [answer for answer in answers if isinstance(answer, dict)]
        if not states:
            raise NoSentinelAnswers(f"no Sentinel answers for {service_name}")
        newest = _address(max(states, key=lambda state: int(state["config-epoch"])))
        naming = [state for state in states if _address(state) == newest]
        down = [state for state in naming if state["is_sdown"] or state["is_odown"]]
        if len(down) > len(naming) / 2:
            raise MasterNotFoundError(f"Sentinel holds the primary of {service_name} for down")
        return newest


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
        async with self._looking:
            if time.monotonic() - self._looked_at > 2 * LOOK_SECONDS:
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
        await super().aclose()

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


async def _state(sentinel: Any, service_name: str) -> Any:  # noqa: ANN401
    return await sentinel.execute_command("SENTINEL MASTER", service_name)


def _address(state: dict[str, Any]) -> Address:
    return str(state["ip"]), int(state["port"])
