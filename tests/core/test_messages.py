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
LOCALES = ("ar", "de", "en", "es", "fa", "fr", "hi", "pt", "zh", "zh-Hant")
PAYMENT = {"amount": "49.90 EUR", "payee": "Corner Bookshop"}


@dataclass(frozen=True)
class BoundCode:
    host: str
    code: str


APP_HASH = "FA+9qCX9VSu"


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


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("code", ["0123", "012345", "0123456789"])
def test_an_app_is_shown_every_message_and_finds_the_code(locale, purpose, code):
    """D22: as Google says: 140 bytes at most, the code, and the hash (here as a line of its own)."""
    message = render(locale=locale, purpose=purpose, code=code, brand="Acme", app_hash=APP_HASH)
    assert message.splitlines()[-1] == APP_HASH
    assert [run for run in re.findall(r"[0-9]+", message) if len(run) >= 4] == [code]
    assert len(message) <= (140 if segments(message).encoding == "GSM-7" else 70)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_browsers_and_apps_find_theirs_in_one_message(locale, purpose):
    """D19."""
    message = render(locale=locale, purpose=purpose, origin="example.com", app_hash=APP_HASH)
    assert parse_origin_bound(message) == BoundCode("example.com", "012345")
    assert message.splitlines()[-2] == APP_HASH
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


def test_with_an_apps_hash_a_message_of_gsm_7_has_140_characters_and_not_160():
    asked = {"purpose": "opt_in", "code": "0123456789", "minutes": 60, "app_hash": APP_HASH}
    assert len(render(**asked, origin="abc.com")) == 140
    message = render(**asked, origin="abcd.com")
    assert message == f"Subscription code: 0123456789\n{APP_HASH}\n@abcd.com #0123456789"


def test_the_hash_is_left_out_before_a_message_takes_two_segments():
    """An app would not be shown it anyway; brand and payee have made room before."""
    context = {"amount": "9999999.99 EUR", "payee": "Bookshop"}
    asked = {"purpose": "payment", "locale": "fa", "context": context, "brand": "Acme"}
    assert APP_HASH in render(**asked, origin="pay.co", app_hash=APP_HASH)
    message = render(**asked, origin="pay.example.com", app_hash=APP_HASH)
    assert message == render(**asked, origin="pay.example.com")
    assert segments(message).count == 1


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
    app_hash=st.none() | st.just(APP_HASH) | st.just("123/456+789"),
    amount=amounts,
    payee=names,
)
def test_whatever_callers_send_the_rules_hold(
    purpose, locale, code, minutes, brand, bound, app_hash, amount, payee
):
    """D14, D18, D20, D22."""
    message = CATALOGUE.render(
        purpose=purpose,
        locale=locale,
        code=code,
        minutes=minutes,
        brand=brand,
        origin=promised_host(len(code)) if bound else None,
        app_hash=app_hash,
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
        {"app_hash": "FA+9qCX9VSu\n"},
        {"app_hash": "FA+1234VSux"},
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
