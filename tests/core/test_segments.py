import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core.segments import (
    ALONE,
    JOINED,
    Encoding,
    characters_outside_gsm7,
    segments,
    utf16_units,
)

EXTENSION = "^{}\\[~]|€\f"


@pytest.mark.parametrize(
    ("text", "encoding", "units", "count", "per_segment"),
    [
        ("", "GSM-7", 0, 1, 160),
        ("a" * 160, "GSM-7", 160, 1, 160),
        ("a" * 161, "GSM-7", 161, 2, 153),
        ("a" * 306, "GSM-7", 306, 2, 153),
        ("a" * 307, "GSM-7", 307, 3, 153),
        ("€" * 80, "GSM-7", 160, 1, 160),
        ("€" * 81, "GSM-7", 162, 2, 153),
        ("a" * 158 + "€", "GSM-7", 160, 1, 160),
        ("a" * 159 + "€", "GSM-7", 161, 2, 153),
        ("س" * 70, "UCS-2", 70, 1, 70),
        ("س" * 71, "UCS-2", 71, 2, 67),
        ("س" * 134, "UCS-2", 134, 2, 67),
        ("س" * 135, "UCS-2", 135, 3, 67),
        ("😀" * 35, "UCS-2", 70, 1, 70),
        ("😀" * 36, "UCS-2", 72, 2, 67),
        ("a" * 69 + "’", "UCS-2", 70, 1, 70),
        ("a" * 70 + "’", "UCS-2", 71, 2, 67),
    ],
)
def test_a_text_costs_what_the_standard_says(text, encoding, units, count, per_segment):
    found = segments(text)
    assert (found.encoding, found.units, found.count, found.per_segment) == (
        encoding,
        units,
        count,
        per_segment,
    )


def test_an_extension_character_on_the_border_of_two_parts_moves_to_the_next_whole():
    text = "a" * 152 + "€" + "a" * 152
    assert segments(text).units == 306  # would fill two parts exactly, could it be split
    assert segments(text).count == 3


def test_a_surrogate_pair_on_the_border_of_two_parts_moves_to_the_next_whole():
    text = "س" * 66 + "😀" + "س" * 66
    assert segments(text).units == 134
    assert segments(text).count == 3


@pytest.mark.parametrize("character", EXTENSION)
def test_extension_characters_cost_two_septets(character):
    assert segments(character).units == 2
    assert segments(character).encoding is Encoding.GSM_7


@pytest.mark.parametrize("character", "àèéùìòäöüñÄÖÜÑÅåÆæØøßÉÇ¿¡§£¥¤ΔΦΓΛΩΠΨΣΘΞ@_\n\r")
def test_these_are_in_gsm_7_though_they_look_special(character):
    assert segments(character).units == 1
    assert segments(character).encoding is Encoding.GSM_7


@pytest.mark.parametrize(
    "character", "áíóúâêîôûãõçëïÁÍÓÚÀÈ“”‘’–—…`\t\u00a0\u200b\u200d\u200e\u200f\x1b"
)
def test_these_make_a_text_ucs_2_though_they_look_harmless(character):
    assert segments(character).encoding is Encoding.UCS_2
    assert characters_outside_gsm7(f"a{character}b{character}") == [character]


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_counting_agrees_with_filling_part_by_part(text):
    found = segments(text)
    if found.encoding is Encoding.UCS_2:
        assert found.units == len(text.encode("utf-16-le", "surrogatepass")) // 2
        assert found.units == utf16_units(text)
    else:
        assert found.units == len(text) + sum(text.count(one) for one in EXTENSION)
    room = found.per_segment
    assert room == (ALONE if found.count == 1 else JOINED)[found.encoding]
    assert found.count >= -(-found.units // room)
    assert found.units >= (found.count - 1) * (room - 1)
