"""
Test numbers: their codes are known beforehand and no SMS is sent, so that reviewers of an app store and tests of a live
system can log in without a phone.

Whoever knows such a number and its code gets in wherever an account has it. So each holds for one caller, and all of
them end by themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

from otp_service.core.credentials import CALLER_NAME
from otp_service.core.recipients import parse_recipient

TEST_NUMBER = "test_number"  # why nothing is sent: the reason of such a delivery
MAX_DAYS = 90  # from the start of a process until the end of its test numbers

_STEPS = (0, 1, 9)  # from digit to digit: all the same, counted upwards, downwards


@dataclass(frozen=True, slots=True)
class FixedCodeNumbers:
    """
    Codes by caller and number (E.164).

    Attributes:
        until: Unix seconds; from then on these are numbers like all others.
    """

    codes: Mapping[tuple[str, str], str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )
    until: float = 0.0

    def holds(self, caller: str, e164: str, *, now: float) -> bool:
        """Whether the caller has this test number at `now` (Unix seconds)."""
        return (caller, e164) in self.codes and now < self.until

    def covers(self, caller: str, e164: str) -> bool:
        """Whether this is a test number of that caller, also after its end: its last code may still be valid."""
        return (caller, e164) in self.codes

    def code(self, caller: str, e164: str, *, digits: int, now: float) -> str | None:
        """Return the code that this number gets at `now` (Unix seconds), or None: then one is drawn and sent."""
        code = self.codes.get((caller, e164))
        return code if code is not None and now < self.until and len(code) == digits else None


def read_test_numbers(text: str) -> dict[tuple[str, str], str]:
    """
    Read `caller/+number=code,…`.

    Raises:
        ValueError: which of them can't be used, by its place in the list, and why; it repeats none.
    """
    found: dict[tuple[str, str], str] = {}
    for place, entry in enumerate(filter(None, text.replace(" ", "").split(",")), 1):
        caller, _, rest = entry.partition("/")
        number, _, code = rest.partition("=")
        try:
            name = _caller(caller), parse_recipient(number, regions=None, allow_fictional=True).e164
            if name in found:
                raise ValueError("stands there twice")
            found[name] = _code(code)
        except ValueError as error:
            raise ValueError(f"entry {place}: {error}") from None
    return found


def _caller(name: str) -> str:
    if CALLER_NAME.fullmatch(name) is None:
        raise ValueError("write caller/+number=code, with the name of the caller that may use it")
    return name


def _code(code: str) -> str:
    # It stays the same for weeks, so that every guess adds up: 20 a day are 1,800 until the end, of a million here.
    if not (code.isascii() and code.isdigit() and 6 <= len(code) <= 10):
        raise ValueError("its code must be 6 to 10 digits")
    for step in _STEPS:
        if all((int(a) + step) % 10 == int(b) for a, b in pairwise(code)):
            raise ValueError(
                "its code is what everybody tries first: no single digit repeated, no counting up or down"
            )
    return code
