"""
The rules that an operator can set for one caller, by field: how each is written, and what it does to the service's.

The caller's word holds for what its messages say; of everything else the tighter of the two.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from otp_service.core.limits import Window, read_cooldown, read_windows
from otp_service.core.locale_tags import canonical_tag, is_locale_tag
from otp_service.core.message_values import app_hash_problem, host_problem, name_problem
from otp_service.core.recipients import REGIONS

T = TypeVar("T")
SENDER_LENGTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[T]):
    """
    How one field is read, and what it does to the service's value.

    Attributes:
        read: Returns the value of a text, or raises ValueError with a reason.
        both: Returns what holds under the service's value and the caller's.
        looser: Returns the bound that the caller's value breaks, or None.
        about: For the operator.
    """

    read: Callable[[str], T]
    both: Callable[[Any, T], Any]
    looser: Callable[[Any, T], str | None]
    about: str
    show: Callable[[T], str] = str


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) is None or not low <= int(text) <= high:
            raise ValueError(f"a whole number, {low} to {high}")
        return int(text)

    return read


def _at_most(low: int, high: int, about: str) -> Rule[int]:
    return Rule(
        read=_whole(low, high),
        both=min,
        looser=lambda bound, own: f"at most {bound}, as the service's" if own > bound else None,
        about=f"{about}; at most the service's",
    )


def _subset(read: Callable[[str], frozenset[str]], about: str) -> Rule[frozenset[str]]:
    def looser(bound: frozenset[str] | None, own: frozenset[str]) -> str | None:
        return None if bound is None or own <= bound else f"only of {', '.join(sorted(bound))}"

    return Rule(
        read=read,
        both=lambda bound, own: own if bound is None else bound & own,
        looser=looser,
        about=f"{about}; of the service's",
        show=lambda own: ",".join(sorted(own)),
    )


def _own(read: Callable[[str], str], about: str) -> Rule[str]:
    return Rule(read=read, both=lambda _, own: own, looser=lambda _, own: None, about=about)


def _windows(about: str) -> Rule[tuple[Window, ...]]:
    def looser(bound: tuple[Window, ...], own: tuple[Window, ...]) -> str | None:
        for window in own:
            for wide in bound:
                if wide.seconds >= window.seconds and wide.count < window.count:
                    return f"{window} is looser than the service's {wide}"
        return None

    def both(bound: tuple[Window, ...], own: tuple[Window, ...]) -> tuple[Window, ...]:
        fewest = {w.seconds: w.count for w in sorted({*bound, *own}, key=lambda w: -w.count)}
        return tuple(Window(fewest[seconds], seconds) for seconds in sorted(fewest, reverse=True))

    return Rule(
        read=read_windows,
        both=both,
        looser=looser,
        about=f"{about}; beside the service's",
        show=lambda own: ",".join(map(str, own)),
    )


def _slowest(bound: tuple[int, ...], own: tuple[int, ...]) -> tuple[int, ...]:
    length = max(len(bound), len(own))  # the last step repeats
    one, other = (steps + steps[-1:] * (length - len(steps)) for steps in (bound, own))
    return tuple(map(max, one, other))


def _quicker(bound: tuple[int, ...], own: tuple[int, ...]) -> str | None:
    length = max(len(bound), len(own))
    padded = own + own[-1:] * (length - len(own))
    shown = ",".join(map(str, bound))
    return f"no step under the service's {shown}" if _slowest(bound, own) != padded else None


def _words(text: str) -> frozenset[str]:
    words = frozenset(text.replace(" ", "").split(","))
    if "" in words:
        raise ValueError("words separated by commas")
    return words


def _regions(text: str) -> frozenset[str]:
    if not _words(text) <= REGIONS:
        raise ValueError("ISO 3166-1 codes of two capital letters, such as DE,GB")
    return _words(text)


def _tag(text: str) -> str:
    if not is_locale_tag(text):
        raise ValueError("a language tag such as pt-BR")
    return canonical_tag(text)


def _checked(problem: Callable[[str], str | None]) -> Callable[[str], str]:
    def read(text: str) -> str:
        reason = problem(text) if text else "must not be empty"
        if reason:
            raise ValueError(reason)
        return text

    return read


def _sender_problem(text: str) -> str | None:
    fits = len(text) <= SENDER_LENGTH and text.isprintable() and text == text.strip()
    return None if fits else f"at most {SENDER_LENGTH} printable characters"


def _only_true(text: str) -> bool:
    if text != "true":
        raise ValueError("true; unset it for what the service says")
    return True


RULES: Mapping[str, Rule[Any]] = {
    "purposes": _subset(_words, "allowed purposes"),
    "digits": Rule(
        read=_whole(4, 10),
        both=max,
        looser=lambda bound, own: f"at least {bound}, as the service's" if own < bound else None,
        about="digits of a code; at least the service's",
    ),
    "code_ttl": _at_most(60, 600, "seconds a code is valid"),
    "max_attempts": _at_most(1, 10, "wrong codes per challenge"),
    "max_sends": _at_most(1, 10, "codes per challenge"),
    "resend_grace": _at_most(0, 120, "seconds the old code stays valid after a resend"),
    "proof_ttl": _at_most(30, 600, "seconds a proof is valid"),
    "cooldown": Rule(
        read=read_cooldown,
        both=_slowest,
        looser=_quicker,
        about="seconds between sends to one recipient; at least the service's",
        show=lambda own: ",".join(map(str, own)),
    ),
    "per_recipient": _windows("sends to one recipient"),
    "per_client_ip": _windows("sends per end user network"),
    "per_caller": _windows("all sends of the caller (its budget)"),
    "regions": _subset(_regions, "allowed regions"),
    "enrollment_proof": Rule(
        read=_only_true,
        both=lambda bound, own: bound or own,
        looser=lambda bound, own: None,
        about="true: enrolling a second authenticator needs a proof",
        show=lambda own: "true",
    ),
    "locales": _subset(
        lambda text: frozenset(_tag(word) for word in _words(text)), "languages of its messages"
    ),
    "locale": _own(_tag, "language if a request names none"),
    "brand": _own(_checked(name_problem), "name in messages"),
    "sender": _own(_checked(_sender_problem), "sender name at the SMS gateway"),
    "origin": _own(_checked(host_problem), "host that codes are bound to: `@host #code`"),
    "app_hash": _own(
        _checked(app_hash_problem), "the 11 characters of its Android app, for the SMS Retriever"
    ),
}
