"""Cancellation of background loops at shutdown."""

import asyncio
from collections.abc import Collection


async def end(loops: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: a cancellation that meets an answer of Redis may get lost (Python 3.11)."""
    while any(not loop.done() for loop in loops):
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops, timeout=0.1)
