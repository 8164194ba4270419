"""Language tags: what is shaped like one, and which available one serves a request best."""

import re
from collections.abc import Collection

LONGEST_TAG = 35

_TRADITIONAL = frozenset({"tw", "hk", "mo"})  # regions that write Chinese in traditional script

_EXTENDED = re.compile("[a-z]{3}")  # an extended language: zh-yue

_TAG = re.compile(
    r"""
    [a-z]{2,3} (?: -[a-z]{3} ){0,3}                 # language, extended language
    (?: -[a-z]{4} )?                                # script
    (?: -(?: [a-z]{2} | [0-9]{3} ) )?               # region
    (?: -(?: [a-z0-9]{5,8} | [0-9][a-z0-9]{3} ) )*  # variants
    (?: -[0-9a-wy-z] (?: -[a-z0-9]{2,8} )+ )*       # extensions
    (?: -x (?: -[a-z0-9]{1,8} )+ )?                 # private use
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


_LOCALE_TEXT = re.compile(r"[\w .@,;=*()+'-]*")


def is_locale_tag(text: str) -> bool:
    """
    Say whether a text has the shape of a language tag (RFC 5646 section 2.1, langtag).

    An underscore is taken for a hyphen, case does not matter, 35 characters are the longest
    (section 4.4.1). Nothing that has this shape can be a path.
    """
    return len(text) <= LONGEST_TAG and _TAG.fullmatch(text.replace("_", "-")) is not None


def language_tag(text: str) -> str | None:
    """
    Return the tag in a locale as systems and browsers write it, or None if it names none.

    Charset and modifier are dropped (``en_US.UTF-8``, ``de_DE@euro``); of an ``Accept-Language`` list the first tag
    counts. None: empty, ``*``, ``C``, ``POSIX``, ``English_United States.1252``, ``i-klingon``.
    """
    tag = re.split("[.@,;]", text, maxsplit=1)[0].strip()
    return tag if is_locale_tag(tag) and tag.upper() != "POSIX" else None


def is_locale_text(text: str) -> bool:
    """Return whether a text has only characters of locale names: letters, digits, spaces and ``-_.@,;=*()+'``."""
    return _LOCALE_TEXT.fullmatch(text) is not None


def canonical_tag(text: str) -> str:
    """Return a well-shaped tag in the usual case, ``zh-Hant-TW`` (RFC 5646 section 2.1.1)."""
    language, *rest = text.replace("_", "-").lower().split("-")
    parts, within_extension = [language], False
    for part in rest:
        within_extension = within_extension or len(part) == 1
        if within_extension:
            parts.append(part)
        else:
            parts.append({2: part.upper(), 4: part.title()}.get(len(part), part))
    return "-".join(parts)


def resolve_locale(requested: str | None, available: Collection[str], default: str) -> str:
    """
    Return the available tag that serves a request best (RFC 4647 section 3.4, lookup).

    Subtags are dropped from the end until one is there: ``pt-BR`` finds ``pt``, ``zh-Hant-TW``
    finds ``zh-Hant``. Failing that, the first region of the same language serves (``pt`` finds
    ``pt-BR``), and failing that the default. What is not shaped like a tag gets the default too:
    ask `is_locale_tag` first to refuse it. Traditional Chinese (``zh-Hant``, ``zh-TW``, ``zh-HK``,
    ``zh-MO``) never gets simplified texts.

    Args:
        requested: What the caller asked for, or None.
        available: Tags in canonical case.
        default: One of them.

    Raises:
        ValueError: the default is not available.
    """
    if default not in available:
        raise ValueError(f"the default locale {default!r} has no texts")
    if requested is None or not is_locale_tag(requested):
        return default
    by_lower = {tag.lower(): tag for tag in available}
    subtags = requested.replace("_", "-").lower().split("-")
    family, wanted = subtags[0], _prefixes(subtags)
    if _is_traditional_chinese(subtags):
        # Without the extended language (``zh-yue-Hant-HK``), and never down to ``zh`` alone.
        family = "zh-hant"
        rest = [part for part in subtags[1:] if part != "hant" and not _EXTENDED.fullmatch(part)]
        wanted = [tag for tag in wanted if "-hant" in tag] + _prefixes(["zh", "hant", *rest])[:-1]
    for tag in wanted:
        if found := by_lower.get(tag):
            return found
    relatives = sorted(lower for lower in by_lower if lower.startswith(f"{family}-"))
    return by_lower[relatives[0]] if relatives else default


def _prefixes(subtags: list[str]) -> list[str]:
    """Return the tag and what is left of it as subtags are dropped from the end."""
    return ["-".join(subtags[:length]) for length in range(len(subtags), 0, -1)]


def _is_traditional_chinese(subtags: list[str]) -> bool:
    named = set(subtags)
    return subtags[0] == "zh" and "hans" not in named and bool({"hant", *_TRADITIONAL} & named)
