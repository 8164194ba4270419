"""
redis-py's cluster client, but for what it does after a fault.

That one (seen with 8.1.0) closes the node's free connections while other calls are taking them up, so with retries off
one fault makes others without end. Before the next call, to whatever node, it asks for the slots anew and then for a
list of commands, from a node that may be the dead one; and before each XREADGROUP it asks that node where the keys are.
So a lost node takes the others with it. Here connections are only marked, to be opened anew when next used, the slots
are asked for once a second without any call depending on the answer, and where XREADGROUP has its keys is known.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_REDIRECTIONS = 5
_LOOK_AGAIN_SECONDS = 0.05
_LOOK_SECONDS = 1.0


class Cluster(RedisCluster):
    """
    A client of Redis Cluster that survives the loss of a node.

    Attributes:
        split_seconds: How long a slot is waited for that is on its way between nodes, with a key here and a key there.
    """

    split_seconds = 1.0
    _looked_at = 0.0

    async def initialize(self, **hints: Any) -> RedisCluster:  # type: ignore[override]  # noqa: ANN401
        """Learn slots and commands, from another node when the first that should tell them is away."""
        for _ in range(len(self.nodes_manager.startup_nodes)):
            try:
                return await super().initialize(**hints)
            except (RedisConnectionError, RedisTimeoutError):
                asked = self.nodes_manager.default_node
                if asked is None:
                    raise
                self.nodes_manager.move_node_to_end_of_cached_nodes(asked.name)
        return await super().initialize(**hints)

    def on_open(self, open_connection: Callable[[Any], Awaitable[None]]) -> None:
        """Open every connection with this function. Call it before the first command."""
        nodes = self.nodes_manager
        for options in (
            nodes.connection_kwargs,
            *(node.connection_kwargs for node in nodes.startup_nodes.values()),
        ):
            options["redis_connect_func"] = open_connection

    async def lost(self, node: ClusterNode) -> None:
        """Use none of the node's connections again, and look where its slots are now."""
        node.update_active_connections_for_reconnect()
        for connection in node._free:
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call]
        self.nodes_manager.move_node_to_end_of_cached_nodes(node.name)
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            with suppress(RedisError, OSError, TimeoutError):
                await self.nodes_manager.initialize(last_failed_node_name=node.name)

    async def execute_on(self, node: ClusterNode, command: str) -> Any:  # noqa: ANN401
        """Run a command without keys on that node."""
        return await self._execute_command(node, command)

    async def _determine_slot(self, command: str, *args: Any) -> int:  # noqa: ANN401
        if command == "XREADGROUP":
            return int(self.keyslot(args[args.index(b"STREAMS") + 1]))
        return int(await super()._determine_slot(command, *args))

    async def _execute_command(self, target_node: ClusterNode, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        node, redirections, end = target_node, 0, time.monotonic() + self.split_seconds
        while redirections < _REDIRECTIONS:
            try:
                return await node.execute_command(*args, **kwargs)
            except MovedError as error:  # like the two below: nothing ran
                redirections += 1
                await self.nodes_manager.move_slot(error)
                node = self.nodes_manager.get_node_from_slot(error.slot_id)
            except AskError as error:
                redirections += 1
                node = self.get_node(node_name=f"{error.host}:{error.port}") or target_node
                await node.execute_command("ASKING")
            except TryAgainError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            except (RedisConnectionError, RedisTimeoutError, ClusterDownError):
                await self.lost(node)
                raise
        raise RedisConnectionError("the slot kept moving")
