"""
The build of argon2 in use: vectorized or reference code.

A wheel is built for the oldest processor of its platform. Built for this one (the image's build argument ARGON2_CFLAGS)
it may hash up to twice as fast, and the service with it.
"""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_BINDINGS = "argon2-cffi-bindings"
_WIDER = {"avx2", "avx512f", "asimd", "sve"}  # instructions that argon2 gains from
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2Build:
    """
    How the argon2 in use was built.

    Attributes:
        version: Of argon2-cffi-bindings.
        build: `wheel` (for every processor of the platform) or `local`.
        tag: The wheel's, or `unknown`.
        processor_also_has: Wider instructions of this processor, sorted; empty where it does not tell.
    """

    version: str
    build: Literal["wheel", "local"]
    tag: str
    processor_also_has: tuple[str, ...]


def argon2_build() -> Argon2Build:
    """Return how the argon2 in use was built."""
    lines = (importlib.metadata.distribution(_BINDINGS).read_text("WHEEL") or "").splitlines()
    tag = next((line.partition(": ")[2] for line in lines if line.startswith("Tag: ")), "unknown")
    return Argon2Build(
        version=importlib.metadata.version(_BINDINGS),
        build="wheel"
        if any(kind in tag for kind in ("manylinux", "musllinux", "macos"))
        else "local",
        tag=tag,
        processor_also_has=tuple(sorted(_processor_flags() & _WIDER)),
    )


def _processor_flags() -> set[str]:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())
