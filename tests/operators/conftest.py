"""The command line, run as an operator runs it."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from anyio import to_thread
from click.testing import Result
from typer.testing import CliRunner

from otp_service.cli import app

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `otp-service …` with the service's environment."""
    for name, value in {**environment, "COLUMNS": "220"}.items():
        monkeypatch.setenv(name, value)

    async def invoke(*arguments: str) -> Result:
        return await to_thread.run_sync(partial(CliRunner().invoke, app, list(arguments)))

    return invoke


async def audited(run: Run, *arguments: str) -> list[dict[str, Any]]:
    """What the audit log holds."""
    told = await run("audit", "--json", *arguments)
    assert told.exit_code == 0, told.output
    return [json.loads(line) for line in told.stdout.splitlines()]
