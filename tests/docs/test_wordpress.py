"""docs/wordpress.md shows what the commands really print."""

from tests.conftest import Sandbox
from tests.docs.wordpress import DOCUMENT, rewritten


def test_the_outputs_are_those_of_the_commands(sandbox: Sandbox) -> None:
    text = DOCUMENT.read_text("utf-8")
    assert text == rewritten(text, sandbox.url), (
        "stale; write them anew: python -m tests.docs.wordpress"
    )
