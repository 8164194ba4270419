"""
Running the scripts of `lua/`.

Arguments travel as one JSON object, answers come back as one: both name their fields. Whatever Redis answers besides
that is a fault, and a fault never permits anything.

Each script has a deadline on Redis' clock (`_deadline.lua`): once the caller has given up, it does nothing. So a call
that was answered 503 never takes effect later.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import structlog
from pydantic_core import from_json, to_json
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from otp_service.core.call_effects import effects_are_possible
from otp_service.errors import StoreEmptied, Unavailable
from otp_service.store import keys as keys_of
from otp_service.store.cluster import Cluster
from otp_service.store.connection import FAULTS, Connection, trouble_of
from otp_service.store.keys import Movable
from otp_service.store.node import NotSent
from otp_service.store.script_sources import HARMLESS, names, sha, source
from otp_service.store.server_clock import ServerClock, Window

log = structlog.get_logger()

_PROBE = "redis.call('SET', KEYS[1], 1, 'PX', 1000) return 1"
_REDIRECTIONS = 3
_MOVING = "moving "  # before a script's name: with _moving.lua before the script
SET_BACK_MS = 5_000  # as in lua/_clock.lua
_TRIES = 3  # a script that was refused by a clock of which too little was known is sent again


# What reads or changes people's factors: it would take a store that came back empty for people without any.
_ON_FACTORS = frozenset(
    {
        "accept_step",
        "change_factor",
        "check_factor_proof",
        "consume_by_step",
        "count_recovery_codes",
        "enroll_factor",
        "forget_device",
        "forget_devices",
        "list_devices",
        "list_factors",
        "redeem_recovery_code",
        "remember_device",
        "replace_recovery_codes",
        "reserve_factor",
        "reserve_recovery_code",
        "reserve_step",
        "rotate_device",
    }
)


class Durability(StrEnum):
    """What must have happened before a counted attempt or a spent code is acknowledged."""

    NONE = "none"  # the primary has it
    REPLICA = "replica"  # a replica has it too
    FSYNC = "fsync"  # it is on the primary's disk


_WAITED_FOR = {Durability.REPLICA: "a replica", Durability.FSYNC: "the disk"}


@dataclass(frozen=True, slots=True)
class Health:
    """
    Whether Redis takes writes now.

    Attributes:
        served: Buckets whose server takes them.
        buckets: How many were asked: one, on a Cluster all.
        trouble: Why others do not, for operators.
    """

    served: int
    buckets: int
    trouble: str


@dataclass(frozen=True, slots=True)
class _Ran:
    """What _deadline.lua answers: the server's clock, whether the script ran, and its answer."""

    server_ms: int
    ran: bool
    text: Any

    @classmethod
    def of(cls, name: str, answer: Any) -> Self:  # noqa: ANN401
        """Read it. Raises Unavailable."""
        match answer:
            case [int(server_ms), 0]:
                return cls(server_ms, False, None)
            case [int(server_ms), 1, *texts]:
                return cls(server_ms, True, texts[0] if texts else None)
        raise _no_answer_of_ours(name)


@dataclass(frozen=True, slots=True)
class Fence:
    """What was created under an older epoch is refused, see lua/_fence.lua. `at`: when it rose, ms by Redis' clock."""

    epoch: int = 0
    at: int = 0

    def with_place(self, epoch: int, at: int, *, now: int) -> "Fence":
        """Return the fence that also holds at a place of this epoch. A time in the future was of a clock set back."""
        kept = self.at if self.at <= now + SET_BACK_MS else 0
        return Fence(max(self.epoch, epoch), max(kept, at))


class _Answer(dict[str, Any]):
    """The answer of a script; a missing field is a fault."""

    def __missing__(self, name: str) -> Any:  # noqa: ANN401
        raise Unavailable(f"redis: an answer without {name}")


class Scripts:
    """
    The scripts, ready to run on one connection.

    Attributes:
        offset_ms: Added to the clock in every script; zero outside tests.
        frozen_at_ms: Where the clock stands still, Unix ms, instead of Redis' own; None outside tests.
        clocks: The clock of each server, by its name.
        fence: As `flows.history` knows it.
        emptied: Whether the store came back empty: what depends on people's factors is refused.
        recheck: Compares a server with what is remembered of it. Called with its name (see `Connection.opened`) when a
            connection was opened to it since `checked`. Raises Unavailable.
        checked: How many connections were open to each server before it was compared the last time.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        durability: Durability = Durability.NONE,
        frozen_at_ms: int | None = None,
    ) -> None:
        self.connection = connection
        self.durability = durability
        self.offset_ms = 0
        self.frozen_at_ms = frozen_at_ms
        self.fence = Fence()
        self.emptied = False
        self.recheck: Callable[[str], Awaitable[None]] | None = None
        self.checked: Counter[str] = Counter()
        self._sources = {name: source(name) for name in names()}
        self._sources |= {_MOVING + name: source(name, moving=True) for name in names()}
        self._shas = {name: sha(name) for name in names()}
        self._shas |= {_MOVING + name: sha(name, moving=True) for name in names()}
        self.clocks: defaultdict[str, ServerClock] = defaultdict(ServerClock)

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
                may have run all the same: what it counted stays counted. Whether it may, `core.call_effects` keeps.
            StoreEmptied: The store came back empty, and the script is one on factors.
        """
        ticks = name == "tick"
        give_up = time.monotonic() + self.connection.timeouts.command
        if not ticks:
            await self._recheck(keys[0], give_up)
            if self.emptied and name in _ON_FACTORS:
                raise StoreEmptied("redis: the store came back empty")
        fence = self.fence
        standing = self.frozen_at_ms is not None and {"at": self.frozen_at_ms + self.offset_ms}
        fields = {**args, "offset": standing or self.offset_ms}
        if fence.epoch and not ticks:
            fields |= {"epoch": fence.epoch, "fenced_at": fence.at}
        former = [
            (number, key)
            for number, own in enumerate(keys, 1)
            if isinstance(own, Movable)
            for key in own.former
        ]
        if former:
            fields["former"] = [number for number, _ in former]
            name, keys = _MOVING + name, [*keys, *(key for _, key in former)]
        answer = await self.evaluate(
            name, keys, to_json(fields).decode(), durable=durable, give_up=give_up
        )
        if not ticks:
            await self._recheck(keys[0], give_up)
            if self.fence.epoch != fence.epoch:
                raise Unavailable("redis: it went back in time meanwhile")
        try:
            decoded = from_json(answer)
            decoded["verdict"]
        except (TypeError, ValueError, KeyError):
            raise _no_answer_of_ours(name) from None
        return _Answer(decoded)

    async def _recheck(self, key: str, give_up: float) -> None:
        """Compare a key's server, if a connection to it was opened since the last time. Raises Unavailable."""
        if self.recheck is None:
            return
        server = await self._server(key)
        name = "" if server is None else server.name
        opened = self.connection.opened(name)  # a check that began before this one does not count
        try:
            async with asyncio.timeout(max(0, give_up - time.monotonic())):
                for _ in range(2):  # the first may have been under way already
                    if self.checked[name] < opened:
                        await self.recheck(name)
        except TimeoutError:
            raise Unavailable("redis: what it has was not compared in time") from None

    async def is_emptied(self) -> bool:
        """
        Whether the store came back empty, and no operator has accepted that.

        A single Redis is compared first if a connection to it was opened since the last time; on a Cluster the last
        tick decides.

        Raises:
            Unavailable.
        """
        if not self.connection.clustered:
            give_up = time.monotonic() + self.connection.timeouts.command
            await self._recheck(keys_of.queues()[0], give_up)
        return self.emptied

    async def evaluate(
        self,
        name: str,
        keys: Sequence[str],
        arg: str,
        *,
        durable: bool = False,
        give_up: float | None = None,
    ) -> Any:  # noqa: ANN401
        """
        As `run`, with ARGV[1] and the answer as they are, and no key of a subject.

        Args:
            give_up: When the caller gives up, on `time.monotonic()`; None: after the timeout of a command.
        """
        wait = self._wait() if durable else None
        if wait is not None:
            # Otherwise retries of a right code use up the tries while no answer can be given.
            await self._require_durable(keys[0])
        if give_up is None:
            give_up = time.monotonic() + self.connection.timeouts.command
        for _ in range(_TRIES):
            server = await self._server(keys[0])
            window = await self._window(server, give_up)
            answer = await self._run_within(window, name, keys, arg, wait, server=server)
            if answer.ran:
                if name.removeprefix(_MOVING) not in HARMLESS:
                    effects_are_possible()
                return answer.text
            if time.monotonic() >= give_up:
                break
        log.warning("redis.too_late", script=name)
        too_late = Unavailable(f"redis: {name} came too late and did nothing")
        too_late.script_ran = False
        raise too_late

    async def _run_within(
        self,
        window: Window,
        name: str,
        keys: Sequence[str],
        arg: str,
        wait: tuple[Any, ...] | None,
        *,
        server: ClusterNode | None,
    ) -> _Ran:
        """Run a script in its window, and learn what its server's clock reads."""
        sent = time.monotonic()
        args = arg, window.not_before, window.deadline
        try:
            try:
                answer = await self._call("EVALSHA", self._shas[name], keys, args, wait)
            except NoScriptError:
                sent = time.monotonic()
                answer = await self._call("EVAL", self._sources[name], keys, args, wait)
            found = _Ran.of(name, answer)
        except BaseException as error:
            if not isinstance(error, NotSent) and name.removeprefix(_MOVING) not in HARMLESS:
                effects_are_possible()
            if isinstance(error, FAULTS):
                raise _away(name, error) from error
            raise
        self._clock(server).learn(found.server_ms, sent=sent, received=time.monotonic())
        return found

    async def _server(self, key: str) -> ClusterNode | None:
        """Return the node that serves a key, or None where there is only one. Raises Unavailable."""
        client = self.connection.client
        if not isinstance(client, Cluster):
            return None
        try:
            await client.initialize()
            return client.get_node_from_key(key)
        except FAULTS as error:
            raise _away("TIME", error) from error

    def _clock(self, server: ClusterNode | None) -> ServerClock:
        return self.clocks["" if server is None else server.name]

    async def _window(self, server: ClusterNode | None, give_up: float) -> Window:
        """Return the time from now until the caller gives up on a server's clock. Raises Unavailable."""
        clock, sent = self._clock(server), time.monotonic()
        if not clock.is_known(sent):
            client: Any = self.connection.client
            try:
                seconds, micros = await (
                    client.execute_command("TIME")
                    if server is None
                    else client.execute_on(server, "TIME")
                )
                server_ms = int(seconds) * 1000 + int(micros) // 1000
            except (*FAULTS, TypeError, ValueError) as error:
                raise _away("TIME", error) from error
            clock.learn(server_ms, sent=sent, received=time.monotonic())
        return clock.window(time.monotonic(), give_up)

    async def health(self) -> Health:
        """Return whether Redis takes writes now, as durably as configured; on a Cluster, for each bucket."""
        buckets = keys_of.queues() if self.connection.clustered else keys_of.queues()[:1]
        troubles = [each for each in await asyncio.gather(*map(self._trouble, buckets)) if each]
        return Health(len(buckets) - len(troubles), len(buckets), troubles[0] if troubles else "")

    async def _trouble(self, key: str) -> str:
        """Return why the server of a key takes no durable writes, or ""."""
        try:
            await self._require_durable(key)
        except Unavailable as error:
            return error.detail
        return ""

    async def _require_durable(self, key: str) -> None:
        """
        Write beside a key, and wait until that is durable: after it, what is counted there is acknowledged.

        Raises:
            Unavailable: the detail is for operators.
        """
        call, wait = ("EVAL", _PROBE, 1, keys_of.probe(key)), self._wait()
        try:
            if wait is None:
                await self.connection.client.execute_command(*call)
                return
            answer, reached = await self._call_and_wait(call, key, wait)
            if isinstance(answer, Exception):
                raise answer
            self._require_acknowledged(reached)
        except FAULTS as error:
            raise Unavailable(trouble_of(error)) from error

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
        self,
        command: str,
        script: str,
        keys: Sequence[str],
        args: tuple[Any, ...],
        wait: tuple[Any, ...] | None,
    ) -> Any:  # noqa: ANN401
        client = self.connection.client
        call: tuple[Any, ...] = (command, script, len(keys), *keys, *args)
        if wait is None:
            return await client.execute_command(*call)
        answer, reached = await self._call_and_wait(call, keys[0], wait)
        if isinstance(answer, Exception):
            raise answer
        if not _Ran.of(script, answer).ran:
            return answer
        self._require_acknowledged(reached)
        return answer

    def _require_acknowledged(self, reached: Any) -> None:  # noqa: ANN401
        """Raise the error of WAIT or WAITAOF, or Unavailable if no replica or disk acknowledged in time."""
        if isinstance(reached, Exception):
            raise reached
        copies = reached[0] if isinstance(reached, list) else reached
        if int(copies) < 1:
            raise Unavailable(f"writes are not acknowledged by {_WAITED_FOR[self.durability]}")

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


def _away(what: str, error: BaseException) -> Unavailable:
    name = type(error.__cause__ or error).__name__
    log.warning("redis.unavailable", script=what, error=name)
    return Unavailable(f"redis: {name}")


def _no_answer_of_ours(name: str) -> Unavailable:
    return Unavailable(f"redis: {name} gave no answer of ours")


async def _answer_or_error(node: ClusterNode, connection: Any, command: str) -> Any:  # noqa: ANN401
    try:
        return await node.parse_response(connection, command)
    except ResponseError as error:
        return error
