"""What people type and paste, read the same everywhere: codes, recovery codes and phone numbers."""

import unicodedata

# A minus sign, and the long-vowel marks that a Japanese keyboard gives for a dash: not in category Pd.
_DASHES = frozenset("\u2212\u30fc\uff70")
# Round, square and CJK brackets, small forms included. Curly brackets mark templates and stay.
_BRACKETS = frozenset(
    "()[]\u3008\u3009\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011\u3014\u3015\u3016\u3017\u3018\u3019\u301a\u301b"
    "\ufe59\ufe5a\ufe5d\ufe5e\uff08\uff09\uff3b\uff3d\uff5f\uff60\uff62\uff63"
)
# Full stops and middle dots: ASCII, Arabic, CJK, small, half and full width.
_DOTS = frozenset(".\u00b7\u06d4\u2024\u2027\u3002\u30fb\ufe52\uff0e\uff61\uff65")
_DROPPED = _DASHES | _BRACKETS | _DOTS | {"\t"}
# Spaces (Zs), invisible characters such as direction marks (Cf), dashes (Pd).
_LAYOUT = frozenset({"Zs", "Cf", "Pd"})
# Full-width forms of the printable ASCII characters (Unicode block FF00).
_FULL_WIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(0x5E)}


def normalise(typed: str) -> str:
    """
    Return ASCII for digits of any script and full-width forms, without what people put between digits.

    That is spaces, tabs, dashes, brackets, dots and invisible characters.
    Line breaks are dropped at both ends only. Anything else stays, for the strict check that follows to refuse.
    """
    kept: list[str] = []
    for character in typed.strip():
        if character in _DROPPED or unicodedata.category(character) in _LAYOUT:
            continue
        digit = unicodedata.decimal(character, None)
        kept.append(character if digit is None else str(digit))
    return "".join(kept).translate(_FULL_WIDTH)
