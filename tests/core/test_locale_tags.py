import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core.locale_tags import canonical_tag, is_locale_tag, language_tag, resolve_locale

steady = settings(derandomize=True, deadline=None)

LOCALES = ("ar", "de", "en", "es", "fa", "fr", "hi", "pt", "zh")


@pytest.mark.parametrize(
    ("requested", "served"),
    [
        ("pt", "pt"),
        ("pt-BR", "pt"),
        ("PT_br", "pt"),
        ("FA_ir", "fa"),
        ("zh-Hant-TW", "en"),
        ("zh-cmn-Hans-CN", "zh"),
        ("ar-u-nu-latn", "ar"),
        ("de-CH-1996", "de"),
        ("es-419", "es"),
        ("fr-x-private", "fr"),
        ("xx", "en"),
        ("pta", "en"),
        (None, "en"),
        ("", "en"),
        ("../../etc/passwd", "en"),
        ("pt/../en", "en"),
        ("*", "en"),
    ],
)
def test_a_request_falls_back_to_its_language_and_then_to_the_default(requested, served):
    assert resolve_locale(requested, LOCALES, "en") == served


def test_the_nearest_of_several_locales_serves():
    available = ("en", "pt", "pt-BR", "zh-Hant", "sr-Latn-RS")
    assert resolve_locale("pt-br", available, "en") == "pt-BR"
    assert resolve_locale("pt-PT", available, "en") == "pt"
    assert resolve_locale("zh_hant_tw", available, "en") == "zh-Hant"
    assert resolve_locale("zh", available, "en") == "zh-Hant"
    assert resolve_locale("sr", available, "en") == "sr-Latn-RS"


def test_a_default_without_texts_is_a_fault():
    with pytest.raises(ValueError, match="'nl'"):
        resolve_locale("de", LOCALES, "nl")


@pytest.mark.parametrize(
    ("requested", "served"),
    [
        ("zh-Hant", "zh-Hant"),
        ("zh-TW", "zh-Hant"),
        ("zh_HK", "zh-Hant"),
        ("zh-MO", "zh-Hant"),
        ("zh-Hant-HK", "zh-Hant"),
        ("zh-cmn-Hant", "zh-Hant"),
        ("zh-yue-Hant-HK", "zh-Hant"),
        ("zh-yue-HK", "zh-Hant"),
        ("zh-cmn-Hans", "zh"),
        ("zh-Hans-HK", "zh"),
        ("zh-CN", "zh"),
        ("zh-SG", "zh"),
        ("zh", "zh"),
    ],
)
def test_chinese_is_served_in_its_script(requested, served):
    assert resolve_locale(requested, ("en", "zh", "zh-Hant"), "en") == served


def test_traditional_chinese_gets_no_simplified_text():
    for requested in ("zh-Hant", "zh-TW", "zh-HK", "zh-cmn-Hant", "zh-yue-Hant-HK", "zh-yue-MO"):
        assert resolve_locale(requested, ("en", "zh", "zh-Hans"), "en") == "en"
    assert resolve_locale("zh-yue-Hant-HK", ("en", "zh", "zh-yue-Hant", "zh-Hant"), "en") == (
        "zh-yue-Hant"
    )


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("en_US.UTF-8", "en_US"),
        ("en_US@euro", "en_US"),
        ("sr_RS.UTF-8@latin", "sr_RS"),
        ("pt-BR", "pt-BR"),
        (" de ", "de"),
        ("", None),
        ("C", None),
        ("C.UTF-8", None),
        ("POSIX", None),
        ("*", None),
        ("i-klingon", None),
        ("English_United States.1252", None),
        ("@euro", None),
        ("en-US,en;q=0.9", "en-US"),
        ("de;q=0.8, en", "de"),
        ("*, en", None),
    ],
)
def test_a_system_locale_reads_as_its_tag(written, tag):
    assert language_tag(written) == tag


@steady
@given(st.text(max_size=40) | st.from_regex(r"\A[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{1,8}){0,4}\Z"))
def test_no_locale_is_a_path_and_every_request_is_served(requested):
    assert resolve_locale(requested, LOCALES, "en") in LOCALES
    if is_locale_tag(requested):
        assert re.fullmatch(r"[A-Za-z0-9_-]{2,35}", requested)
        assert is_locale_tag(canonical_tag(requested))
        assert canonical_tag(canonical_tag(requested)) == canonical_tag(requested)


@pytest.mark.parametrize("tag", ["en", "EN_us", "zh-Hant-TW", "es-419", "de-1996", "i" * 3])
def test_these_have_the_shape_of_a_tag(tag):
    assert is_locale_tag(tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "e",
        "english",
        "en-",
        "-en",
        "en--US",
        "en US",
        "en\n",
        "én",
        "en.UTF-8",
        "../en",
        "en/../x",
        "*",
        "en\x00",
        "１２",
        "a-DE",
        "en-aaaaaaaa-aaaaaaaa-aaaaaaaa-aaaaaaaa",
    ],
)
def test_these_do_not(text):
    assert not is_locale_tag(text)


@pytest.mark.parametrize(
    ("tag", "canonical"),
    [
        ("EN_us", "en-US"),
        ("ZH-hANT-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("EN-U-CA-buddhist", "en-u-ca-buddhist"),
        ("de-X-AB-abcd", "de-x-ab-abcd"),
    ],
)
def test_a_tag_has_one_usual_case(tag, canonical):
    assert canonical_tag(tag) == canonical
