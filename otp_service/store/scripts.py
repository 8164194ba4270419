"""
Running the scripts of `lua/`: each a file whose header is its interface.

A line `--- include: _name.lua` is replaced by that fragment. Arguments travel as one JSON object, answers come back as
one: both name their fields. Whatever Redis answers besides that is a fault, and a fault never permits anything.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha1
from importlib.resources import files
from typing import Any

import structlog
from pydantic_core import from_json, to_json
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from otp_service.errors import Unavailable
from otp_service.store.cluster import Cluster
from otp_service.store.connection import FAULTS, Connection
from otp_service.store.keys import Movable

log = structlog.get_logger()

_PROBE = "redis.call('SET', KEYS[1], 1, 'PX', 1000) return 1"
_REDIRECTIONS = 3
_INCLUDE = "--- include: "
_MOVING = "moving "  # before a script's name: with _moving.lua before the script


class Durability(StrEnum):
    """What must have happened before a counted attempt or a spent code is acknowledged."""

    NONE = "none"  # the primary has it
    REPLICA = "replica"  # a replica has it too
    FSYNC = "fsync"  # it is on the primary's disk


def source(name: str) -> str:
    """Return the Lua of one script with its includes. Raises FileNotFoundError for an unknown one."""
    lua = files("otp_service.store") / "lua"
    lines = []
    for line in (lua / f"{name}.lua").read_text("utf-8").splitlines():
        if line.startswith(_INCLUDE):
            lines.append((lua / line.removeprefix(_INCLUDE)).read_text("utf-8"))
        else:
            lines.append(line)
    return "\n".join(lines)


def names() -> list[str]:
    """Return the names of all scripts."""
    entries = (files("otp_service.store") / "lua").iterdir()
    return sorted(e.name.removesuffix(".lua") for e in entries if not e.name.startswith("_"))


class _Answer(dict[str, Any]):
    """What a script told; a field that it should have told and did not is a fault."""

    def __missing__(self, name: str) -> Any:  # noqa: ANN401
        raise Unavailable(f"redis: an answer without {name}")


class Scripts:
    """
    The scripts, ready to run on one connection.

    Attributes:
        offset_ms: Added to the clock in every script; zero outside tests.
        stands_at: Where the clock stands still, Unix ms, instead of Redis' own; None outside tests.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        durability: Durability = Durability.NONE,
        stands_at: int | None = None,
    ) -> None:
        self.connection = connection
        self.durability = durability
        self.offset_ms = 0
        self.stands_at = stands_at
        self._sources = {name: source(name) for name in names()}
        moving = source("_moving")
        self._sources |= {_MOVING + n: f"{moving}\n{text}" for n, text in self._sources.items()}
        self._shas = {
            name: sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in self._sources.items()
        }

    async def run(
        self, name: str, keys: Sequence[str], args: Mapping[str, Any], *, durable: bool = False
    ) -> dict[str, Any]:
        """
        Run a script and return its answer, which has a `verdict`.

        Args:
            name: A file of lua/, without its ending.
            keys: As its header says. While route keys are rotated, what lies under a former name of one is moved first.
            args: The fields of ARGV[1]; `offset` is added.
            durable: Whether the answer counts only when it is as durable as configured.

        Raises:
            Unavailable: Redis is away, late, read-only or full, answers nonsense, or is not durable enough. The script
                may have run all the same: what it counted stays counted.
        """
        standing = self.stands_at is not None and {"at": self.stands_at + self.offset_ms}
        fields = {**args, "offset": standing or self.offset_ms}
        former = [
            (number, key)
            for number, own in enumerate(keys, 1)
            if isinstance(own, Movable)
            for key in own.former
        ]
        if former:
            fields["former"] = [number for number, _ in former]
            name, keys = _MOVING + name, [*keys, *(key for _, key in former)]
        answer = await self.evaluate(name, keys, to_json(fields).decode(), durable=durable)
        try:
            decoded = from_json(answer)
            decoded["verdict"]
        except (TypeError, ValueError, KeyError):
            raise Unavailable(f"redis: {name} gave no answer of ours") from None
        return _Answer(decoded)

    async def evaluate(
        self, name: str, keys: Sequence[str], arg: str, *, durable: bool = False
    ) -> Any:  # noqa: ANN401
        """As `run`, with ARGV[1] and the answer as they are, and no key of a subject."""
        wait = self._wait() if durable else None
        try:
            try:
                return await self._call("EVALSHA", self._shas[name], keys, arg, wait)
            except NoScriptError:
                return await self._call("EVAL", self._sources[name], keys, arg, wait)
        except FAULTS as error:
            log.warning("redis.unavailable", script=name, error=type(error).__name__)
            raise Unavailable(f"redis: {type(error).__name__}") from error

    async def answers(self) -> bool:
        """Whether Redis runs scripts and takes writes now: a replica and a full one do not."""
        client: Any = self.connection.client
        try:
            return int(await client.eval(_PROBE, 1, "otp:{00}:probe")) == 1
        except (*FAULTS, TypeError, ValueError):
            return False

    async def mark(self, key: str, seconds: int) -> None:
        """Write a key that says only that it is there, for so long. Raises Unavailable."""
        client: Any = self.connection.client
        try:
            await client.set(key, "1", ex=seconds)
        except FAULTS as error:
            raise Unavailable(f"redis: {type(error).__name__}") from error

    async def exists(self, key: str) -> bool:
        """Whether there is such a key. Raises Unavailable."""
        client: Any = self.connection.client
        try:
            return bool(await client.exists(key))
        except FAULTS as error:
            raise Unavailable(f"redis: {type(error).__name__}") from error

    async def field(self, key: str, name: str) -> str | None:
        """Return one field of a hash, or None. Raises Unavailable."""
        client: Any = self.connection.client
        try:
            found = await client.hget(key, name)
        except FAULTS as error:
            raise Unavailable(f"redis: {type(error).__name__}") from error
        return None if found is None else str(found)

    def _wait(self) -> tuple[Any, ...] | None:
        """The command that waits until what was written is as durable as configured."""
        timeouts = self.connection.timeouts
        match self.durability:
            case Durability.REPLICA:
                return "WAIT", 1, int(timeouts.replica * 1000)
            case Durability.FSYNC:
                return "WAITAOF", 1, 0, int(timeouts.disk * 1000)
        return None

    async def _call(
        self, command: str, script: str, keys: Sequence[str], arg: str, wait: tuple[Any, ...] | None
    ) -> Any:  # noqa: ANN401
        client = self.connection.client
        call: tuple[Any, ...] = (command, script, len(keys), *keys, arg)
        if wait is None:
            return await client.execute_command(*call)
        answer, reached = await self._call_and_wait(call, keys[0], wait)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(reached, Exception):
            raise reached
        copies = reached[0] if isinstance(reached, list) else reached
        if int(copies) < 1:
            raise Unavailable(f"redis: not durable enough ({self.durability})")
        return answer

    async def _call_and_wait(self, call: tuple[Any, ...], key: str, wait: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """Both on one connection to the primary of the key's slot: WAIT speaks of what its own connection wrote."""
        client = self.connection.client
        if isinstance(client, Cluster):
            return await self._on_the_slots_node(client, call, key, wait)
        pipeline = client.pipeline(transaction=False)
        pipeline.execute_command(*call)
        pipeline.execute_command(*wait)
        return await pipeline.execute(raise_on_error=False)

    async def _on_the_slots_node(
        self, client: Cluster, call: tuple[Any, ...], key: str, wait: tuple[Any, ...]
    ) -> list[Any]:
        """As a pipeline would: both answers are read whatever the first one is, and a slot that moved is followed."""
        await client.initialize()
        for _ in range(_REDIRECTIONS):
            node = client.get_node_from_key(key)
            if node is None:
                raise Unavailable("redis: no node serves the slot")
            connection = node.acquire_connection()
            try:
                await connection.send_packed_command(connection.pack_commands([call, wait]), False)
                answers = [
                    await _answer_or_error(node, connection, str(c[0])) for c in (call, wait)
                ]
            except (RedisConnectionError, RedisTimeoutError):
                await client.lost(node)
                raise
            finally:
                node.release(connection)
            if not isinstance(answers[0], MovedError):
                return answers
            await client.nodes_manager.move_slot(answers[0])  # nothing ran
        return answers


async def _answer_or_error(node: ClusterNode, connection: Any, command: str) -> Any:  # noqa: ANN401
    try:
        return await node.parse_response(connection, command)
    except ResponseError as error:
        return error
