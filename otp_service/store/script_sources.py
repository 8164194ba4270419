"""
The sources of the scripts in `lua/`; the header of each file is its interface.

A line `--- include: _name.lua` is replaced by that fragment, and `_deadline.lua` wraps the whole.
"""

from functools import cache
from hashlib import sha1
from importlib.resources import files

_INCLUDE = "--- include: "
# These count, spend and queue nothing: a call that ran only these has changed nothing.
HARMLESS = frozenset(
    {
        "begin_idempotent",
        "challenges_of_subject",
        "check_factor_proof",
        "count_recovery_codes",
        "finish_idempotent",
        "list_devices",
        "list_factors",
        "read_proof",
        "note_step_back",
        "read_timeline",
        "tick",
        "view_challenge",
    }
)


@cache
def source(name: str, *, moving: bool = False) -> str:
    """
    Return the Lua of one script with its includes, within its deadline. `moving`: with _moving.lua before it.

    Raises:
        FileNotFoundError: unknown.
    """
    script = f"{_fragment('_moving')}\n{_fragment(name)}" if moving else _fragment(name)
    return _fragment("_deadline").replace("--- script", script)


@cache
def sha(name: str, *, moving: bool = False) -> str:
    """Return the SHA-1 by which Redis knows a script. Raises FileNotFoundError."""
    return sha1(source(name, moving=moving).encode(), usedforsecurity=False).hexdigest()


@cache
def _fragment(name: str) -> str:
    """Return the Lua of one file with its includes."""
    lua = files("otp_service.store") / "lua"
    lines = []
    for line in (lua / f"{name}.lua").read_text("utf-8").splitlines():
        if line.startswith(_INCLUDE):
            lines.append((lua / line.removeprefix(_INCLUDE)).read_text("utf-8"))
        else:
            lines.append(line)
    return "\n".join(lines)


@cache
def names() -> tuple[str, ...]:
    """Return the names of all scripts, sorted."""
    entries = (files("otp_service.store") / "lua").iterdir()
    return tuple(sorted(e.name.removesuffix(".lua") for e in entries if not e.name.startswith("_")))
