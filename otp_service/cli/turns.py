"""
Turns that threads take on busy cores: whoever hashes is not interrupted for whoever wakes up. Linux only.

A hash that is interrupted goes on with a cold cache, and so does whoever interrupted it. When each runs on for a while,
answers that hash nothing come some milliseconds later and several at a time, and all of it together costs less
(`make bench`). On idle cores nothing changes.
"""

import contextlib
import ctypes
import os
import platform
import struct

# Half of a hash as shipped. Longer ones save little more, and let what does not hash wait for longer (p99 28 ms with
# this, 49 with twice as much, on two cores that do nothing but hash).
TURN_MS = 10

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}  # few C libraries have it yet


def take_turns() -> None:
    """
    Let the threads of this process take turns: this one, and all that are started from it from here on.

    A scheduling policy that somebody has chosen stands. Where the system can't do it, or forbids it, nothing changes.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    with contextlib.suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            _ask_for_long_ones()


def _ask_for_long_ones() -> None:
    """For longer turns than the kernel's few milliseconds (sched_setattr(2)); before Linux 6.12 these stay."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        # struct sched_attr: size, policy, flags, nice, priority, runtime in ns, deadline, period, util_min, util_max
        attributes = struct.pack(
            "IIQiIQQQII", 56, os.SCHED_BATCH, 0, nice, 0, TURN_MS * 1_000_000, 0, 0, 0, 0
        )
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)
