"""What `otp-service doctor` says of the WordPress site."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import otp_service.cli
from otp_service.cli import app
from otp_service.services.argon2_build import argon2_build
from tests.conftest import Sandbox, Service
from tests.reconciliation.conftest import may

ALL = ("wpsms_sendsms", "wpsms_subscribers", "wpsms_outbox", "wpsms_setting")


def doctor(environment: dict[str, str], *options: str, **changes: str) -> tuple[int, str]:
    """Its exit code, and its words on one line."""
    own = {**environment, "COLUMNS": "400", **changes}
    result = CliRunner().invoke(app, ["doctor", *options], env=own)
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_a_site_that_is_set_up(environment: dict[str, str], sandbox: Sandbox) -> None:
    code, told = doctor(environment, OTP_WSMS_SCRUB_OUTBOX="true")

    assert code == 0
    assert "Sandbox Site" in told
    assert "OTP_WSMS_SCRUB_OUTBOX is on; the site keeps 0 messages now" in told
    assert "refuse" not in told


def test_doctor_shows_every_name_whole_at_80_columns(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "application-password"
    file.write_text(environment.pop("OTP_WSMS_APPLICATION_PASSWORD"))
    given = {"OTP_WSMS_APPLICATION_PASSWORD_FILE": str(file), "COLUMNS": "80"}

    _, told = doctor(environment, **given)

    assert "…" not in told
    assert re.search(r"(warn|ok) OTP_WSMS_APPLICATION_PASS", told)


def test_every_table_of_a_command_folds_long_words() -> None:
    made = {
        path.name: found
        for path in Path(otp_service.cli.__file__).parent.rglob("*.py")
        if (found := re.findall(r"\bTable\([^)]*", path.read_text("utf-8")))
    }

    assert made == {
        "plain.py": ["Table(*folding, show_lines=show_lines"],
        "showing.py": ['Table("", Column(overflow="fold"'],
    }


@pytest.mark.parametrize(
    ("missing", "changes", "code", "words"),
    [
        ("wpsms_sendsms", {}, 1, "refuse wpsms_sendsms"),
        ("wpsms_outbox", {}, 0, "warn wpsms_outbox"),
        ("wpsms_outbox", {"OTP_WSMS_SCRUB_OUTBOX": "true"}, 1, "refuse wpsms_outbox"),
        ("wpsms_outbox", {"OTP_WSMS_RECONCILE": "false"}, 0, "ok wpsms_outbox missing, and not"),
        ("wpsms_setting", {}, 0, "ok wpsms_setting missing: the credit is only known from sends"),
        ("wpsms_setting", {"OTP_WSMS_CREDIT_WARNING": "50"}, 0, "warn wpsms_setting"),
        ("wpsms_subscribers", {}, 0, "warn wpsms_subscribers"),
    ],
)
def test_a_missing_capability(
    environment: dict[str, str],
    sandbox: Sandbox,
    capable: None,
    missing: str,
    changes: dict[str, str],
    code: int,
    words: str,
) -> None:
    may(sandbox, *(one for one in ALL if one != missing))

    found, told = doctor(environment, **changes)

    assert words in told
    assert found == code


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"plugin_active": False}, "refuse plugin Install and activate WSMS 7.2"),
        ({"application_passwords": False}, "refuse credential Not accepted"),
        ({"capabilities_granted": True, "maintenance": True}, "refuse OTP_WSMS_URL"),
        ({"database_down": True}, "refuse OTP_WSMS_URL"),
    ],
)
def test_a_site_over_which_no_code_can_go_out(
    environment: dict[str, str], sandbox: Sandbox, settings: dict[str, bool], words: str
) -> None:
    sandbox.settings(**settings)

    code, told = doctor(environment)

    assert words in told
    assert code == 1


def test_a_translated_site(environment: dict[str, str], sandbox: Sandbox) -> None:
    sandbox.settings(locale="de_DE")

    code, told = doctor(environment)

    assert "warn English texts The plugin's texts are translated" in told
    assert code == 0


async def test_codes_that_stay_readable_in_wordpress(
    environment: dict[str, str], service: Service
) -> None:
    """E14."""
    import asyncio

    _, before = await asyncio.to_thread(doctor, environment)
    await service.request()
    _, after = await asyncio.to_thread(doctor, environment)

    assert "warn OTP_WSMS_SCRUB_OUTBOX is off: every code stays readable on the site" in before
    assert "warn OTP_WSMS_SCRUB_OUTBOX is off, and the site keeps 1 message with" in after


@pytest.mark.parametrize("verifies", [False, True])
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("wsms", "note OTP_OPTIN_MODE is wsms: the site must verify by itself, which cannot be"),
        (
            "service",
            "note OTP_OPTIN_MODE is service: the site must not verify as well, which cannot be",
        ),
    ],
)
def test_whether_the_site_verifies_is_said_to_be_unknown_before_it_was_seen(
    environment: dict[str, str], sandbox: Sandbox, mode: str, words: str, verifies: bool
) -> None:
    """Whoever is woken at night must not take silence for a fitting mode."""
    sandbox.settings(newsletter_form_verify=verifies)

    code, told = doctor(environment, OTP_OPTIN_MODE=mode)

    assert words in told
    assert "WordPress > SMS > Settings > Newsletter" in told
    assert code == 0


def test_the_build_of_argon2_is_named(environment: dict[str, str]) -> None:
    _, told = doctor(environment, "--no-site")

    build = argon2_build()
    assert f"note argon2 {build.version}, " in told
    assert build.tag in told
    assert ("the wheel for every processor" in told) == (build.build == "wheel")
    assert all(wider in told for wider in build.processor_also_has)


def test_the_site_is_left_alone_on_demand(environment: dict[str, str], sandbox: Sandbox) -> None:
    sandbox.settings(plugin_active=False)

    code, told = doctor(environment, "--no-site")

    assert code == 0
    assert "plugin" not in told
