"""A client of one Redis node with little overhead per command."""

import asyncio
import time
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection, RedisSSLContext, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

_DISTRUST_SECONDS = 1.0


class NotSent(RedisConnectionError):
    """There was no connection, so the command was not sent."""


class _SeesDemotion(Redis):
    """A client that stops using a pool's connections once their server is no primary any more."""

    async def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:  # noqa: ANN401
        try:
            return await super().parse_response(connection, command_name, **options)
        except ResponseError as error:
            if isinstance(self.connection_pool, Pool) and _is_demotion(error):
                self.connection_pool.distrust()
            raise


class Node(_SeesDemotion):
    """
    redis-py's client of one node, but for what it does around each command.

    That one takes a deadline and a task for every step of a command, asks after retries, maintenance and metrics that
    are all off, and packs commands in Python, where its own synchronous client has hiredis do that. Here is one
    deadline: for a free, open connection, and anew for the command and its answer.
    """

    def __init__(self, pool: "Pool", *, seconds: float) -> None:
        """`seconds` is for each command or pipeline; the pool's connections have no deadlines but for connecting."""
        super().__init__(connection_pool=pool)
        self._pool = pool
        self._seconds = seconds

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        async with asyncio.timeout(self._seconds) as deadline:
            try:
                connection = await self._pool.get_connection()
            except (RedisError, OSError) as error:
                raise NotSent(str(error)) from error
            deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)
            try:
                # Whatever interrupts these two closes the connection: no answer is ever left on it.
                await connection.send_packed_command(_packed(args))
                return await self.parse_response(connection, args[0], **options)
            finally:
                await self._pool.release(connection)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipeline = _Pipeline(self._pool, self.response_callbacks, transaction, shard_hint)
        pipeline.seconds = 2 * self._seconds
        return pipeline


class _Pipeline(_SeesDemotion, Pipeline):  # type: ignore[misc]  # redis-py's own bases disagree
    """redis-py's pipeline, within the time for a connection and for one command."""

    seconds: float

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        async with asyncio.timeout(self.seconds):
            return await super().execute(raise_on_error)


class Pool(ConnectionPool):
    """redis-py's pool with a bound that waits instead of failing, and one TLS context for all connections."""

    _tls: RedisSSLContext | None = None

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._places = asyncio.Semaphore(self.max_connections)
        self._distrusted_at = float("-inf")

    def distrust(self) -> None:
        """Open every connection anew before it is used again, at most once a second: another server may be primary."""
        now = time.monotonic()
        if now - self._distrusted_at >= _DISTRUST_SECONDS:
            self._distrusted_at = now
            for connection in (*self._available_connections, *self._in_use_connections):
                connection.mark_for_reconnect()  # type: ignore[no-untyped-call]

    def make_connection(self) -> Any:  # noqa: ANN401
        connection = super().make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, SSLConnection):
            # Each would read every authority that the machine trusts: tens of milliseconds in which nothing else runs.
            self._tls = self._tls or connection.ssl_context
            connection.ssl_context = self._tls
        return connection

    async def get_connection(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        await self._places.acquire()
        try:
            connection = self.get_available_connection()  # type: ignore[no-untyped-call]
        except BaseException:
            self._places.release()
            raise
        try:
            if _was_reset(connection) or connection.should_reconnect():
                await connection.disconnect(nowait=True)
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        try:
            if connection.should_reconnect():  # type: ignore[no-untyped-call]
                await connection.disconnect()
        finally:
            self._in_use_connections.remove(connection)
            self._available_connections.append(connection)
            self._places.release()


def _packed(args: tuple[Any, ...]) -> bytes:
    """As redis-py packs a command, whose name may be two words."""
    name, *others = args
    packed: bytes = hiredis.pack_command((*name.split(), *others))
    return packed


def _was_reset(connection: AbstractConnection) -> bool:
    """Whether it broke while it was free: redis-py sees an end, and no reset (seen with 8.1.0)."""
    reader = connection._reader
    return reader is not None and reader.exception() is not None


def _is_demotion(error: ResponseError) -> bool:
    """Whether the server says that it is a replica now, or a primary whose replicas are gone (it may be cut off)."""
    return isinstance(error, ReadOnlyError) or str(error).startswith("NOREPLICAS")
