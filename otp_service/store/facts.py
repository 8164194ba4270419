"""Facts about the Redis server, for the doctor."""

import time
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from otp_service.errors import Unavailable
from otp_service.store.connection import FAULTS, Connection
from otp_service.store.permissions import permissions

_WRITES_TO_STRINGS = "return pcall(function() getmetatable('').otp_probe = nil end) and 1 or 0"
MAX_SKEW_SECONDS = 5  # a sixth of a TOTP step; clocks set by NTP agree within milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """
    What one server says of itself; None where our user may not ask.

    Attributes:
        server: `redis` or `valkey`.
        version: Numbers, most significant first.
        policy: maxmemory-policy.
        append_only: Whether an append-only file is kept.
        replicas: Connected ones.
        needs_replica: Whether it refuses writes without a replica (min-replicas-to-write above 0).
        skew_seconds: Its clock minus ours, as far as it is certain: the time of the round trip counts as agreement.
        all_powerful: Whether our user may also flush and reconfigure it.
        writable: Whether it is a primary.
        lone_primaries: Primaries of a Redis Cluster without a replica.
        full_coverage: cluster-require-full-coverage of a Redis Cluster.
        missing_commands: Those that the service needs and our user may not run.
        lua_fixed: Whether it behaves as a server with the fixes of October 2025 to Lua, whatever its version says.
    """

    server: str
    version: tuple[int, ...]
    policy: str | None
    append_only: bool | None
    replicas: int | None
    needs_replica: bool | None
    skew_seconds: float
    all_powerful: bool
    writable: bool
    lone_primaries: int = 0
    full_coverage: bool | None = None
    missing_commands: tuple[str, ...] = ()
    lua_fixed: bool = False


async def ask(connection: Connection) -> RedisFacts:
    """
    Return the facts of the server, on Redis Cluster those of one primary.

    Raises:
        Unavailable: it does not answer; the message says why.
    """
    client: Any = connection.client
    try:
        lone_primaries, full_coverage = 0, None
        if connection.clustered:
            await client.initialize()
            served_by = client.nodes_manager.slots_cache.values()
            lone_primaries = len({nodes[0].name for nodes in served_by if len(nodes) == 1})
            client = client.get_primaries()[0]
            full_coverage = await _full_coverage(client)
        began = time.time()
        seconds, micros = await client.execute_command("TIME")
        ended = time.time()
        info = await _info(client)
        allowed = await permissions(client)
        return RedisFacts(
            server="valkey" if "valkey_version" in info else "redis",
            version=_version(str(info.get("valkey_version") or info.get("redis_version") or "0")),
            policy=_text(info, "maxmemory_policy"),
            append_only=_number(info, "aof_enabled") == 1 if "aof_enabled" in info else None,
            replicas=_number(info, "connected_slaves"),
            # INFO has this line only while the setting is above 0. CONFIG GET is not needed; managed servers forbid it.
            needs_replica="min_slaves_good_slaves" in info if info else None,
            skew_seconds=_skew(int(seconds) + int(micros) / 1e6, began, ended),
            all_powerful=allowed.all_powerful,
            writable=_text(info, "role") in (None, "master"),
            lone_primaries=lone_primaries,
            full_coverage=full_coverage,
            missing_commands=allowed.missing,
            lua_fixed=await _lua_fixed(client),
        )
    except FAULTS as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


async def _info(client: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        answer = await client.execute_command("INFO")
    except NoPermissionError:
        return {}
    if isinstance(answer, dict):
        return {str(name): value for name, value in answer.items()}
    lines = (line.partition(":") for line in str(answer).splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}


async def _lua_fixed(client: Any) -> bool:  # noqa: ANN401
    """
    Return whether the fixes of CVE-2025-49844, -46817 and -46818 are in the server.

    They were released together, also by distributions that keep an older version. The last of them can be seen without
    harm: scripts may no longer write to the metatable of strings. Writing nil there changes nothing.
    """
    try:
        return not await client.execute_command("EVAL", _WRITES_TO_STRINGS, 0)
    except ResponseError:
        return False


async def _full_coverage(node: Any) -> bool | None:  # noqa: ANN401
    name = "cluster-require-full-coverage"
    try:
        answer = await node.execute_command("CONFIG GET", name)
    except (NoPermissionError, ResponseError):  # managed servers have no CONFIG
        return None
    return bool(answer.get(name) == "yes")


def _skew(told: float, began: float, ended: float) -> float:
    """Return by how much a clock differs from ours that told this time between two readings of ours."""
    if told > ended:
        return told - ended
    return min(0.0, told - began)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _number(info: dict[str, Any], name: str) -> int | None:
    return int(info[name]) if name in info else None


def _text(info: dict[str, Any], name: str) -> str | None:
    return str(info[name]) if name in info else None
