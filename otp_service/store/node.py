"""One node of Redis, spoken to with as little around a command as redis-py's public parts allow."""

import asyncio
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection, RedisSSLContext, SSLConnection


class Node(Redis):
    """
    redis-py's client of one node, but for what it does around each command.

    That one takes a deadline and a task for every step of a command, and asks after retries, maintenance and metrics
    that are all off. Here is one deadline: for a free, open connection, and anew for the command and its answer.
    """

    def __init__(self, pool: "Pool", *, seconds: float) -> None:
        """`seconds` is for each command or pipeline; the pool's connections have no deadlines but for connecting."""
        super().__init__(connection_pool=pool)
        self._pool = pool
        self._seconds = seconds

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        async with asyncio.timeout(self._seconds) as deadline:
            connection = await self._pool.get_connection()
            deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)
            try:
                # Whatever interrupts these two closes the connection: no answer is ever left on it.
                await connection.send_command(*args)
                return await self.parse_response(connection, args[0], **options)
            finally:
                await self._pool.release(connection)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipeline = _Pipeline(self._pool, self.response_callbacks, transaction, shard_hint)
        pipeline.seconds = (self._pool.timeout or 0) + self._seconds
        return pipeline


class _Pipeline(Pipeline):
    """redis-py's pipeline, within the time for a connection and for one command."""

    seconds: float

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        async with asyncio.timeout(self.seconds):
            return await super().execute(raise_on_error)


class Pool(BlockingConnectionPool):
    """redis-py's pool, with a short way to a connection that is free, and one TLS context for all."""

    _tls: RedisSSLContext | None = None

    def make_connection(self) -> Any:  # noqa: ANN401
        connection = super().make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, SSLConnection):
            # Each would read every authority that the machine trusts: tens of milliseconds in which nothing else runs.
            self._tls = self._tls or connection.ssl_context
            connection.ssl_context = self._tls
        return connection

    async def get_connection(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        if not self.can_get_connection():
            return await super().get_connection()  # type: ignore[no-untyped-call]
        connection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            if _was_reset(connection):
                await connection.disconnect(nowait=True)
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection


def _was_reset(connection: AbstractConnection) -> bool:
    """Whether it broke while it was free: redis-py sees an end, and no reset (seen with 8.1.0)."""
    reader = connection._reader
    return reader is not None and reader.exception() is not None
