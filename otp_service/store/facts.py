"""What the doctor asks Redis about itself."""

import time
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from otp_service.errors import Unavailable
from otp_service.store.connection import FAULTS, Connection


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
        skew_seconds: Its clock minus ours.
        all_powerful: Whether our user may also flush and reconfigure it.
        writable: Whether it is a primary.
    """

    server: str
    version: tuple[int, ...]
    policy: str | None
    append_only: bool | None
    replicas: int | None
    skew_seconds: float
    all_powerful: bool
    writable: bool


async def ask(connection: Connection) -> RedisFacts:
    """
    Return the facts of the server, on Redis Cluster those of one primary.

    Raises:
        Unavailable: it does not answer; the message says why.
    """
    client: Any = connection.client
    try:
        if connection.clustered:
            await client.initialize()
            client = client.get_primaries()[0]
        began = time.time()
        seconds, micros = await client.execute_command("TIME")
        took = time.time() - began
        info = await _info(client)
        return RedisFacts(
            server="valkey" if "valkey_version" in info else "redis",
            version=_version(str(info.get("valkey_version") or info.get("redis_version") or "0")),
            policy=_text(info, "maxmemory_policy"),
            append_only=_number(info, "aof_enabled") == 1 if "aof_enabled" in info else None,
            replicas=_number(info, "connected_slaves"),
            skew_seconds=int(seconds) + int(micros) / 1e6 - (began + took / 2),
            all_powerful=await _all_powerful(client),
            writable=_text(info, "role") in (None, "master"),
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


async def _all_powerful(client: Any) -> bool:  # noqa: ANN401
    """Who may ask for a dry run of FLUSHALL may administer the server; ours should not."""
    try:
        user = await client.execute_command("ACL", "WHOAMI")
        answer = await client.execute_command("ACL", "DRYRUN", user, "FLUSHALL")
    except (NoPermissionError, ResponseError):
        return False
    return str(answer) == "OK"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _number(info: dict[str, Any], name: str) -> int | None:
    return int(info[name]) if name in info else None


def _text(info: dict[str, Any], name: str) -> str | None:
    return str(info[name]) if name in info else None
