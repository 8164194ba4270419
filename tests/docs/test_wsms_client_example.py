"""The examples of docs/wsms-client.md and the README do what they say, on the sandbox."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PASSWORD, Sandbox


def test_the_example_sends_lists_and_subscribes(sandbox: Sandbox, root: Path) -> None:
    text = (root / "docs" / "wsms-client.md").read_text("utf-8")
    [example] = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    environment = {
        **os.environ,
        "OTP_WSMS_URL": sandbox.url,
        "OTP_WSMS_USERNAME": "otp",
        "OTP_WSMS_APPLICATION_PASSWORD": PASSWORD,
    }

    done = subprocess.run(
        [sys.executable, "-c", example],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    sent, row, people = done.stdout.splitlines()
    assert sent.startswith("the gateway took it; left:")
    assert "success ('+14155550123',)" in row
    assert people == "['+14155550123']"
    assert sandbox.messages()[0]["message"] == "Hello"


def test_the_readme_s_example_sends_and_lists(
    sandbox: Sandbox, readme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [source] = re.findall(r"^```python wsms\n(.*?)^```", readme, re.M | re.S)
    example: dict[str, Any] = {}
    exec(compile(source, "README.md", "exec"), example)  # noqa: S102
    asyncio.run(example["greet"](sandbox.url, "otp", PASSWORD))

    sent, row = capsys.readouterr().out.splitlines()
    assert sent.startswith("the gateway took it; left:")
    assert row.endswith("success Hello")
