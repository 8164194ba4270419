"""How many SMS segments a text takes: GSM-7 when every character allows it, else UCS-2."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gsm0338 import Codec  # type: ignore[import-untyped]


class Encoding(StrEnum):
    """The alphabets of 3GPP TS 23.038; one character outside GSM-7 makes a text UCS-2."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


@dataclass(frozen=True, slots=True)
class Segments:
    """
    What a text costs on the air.

    Attributes:
        encoding: The alphabet the text needs.
        units: Septets in GSM-7 (extension characters are two), UTF-16 code units in UCS-2.
        count: Segments, at least 1.
        per_segment: Units that one of them holds: 160 or 70 alone, 153 or 67 when joined by
            the user data header (3GPP TS 23.040 section 9.2.3.24.1).
    """

    encoding: Encoding
    units: int
    count: int
    per_segment: int


ALONE = {Encoding.GSM_7: 160, Encoding.UCS_2: 70}
JOINED = {Encoding.GSM_7: 153, Encoding.UCS_2: 67}

_ESCAPE = 0x1B


def _gsm7_septets() -> dict[str, int]:
    codec = Codec()
    basic = [bytes((septet,)) for septet in range(0x80) if septet != _ESCAPE]
    septets = {codec.decode(octets)[0]: 1 for octets in basic}
    for septet in range(0x80):
        try:
            septets.setdefault(codec.decode(bytes((_ESCAPE, septet)))[0], 2)
        except UnicodeDecodeError:
            continue
    return septets


_SEPTETS = _gsm7_septets()


def segments(text: str) -> Segments:
    r"""
    Count the segments of a text, without national language shift tables.

    An extension character (``^{}\[~]|``, the euro sign and form feed) is never split over two
    segments, nor is a surrogate pair, so a segment may hold one unit less than it could.
    """
    outside = characters_outside_gsm7(text)
    encoding = Encoding.UCS_2 if outside else Encoding.GSM_7
    sizes = [utf16_units(character) if outside else _SEPTETS[character] for character in text]
    units = sum(sizes)
    if units <= ALONE[encoding]:
        return Segments(encoding, units, 1, ALONE[encoding])
    return Segments(encoding, units, _joined(sizes, JOINED[encoding]), JOINED[encoding])


def characters_outside_gsm7(text: str) -> list[str]:
    """Return the characters that make a text UCS-2, each once, in order of appearance."""
    return list(dict.fromkeys(character for character in text if character not in _SEPTETS))


def utf16_units(text: str) -> int:
    """Return the length in UTF-16 code units: two for a character beyond U+FFFF."""
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)


def _joined(sizes: Sequence[int], room: int) -> int:
    count, used = 1, 0
    for size in sizes:
        if used + size > room:
            count, used = count + 1, 0
        used += size
    return count
