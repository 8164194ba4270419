"""docs/wordpress.md shows what the commands really print, and the README says what is in it."""

import re

from tests.conftest import Sandbox
from tests.docs.wordpress import DOCUMENT, rewritten


def test_the_outputs_are_those_of_the_commands(sandbox: Sandbox) -> None:
    text = DOCUMENT.read_text("utf-8")
    assert text == rewritten(text, sandbox.url), (
        "stale; write them anew: python -m tests.docs.wordpress"
    )


def test_the_readme_says_of_each_step_what_is_printed_while_it_is_missing(readme: str) -> None:
    outputs = " ".join(DOCUMENT.read_text("utf-8").replace("│", " ").split())
    section = readme.partition("## Setting up WordPress")[2].partition("\n## ")[0]
    steps = re.findall(r"^\| ([1-9])\. .* \| (.*) \|$", section, re.MULTILINE)

    assert [number for number, _ in steps] == list("123456")
    for number, told in steps:
        for quoted in re.findall(r"`([^`]+)`", told):
            assert quoted.removesuffix("…").strip() in outputs, f"step {number}: {quoted}"
