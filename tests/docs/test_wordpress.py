"""docs/wordpress.md shows what the commands really print, and the README says what is in it."""

import re

from tests.conftest import Sandbox
from tests.docs.wordpress import DOCUMENT, rewritten

ROOT = DOCUMENT.parent.parent
# A step of the README's table: its number, and what is printed while it is missing.
STEP = re.compile(r"^\| ([1-9])\. .* \| (.*) \|$", re.MULTILINE)


def test_the_outputs_are_those_of_the_commands(sandbox: Sandbox) -> None:
    text = DOCUMENT.read_text("utf-8")
    assert text == rewritten(text, sandbox.url), (
        "stale; write them anew: python -m tests.docs.wordpress"
    )


def test_the_readme_says_of_each_step_what_is_printed_while_it_is_missing(readme: str) -> None:
    outputs = " ".join(DOCUMENT.read_text("utf-8").replace("│", " ").split())

    for number, told in STEP.findall(_setting_up(readme)):
        for quoted in re.findall(r"`([^`]+)`", told):
            assert quoted.removesuffix("…").strip() in outputs, f"step {number}: {quoted}"


def test_readme_steps_are_the_documents_headings_in_order(readme: str) -> None:
    headings = re.findall(r"^## ([1-9])\. (.*)$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    linked = re.findall(
        r"^\| ([1-9])\. \[([^]]*)\]\(docs/wordpress\.md#([^)]*)\)",
        _setting_up(readme),
        re.MULTILINE,
    )

    assert [int(number) for number, _, _ in linked] == list(range(1, 10))
    assert [(number, title) for number, title, _ in linked] == headings[:9]
    for number, title, anchor in linked:
        assert anchor == re.sub(r"[^a-z0-9_ -]", "", f"{number} {title}".lower()).replace(" ", "-")


def test_wp_option_commands_work_where_the_key_is_absent() -> None:
    """On a fresh site `patch update` and `pluck` end with 1: few of the keys exist. `patch insert` works."""
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = [
        command
        for path in (*documents, *(ROOT / "otp_service").rglob("*.py"))
        for command in re.findall(r"wp option [a-z]+(?: [a-z]+)?", path.read_text("utf-8"))
    ]

    assert set(found) == {"wp option patch insert"}


def test_password_file_is_made_for_its_owner_only() -> None:
    [command] = re.findall(r"^.*--porcelain > .*$", DOCUMENT.read_text("utf-8"), re.MULTILINE)

    assert command.startswith("(umask 077; ")


def _setting_up(readme: str) -> str:
    return readme.partition("## Setting up WordPress")[2].partition("\n## ")[0]
