import pytest

from otp_service.core.messages import PURPOSES, Catalogue, MessagesInvalid, resolve_locale

LOCALES = ("ar", "de", "en", "es", "fa", "fr", "hi", "pt", "zh", "zh-Hant")
CATALOGUE = Catalogue.load()


def test_every_locale_has_a_text_for_every_purpose():
    assert CATALOGUE.locales == LOCALES
    for texts in CATALOGUE.by_locale.values():
        assert tuple(texts.texts) == PURPOSES


def test_an_operators_file_replaces_what_it_says_and_leaves_the_rest(tmp_path):
    (tmp_path / "de.toml").write_text('[texts]\nlogin = "Dein Code: $code"\n', encoding="utf-8")
    catalogue = Catalogue.load(tmp_path)
    values = {"locale": "de", "code": "012345", "minutes": 5}
    assert catalogue.render(purpose="login", **values) == "Dein Code: 012345"
    assert catalogue.render(purpose="signup", **values) == CATALOGUE.render(
        purpose="signup", **values
    )
    assert catalogue.by_locale["de"].files["login"].endswith("/de.toml")
    assert catalogue.by_locale["de"].files["signup"] == "otp_service/locales/de.toml"


def test_an_operator_may_add_a_locale_and_texts_for_purposes_of_their_own(tmp_path):
    texts = dict.fromkeys(PURPOSES, "Je code: $code") | {
        "payment": "$amount aan $payee: $code",
        "parking": "Parkeercode: ${code}, kost $$5",
    }
    lines = [f'{purpose} = "{text}"' for purpose, text in texts.items()]
    head = 'encoding = "GSM-7"\nwith_brand = "$brand: $text"\namount = "1.234.567,89"\n[texts]\n'
    (tmp_path / "nl-BE.toml").write_text(head + "\n".join(lines), encoding="utf-8")
    catalogue = Catalogue.load(tmp_path, purposes=["parking"])
    assert resolve_locale("nl", catalogue.locales, "en") == "nl-BE"
    message = catalogue.render(purpose="parking", locale="nl-BE", code="012345", minutes=5)
    assert message == "Parkeercode: 012345, kost $5"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Code $cod", "has $cod, which is not known"),
        ("Code", "must have $code exactly once, and has it 0 times"),
        ("$code $code", "must have $code exactly once, and has it 2 times"),
        ("$code $minutes $minutes", "has $minutes more than once"),
        ("Price $ $code", "has a lone $"),
        ("${code.__class__}", "has a lone $"),
        ("$code {0.__class__} ${7*7}", "has a lone $"),
        ("$code for $amount", "has $amount, which is not known"),
        ("$brand: $code", "has $brand, which is not known"),
        ("$code %site_name%", "has %"),
        ("$code|12", "has |"),
        ("$code\\n@evil.com #99", "has @"),
        ("Code # $code", "has #"),
        ("$code at https://x", "something like a link"),
        ("$code from example.com", "something like a link"),
        ("$code www.x", "something like a link"),
        ("$code in 2026", "four or more digits"),
        ("$code ۲۰۲۶", "four or more digits"),
        ("$code\\r\\nx", "U+000D"),
        ("\\u202e$code", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("\\u200f$code", "U+200F (RIGHT-TO-LEFT MARK)"),
        ("\\u200b$code", "U+200B (ZERO WIDTH SPACE)"),
    ],
)
def test_a_text_that_is_unsafe_is_refused_by_file_key_and_reason(tmp_path, text, reason):
    """D15, D16, D17."""
    (tmp_path / "en.toml").write_text(f'[texts]\nlogin = ["$code", "{text}"]\n', encoding="utf-8")
    with pytest.raises(MessagesInvalid) as refused:
        Catalogue.load(tmp_path)
    finding = refused.value.findings[0]
    assert (finding.file, finding.locale) == ((tmp_path / "en.toml").as_posix(), "en")
    assert finding.key == "login"
    assert any(reason in one.problem for one in refused.value.findings)
    assert all(one.problem.startswith("text 2 ") for one in refused.value.findings)


@pytest.mark.parametrize("text", ["{7*7} $code", "{0.__class__} $code", "{{code}} $code"])
def test_template_languages_are_plain_text(tmp_path, text):
    """D17."""
    (tmp_path / "en.toml").write_text(f'[texts]\nlogin = "{text}"\n', encoding="utf-8")
    message = Catalogue.load(tmp_path).render(
        purpose="login", locale="en", code="012345", minutes=5
    )
    assert message == text.replace("$code", "012345")


@pytest.mark.parametrize(
    ("name", "content", "key", "reason"),
    [
        ("en.toml", "[texts", "file", "is not TOML"),
        ("en.toml", 'colour = "red"', "colour", "is not known"),
        ("en.toml", 'encoding = "ASCII"', "encoding", "must be GSM-7 or UCS-2"),
        ("en.toml", 'amount = "1_000"', "amount", "must be one of"),
        ("en.toml", 'with_brand = "$brand"', "with_brand", "must have $text exactly once"),
        ("en.toml", 'with_brand = "$brand: $text @x"', "with_brand", "has @"),
        ("en.toml", "with_brand = 5", "with_brand", "must be a string"),
        ("en.toml", 'texts = "x"', "texts", "must be a table"),
        ("en.toml", '[texts]\nlogn = "$code"', "logn", "is no purpose"),
        ("en.toml", "[texts]\nlogin = []", "login", "must be a text or a list"),
        ("en.toml", "[texts]\nlogin = 5", "login", "must be a text or a list"),
        ("en.toml", "[texts]\nlogin = [5]", "login", "must be a string"),
        ("en.toml", '[texts]\npayment = "$code"', "payment", "must have $amount exactly once"),
        ("nl.toml", "[texts]", "encoding", "is missing"),
        ("nl.toml", "[texts]", "login", "is missing"),
        ("PT_br.toml", "[texts]", "file name", "must be a language tag"),
        ("english.toml", "[texts]", "file name", "must be a language tag"),
    ],
)
def test_a_file_that_can_not_be_used_is_refused(tmp_path, name, content, key, reason):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(MessagesInvalid) as refused:
        Catalogue.load(tmp_path)
    assert any(one.key == key and reason in one.problem for one in refused.value.findings)
    assert all(one.file.endswith(f"/{name}") for one in refused.value.findings)
    assert f"{name}: {key}: " in str(refused.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    (tmp_path / "de.toml").write_text('[texts]\nlogin = "x"\nsignup = "y"', encoding="utf-8")
    (tmp_path / "en.toml").write_text("[texts", encoding="utf-8")
    with pytest.raises(MessagesInvalid) as refused:
        Catalogue.load(tmp_path)
    assert [one.key for one in refused.value.findings] == ["login", "signup", "file"]


def test_a_file_that_is_not_utf_8_and_a_directory_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(MessagesInvalid, match="can't be read"):
        Catalogue.load(tmp_path / "absent")
    (tmp_path / "en.toml").write_bytes(b"\xff")
    with pytest.raises(MessagesInvalid, match="can't be read"):
        Catalogue.load(tmp_path)


def test_a_configured_purpose_needs_a_plain_name():
    with pytest.raises(MessagesInvalid, match="is no purpose"):
        Catalogue.load(purposes=["../login"])
