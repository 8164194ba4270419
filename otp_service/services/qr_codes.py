"""
QR codes, rendered off the event loop.

A code takes 4 to 30 ms of Python, by the length of its URI. One thread renders one code after the other, so that the
event loop goes on in between, and callers share the places of those that wait.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from otp_service.core import totp
from otp_service.core.fair_share import FairShare
from otp_service.errors import Overloaded

CAPACITY = 32  # waits of a second at most

Render = Callable[[str], Awaitable[tuple[str, str]]]


class QrCodes:
    """
    Renders the QR codes of authenticators.

    Args:
        caller_share: Percent of the capacity that one caller may hold while others hold some.
    """

    def __init__(self, *, caller_share: int) -> None:
        self._share = FairShare(CAPACITY, caller_share)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="qr")

    @asynccontextmanager
    async def rendering(self, caller: str) -> AsyncIterator[Render]:
        """
        Hold a place, to be taken before anything is stored, and yield what renders a URI.

        Raises:
            Overloaded: all places are taken, or this caller's share of them.
        """
        if self._share.refusal(caller) is not None:
            raise Overloaded("The capacity to render QR codes is in use.")
        self._share.take(caller)
        try:
            yield self._render
        finally:
            self._share.release(caller)

    def close(self) -> None:
        """Wait for the running code and end the thread."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _render(self, uri: str) -> tuple[str, str]:
        return await asyncio.wrap_future(self._executor.submit(totp.qr_codes, uri))
