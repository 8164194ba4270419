"""What people type and paste, read the same everywhere: codes, recovery codes and phone numbers."""

import unicodedata

# A minus sign, and the long-vowel marks that a Japanese keyboard gives for a dash: not in category Pd.
_DASHES = frozenset("\u2212\u30fc\uff70")
# Spaces (Zs), invisible characters such as direction marks (Cf), dashes (Pd).
_LAYOUT = frozenset({"Zs", "Cf", "Pd"})
# Full-width forms of the printable ASCII characters (Unicode block FF00).
_FULL_WIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(0x5E)}


def normalise(typed: str) -> str:
    """
    Return ASCII for digits of any script and full-width forms, without spaces, tabs, dashes and invisible characters.

    Line breaks are dropped at both ends only. Anything else stays, for the strict check that follows to refuse.
    """
    kept: list[str] = []
    for character in typed.strip():
        if character == "\t" or character in _DASHES:
            continue
        if unicodedata.category(character) in _LAYOUT:
            continue
        digit = unicodedata.decimal(character, None)
        kept.append(character if digit is None else str(digit))
    return "".join(kept).translate(_FULL_WIDTH)
