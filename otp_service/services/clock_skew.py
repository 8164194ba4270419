"""How far Redis' clock and this process's clock differ: a code of an authenticator is judged by Redis' clock."""

from otp_service.errors import ClockSkew
from otp_service.store.facts import MAX_SKEW_SECONDS
from otp_service.telemetry import CLOCK_SKEW


class ClockAgreement:
    """The skew as it was measured last; zero before the first measurement, which every start makes."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def measured(self, seconds: float) -> None:
        """Remember a measurement: Redis' clock minus ours."""
        self._seconds = seconds
        CLOCK_SKEW.set(seconds)

    def require(self) -> None:
        """Raise ClockSkew while the clocks differ by more than MAX_SKEW_SECONDS: one of them is wrong."""
        if abs(self._seconds) > MAX_SKEW_SECONDS:
            raise ClockSkew(f"the clocks differ by {self._seconds:.0f} s")
