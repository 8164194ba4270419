import re
from pathlib import Path

import pytest

from otp_service.core.message_lint import (
    CODE_LENGTHS,
    LONGEST_AMOUNTS,
    LONGEST_BRAND,
    LONGEST_PAYEES,
    SHORTEST_HOST,
    lint,
    longest_host,
    promised_host,
)
from otp_service.core.message_values import (
    BRAND_LENGTH,
    PAYEE_LENGTH,
    amount_problem,
    host_problem,
    name_problem,
)
from otp_service.core.messages import PURPOSES, Catalogue
from otp_service.core.segments import Encoding, segments

CATALOGUE = Catalogue.load()
APP_HASH = "FA+9qCX9VSu"


def problems(tmp_path, text, *, locale="en", purpose="login", **settings):
    """Lint the package's texts with one replaced by an operator's."""
    written = text if text.startswith("[") else f'"{text}"'
    (tmp_path / f"{locale}.toml").write_text(f"[texts]\n{purpose} = {written}\n", encoding="utf-8")
    findings = lint(Catalogue.load(tmp_path), **settings)
    assert all(
        (one.locale, one.key) == (locale, purpose) and one.file.endswith(f"/{locale}.toml")
        for one in findings
    )
    return [one.problem for one in findings]


def test_nothing_is_wrong_with_the_texts_of_the_package():
    """D16, D20, D22."""
    assert lint(CATALOGUE) == []


@pytest.mark.parametrize("brand", ["Acme", "W" * 20])
@pytest.mark.parametrize("origin", ["example.com", "login.acme.io"])
def test_nothing_is_wrong_with_them_for_an_operators_brand_and_host(brand, origin):
    assert lint(CATALOGUE, digits=[6], brand=brand, origin=origin) == []


def test_the_worst_values_are_as_long_as_values_may_be():
    assert name_problem(LONGEST_BRAND, longest=BRAND_LENGTH) is None
    assert len(LONGEST_BRAND) == BRAND_LENGTH
    for payee in LONGEST_PAYEES:
        assert name_problem(payee) is None
        assert len(payee) == PAYEE_LENGTH
    assert {segments(payee).encoding for payee in LONGEST_PAYEES} == set(Encoding)
    assert all(amount_problem(amount) is None for amount in LONGEST_AMOUNTS)
    for digits in CODE_LENGTHS:
        assert host_problem(promised_host(digits)) is None
        assert len(promised_host(digits)) == 32 - 2 * digits


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Code: $code ", "has a space or line break at the beginning or end"),
        (" Code: $code", "has a space or line break at the beginning or end"),
        ("Code:  $code", "has a space or line break at the beginning or end"),
        ("Code: $code\\n", "has a space or line break at the beginning or end"),
        ("Code: \\n$code", "has a space or line break at the beginning or end"),
        ("Code:\\n\\n$code", "has a space or line break at the beginning or end"),
        ("It’s $code", "has ’ (U+2019), outside GSM-7"),
        ("Código: $code", "has ó (U+00F3), outside GSM-7"),
        ("Code: ${code}x", "has a letter right beside $code"),
        ("G${code}", "has a letter right beside $code"),
        ("Code: 9$code", "does not have exactly one run of digits as long as the code"),
        ("$minutes$code", "does not have exactly one run of digits as long as the code"),
        ("كود $code", "has ك (U+0643)"),
    ],
)
def test_a_bad_text_is_found(tmp_path, text, problem):
    """D16, D20, D22: the linter's control."""
    found = problems(tmp_path, text)
    assert any(problem in one for one in found), found


def test_one_thing_wrong_is_told_once(tmp_path):
    assert len(problems(tmp_path, "Code: $code ")) == 1


def test_a_text_that_is_too_long_is_found_with_what_would_make_it_fit(tmp_path):
    (found,) = problems(tmp_path, "x" * 150 + " $code", digits=[6], origin="example.com")
    assert "178 GSM-7 characters of 160; make the last text 18 shorter, since no host is" in found
    (found,) = problems(tmp_path, "x" * 130 + " $code", digits=[6], origin="auth.example.com")
    assert "163 GSM-7 characters of 160; make the last text 3 shorter, or take a host" in found
    assert "of at most 13 characters instead of 16" in found


def test_a_text_of_exactly_one_segment_is_fine_and_one_character_more_is_not(tmp_path):
    fits = 160 - len(" 123456\n@example.com #123456")
    assert problems(tmp_path, "x" * fits + " $code", digits=[6], origin="example.com") == []
    assert problems(tmp_path, "x" * (fits + 1) + " $code", digits=[6], origin="example.com")


def test_a_host_that_is_too_long_is_told_with_the_longest_that_fits():
    host = "a" * 21 + ".com"
    findings = lint(CATALOGUE, digits=[6], origin=host)
    assert {one.key for one in findings} == {"payment"}
    arabic = next(one for one in findings if one.locale == "ar")
    assert "take a host of at most 20 characters instead of 25" in arabic.problem
    assert lint(CATALOGUE, digits=[6], origin=host, purposes=["login"]) == []
    assert lint(CATALOGUE, digits=[6], origin="a" * 16 + ".com") == []


@pytest.mark.parametrize("locale", CATALOGUE.locales)
@pytest.mark.parametrize("digits", [4, 6, 10])
def test_the_longest_host_fits_and_one_character_more_does_not(locale, digits):
    for purpose in PURPOSES:
        longest = longest_host(CATALOGUE.by_locale[locale], purpose, digits)
        chosen = {"digits": [digits], "locales": [locale], "purposes": [purpose]}
        label = "ab." * 40
        assert lint(CATALOGUE, origin=label[: longest - 3] + "xyz", **chosen) == []
        if longest < 117:
            assert lint(CATALOGUE, origin=label[: longest - 2] + "xyz", **chosen)


def test_every_text_bears_an_apps_hash():
    """D22."""
    assert lint(CATALOGUE, app_hash=APP_HASH) == []


@pytest.mark.parametrize("locale", CATALOGUE.locales)
@pytest.mark.parametrize("digits", [4, 6])
def test_the_longest_host_beside_an_apps_hash_fits_and_one_character_more_does_not(locale, digits):
    for purpose in PURPOSES:
        longest = longest_host(CATALOGUE.by_locale[locale], purpose, digits, app_hash=True)
        chosen = {"digits": [digits], "locales": [locale], "purposes": [purpose]}
        label = "ab." * 40
        fits, too_long = (label[: longest - 3 + more] + "xyz" for more in (0, 1))
        assert lint(CATALOGUE, app_hash=APP_HASH, origin=fits, **chosen) == []
        (found,) = lint(CATALOGUE, app_hash=APP_HASH, origin=too_long, **chosen)
        assert f"take a host of at most {longest} characters" in found.problem
        assert "the app's hash" in found.problem


def test_a_text_of_140_characters_with_an_apps_hash_is_fine_and_one_more_is_not(tmp_path):
    fits = 140 - len(f" 123456\n{APP_HASH}")
    asked = {"digits": [6], "app_hash": APP_HASH}
    assert problems(tmp_path, "x" * fits + " $code", **asked) == []
    assert problems(tmp_path, "x" * (fits + 1) + " $code", **asked) == [
        "does not fit the 140 bytes of an Android app with 6 digits and the app's hash: 141 GSM-7 "
        "characters of 140, so the hash is left out; make the last text 1 shorter"
    ]


@pytest.mark.parametrize(
    ("text", "locale", "found"),
    [
        ("Acme: کد $code", "fa", True),
        ("OTP رمز $code", "ar", True),
        ("کد Acme: $code", "fa", False),
        ("کد: $code\\nAcme", "fa", False),
        ("$code کد شما", "fa", False),
    ],
)
def test_a_line_that_phones_would_lay_out_the_wrong_way_is_found(tmp_path, text, locale, found):
    told = problems(tmp_path, text, locale=locale)
    assert any("from right to left" in one for one in told) is found


def test_an_amount_or_payee_in_front_of_right_to_left_text_is_found(tmp_path):
    told = problems(tmp_path, "$amount به $payee: $code", locale="fa", purpose="payment")
    assert any("from right to left" in one for one in told)


def test_values_that_would_run_together_are_found(tmp_path):
    told = problems(tmp_path, "$payee$code $amount", purpose="payment")
    assert any("exactly one run of digits" in one for one in told)
    told = problems(tmp_path, "x.$payee $code $amount", purpose="payment")
    assert any("something like a link" in one for one in told)


def test_a_text_that_would_never_be_sent_is_found(tmp_path):
    assert problems(tmp_path, '["Code: $code", "Your code: $code"]') == [
        "text 2 is no shorter than the one before, so it would never be sent"
    ]


@pytest.mark.parametrize(
    ("with_brand", "problem"),
    [
        ("$brand – $text", "has – (U+2013), outside GSM-7"),
        ("$brand$text", "exactly one run of digits"),
        ("$brand:  $text", "has a space or line break"),
    ],
)
def test_a_bad_place_for_the_brand_is_found(tmp_path, with_brand, problem):
    (tmp_path / "en.toml").write_text(f'with_brand = "{with_brand}"\n', encoding="utf-8")
    findings = lint(Catalogue.load(tmp_path), digits=[6])
    assert any(problem in one.problem for one in findings), findings


def test_a_brand_outside_gsm_7_is_told_for_each_locale_that_it_makes_dearer():
    findings = lint(CATALOGUE, digits=[6], brand="Łódź")
    assert {one.locale for one in findings if one.key == "brand"} == {"de", "en", "es", "fr", "pt"}
    assert lint(CATALOGUE, digits=[6], brand="Łódź", locales=["fa", "zh"]) == []


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"brand": "acme.com"}, "brand"),
        ({"brand": "100%"}, "brand"),
        ({"brand": "A" * 21}, "brand"),
        ({"origin": "https://acme.com"}, "origin"),
        ({"origin": "acme2026.com", "digits": [4]}, "origin"),
        ({"app_hash": "FA+9qCX9VS"}, "app_hash"),
        ({"app_hash": "FA+1234VSux"}, "app_hash"),
        ({"digits": [3]}, "digits"),
        ({"digits": [11]}, "digits"),
        ({"digits": []}, "digits"),
    ],
)
def test_settings_that_no_text_can_bear_are_found(settings, key):
    (finding,) = lint(CATALOGUE, **settings)
    assert (finding.file, finding.key) == ("settings", key)


def test_digits_in_a_host_matter_only_for_codes_of_that_length():
    assert lint(CATALOGUE, origin="acme2026.com", digits=[6]) == []


def test_the_document_tells_the_longest_hosts():
    document = (Path(__file__).parents[2] / "docs/messages.md").read_text(encoding="utf-8")
    for locale in CATALOGUE.locales:
        texts = CATALOGUE.by_locale[locale]
        rows = re.findall(rf"^\| `{locale}` .*$", document, re.MULTILINE)
        for row, app_hash in zip(rows, (False, True), strict=True):
            cells = []
            for digits in (4, 6, 8, 10):
                hosts = {
                    one: longest_host(texts, one, digits, app_hash=app_hash) for one in PURPOSES
                }
                payment = hosts.pop("payment")
                payment = "–" if payment < SHORTEST_HOST else payment
                cells.append(f"{payment} / {min(hosts.values())}")
            assert [cell.strip() for cell in row.split("|")[3:-1]] == cells
