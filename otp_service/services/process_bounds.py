"""Bounds of one process, in its own memory: sends in all, and opt-in calls to the site at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from otp_service.core.fair_share import FairShare
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
    Opt-in calls that ask the site at once, shared by callers.

    One place is kept for verifications and unsubscriptions, so that sign-ups leave room for them. A caller that comes
    late gets its part though all places are taken: its calls then wait for one of the client's `places` connections.

    Args:
        places: How many calls at once.
        caller_share: Percent of the places that one caller may hold while others hold some.
    """

    def __init__(self, places: int, caller_share: int) -> None:
        self._shared = FairShare(max(1, places - 1), caller_share)
        self._kept = FairShare(1, caller_share)

    @contextmanager
    def asking(self, caller: str) -> Iterator[None]:
        """
        Hold a place for a sign-up while the block runs.

        Raises:
            Overloaded: none is free for this caller; nothing was counted.
        """
        with _one_of((self._shared,), caller):
            yield

    @contextmanager
    def answering(self, caller: str) -> Iterator[None]:
        """Hold a place for a verification or an unsubscription, the kept one if need be. Raises as `asking`."""
        with _one_of((self._shared, self._kept), caller):
            yield


@contextmanager
def _one_of(shares: tuple[FairShare, ...], caller: str) -> Iterator[None]:
    free = next((share for share in shares if share.refusal(caller) is None), None)
    if free is None:
        raise Overloaded("The capacity for opt-in calls is in use.")
    free.take(caller)
    try:
        yield
    finally:
        free.release(caller)
