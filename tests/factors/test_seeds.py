"""Authenticators from elsewhere: what is read, and what is refused with a reason that tells no seed."""

import base64
import json
from typing import Any

import pyotp
import pytest

from otp_service.cli.seed_files import Format, read_file, write_file
from otp_service.core.seeds import Seed, SeedRefused, read
from otp_service.core.totp import Algorithm

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
PADDED = base64.b32encode(b"0123456789abcdef").decode()
SHORT = "GEZDGNBVGY3TQOJQGEZDGNA"  # 112 bits


def refused(row: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(SeedRefused) as found:
        read(row)
    assert SEED not in str(found.value)
    assert SHORT not in str(found.value)
    return found.value.field, found.value.reason


@pytest.mark.parametrize(
    "spelled", [SEED, SEED.lower(), f" {SEED[:16]} {SEED[16:]} ", f"{SEED[:8]}-{SEED[8:]}"]
)
def test_a_seed_is_read_in_any_usual_spelling(spelled: str) -> None:
    found = read({"subject": "ann", "secret": spelled})

    assert found.authenticator.seed == SEED
    assert (found.authenticator.digits, found.authenticator.algorithm) == (6, Algorithm.SHA1)


def test_a_row_says_what_it_says() -> None:
    row = {"subject": "ann", "secret": SEED, "algorithm": "sha-256", "digits": 8, "period": "30"}
    found = read({**row, "name": "Phone"})

    assert (found.subject, found.name) == ("ann", "Phone")
    assert (found.authenticator.digits, found.authenticator.algorithm) == (8, Algorithm.SHA256)


def test_a_uri_names_subject_and_name_where_the_row_does_not() -> None:
    uri = pyotp.TOTP(SEED).provisioning_uri(name="ann@example.com", issuer_name="Old GmbH")

    assert (read({"uri": uri}).subject, read({"uri": uri}).name) == ("ann@example.com", "Old GmbH")
    named = read({"uri": uri, "subject": "user-1", "name": "Phone"})
    assert (named.subject, named.name) == ("user-1", "Phone")


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"subject": "ann"}, "secret", "or uri"),
        ({"subject": "ann", "secret": SEED, "uri": "otpauth://totp/a"}, "secret", "not both"),
        ({"subject": "", "secret": SEED}, "subject", "is not named"),
        ({"subject": "a\u202eb", "secret": SEED}, "subject", "control"),
        ({"subject": "x" * 256, "secret": SEED}, "subject", "1 to 255"),
        ({"subject": "\u200b", "secret": SEED}, "subject", "blank"),
        ({"subject": "ann", "secret": SHORT}, "secret", "fewer than 128 bits"),
        ({"subject": "ann", "secret": SEED * 7}, "secret", "more than 128 bytes"),
        ({"subject": "ann", "secret": SEED[:-1] + "1"}, "secret", "no base32"),
        ({"subject": "ann", "secret": "MZXW6YTBOI======" + SEED}, "secret", "no base32"),
        ({"subject": "ann", "secret": SEED, "digits": "7"}, "digits", "6 or 8"),
        ({"subject": "ann", "secret": SEED, "digits": True}, "digits", "a string"),
        ({"subject": ["a"], "secret": SEED}, "subject", "a string"),
        ({"subject": True, "secret": SEED}, "subject", "a string"),
        ({"subject": {}, "secret": SEED}, "subject", "a string"),
        ({"subject": 4711, "secret": SEED}, "subject", "a string"),
        ({"subject": False, "uri": f"otpauth://totp/ann?secret={SEED}"}, "subject", "a string"),
        ({"subject": "ann", "secret": SEED, "name": ["a"]}, "name", "a string"),
        ({"subject": "ann", "secret": SEED, "digits": 6.0}, "digits", "a string"),
        ({"subject": "ann\n", "secret": SEED}, "subject", "control"),
        ({"subject": "ann\u00a0", "secret": SEED}, "subject", "space"),
        ({"subject": "ann", "secret": SEED.replace("S", "\u017f").replace("G", "\u017f")}, "secret", "no base32"),
        ({"uri": f"otpauth://totp/Acme:an\tn?secret={SEED}"}, "uri", "control"),
        ({"uri": f"otpauth://totp/an\nn?secret={SEED}"}, "uri", "control"),
        ({"uri": f"\x00otpauth://totp/ann?secret={SEED}"}, "uri", "control"),
        ({"uri": f"otpauth://totp/an%09n?secret={SEED}"}, "subject", "control"),
        ({"uri": f"otpauth://totp/Acme:%0Aann?secret={SEED}"}, "subject", "control"),
        ({"uri": f"otpauth://totp/ann%C2%A0?secret={SEED}"}, "subject", "space"),
        ({"uri": f"otpauth://totp/ann?secret={SEED}&issuer=A#b"}, "uri", "%23"),
        ({"uri": f"otpauth://[totp/ann?secret={SEED}"}, "uri", "no otpauth"),
        ({"subject": "ann", "secret": SEED, "period": "60"}, "period", "30 seconds"),
        ({"subject": "ann", "secret": SEED, "algorithm": "MD5"}, "algorithm", "SHA1"),
        ({"subject": "ann", "secret": SEED, "name": "a\nb"}, "name", "printable"),
        ({"subject": "ann", "secret": SEED, "seed": "x"}, "row", "column"),
        ({"subject": "ann", "uri": f"otpauth://hotp/a?secret={SEED}&counter=1"}, "uri", "HOTP"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&encoder=steam"}, "uri", "Steam"),
        ({"subject": "ann", "uri": "otpauth-migration://offline?data=x"}, "uri", "Google"),
        ({"subject": "ann", "uri": f"https://totp/a?secret={SEED}"}, "uri", "no otpauth"),
        ({"subject": "ann", "uri": "otpauth://totp/a"}, "uri.secret", "128 bits"),
        ({"subject": "ann", "uri": f"otpauth://yaotp/a?secret={SEED}"}, "uri", "no otpauth"),
        ({"subject": "ann", "uri": f"otpauth://totp/%ff?secret={SEED}"}, "uri", "no otpauth"),
        ({"uri": f"otpauth://totp/Acme%3Aann?secret={SEED}"}, "subject", "without doubt"),
        ({"uri": f"otpauth://totp/Acme:ann?secret={SEED}&issuer=Other"}, "uri", "issuer"),
        ({"uri": f"otpauth://totp/a%3Aann?secret={SEED}&issuer=Acme"}, "uri", "issuer"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&secret={SEED}"}, "uri", "twice"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&digits=7"}, "uri.digits", "6 or"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&period=60"}, "uri.period", "30"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&algorithm=MD5"}, "uri.algorithm", "SHA1"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&digits=x"}, "uri.digits", "6 or"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SHORT}"}, "uri.secret", "128 bits"),
        ({"subject": "a", "digits": "6", "uri": f"otpauth://totp/a?secret={SEED}"}, "uri", "itself"),
        ({"uri": f"otpauth://totp/?secret={SEED}"}, "subject", "is not named"),
    ],
)  # fmt: skip
def test_what_is_not_surely_an_authenticator_is_refused(
    row: dict[str, Any], field: str, reason: str
) -> None:
    """B31."""
    found = refused(row)

    assert found[0] == field
    assert reason in found[1]


@pytest.mark.parametrize(
    ("label", "issuer", "subject", "name"),
    [
        ("Acme%3Aann@example.com", "Acme", "ann@example.com", "Acme"),
        ("Acme:ann@example.com", "Acme", "ann@example.com", "Acme"),
        ("Acme%3A%20ann", "Acme", "ann", "Acme"),
        ("Acme:%20ann", "Acme", "ann", "Acme"),
        ("Acme: ann", None, "ann", "Acme"),
        ("ann", "Acme", "ann", "Acme"),
        ("ann", None, "ann", None),
        ("Acme%20Books:tenant%3Aann", "Acme%20Books", "tenant:ann", "Acme Books"),
        ("B%C3%BCcher:j%C3%B6rg", "B%C3%BCcher", "j\u00f6rg", "B\u00fccher"),
        ("A:jo\u0308rg", "A", "j\u00f6rg", "A"),
    ],
)
def test_a_uri_names_its_account_and_issuer(
    label: str, issuer: str | None, subject: str, name: str | None
) -> None:
    """B31: never another person."""
    uri = f"otpauth://totp/{label}?secret={SEED}" + (f"&issuer={issuer}" if issuer else "")
    found = read({"uri": uri})

    assert (found.subject, found.name) == (subject, name)


def test_a_column_settles_what_a_uri_leaves_open() -> None:
    found = read({"subject": "ann", "uri": f"otpauth://totp/Acme%3Aann?secret={SEED}"})
    assert found.subject == "ann"


@pytest.mark.parametrize(
    ("parameters", "algorithm", "digits"),
    [
        (f"secret={SEED.lower()}&algorithm=sha1", "SHA1", 6),
        (f"secret={SEED[:16]}%20{SEED[16:]}&algorithm=sha-256&digits=8", "SHA256", 8),
        (f"secret={SEED[:16]}+{SEED[16:]}&algorithm=HmacSHA512", "SHA512", 6),
        (f"SECRET={SEED}&Period=30&image=https://a.example/x.png", "SHA1", 6),
    ],
)
def test_a_uri_is_read_in_usual_spellings(parameters: str, algorithm: str, digits: int) -> None:
    found = read({"uri": f"OTPAUTH://TOTP/ann?{parameters}"}).authenticator

    assert (found.seed, found.algorithm, found.digits) == (SEED, algorithm, digits)


def test_a_padded_secret_is_the_secret() -> None:
    assert read({"uri": f"otpauth://totp/a?secret={PADDED}"}).authenticator.seed == (
        PADDED.rstrip("=")
    )


def test_json_lines_split_at_line_feeds_only() -> None:
    """B31: a raw U+2028 is data in JSON (RFC 8259), and a refused name of one row, not two broken rows."""
    row = json.dumps({"subject": "ann", "secret": SEED, "name": "b\u2028c"}, ensure_ascii=False)
    assert told(row + "\n", Format.JSONL) == [(1, "name")]


@pytest.mark.parametrize("format", [Format.JSON, Format.JSONL])
@pytest.mark.parametrize(
    ("pairs", "field"),
    [
        ('"subject": "ann", "subject": "bob"', "subject"),
        ('"subject": "ann", "subject": "ann"', "subject"),
        ('"subject": "ann", "secret": "x"', "secret"),
        ('"subject": "ann", "x": 1, "x": 2', "row"),
        ('"subject": {"a": 1, "a": 2}', "subject"),
        ('"subject": ["a"]', "subject"),
        ('"subject": true', "subject"),
    ],
)
def test_a_json_row_that_could_be_two_is_refused(pairs: str, field: str, format: Format) -> None:
    """B31: never another person."""
    text = f'{{{pairs}, "secret": "{SEED}"}}'
    assert told(f"[{text}]" if format is Format.JSON else text, format) == [(1, field)]


def test_a_line_break_in_a_uri_of_json_is_refused() -> None:
    """B31: never another person."""
    text = json.dumps([{"uri": f"otpauth://totp/an\nn?secret={SEED}"}])
    assert told(text, Format.JSON) == [(1, "uri")]


@pytest.mark.parametrize("format", [Format.JSON, Format.JSONL])
def test_json_nested_too_deep_is_refused(format: Format) -> None:
    deep = "[" * 200_000
    if format is Format.JSONL:
        assert told(deep, format) == [(1, "row")]
    else:
        with pytest.raises(SeedRefused):
            list(read_file(deep, format))


def told(text: str, format: Format) -> list[tuple[int, str]]:
    return [
        (number, found.subject if isinstance(found, Seed) else found.field)
        for number, found in read_file(text, format)
    ]


def test_rows_are_counted_as_an_editor_counts_lines() -> None:
    csv = f'subject,secret,name\r\nann,{SEED},\r\n\r\nbob,,\r\n"carl",{SEED},x,y\r\n'

    assert told(csv, Format.CSV) == [(2, "ann"), (4, "secret"), (5, "row")]
    assert told(f'\n{{"subject": "ann", "secret": "{SEED}"}}\n[]\nno', Format.JSONL) == [
        (2, "ann"),
        (3, "row"),
        (4, "row"),
    ]
    assert told(f'[{{"subject": "ann", "secret": "{SEED}"}}, 7]', Format.JSON) == [
        (1, "ann"),
        (2, "row"),
    ]
    assert told(f"\notpauth://totp/x:ann?secret={SEED}\nx\n", Format.OTPAUTH) == [
        (2, "ann"),
        (3, "uri"),
    ]


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("ann,secret\n", Format.CSV),
        ("", Format.CSV),
        (f"subject,secret,secret\nann,{SEED},{SEED}\n", Format.CSV),
        ('subject,secret\n"ann,x', Format.CSV),
        ("{}", Format.JSON),
        ("[", Format.JSON),
    ],
)
def test_a_file_of_another_format_is_refused_as_a_whole(text: str, format: Format) -> None:
    with pytest.raises(SeedRefused) as found:
        list(read_file(text, format))
    assert found.value.field == "file"


@pytest.mark.parametrize("format", list(Format))
def test_what_is_written_is_read_again(format: Format) -> None:
    seeds = [
        read({"subject": '=1+1,"x:y"/ä? %3A', "secret": SEED, "name": 'Ä, "b"'}),
        read({"subject": "Acme:علی\u200cرضا", "secret": SEED}),
        read({"subject": "bob", "secret": SEED * 2, "algorithm": "SHA512", "digits": "8"}),
    ]

    again = [found for _, found in read_file(write_file(seeds, format, issuer="Acme"), format)]

    for old, new in zip(seeds, again, strict=True):
        assert isinstance(new, Seed)
        assert (new.subject, new.authenticator) == (old.subject, old.authenticator)
        assert format is Format.OTPAUTH or new.name == old.name
