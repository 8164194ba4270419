"""Sliding limits as values: how many in which window, read from and written as text such as `5/10m`."""

import ipaddress
import math
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NAT64 = int(ipaddress.IPv6Address("64:ff9b::")) >> 32  # a /96
_WITH_PORT = re.compile(r"(?:([0-9.]+)|\[([^\]]+)\])(?::[0-9]{1,5})?", re.ASCII)
_SHAPE = re.compile(r"([0-9]{1,7})/([0-9]{1,4})([smhd])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """
    At most `count` in any `seconds`: sliding, so also across any boundary.

    Attributes:
        count: 1 to 1 000 000. A counted event costs Redis about 90 bytes until it leaves the window.
        seconds: 1 to 31 days.
    """

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read `5/10m`: five in ten minutes; units s, m, h, d.

        Raises:
            ValueError: another shape, or out of range.
        """
        match = _SHAPE.fullmatch(text.strip())
        if match is None:
            raise ValueError("must be a limit such as 5/10m (units s, m, h, d)")
        count, seconds = int(match[1]), int(match[2]) * _UNITS[match[3]]
        if not (1 <= count <= 1_000_000 and 1 <= seconds <= 31 * 86400):
            raise ValueError("must be 1 to 1000000 in 1s to 31d")
        return cls(count, seconds)

    def __str__(self) -> str:
        unit = max((u for u, s in _UNITS.items() if self.seconds % s == 0), key=_UNITS.__getitem__)
        return f"{self.count}/{self.seconds // _UNITS[unit]}{unit}"


def read_windows(text: str) -> tuple[Window, ...]:
    """Return the windows in `10/1d,5/10m`, the longest first. Raises ValueError."""
    windows = [Window.parse(part) for part in text.split(",")]
    return tuple(sorted(windows, key=lambda window: -window.seconds))


def read_cooldown(text: str) -> tuple[int, ...]:
    """Return the steps in `30,60,120`: 1 to 10 of 1 to 3600 seconds. Raises ValueError."""
    if re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text, re.ASCII) is None:
        raise ValueError("must be whole numbers separated by commas, such as 30,60,120")
    steps = tuple(int(part) for part in text.split(","))
    if not (len(steps) <= 10 and all(1 <= step <= 3600 for step in steps)):
        raise ValueError("1 to 10 steps of 1 to 3600 seconds")
    return steps


@dataclass(frozen=True, slots=True)
class FailureBudget:
    """
    Wrong codes that one subject may try with one factor, over all its challenges.

    Attributes:
        short: The window that leads to a block; 10 in 30 minutes by default.
        block_seconds: How long the block lasts; trying does not extend it.
        long: The window over a day; blocked until its oldest failure leaves it.
        in_a_row: Failures without a success between, at any pace, that disable the factor (NIST SP 800-63B-4 3.2.2:
            at most 100).
    """

    short: Window = Window(10, 1800)
    block_seconds: int = 1800
    long: Window = Window(20, 86400)
    in_a_row: int = 100

    @property
    def all_short(self) -> Window:
        """
        Wrong codes over all factors of a subject, in the short window: half as many again as with one of them.

        More than one factor's, so that who guesses one of them leaves tries for another; less than two, or a second
        factor would double the guesses.
        """
        return _half_more(self.short)

    @property
    def all_long(self) -> Window:
        """The same in the long window."""
        return _half_more(self.long)


def _half_more(window: Window) -> Window:
    return Window(math.ceil(window.count * 1.5), window.seconds)


def network(address: str) -> str:
    """
    Return the network that one end user is taken to have: /32 of IPv4, /64 of IPv6.

    An IPv4 address inside of an IPv6 one (mapped, or behind NAT64's well-known prefix, RFC 6052) counts as itself.

    Args:
        address: As proxies write it: a port or a zone behind it is ignored.

    Raises:
        ValueError: not an address.
    """
    found = _WITH_PORT.fullmatch(address)
    ip = ipaddress.ip_address((found[1] or found[2]) if found else address)
    if isinstance(ip, ipaddress.IPv6Address):
        if int(ip) >> 32 == _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        else:
            ip = ip.ipv4_mapped or ipaddress.IPv6Address(int(ip))  # without its zone
    if ip.version == 4:
        return f"{ip}/32"
    return str(ipaddress.ip_network(f"{ip}/64", strict=False))


class Ceiling:
    """
    At most `window.count` sends of this process in any `window.seconds`: what still bounds the bill when Redis has
    lost every count.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._times: deque[float] = deque()

    def admit(self, now: float) -> int | None:
        """Count one send and return None, or return the seconds to wait, counting nothing. `now`: any steady clock."""
        while self._times and self._times[0] <= now - self._window.seconds:
            self._times.popleft()
        if len(self._times) >= self._window.count:
            return max(1, math.ceil(self._times[0] + self._window.seconds - now))
        self._times.append(now)
        return None

    def take_back(self, now: float) -> None:
        """Forget the send that was counted at `now`: it was refused for another reason, and nothing goes out."""
        with suppress(ValueError):  # it has left the window
            self._times.remove(now)
