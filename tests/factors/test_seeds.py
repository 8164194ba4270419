"""Authenticators from elsewhere: what is read, and what is refused with a reason that tells no seed."""

from typing import Any

import pyotp
import pytest

from otp_service.cli.seed_files import Format, read_file, write_file
from otp_service.core.seeds import Seed, SeedRefused, read
from otp_service.core.totp import Algorithm

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
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
        ({"subject": "", "secret": SEED}, "subject", "printable ASCII"),
        ({"subject": "ann lee", "secret": SEED}, "subject", "without spaces"),
        ({"subject": "a" * 129, "secret": SEED}, "subject", "128"),
        ({"subject": "ann", "secret": SHORT}, "secret", "fewer than 128 bits"),
        ({"subject": "ann", "secret": SEED * 7}, "secret", "more than 128 bytes"),
        ({"subject": "ann", "secret": SEED[:-1] + "1"}, "secret", "no base32"),
        ({"subject": "ann", "secret": "MZXW6YTBOI======" + SEED}, "secret", "no base32"),
        ({"subject": "ann", "secret": SEED, "digits": "7"}, "digits", "6 or 8"),
        ({"subject": "ann", "secret": SEED, "digits": True}, "digits", "6 or 8"),
        ({"subject": "ann", "secret": SEED, "period": "60"}, "period", "30 seconds"),
        ({"subject": "ann", "secret": SEED, "algorithm": "MD5"}, "algorithm", "SHA1"),
        ({"subject": "ann", "secret": SEED, "name": "a\nb"}, "name", "printable"),
        ({"subject": "ann", "secret": SEED, "seed": "x"}, "row", "column"),
        ({"subject": "ann", "uri": f"otpauth://hotp/a?secret={SEED}&counter=1"}, "uri", "HOTP"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&encoder=steam"}, "uri", "Steam"),
        ({"subject": "ann", "uri": "otpauth-migration://offline?data=x"}, "uri", "Google"),
        ({"subject": "ann", "uri": f"https://totp/a?secret={SEED}"}, "uri", "no otpauth"),
        ({"subject": "ann", "uri": "otpauth://totp/a"}, "uri", "no otpauth"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&secret={SEED}"}, "uri", "no otp"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&digits=7"}, "uri.digits", "6 or"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&period=60"}, "uri.period", "30"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SEED}&algorithm=MD5"}, "uri", "no otp"),
        ({"subject": "ann", "uri": f"otpauth://totp/a?secret={SHORT}"}, "uri.secret", "128 bits"),
        ({"subject": "a", "digits": "6", "uri": f"otpauth://totp/a?secret={SEED}"}, "uri", "itself"),
        ({"uri": f"otpauth://totp/?secret={SEED}"}, "subject", "printable"),
    ],
)  # fmt: skip
def test_what_is_not_surely_an_authenticator_is_refused(
    row: dict[str, Any], field: str, reason: str
) -> None:
    """B31."""
    found = refused(row)

    assert found[0] == field
    assert reason in found[1]


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
        read({"subject": '=1+1,"x:y"/ä'.replace("ä", "@"), "secret": SEED, "name": 'Ä, "b"'}),
        read({"subject": "bob", "secret": SEED * 2, "algorithm": "SHA512", "digits": "8"}),
    ]

    again = [found for _, found in read_file(write_file(seeds, format, issuer="Acme"), format)]

    for old, new in zip(seeds, again, strict=True):
        assert isinstance(new, Seed)
        assert (new.subject, new.authenticator) == (old.subject, old.authenticator)
        assert format is Format.OTPAUTH or new.name == old.name
