"""
What may be put into a message: amounts, names of payees and brands, an app's hash, the host of the last line.

Values come from callers, so each has a closed alphabet and a length. No value can bring a line, a
link, a ``%`` (WSMS expands ``%…%``), or a run of digits that could be taken for a code: a code has
at least four, and a value shows at most three together.
"""

import re
import unicodedata
from collections.abc import Mapping
from itertools import groupby
from typing import Final

from otp_service.core.segments import utf16_units
from otp_service.core.text import INVISIBLE_CHARACTERS

PAYEE_LENGTH: Final = 20
BRAND_LENGTH: Final = 20
AMOUNT_DIGITS: Final = 9  # with decimals
LONG_AMOUNT_DIGITS: Final = 11  # without, for currencies such as IRR, LBP and VND
HOST_LENGTH: Final = 120
APP_HASH_LENGTH: Final = 11
MARKS_ON_A_LETTER: Final = 4

CONTEXT_FIELDS: Final[Mapping[str, frozenset[str]]] = {"payment": frozenset({"amount", "payee"})}

_THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
_NUMBER = r"(0|[1-9][0-9]{0,10})(?:[.,]([0-9]{1,3}))?"
_AMOUNT = re.compile(rf"{_NUMBER} ?([A-Z]{{3}})")
_AMOUNT_CURRENCY_FIRST = re.compile(rf"([A-Z]{{3}}) ?{_NUMBER}")

# How a locale writes 1234567.89: separator, point, digits of every group but the last.
NUMBER_FORMATS: Final[Mapping[str, tuple[str, str, int]]] = {
    "1,234,567.89": (",", ".", 3),
    "1.234.567,89": (".", ",", 3),
    "1 234 567,89": (" ", ",", 3),
    "12,34,567.89": (",", ".", 2),
}

_NAME_PUNCTUATION = frozenset(" &'-.,()+")
JOINERS: Final = "\u200c\u200d"
_STRAIGHT_APOSTROPHE = str.maketrans({"\u2018": "'", "\u2019": "'"})
_CODE_LIKE = re.compile(r"\d(?:\W*\d){3}")  # \W: spaces, punctuation, marks

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_APP_HASH = re.compile(rf"[A-Za-z0-9+/]{{{APP_HASH_LENGTH}}}")


def check_context(purpose: str, context: Mapping[str, object] | None) -> list[tuple[str, str]]:
    """
    Return what is wrong with a request's context, as pairs of field and reason.

    "payment" needs exactly ``amount`` and ``payee``; every other purpose takes none. Fields are
    named as in the context, without a prefix, in alphabetical order. Reasons end a sentence about
    the field and never repeat a value.
    """
    fields = CONTEXT_FIELDS.get(purpose, frozenset())
    given = context or {}
    problems: list[tuple[str, str]] = []
    for field in sorted(fields | given.keys()):
        if field not in fields:
            problems.append((field, f"is not known for the purpose {purpose}"))
        elif field not in given:
            problems.append((field, "is missing"))
        elif not isinstance(value := given[field], str):
            problems.append((field, "must be a string"))
        elif reason := amount_problem(value) if field == "amount" else name_problem(value):
            problems.append((field, reason))
    return problems


def amount_problem(value: str) -> str | None:
    """
    Return why a text is no amount, or None.

    An amount is a plain number and an ISO 4217 code in either order, ``1234.50 EUR`` or
    ``EUR1234,5``: no grouping, a point or comma before one or two decimals (three only for
    currencies that have them, so that ``1.500 EUR`` can't mean two things), nine digits at most, or
    eleven without decimals. Decimals that are zeros do not count beyond nine digits: systems write
    large currencies as ``LBP 1250000000.00``.
    """
    if _parse_amount(value) is None:
        return (
            "must be a number without grouping and a currency code, such as 1234.50 EUR: "
            f"at most {LONG_AMOUNT_DIGITS} digits, or {AMOUNT_DIGITS} of which at most two are decimals "
            "(three where the currency has them) that are not all zeros"
        )
    return None


def _parse_amount(value: str) -> tuple[str, str, str, bool] | None:
    """
    Return whole, decimals, currency and whether it stands first; None if malformed.

    Zero decimals of a number that is too long with them are dropped.
    """
    if found := _AMOUNT.fullmatch(value):
        whole, decimals, currency = found.groups(default="")
    elif found := _AMOUNT_CURRENCY_FIRST.fullmatch(value):
        currency, whole, decimals = found.groups(default="")
    else:
        return None
    if len(decimals) == 3 and currency not in _THREE_DECIMALS:
        return None
    if decimals and len(whole) + len(decimals) > AMOUNT_DIGITS:
        if decimals.strip("0"):
            return None
        decimals = ""
    return whole, decimals, currency, value[0].isalpha()


def format_amount(value: str, number_format: str) -> str:
    """
    Write an amount as a locale does, always grouped, so that it never shows four digits in a row.

    Args:
        value: Passed by `amount_problem`.
        number_format: One of `NUMBER_FORMATS`.

    Returns:
        At most 19 characters (18 in threes), the currency where the caller put it:
        ``1,234.50 EUR``.
    """
    parsed = _parse_amount(value)
    if parsed is None:
        raise ValueError("not an amount")
    whole, decimals, currency, currency_first = parsed
    separator, point, size = NUMBER_FORMATS[number_format]
    groups, rest = [whole[-3:]], whole[:-3]
    while rest:
        groups.insert(0, rest[-size:])
        rest = rest[:-size]
    number = separator.join(groups) + (point + decimals if decimals else "")
    return f"{currency} {number}" if currency_first else f"{number} {currency}"


def name_problem(value: str, *, longest: int = PAYEE_LENGTH) -> str | None:
    """
    Return why a text is no name of a payee or brand, or None.

    Letters of any script, single spaces, ``&'-.,()+`` and digits, none of which may stand as four
    in a row (spaces and punctuation between them don't help); a full stop only before a space, at the
    end or in an abbreviation such as ``S.p.A.``, so that nothing reads as a link.

    Args:
        value: Any text; compared after `tidy_name`.
        longest: In UTF-16 code units.
    """
    name = tidy_name(value)
    if not name or name != name.strip() or "  " in name:
        return "must not be empty, begin or end with a space, or have two together"
    if utf16_units(name) > longest:
        return f"must have at most {longest} characters"
    if not all(_fits_in_a_name(name, index) for index in range(len(name))):
        return "may have letters, digits, single spaces and & ' - . , ( ) + only"
    if _looks_like_a_link(name):
        return (
            "must not look like a link: a full stop only before a space, at the end or in an "
            "abbreviation such as S.p.A."
        )
    if _most_marks(name) > MARKS_ON_A_LETTER:
        return f"must not have more than {MARKS_ON_A_LETTER} marks on a letter"
    if _CODE_LIKE.search(name):
        return "must not have more than three digits together"
    if not any(character.isalpha() for character in name):
        return "must have a letter"
    return None


def tidy_name(value: str) -> str:
    """Return a name as it is sent: composed (NFC), with straight apostrophes."""
    return unicodedata.normalize("NFC", value).translate(_STRAIGHT_APOSTROPHE)


def _fits_in_a_name(name: str, index: int) -> bool:
    character = name[index]
    if character in INVISIBLE_CHARACTERS:
        return False
    if character in JOINERS:
        around = name[max(index - 1, 0) : index] + name[index + 1 : index + 2]
        return len(around) == 2 and all(unicodedata.category(one)[0] in "LM" for one in around)
    return (
        character.isalpha()
        or character in _NAME_PUNCTUATION
        or unicodedata.category(character) in {"Mn", "Mc", "Nd"}
    )


def _looks_like_a_link(name: str) -> bool:
    """
    Return whether a full stop has something behind it that could be the last label of a domain.

    Such a label has two characters or more; a mark counts, because ``.कॉम`` is one too. A single
    letter, as in "S.p.A.", is none.
    """
    return any(
        after[:1] not in ("", " ")
        and not (after[0].isalpha() and (after[1:2] == "" or after[1] in _NAME_PUNCTUATION))
        for after in (name[index + 1 :] for index, one in enumerate(name) if one == ".")
    )


def _most_marks(name: str) -> int:
    runs = groupby(unicodedata.category(character)[0] == "M" for character in name)
    return max((len(list(run)) for marks, run in runs if marks), default=0)


def host_problem(value: str) -> str | None:
    """Return why a text is no host for the last line, or None."""
    if len(value) > HOST_LENGTH or not _HOST.fullmatch(value):
        return (
            "must be a host such as example.com: lower-case letters, digits, dots and hyphens, "
            f"at most {HOST_LENGTH}, without scheme, port or path (xn-- form for other scripts)"
        )
    return None


def app_hash_problem(value: str) -> str | None:
    """
    Return why a text is no hash of an Android app (SMS Retriever), or None.

    The first characters of the Base64 of a SHA-256 over the app's package and certificate, so
    that one in two hundred has four digits together: which of them is the code, nobody could tell.
    """
    if not _APP_HASH.fullmatch(value):
        return (
            f"must be the {APP_HASH_LENGTH} characters that name an Android app for the SMS "
            "Retriever, such as FA+9qCX9VSu: letters, digits, + and /"
        )
    if re.search(r"[0-9]{4}", value):
        return (
            "must not have four or more digits together, which could be taken for the code: the "
            "SMS User Consent API reads messages without a hash"
        )
    return None
