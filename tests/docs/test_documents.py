"""The documents say what is true: tables as the code has them, links that lead somewhere, names that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from otp_service.cli import app as command_line
from otp_service.errors import OtpError
from otp_service.settings.table import Settings
from otp_service.web.problems import leaves
from otp_service.web.routes import OPERATIONS
from otp_service.wsms.outcome import RefusedReason, UnknownReason
from tests.docs.tables import DOCUMENTS, TABLES, rewritten

ROOT = Path(__file__).parent.parent.parent
ALL = [*DOCUMENTS, ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_tables_are_those_of_the_code(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text == rewritten(text), "stale; write them anew: python -m tests.docs.tables"


def test_every_table_stands_in_a_document() -> None:
    written = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    assert [name for name in TABLES if f"<!-- table: {name} -->" not in written] == []


def test_every_endpoint_refusal_and_setting_is_in_the_readme(readme: str) -> None:
    for operation in OPERATIONS:
        assert f"`{operation.method} {operation.path}`" in readme
    for error in leaves(OtpError):
        assert f"`{error.code}`" in readme
    for name in Settings.model_fields:
        assert f"`OTP_{name.upper()}`" in readme


def test_the_command_prints_the_settings_as_the_readme_has_them(readme: str) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "otp_service", "settings"], capture_output=True, check=True
    )
    assert found.stdout.decode().strip() in readme


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_links_lead_to_files_that_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_settings_commands_and_targets_that_a_document_names_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    neighbours = {"OTP_CREDENTIAL", "OTP_SERVICE"}  # of scripts, not of the service
    for name in set(re.findall(r"\bOTP_[A-Z_]*[A-Z]\b", text)) - neighbours:
        field = name.removeprefix("OTP_").lower()
        known = {field, field.removesuffix("_file")} & set(Settings.model_fields)
        assert known or name.startswith("OTP_SANDBOX_"), name
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert re.search(rf"^{target}:", makefile, re.M), target
    commands = {command.name for command in command_line.registered_commands}
    commands |= {group.name for group in command_line.registered_groups}
    for word in re.findall(r"`otp-service ([a-z]+)", text):
        assert word in commands, word
    reasons = {member.value for reason in (RefusedReason, UnknownReason) for member in reason}
    for word in re.findall(r"^\| `(?:failed|unknown)`, ((?:`[a-z_]+`(?: or )?)+) \|", text, re.M):
        assert set(re.findall(r"[a-z_]{3,}", word)) <= reasons, word
    for file in re.findall(r"`((?:docs|docker|bench|tests|otp_service)/[\w./-]+)`", text):
        assert (ROOT / file).exists(), file
