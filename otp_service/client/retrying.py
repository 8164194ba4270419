"""When a call goes out again, and when it is over. No I/O and no clock: `now` is an argument."""

import random
from typing import TypeVar

from otp_service.client.call import Call
from otp_service.client.errors import (
    IdempotencyInProgress,
    OtpServiceError,
    SiteMisconfigured,
    SubscriptionUndone,
    Unavailable,
)

T = TypeVar("T")

RETRIED = (502, 503, 504, None)  # None: no answer
_FIRST_PAUSE = 0.1
_jitter = random.SystemRandom().uniform


class Retrying:
    """
    One call on its way to its answer.

    Attributes:
        ends_at: When it must be over, on the clock of `now`.
    """

    def __init__(self, call: Call[T], *, retries: int, timeout: float, now: float) -> None:
        self._call = call
        self._left = retries if call.repeatable else 0
        self._sent = 0
        self.ends_at = now + timeout + (call.wait or 0)

    def pause(self, error: OtpServiceError, *, now: float) -> float:
        """
        Return the seconds after which the call goes out again, with the same key.

        Raises:
            OtpServiceError: the one given, when it must not, need not or can't in time.
        """
        error.idempotency_key = self._call.idempotency_key
        passing = isinstance(error, IdempotencyInProgress) or (
            isinstance(error, Unavailable)
            and error.status in RETRIED
            and not isinstance(error, SiteMisconfigured | SubscriptionUndone)
        )
        if not passing or self._left == 0:
            raise error
        self._left -= 1
        backoff = _FIRST_PAUSE * 2**self._sent
        self._sent += 1
        seconds = error.retry_after if error.retry_after is not None else backoff
        seconds = float(seconds) + _jitter(0, backoff)
        if now + seconds >= self.ends_at:
            raise error
        return seconds
