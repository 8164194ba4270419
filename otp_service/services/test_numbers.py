"""
Guesses at the code of a test number: one budget for each number, over all subjects and callers.

Such a code stays the same for weeks, so guesses at it add up whoever they are made for. The count lies in another slot
than the challenge: it is charged before the guess is evaluated and taken back when the guess was right or was not
evaluated, so what breaks off in between leaves a charge too much, never one too few.
"""

from collections.abc import Callable
from contextlib import suppress

from otp_service.core.challenge import ChallengeAddress, fingerprint
from otp_service.core.envelopes import Destination
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.limits import FailureBudget
from otp_service.core.seal import SealBroken
from otp_service.core.test_numbers import FixedCodeNumbers
from otp_service.errors import RateLimited, SubjectBlocked, Unavailable
from otp_service.store import keys
from otp_service.store.challenges import Challenges
from otp_service.store.limits import ChargedLimit, FarCharge, Limits


class TestNumberBudget:
    """Charges guesses at the codes of test numbers; costs nothing where there are none."""

    def __init__(
        self,
        *,
        known_codes: FixedCodeNumbers,
        keyring: Callable[[], Keyring],
        challenges: Challenges,
        limits: Limits,
        budget: FailureBudget,
    ) -> None:
        self._known_codes = known_codes
        self._keyring = keyring
        self._challenges = challenges
        self._limits = limits
        self._windows = [
            ("failures", window)
            for window in sorted((budget.long, budget.short), key=lambda window: -window.seconds)
        ]

    async def charge(
        self, caller: str, address: ChallengeAddress, attempt_id: str
    ) -> FarCharge | None:
        """
        Charge one guess; None when the challenge is not of a test number, or has ended.

        Raises:
            SubjectBlocked: the number's budget is spent; nothing was counted.
            Unavailable: the guess may be counted.
        """
        if not self._known_codes.codes:
            return None
        sealed = await self._challenges.sealed_recipient(address)
        if sealed is None:
            return None
        keyring = self._keyring()
        try:
            number = Destination.open(keyring, sealed, address.challenge_id).to
        except SealBroken:
            return None  # no code of it is accepted: the worker could not open it either
        if not self._known_codes.covers(caller, number):
            return None
        digests = [
            fingerprint(phone, "limit/test_number/v1", number)
            for phone in keyring.in_order(Kind.PHONE)
        ]
        limits = [
            ChargedLimit(key=keys.limit("test_number", digest), windows=self._windows)
            for digest in digests
        ]
        try:
            return await self._limits.charge_far(limits, attempt_id)
        except RateLimited as error:
            raise SubjectBlocked(error.limit, error.retry_after) from None

    async def take_back(self, charge: FarCharge | None) -> None:
        """Take the guess back: it was right, or was not evaluated. Without Redis it stays charged."""
        if charge is not None:
            with suppress(Unavailable):
                await self._limits.release_far(charge)
