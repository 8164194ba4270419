import re
import unicodedata
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core.message_lint import promised_host
from otp_service.core.message_values import (
    name_problem,
)
from otp_service.core.messages import (
    PURPOSES,
    Catalogue,
)
from otp_service.core.segments import segments
from tests.core.drawn import amounts, names

steady = settings(derandomize=True, deadline=None)

CATALOGUE = Catalogue.load()
LOCALES = ("ar", "de", "en", "es", "fa", "fr", "hi", "pt", "zh")
PAYMENT = {"amount": "49.90 EUR", "payee": "Corner Bookshop"}


@dataclass(frozen=True)
class BoundCode:
    host: str
    code: str


def parse_origin_bound(message):
    """Parse as the WICG draft "Origin-bound one-time codes delivered via SMS" says, section 3."""
    line = re.sub(r"\r\n?", "\n", message).split("\n")[-1]
    found = re.fullmatch(r"@([^ @#]+) #([^ ]+)(?: @([^ ]+))?", line)
    return BoundCode(found[1], found[2]) if found else None


def render(**changes):
    given = {"purpose": "login", "locale": "en", "code": "012345", "minutes": 5, **changes}
    if given["purpose"] == "payment":
        given.setdefault("context", PAYMENT)
    return CATALOGUE.render(**given)


# What is said


def test_a_message_has_the_code_with_its_leading_zeros_and_how_long_it_lives():
    assert render(code="000042", minutes=7) == (
        "000042 is your login code. It is valid for 7 min. Never share it with anyone."
    )


def test_the_last_line_binds_the_code_to_the_origin_and_nothing_follows_it():
    """D18, D19."""
    assert render(origin="example.com").endswith(" anyone.\n@example.com #012345")


def test_without_an_origin_there_is_no_last_line():
    assert "@" not in render()
    assert parse_origin_bound(render()) is None


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("brand", [None, "Acme"])
def test_browsers_find_host_and_code_in_every_message(locale, purpose, brand):
    """D19, J09."""
    message = render(locale=locale, purpose=purpose, brand=brand, origin="auth.example.com")
    assert parse_origin_bound(message) == BoundCode("auth.example.com", "012345")
    assert segments(message).count == 1


@pytest.mark.parametrize(
    "broken",
    [
        "Your code\n@example.com #123456\n",
        "Your code\n@example.com  #123456",
        "Your code\n @example.com #123456",
        "Your code @example.com #123456",
        "Your code\n@example.com 123456",
    ],
)
def test_the_parser_of_these_tests_refuses_what_browsers_refuse(broken):
    """D19's, J09's control."""
    assert parse_origin_bound(broken) is None


@pytest.mark.parametrize(
    ("locale", "start", "end"),
    [
        ("en", "Acme: ", ""),
        ("fr", "Acme : ", ""),
        ("zh", "【Acme】", ""),
        ("fa", "کد ورود", "\nAcme"),
        ("ar", "رمز", "\nAcme"),
    ],
)
def test_a_brand_stands_where_readers_of_the_language_expect_it(locale, start, end):
    message = render(locale=locale, brand="Acme")
    assert message.startswith(start)
    assert message.endswith(end)
    assert message.count("Acme") == 1


def test_a_payment_names_amount_and_payee_as_the_locale_writes_numbers():
    context = {"amount": "1234567,5 EUR", "payee": "Corner Bookshop"}
    shown = {
        locale: render(purpose="payment", locale=locale, context=context) for locale in LOCALES
    }
    assert "1,234,567.5 EUR" in shown["en"]
    assert "1.234.567,5 EUR" in shown["de"]
    assert "1 234 567,5 EUR" in shown["fr"]
    assert "12,34,567.5 EUR" in shown["hi"]
    assert all("Corner Bookshop" in message for message in shown.values())


def test_a_purpose_without_texts_has_those_of_default():
    assert render(purpose="parking") == render(purpose="default")


# One segment


def test_of_several_texts_the_first_that_fits_one_segment_is_sent():
    assert "10 دقیقه" in render(locale="fa", minutes=10)
    assert "10 دقیقه" not in render(locale="fa", minutes=10, origin="accounts.example.com")
    assert render(locale="fa", minutes=10, origin="accounts.example.com").count("\n") == 2


def test_a_brand_is_dropped_before_a_message_takes_two_segments():
    context = {"amount": "9999999.99 EUR", "payee": "Bookshop"}
    message = render(
        purpose="payment", locale="fa", context=context, brand="Acme Bank", origin="a.example.com"
    )
    assert "Acme" not in message
    assert segments(message).count == 1
    assert "Acme" in render(purpose="payment", locale="fa", context=PAYMENT, brand="Acme Bank")


def test_a_payee_is_cut_visibly_and_never_within_a_letter():
    payee = "लक्ष्मी पुस्तक भंडार"
    assert name_problem(payee) is None
    cut = set()
    for length in range(12, 25):
        message = render(
            purpose="payment",
            locale="hi",
            context={"amount": "9999999.99 INR", "payee": payee},
            origin="a" * (length - 4) + ".com",
        )
        assert segments(message).count == 1
        if payee not in message:
            kept = message.partition("…")[0]
            assert payee.startswith(kept)
            assert unicodedata.category(payee[len(kept) :].lstrip()[0])[0] != "M"
            cut.add(kept)
    assert len(cut) > 2


@steady
@given(
    purpose=st.sampled_from(PURPOSES),
    locale=st.sampled_from(LOCALES),
    code=st.integers(4, 10).flatmap(
        lambda length: st.text("0123456789", min_size=length, max_size=length)
    ),
    minutes=st.integers(1, 60),
    brand=st.none() | names,
    bound=st.booleans(),
    amount=amounts,
    payee=names,
)
def test_whatever_callers_send_the_rules_hold(
    purpose, locale, code, minutes, brand, bound, amount, payee
):
    """D14, D18, D20, D22."""
    message = CATALOGUE.render(
        purpose=purpose,
        locale=locale,
        code=code,
        minutes=minutes,
        brand=brand,
        origin=promised_host(len(code)) if bound else None,
        context={"amount": amount, "payee": payee} if purpose == "payment" else None,
    )
    body, _, last = message.rpartition("\n@") if bound else (message, "", "")
    assert [run for run in re.findall(r"\d+", body) if len(run) >= 4] == [code]
    assert segments(message).count == 1
    assert not set(body) & set("%@#|\r\t")
    assert "://" not in message
    assert message == message.strip()
    assert last == (f"{promised_host(len(code))} #{code}" if bound else "")
    assert not any(unicodedata.category(one) in {"Cc", "Cs"} for one in message if one != "\n")
    assert not set(message) & set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067")


# What is refused


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "123"},
        {"code": "12345678901"},
        {"code": "12345a"},
        {"code": "۱۲۳۴۵۶"},
        {"code": "123456\n"},
        {"minutes": 0},
        {"minutes": 61},
        {"brand": "evil.com"},
        {"brand": "100%"},
        {"origin": "evil.com #1"},
        {"context": PAYMENT},
        {"purpose": "payment", "context": None},
        {"purpose": "payment", "context": {**PAYMENT, "payee": "%order_meta__billing_phone%"}},
    ],
)
def test_a_message_is_never_written_with_values_out_of_range(changes):
    with pytest.raises(ValueError, match=r"must|is |may") as refused:
        render(**changes)
    assert changes.get("code", "012345") not in str(refused.value)


def test_a_locale_must_be_resolved_before():
    with pytest.raises(KeyError):
        render(locale="pt-BR")
