"""What the site says, made fit for logs: no message, number, code or credential (G07).

Sites and providers echo what they were sent. Whoever keeps a `detail` must be able to trust it.
"""

import html
import re
from collections.abc import Iterable

_LONGEST = 160
_SHINGLE = 12
# Three digits or more of any script, also in groups: "+44 7700 900-104", "1 2 3 4".
_DIGITS = re.compile(r"\d(?:[\s().,_/+%-]*\d){2,}")
_TAG = re.compile(r"<[^>]*>")


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """
    Return at most 160 characters of a foreign text that are safe to keep.

    Markup and digit runs of three or more go; `secrets` go wherever they stand; a text that
    repeats twelve letters in a row of a secret is withheld as a whole, since an echo may come
    cut, escaped or encoded.
    """
    plain = _TAG.sub(" ", html.unescape(text))
    letters = _letters(plain)
    for secret in secrets:
        if len(secret) < 2:
            continue
        if _repeats(letters, _letters(secret)):
            return "(text withheld: it repeats what was sent)"
        plain = plain.replace(secret, "…")
    plain = _DIGITS.sub("…", plain)
    plain = "".join(c if c.isprintable() else " " for c in plain)
    plain = " ".join(plain.split())
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalpha())


def _repeats(text: str, secret: str) -> bool:
    shingles = {secret[i : i + _SHINGLE] for i in range(len(secret) - _SHINGLE + 1)}
    return any(text[i : i + _SHINGLE] in shingles for i in range(len(text) - _SHINGLE + 1))
