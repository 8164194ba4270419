"""Bounds of one process, in its own memory: sends in all, and opt-in calls to the site at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from otp_service.core.limits import Ceiling, Window
from otp_service.errors import Overloaded, QuotaExceeded, Refusal


class SendCeiling:
    """The ceiling on sends of this process (`OTP_LIMIT_PROCESS`): one for codes and opt-ins together."""

    def __init__(self, window: Window) -> None:
        self._ceiling = Ceiling(window)

    @contextmanager
    def one_send(self) -> Iterator[None]:
        """
        Count one send while the block runs. A refusal in the block takes it back, or refusals would use the ceiling up.

        Raises:
            QuotaExceeded: the ceiling is reached.
        """
        now = time.monotonic()
        if wait := self._ceiling.admit(now):
            raise QuotaExceeded("process", wait)
        try:
            yield
        except (Refusal, Overloaded):
            self._ceiling.take_back(now)
            raise


class NewsletterCapacity:
    """
    At most `places` opt-in calls that ask the site at once.

    The client of those calls has as many connections, so none waits for one.
    """

    def __init__(self, places: int) -> None:
        self._free = places

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """
        Hold one place while the block runs.

        Raises:
            Overloaded: none is free; nothing was counted.
        """
        if self._free == 0:
            raise Overloaded("every opt-in call that this process makes at once is under way")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
