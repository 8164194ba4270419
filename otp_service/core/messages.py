"""
The messages that carry codes: one per purpose and locale, in one SMS segment, from files.

Everything here is a pure function of its arguments and of the files read by `Catalogue.load`.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from otp_service.core.locale_tags import canonical_tag, is_locale_tag, resolve_locale
from otp_service.core.message_files import (
    PURPOSES,
    Finding,
    LocaleTexts,
    MessagesInvalid,
    read_locale,
)
from otp_service.core.message_values import (
    BRAND_LENGTH,
    CONTEXT_FIELDS,
    JOINERS,
    app_hash_problem,
    check_context,
    format_amount,
    host_problem,
    name_problem,
    tidy_name,
)
from otp_service.core.segments import ALONE, Encoding, segments, utf16_units

__all__ = [
    "CONTEXT_FIELDS",
    "PURPOSES",
    "Catalogue",
    "Finding",
    "MessagesInvalid",
    "app_hash_problem",
    "canonical_tag",
    "check_context",
    "host_problem",
    "is_locale_tag",
    "name_problem",
    "resolve_locale",
    "room",
]

SHORTENED_PAYEE: Final = 6
LONGEST_VALIDITY_MINUTES: Final = 60

# With an app's hash: 140 bytes (Google, "Perform SMS verification on a server"). Which alphabet they are counted in is
# not said, so a character of GSM-7 is taken for a whole one, although a segment packs 160 into them.
RETRIEVED: Final = {Encoding.GSM_7: 140, Encoding.UCS_2: 70}

_CODE = re.compile(r"[0-9]{4,10}")
_PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All texts of all locales; immutable, made by `load`."""

    by_locale: Mapping[str, LocaleTexts]
    purposes: tuple[str, ...]

    @classmethod
    def load(cls, directory: Path | None = None, *, purposes: Collection[str] = ()) -> "Catalogue":
        """
        Read the package's texts, then an operator's own over them.

        Args:
            directory: Holds files named like the package's (``en.toml``). One for a locale of the
                package replaces what it says and leaves the rest; one for another locale must say
                everything.
            purposes: Purposes the operator configured besides `PURPOSES`: they may have texts of
                their own and have those of "default" otherwise.

        Raises:
            MessagesInvalid: with all that is wrong, each by file, key and reason.
        """
        known = tuple(dict.fromkeys((*PURPOSES, *purposes)))
        by_locale = {read.locale: read for read in _read_own(known)}
        findings = [
            Finding("settings", "", purpose, "is no purpose: a-z, 0-9 and _, 32 at most")
            for purpose in known
            if not _PURPOSE.fullmatch(purpose)
        ]
        try:
            for file, source in _files_of(directory) if directory else ():
                tag = Path(file).name.removesuffix(".toml")
                try:
                    by_locale[tag] = read_locale(
                        file, source, purposes=known, overridden=by_locale.get(tag)
                    )
                except MessagesInvalid as error:
                    findings.extend(error.findings)
        except (OSError, UnicodeDecodeError) as error:
            findings.append(Finding(str(directory), "", "directory", f"can't be read: {error}"))
        if findings:
            raise MessagesInvalid(findings)
        return cls(by_locale, known)

    @property
    def locales(self) -> tuple[str, ...]:
        """The tags there are texts for, sorted; what `resolve_locale` takes as available."""
        return tuple(sorted(self.by_locale))

    def render(
        self,
        *,
        purpose: str,
        locale: str,
        code: str,
        minutes: int,
        brand: str | None = None,
        origin: str | None = None,
        app_hash: str | None = None,
        context: Mapping[str, object] | None = None,
    ) -> str:
        """
        Write the message for one code: lines end in LF, and there is none at the end.

        Of the purpose's texts the first that fits one segment is taken; then, should none fit, the
        last without the brand; then that with the payee cut short by "…", to
        `SHORTENED_PAYEE` characters if need be. The linter tells which hosts and brands always fit.
        With an app's hash a message has room for 140 bytes (`RETRIEVED`).

        Args:
            purpose: One of `PURPOSES` or configured; one without texts has those of "default".
            locale: One of `locales` (see `resolve_locale`).
            code: 4 to 10 ASCII digits.
            minutes: How long the code lives, 1 to 60.
            brand: The operator's name, at most 20 characters (see `name_problem`).
            origin: The host that may fill the code in, such as ``example.com``; makes the last line
                ``@example.com #123456`` (WICG origin-bound one-time codes, section 3).
            app_hash: 11 characters that name the Android app which may read the message by the SMS
                Retriever; a line of their own, before that of the host. Left out where no text
                fits with it: the app would not be shown the message.
            context: Values for this purpose, passed by `check_context`.

        Raises:
            ValueError: an argument is outside its range. It never repeats the code.
            KeyError: no such locale.
        """
        _check(purpose, code, minutes, brand, origin, app_hash, context)
        texts = self.by_locale[locale]
        values = {"code": code, "minutes": str(minutes)}
        for field, value in (context or {}).items():
            if field == "amount":
                values[field] = format_amount(str(value), texts.amount)
            else:
                values[field] = tidy_name(str(value))
        return compose(texts, purpose, values, brand=brand, origin=origin, app_hash=app_hash)


def compose(
    texts: LocaleTexts,
    purpose: str,
    values: Mapping[str, str],
    *,
    brand: str | None,
    origin: str | None,
    app_hash: str | None,
) -> str:
    """Return the first wording that fits one segment, or the shortest; the values are checked."""
    message = ""
    for tried in dict.fromkeys((app_hash, None)):
        below = lines_below(values["code"], origin=origin, app_hash=tried)
        for wording in wordings(texts, purpose, values, brand=brand):
            message = wording + below
            size = segments(message)
            if size.units <= room(size.encoding, app_hash=bool(tried)):
                return message
    return message


def lines_below(code: str, *, origin: str | None, app_hash: str | None) -> str:
    """Return what stands below the text, for machines: the app's hash, and last the host with the code."""
    return (f"\n{app_hash}" if app_hash else "") + (f"\n@{origin} #{code}" if origin else "")


def room(encoding: Encoding, *, app_hash: bool) -> int:
    """Return how many units a message may have."""
    return (RETRIEVED if app_hash else ALONE)[encoding]


def wordings(
    texts: LocaleTexts, purpose: str, values: Mapping[str, str], *, brand: str | None
) -> Iterator[str]:
    """Yield what a message may say above its last line, in order of preference."""
    variants = texts.texts.get(purpose, texts.texts["default"])
    plain = [variant.substitute(values) for variant in variants]
    if brand:
        for text in plain:
            yield texts.with_brand.substitute(brand=tidy_name(brand), text=text)
        yield plain[-1]
    else:
        yield from plain
    for payee in _shortened(values.get("payee", "")):
        yield variants[-1].substitute({**values, "payee": payee})


def _shortened(name: str) -> Iterator[str]:
    """Yield ever shorter beginnings of a name; none ends between a letter and its marks."""
    kept = name
    for length in range(len(name) - 2, 0, -1):
        if utf16_units(kept) <= SHORTENED_PAYEE:
            return
        if unicodedata.category(name[length])[0] != "M" and name[length] not in JOINERS:
            kept = name[:length].rstrip(" " + JOINERS) + "…"
            yield kept


def _check(
    purpose: str,
    code: str,
    minutes: int,
    brand: str | None,
    origin: str | None,
    app_hash: str | None,
    context: Mapping[str, object] | None,
) -> None:
    if not _CODE.fullmatch(code):
        raise ValueError("the code must have 4 to 10 digits")
    if not 1 <= minutes <= LONGEST_VALIDITY_MINUTES:
        raise ValueError(f"minutes must be 1 to {LONGEST_VALIDITY_MINUTES}")
    if brand and (reason := name_problem(brand, longest=BRAND_LENGTH)):
        raise ValueError(f"the brand {reason}")
    if origin and (reason := host_problem(origin)):
        raise ValueError(f"the origin {reason}")
    if app_hash and (reason := app_hash_problem(app_hash)):
        raise ValueError(f"the app's hash {reason}")
    if problems := check_context(purpose, context):
        raise ValueError("; ".join(f"{field} {reason}" for field, reason in problems))


@lru_cache(maxsize=8)
def _read_own(purposes: tuple[str, ...]) -> tuple[LocaleTexts, ...]:
    """Return the package's texts, read once per process."""
    return tuple(read_locale(file, source, purposes=purposes) for file, source in _own_files())


def _own_files() -> Iterator[tuple[str, str]]:
    directory = resources.files("otp_service") / "locales"
    for entry in sorted(directory.iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".toml"):
            yield f"otp_service/locales/{entry.name}", entry.read_text(encoding="utf-8")


def _files_of(directory: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(directory.iterdir()):
        if path.suffix == ".toml":
            yield path.as_posix(), path.read_text(encoding="utf-8")
