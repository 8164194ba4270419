"""
The linter of texts: what takes the worst values to see.

Each text is written out with the longest amounts, payees, brands, hosts and codes there may be, and
the result is held to the rules: one SMS segment (140 bytes with an app's hash), one run of digits
as long as the code, no link, no stray spaces, the alphabet that the file declares, and a direction
that all phones find.
What is wrong whatever the values are, reading the file has refused already (`Catalogue.load`).
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from string import Template
from typing import Final

from otp_service.core.message_files import Finding, LocaleTexts, looks_like_link
from otp_service.core.message_values import (
    APP_HASH_LENGTH,
    BRAND_LENGTH,
    CONTEXT_FIELDS,
    HOST_LENGTH,
    app_hash_problem,
    format_amount,
    host_problem,
    name_problem,
)
from otp_service.core.messages import Catalogue, lines_below, room, wordings
from otp_service.core.segments import Encoding, Segments, characters_outside_gsm7, segments

CODE_LENGTHS: Final = range(4, 11)

# The longest values, with digits at their ends or a letter in front, in GSM-7 and outside it.
LONGEST_BRAND: Final = "123 Buchhandlung 123"
LONGEST_PAYEES: Final = ("123 Buchhandlung 123", "Księgarnia Łódź 1 12")
SHORTEST_HOST: Final = len("a.co")
LONGEST_AMOUNTS: Final = ("99999999999 WWW", "WWW 99999999999", "99999999.9 WWW")


def promised_host(digits: int) -> str:
    """Return a host as long as the package's texts bear in every locale and purpose."""
    return f"{('login' * 5)[: 28 - 2 * digits]}.com"


def lint(
    catalogue: Catalogue,
    *,
    digits: Collection[int] = CODE_LENGTHS,
    brand: str | None = None,
    origin: str | None = None,
    app_hash: str | None = None,
    locales: Collection[str] | None = None,
    purposes: Collection[str] | None = None,
) -> list[Finding]:
    """
    Return what is wrong with the texts, in order of locale and purpose; [] when all is well.

    Args:
        catalogue: Texts of the package, an operator's over them.
        digits: The lengths of codes in use, 4 to 10.
        brand: The operator's; by default the longest there may be.
        origin: The host of the last line; by default `promised_host` for each length of code, and
            none beside an app's hash.
        app_hash: Of the Android app that reads the messages; by default there is none.
        locales: The locales to look at; all by default.
        purposes: The purposes to look at; all by default.
    """
    findings = list(_setting_findings(digits, brand, origin, app_hash))
    if findings:
        return findings
    for locale in sorted(locales or catalogue.locales):
        texts = catalogue.by_locale[locale]
        findings += _brand_findings(texts, brand)
        for purpose in purposes or catalogue.purposes:
            if purpose in texts.texts:
                findings += _purpose_findings(
                    texts, purpose, tuple(digits), brand or LONGEST_BRAND, origin, app_hash
                )
    return findings


@lru_cache(maxsize=1024)  # each start lints the same texts of the package
def _purpose_findings(
    texts: LocaleTexts,
    purpose: str,
    digits: tuple[int, ...],
    brand: str,
    origin: str | None,
    app_hash: str | None,
) -> tuple[Finding, ...]:
    problems = [
        *_text_problems(texts, purpose, digits, brand),
        *_length_problems(texts, purpose, digits, brand, origin, app_hash),
    ]
    file = texts.files[purpose]
    return tuple(Finding(file, texts.locale, purpose, one) for one in dict.fromkeys(problems))


def longest_host(texts: LocaleTexts, purpose: str, digits: int, *, app_hash: bool = False) -> int:
    """Return the longest length of a host that fits one message, with or without an app's hash; negative if none."""
    rest = []
    for values in _longest_values(texts, purpose, digits):
        shortest = segments(list(wordings(texts, purpose, values, brand=None))[-1])
        rest.append(room(shortest.encoding, app_hash=app_hash) - shortest.units)
    taken = len("\n@ #") + digits + (len("\n") + APP_HASH_LENGTH if app_hash else 0)
    return min(min(rest) - taken, HOST_LENGTH)


def _longest_values(texts: LocaleTexts, purpose: str, digits: int) -> Iterator[Mapping[str, str]]:
    always = {"code": "9876543210"[:digits], "minutes": "60"}
    if purpose not in CONTEXT_FIELDS:
        yield always
        return
    for payee in LONGEST_PAYEES:
        for amount in LONGEST_AMOUNTS:
            yield {**always, "payee": payee, "amount": format_amount(amount, texts.amount)}


def _setting_findings(
    digits: Collection[int], brand: str | None, origin: str | None, app_hash: str | None
) -> Iterator[Finding]:
    if not digits or not set(digits) <= set(CODE_LENGTHS):
        yield Finding("settings", "", "digits", "must be 4 to 10")
    if brand is not None and (reason := name_problem(brand, longest=BRAND_LENGTH)):
        yield Finding("settings", "", "brand", reason)
    if app_hash is not None and (reason := app_hash_problem(app_hash)):
        yield Finding("settings", "", "app_hash", reason)
    if origin is None:
        return
    if reason := host_problem(origin):
        yield Finding("settings", "", "origin", reason)
    for run in re.findall(r"\d+", origin):
        if len(run) in digits:
            yield Finding(
                "settings",
                "",
                "origin",
                f"has {len(run)} digits together, as many as a code: take a host without them, "
                "or another length of codes",
            )


def _brand_findings(texts: LocaleTexts, brand: str | None) -> Iterator[Finding]:
    for key, text, what in (
        ("brand", brand or "", "shorten or respell the brand"),
        ("with_brand", texts.with_brand.template, "write it without them"),
    ):
        if problem := _alphabet_problem(texts, text):
            file = "settings" if key == "brand" else texts.file
            yield Finding(file, texts.locale, key, f"{problem}; {what}")


def _alphabet_problem(texts: LocaleTexts, text: str) -> str | None:
    outside = characters_outside_gsm7(text)
    if texts.encoding is Encoding.UCS_2 or not outside:
        return None
    named = ", ".join(f"{one} (U+{ord(one):04X})" for one in outside)
    return f"has {named}, outside GSM-7, so that one SMS holds 70 characters and not 160"


def _text_problems(
    texts: LocaleTexts, purpose: str, digits: Collection[int], brand: str
) -> Iterator[str]:
    variants = texts.texts[purpose]
    for number, variant in enumerate(variants, 1):
        name = f"text {number} " if len(variants) > 1 else ""
        if problem := _alphabet_problem(texts, variant.template):
            yield f"{name}{problem}; write it without them"
        for length in digits:
            for values in _longest_values(texts, purpose, length):
                for body in _bodies(texts, variant, values, brand):
                    for problem in _body_problems(body, values["code"]):
                        yield name + problem
    values = next(_longest_values(texts, purpose, max(digits)))
    sizes = [segments(variant.substitute(values)).units for variant in variants]
    for number, (before, after) in enumerate(pairwise(sizes), 2):
        if after >= before:
            yield f"text {number} is no shorter than the one before, so it would never be sent"


def _bodies(
    texts: LocaleTexts, variant: Template, values: Mapping[str, str], brand: str
) -> tuple[str, str]:
    plain = variant.substitute(values)
    return plain, texts.with_brand.substitute(brand=brand, text=plain)


def _body_problems(body: str, code: str) -> Iterator[str]:
    if "  " in body or any(line != line.strip() or not line for line in body.split("\n")):
        yield "has a space or line break at the beginning or end of a line, or two together"
    if [run for run in re.findall(r"\d+", body) if len(run) == len(code)] != [code]:
        yield "does not have exactly one run of digits as long as the code, with all values put in"
    elif re.search(rf"\w{code}|{code}\w", body):
        yield "has a letter right beside $code, where phones don't find it: put a space between"
    if looks_like_link(body):
        yield "has something like a link, with all values put in"
    if any(map(_unsure_direction, body.split("\n"))):
        yield (
            "has a line that is written from right to left and may begin with a Latin word: "
            "phones would lay it out from left to right; begin it with a word of the language"
        )


def _unsure_direction(line: str) -> bool:
    """Say whether a line with right-to-left letters has another direction (UAX 9, P2 and P3)."""
    strong = [one for one in map(unicodedata.bidirectional, line) if one in {"L", "R", "AL"}]
    return bool({"R", "AL"} & set(strong)) and strong[0] == "L"


def _length_problems(
    texts: LocaleTexts,
    purpose: str,
    digits: Collection[int],
    brand: str,
    origin: str | None,
    app_hash: str | None,
) -> Iterator[str]:
    for length in sorted(digits):
        host = origin or (None if app_hash else promised_host(length))
        for values in _longest_values(texts, purpose, length):
            below = lines_below(values["code"], origin=host, app_hash=app_hash)
            tried = wordings(texts, purpose, values, brand=brand)
            sizes = [segments(wording + below) for wording in tried]
            if all(size.units > room(size.encoding, app_hash=bool(app_hash)) for size in sizes):
                longest = longest_host(texts, purpose, length, app_hash=bool(app_hash))
                yield _too_long(texts, sizes[-1], length, longest, host, app_hash)
                return


def _too_long(
    texts: LocaleTexts,
    needed: Segments,
    digits: int,
    longest: int,
    host: str | None,
    app_hash: str | None,
) -> str:
    """Say what one message does not hold, and what would make it fit; `longest` is the longest host that would."""
    limit = room(needed.encoding, app_hash=bool(app_hash))
    there, then = (
        ("the 140 bytes of an Android app", ", so the hash is left out")
        if app_hash
        else ("one SMS", "")
    )
    values = [f"{digits} digits"]
    if host:
        values.append(f"the host {host}")
    if app_hash:
        values.append("the app's hash")
    if needed.encoding is not texts.encoding:
        values.append("a payee whose letters are outside GSM-7")
    *most, last = values
    named = f"{', '.join(most)} and {last}" if most else last
    told = (
        f"does not fit {there} with {named}: {needed.units} {needed.encoding} characters of {limit}{then}; "
        f"make the last text {needed.units - limit} shorter"
    )
    if host and longest >= SHORTEST_HOST:
        return f"{told}, or take a host of at most {longest} characters instead of {len(host)}"
    return f"{told}, since no host is short enough" if host else told
