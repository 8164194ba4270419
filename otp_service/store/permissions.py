"""The commands that the Redis user may run, without running them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic_core import from_json, to_json
from redis.exceptions import NoPermissionError, ResponseError

from otp_service.store import keys
from otp_service.store.script_sources import names, source

# Redis 7.0 and later. It checks, and neither runs the command nor writes to ACL LOG.
_CHECK = """
if not redis.acl_check_cmd then return 'null' end
local allowed = {}
for i, command in ipairs(cjson.decode(ARGV[1])) do
  local known, answer = pcall(redis.acl_check_cmd, unpack(command))
  allowed[i] = known and answer == true
end
return cjson.encode(allowed)
"""
_CALL = re.compile(r"redis\.p?call\('(?:(XGROUP|XINFO)', ')?([A-Z]+)'")
_PROBE = "otp:{00}:probe"

# What the service runs outside of scripts, with a key at its place.
_DIRECT = (
    ("EVALSHA", "0", "1", _PROBE),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", _PROBE, ">"),
    ("XCLAIM", _PROBE, "g", "c", "0", "1-0"),
    ("XRANGE", _PROBE, "-", "+"),
    ("SCAN", "0"),
)
_AUDIT = (("XADD", keys.AUDIT, "*", "f", "v"), ("XREVRANGE", keys.AUDIT, "+", "-"))
# Without these a shutdown leaves stale consumers, and nothing fails; the last is allowed for the audit log only.
_NOT_REQUIRED = frozenset({"XINFO CONSUMERS", "XGROUP DELCONSUMER", "XREADGROUP", "XREVRANGE"})
_ADMIN = (("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "0"))


@dataclass(frozen=True, slots=True)
class Permissions:
    """
    The ACL of the Redis user.

    Attributes:
        missing: Commands that the service needs and the user may not run.
        all_powerful: Whether the user may flush or reconfigure the server.
    """

    missing: tuple[str, ...]
    all_powerful: bool


async def permissions(client: Any) -> Permissions:  # noqa: ANN401
    """Return the permissions of our user; on Redis before 7.0, which cannot say, nothing is missing."""
    needed = _needed()
    try:
        answer = from_json(
            await client.execute_command("EVAL", _CHECK, 0, to_json([*needed, *_ADMIN]).decode())
        )
    except NoPermissionError:
        return Permissions(("EVAL",), False)
    except ResponseError:
        return Permissions((), False)
    if not answer:
        return Permissions((), False)
    allowed = dict(zip([*needed, *_ADMIN], answer, strict=True))
    return Permissions(
        missing=tuple(sorted({_name(command) for command in needed if not allowed[command]})),
        all_powerful=any(allowed[command] for command in _ADMIN),
    )


@cache
def _needed() -> tuple[tuple[str, ...], ...]:
    used = {
        " ".join(word for word in call if word)
        for script in names()
        for call in _CALL.findall(source(script))
    }
    plain = used - _NOT_REQUIRED - {"TIME"}
    return (*((*command.split(), _PROBE) for command in sorted(plain)), *_DIRECT, *_AUDIT)


def _name(command: Iterable[str]) -> str:
    words = list(command)
    return f"{words[0]} on {keys.AUDIT}" if keys.AUDIT in words else words[0]
