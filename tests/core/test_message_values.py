import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core.message_values import (
    NUMBER_FORMATS,
    amount_problem,
    app_hash_problem,
    format_amount,
    host_problem,
    name_problem,
)
from otp_service.core.messages import PURPOSES, check_context
from tests.core.drawn import amounts, names

steady = settings(derandomize=True, deadline=None)

PAYMENT = {"amount": "49.90 EUR", "payee": "Corner Bookshop"}


def test_a_payment_needs_amount_and_payee_and_nothing_else():
    assert check_context("payment", PAYMENT) == []
    assert check_context("payment", None) == [("amount", "is missing"), ("payee", "is missing")]
    assert check_context("payment", {**PAYMENT, "iban": "x"}) == [
        ("iban", "is not known for the purpose payment")
    ]
    assert check_context("payment", {"amount": 5, "payee": None}) == [
        ("amount", "must be a string"),
        ("payee", "must be a string"),
    ]


@pytest.mark.parametrize("purpose", [one for one in PURPOSES if one != "payment"])
def test_other_purposes_take_no_context(purpose):
    assert check_context(purpose, None) == []
    assert check_context(purpose, {}) == []
    assert [field for field, _ in check_context(purpose, PAYMENT)] == ["amount", "payee"]


@pytest.mark.parametrize(
    "amount",
    [
        "0 EUR",
        "0.99 EUR",
        "49,9 EUR",
        "1234567.89 EUR",
        "999999999 IRR",
        "1250000000 IRR",
        "IRR 99999999999",
        "999999.999 KWD",
        "LBP 1250000000.00",
        "1250000000,0 IRR",
        "99999999999.00 LBP",
        "EUR 5",
        "5EUR",
        "1.500 KWD",
    ],
)
def test_amounts_are_a_plain_number_and_a_currency(amount):
    assert amount_problem(amount) is None


@pytest.mark.parametrize(
    "amount",
    [
        "",
        "5",
        "EUR",
        "-5 EUR",
        "05 EUR",
        "5 eur",
        "5 €",
        "5  EUR",
        "5 EUR\n",
        " 5 EUR",
        "5 EURO",
        "1,234.50 EUR",
        "1.500 EUR",
        "12345678.99 EUR",
        "123456789012 IRR",
        "1250000000.5 IRR",
        "1250000000.000 IRR",
        "123456789012.00 IRR",
        "1234567.890 KWD",
        "٥ EUR",
        "5. EUR",
        "EUR 5 EUR",
        "5 EUR 123456",
    ],
)
def test_other_amounts_are_refused(amount):
    assert amount_problem(amount)


@steady
@given(amounts, st.sampled_from(sorted(NUMBER_FORMATS)))
def test_an_amount_is_written_without_four_digits_in_a_row_and_with_the_same_digits(
    amount, written
):
    shown = format_amount(amount, written)
    assert not re.search(r"\d{4}", shown)
    whole = re.sub(r"[.,]0+(?!\d)", "", amount)
    assert re.sub(r"\D", "", shown) in {re.sub(r"\D", "", amount), re.sub(r"\D", "", whole)}
    assert len(shown) <= (19 if written == "12,34,567.89" else 18)


def test_zero_decimals_of_a_long_amount_are_not_shown():
    assert format_amount("LBP 1250000000.00", "1,234,567.89") == "LBP 1,250,000,000"
    assert format_amount("99999999999,00 IRR", "12,34,567.89") == "99,99,99,99,999 IRR"
    assert format_amount("1234567.00 EUR", "1.234.567,89") == "1.234.567,00 EUR"


@pytest.mark.parametrize(
    "name",
    [
        "Corner Bookshop",
        "Müller & Söhne, Köln",
        "St. James's (UK)",
        "O’Neill",
        "Ferrari S.p.A.",
        "Ferrari S.p.A",
        "Acme S.A. de C.V.",
        "U.S. Bank",
        "7-Eleven 365",
        "کتاب‌فروشی",
        "लक्ष्मी भंडार",
        "北京书店",
        "लक्ष्मी प्रा. लि.",
        "भारत.",
        "Studio 24, 3 Hof",
        "Cafe\u0301",
    ],
)
def test_names_in_any_script_are_taken(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " Shop",
        "Shop ",
        "The  Shop",
        "123",
        "a" * 21,
        "😀 Shop",
        "𠀀" * 11,
        "Shop\nYour code 999",
        "Shop\rx",
        "Shop\u2028x",
        "Shop\tx",
        "Shop\x00",
        "Shop\u202epohS",
        "Shop\u2066x",
        "Shop\u200fx",
        "Shop\u200b",
        "Shop\u200d",
        "\u200cShop",
        "Shop\u3164",
        "Shop\ufe0f",
        "evil.com",
        "www.evil",
        "a. b.co",
        "S.p.A.com",
        "bit.ly",
        "t.me",
        "x.y.zz",
        "bank.भारत",
        "evil.कॉम",
        "evil.संगठन",
        "bank.భారత్",
        "bank.বাংলা",
        "bank.ලංකා",
        "pay.ଭାରତ",
        "bank.சிங்கப்பூர்",
        "bank.ب\u200cك",
        "x.e\u0301\u0302",
        "Shop.x1",
        "Shop.1",
        "http://evil",
        "evil/x",
        "100% Shop",
        "me@shop",
        "Shop #1",
        "a|123",
        "$code",
        "{code}",
        "{0.__class__}",
        "${code}",
        "Shop 1234",
        "Shop 12 34",
        "Shop 12-34",
        "Shop 1(2)3, 4",
        "A 1 - 2 - 3 - 4",
        "A 1&2&3&4",
        "A 1 & (2), +3 4",
        "A 1\u03022\u03023\u03024",
        "Shop ۱۲۳۴",
        "Shop １２３４",
        "Shop ²",
        "e\u0301\u0301\u0301\u0301\u0301\u0301",
    ],
)
def test_other_names_are_refused(name):
    """D14, D15, D17, D18."""
    assert name_problem(name)


@steady
@given(
    names
    | st.text(max_size=24)
    | st.text("ab1.,-'%@\n ", max_size=8)
    | st.text("a1.&- भाक्\u0301\u200c", max_size=8)
)
def test_a_name_that_is_taken_can_bring_no_line_no_link_and_no_code(name):
    """D14, D18."""
    if name_problem(name) is None:
        assert not set(name) & set("%@#/:|$\\\n\r")
        assert not re.search(r"\d\W*\d\W*\d\W*\d", name)
        for stop in re.finditer(r"\.", name):
            kinds = [unicodedata.category(one)[0] for one in name[stop.end() :][:2]]
            assert kinds[:1] in ([], ["Z"], ["L"])
            assert kinds[:1] != ["L"] or kinds[1:] in ([], ["Z"], ["P"], ["S"])
        others = set(name) - set(" \u200c\u200d")
        assert not any(unicodedata.category(one)[0] in "CZ" for one in others)


@pytest.mark.parametrize("host", ["example.com", "localhost", "xn--80ak6aa92e.com", "a-b.c1.co"])
def test_a_host_is_lower_case_ascii(host):
    assert host_problem(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "Example.com",
        "https://example.com",
        "example.com:443",
        "example.com/",
        "exa mple.com",
        "example.com #1",
        "-a.com",
        "a..com",
        "example.com.",
        "bücher.de",
        "example.com\n",
        "a" * 121,
    ],
)
def test_other_hosts_are_refused(host):
    assert host_problem(host)


@pytest.mark.parametrize("app_hash", ["FA+9qCX9VSu", "12+345/678a", "+/+/+/+/+/+", "123abc456de"])
def test_an_apps_hash_is_eleven_characters_of_base64(app_hash):
    assert app_hash_problem(app_hash) is None


@pytest.mark.parametrize(
    "app_hash",
    [
        "",
        "FA+9qCX9VS",
        "FA+9qCX9VSu=",
        "FA-9qCX9VSu",
        "FA+9qCX9VS\n",
        "FA+9qCX9VSu\n",
        "FA 9qCX9VSu",
        "FA%9qCX9VSu",
        "FA+9qCX9VSü",
        "FA+9qCX٩VSu",
        "evil.com/ab",
    ],
)
def test_other_hashes_are_refused(app_hash):
    """D18."""
    assert "must be the 11 characters" in app_hash_problem(app_hash)


@pytest.mark.parametrize("app_hash", ["1234+abcdef", "FA+9qCX2468", "abc123456de", "12345678901"])
def test_a_hash_in_which_one_could_see_a_code_is_refused(app_hash):
    """D22."""
    assert "must not have four or more digits together" in app_hash_problem(app_hash)
