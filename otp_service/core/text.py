"""Texts that callers and people choose freely: names, accounts, ids of persons."""

import re
import unicodedata

MAX_SUBJECT = 255  # characters; an OIDC `sub` has at most 255 (OpenID Connect Core 1.0, section 2)

# Controls, line and paragraph separators, half surrogates, and what changes the direction of the text around it.
# Joiners, no-break spaces and direction marks are part of Persian, Hindi, French and emoji, and allowed.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
# Letters, marks and symbols that show nothing: fillers, the blank Braille pattern, variation selectors.
INVISIBLE_CHARACTERS = frozenset(
    {*"\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0", *map(chr, range(0xFE00, 0xFE10))}
)
NO_CONTROLS = "must have no control characters, line breaks or changes of direction"


def has_controls(text: str) -> bool:
    """Whether a text has control characters, line breaks or bidirectional overrides."""
    return _CONTROL.search(text) is not None


def is_blank(text: str) -> bool:
    """Whether nothing in a text can be seen: spaces, format characters, fillers."""
    return all(
        unicodedata.category(character) in _INVISIBLE or character in INVISIBLE_CHARACTERS
        for character in text
    )


def subject(text: str) -> str:
    """
    Return a caller's id of a person as it is compared: composed (NFC), then byte for byte.

    Raises:
        ValueError: not 1 to 255 characters, a space at an end, controls, or all of it invisible. It repeats nothing.
    """
    composed = unicodedata.normalize("NFC", text)
    if not 1 <= len(composed) <= MAX_SUBJECT:
        raise ValueError(f"must have 1 to {MAX_SUBJECT} characters")
    if has_controls(composed):
        raise ValueError(NO_CONTROLS)
    if is_blank(composed):
        raise ValueError("must not be blank")
    if composed != composed.strip():
        raise ValueError("must not begin or end with a space")
    return composed
