"""One table of what people type and paste, for everything that is typed: codes, recovery codes and numbers."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otp_service.core import codes, recovery_codes
from otp_service.core.recipients import RecipientRefused, parse_recipient
from otp_service.core.typed import normalise

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=300)

DASHES = [
    "-", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2015", "\u2212", "\u30fc", "\uff0d", "\uff70",
    "\u058a", "\ufe58", "\ufe63",
]  # fmt: skip
SPACES = [
    " ", "\t", "\u00a0", "\u1680", "\u2002", "\u2003", "\u2007", "\u2008", "\u2009", "\u200a", "\u202f",
    "\u205f", "\u3000",
]  # fmt: skip
INVISIBLE = [
    "\u00ad", "\u061c", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202c", "\u202d",
    "\u2060", "\u2067", "\u2069", "\ufeff",
]  # fmt: skip
BRACKETS = [
    "()", "[]", "\uff08\uff09", "\uff3b\uff3d", "\u3010\u3011", "\u3014\u3015", "\u300c\u300d", "\u300e\u300f",
    "\u3008\u3009", "\u300a\u300b", "\u3016\u3017", "\u3018\u3019", "\u301a\u301b", "\ufe59\ufe5a", "\ufe5d\ufe5e",
    "\uff5f\uff60", "\uff62\uff63",
]  # fmt: skip
DOTS = [
    ".", "\uff0e", "\u3002", "\uff61", "\u30fb", "\uff65", "\u00b7", "\ufe52", "\u2024", "\u2027", "\u06d4",
]  # fmt: skip
ZEROS = [
    "0",
    "\u0660",
    "\u06f0",
    "\u0966",
    "\u09e6",
    "\u0e50",
    "\uff10",
    "\U0001d7ce",
    "\U0001e950",
]


def spelled(text: str, zero: str) -> str:
    """The text with the digits of another script."""
    return "".join(chr(ord(zero) + int(c)) if c in "0123456789" else c for c in text)


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def ids(character: str) -> str:
    return f"U+{ord(character):04X}"


@pytest.mark.parametrize("between", DASHES + SPACES + INVISIBLE + DOTS, ids=ids)
def test_any_separator_reads_as_none(between: str) -> None:
    assert normalise(f"{between}123{between}456{between}") == "123456"
    assert recovery_codes.normalise(f"ABCD{between}EFGH{between}0123{between}4567") == (
        "ABCDEFGH01234567"
    )
    number = f"{between}+1{between}415{between}555{between}0123{between}"
    assert parse_recipient(number, regions=None).e164 == "+14155550123"
    number = f"090{between}1234{between}5678"
    assert parse_recipient(number, regions=None, default_region="JP").e164 == "+819012345678"


@pytest.mark.parametrize("brackets", BRACKETS, ids=lambda pair: ids(pair[0]))
def test_brackets_read_as_none(brackets: str) -> None:
    opened, closed = brackets
    assert normalise(f"{opened}123456{closed}") == "123456"
    assert recovery_codes.normalise(f"{opened}ABCD-EFGH-0123-4567{closed}") == "ABCDEFGH01234567"
    number = f"{opened}+1{closed}{opened}415{closed}5550123"
    assert parse_recipient(number, regions=None).e164 == "+14155550123"


@pytest.mark.parametrize(
    "number", ["tel:+14155550123", "TEL: +1 415 555 0123", "ｔｅｌ：+14155550123"]
)
def test_a_tel_uri_reads_as_its_number(number: str) -> None:
    assert parse_recipient(number, regions=None).e164 == "+14155550123"


@pytest.mark.parametrize("zero", ZEROS, ids=ids)
def test_digits_of_any_script_read_as_ascii(zero: str) -> None:
    assert normalise(spelled("0123456789", zero)) == "0123456789"
    assert recovery_codes.normalise(spelled("ABCD-EFGH-0123-4567", zero)) == "ABCDEFGH01234567"
    assert parse_recipient(spelled("+14155550123", zero), regions=None).e164 == "+14155550123"


def test_full_width_forms_read_as_ascii() -> None:
    assert normalise(full_width("123-456")) == "123456"
    assert recovery_codes.normalise(full_width("abcd-efgh-0123-4567")) == "ABCDEFGH01234567"
    number = full_width("+1(415)555.01-23")
    assert parse_recipient(number, regions=None).e164 == "+14155550123"
    number = "+1\uff3b415\uff3d555\u30fb0123"
    assert parse_recipient(number, regions=None).e164 == "+14155550123"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\u2028", "\x0b"])
def test_a_line_break_is_dropped_at_the_ends_only(ending: str) -> None:
    assert normalise(f"{ending}123456{ending}") == "123456"
    assert not codes.is_code(normalise(f"123{ending}456"))
    with pytest.raises(RecipientRefused):
        parse_recipient(f"+1415{ending}5550123", regions=None)
    assert recovery_codes.normalise(f"ABCD-EFGH{ending}0123-4567") == "ABCDEFGH01234567"


@pytest.mark.parametrize(
    "typed",
    [
        "", "abc", "12345a", "1２3b", "{123456}", "123,456", "+123456", "12345²", "½2345", "①②③④⑤⑥",
        "一二三四五六", "123\x00456", "123\n456", "Ⅻ3456", "0x1234", "1e5000", "123", "1" * 11,
        "123，456", "123_456", "123/456", "123:456", "tel:123456",
    ],
)  # fmt: skip
def test_anything_else_is_no_code(typed: str) -> None:
    """C03, C04, C05."""
    assert not codes.is_code(normalise(typed))


@fuzzed
@given(st.text(max_size=64))
@example("𝟘" * 6)
def test_a_normalised_code_is_ascii_and_stays_the_same(typed: str) -> None:
    """N-061: decoded once; after it the strict check alone decides."""
    once = normalise(typed)

    if codes.is_code(once):
        assert normalise(once) == once
        assert set(once) <= set("0123456789")
        assert 4 <= len(once) <= 10


@fuzzed
@given(st.from_regex(r"[0-9]{4,10}", fullmatch=True), st.data())
def test_a_code_reads_the_same_in_any_mix_of_scripts(code: str, data: st.DataObject) -> None:
    zeros = st.sampled_from(ZEROS)
    layout = st.text(
        st.sampled_from(DASHES + SPACES + INVISIBLE + DOTS + list("()[]【】")), max_size=2
    )
    typed = "".join(spelled(digit, data.draw(zeros)) + data.draw(layout) for digit in code)

    assert normalise(typed) == code
