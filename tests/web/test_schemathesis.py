"""Schemathesis over openapi.json, against the running service and over HTTP: what is promised is what is done."""

import asyncio
import json
import re
import sys
from pathlib import Path

from tests.web.conftest import Live, LiveStarter

# Nothing may be refused for having come too often: that is tests/security/test_limits.py.
WIDE = {
    "OTP_COOLDOWN": "1",
    "OTP_LIMIT_RECIPIENT": "1000000/1m",
    "OTP_LIMIT_RECIPIENT_TOTAL": "1000000/1m",
    "OTP_LIMIT_CLIENT_IP": "1000000/1m",
    "OTP_LIMIT_NUMBER_RANGE": "1000000/1m",
    "OTP_LIMIT_CALLER": "1000000/1m",
    "OTP_LIMIT_PROCESS": "1000000/1m",
    "OTP_QUEUE_LIMIT": "10000",
}

# Where the schema says all, what fits it is never a 400 or 422. Elsewhere it can't: which code is the right one, what
# is a number, which purpose takes a context, which group the site has, which Idempotency-Key came before.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404", "409", "410", "422", "429"]

[[operations]]
include-operation-id = ["cancelChallenge", "getChallenge"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "410", "429"]
"""


async def run(live: Live, document: Path, directory: Path, *options: str) -> tuple[int, str]:
    """Return the exit code of `schemathesis run` with every check it has, and what it printed."""
    (directory / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(directory / "schemathesis.toml")),
        *("run", str(document), "--url", f"http://127.0.0.1:{live.port}"),
        *("--header", f"Authorization: {live.credential['Authorization']}"),
        *("--checks", "all", "--continue-on-failure", "--no-color"),
        "--generation-deterministic",
        *("--request-timeout", "120", "--suppress-health-check", "too_slow"),
        *options,
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return await process.wait(), output.decode()


async def test_the_service_keeps_its_contract(
    start_live: LiveStarter, root: Path, tmp_path: Path
) -> None:
    """Q5, N-064, F01: statuses, media types, headers, schemas, methods and credentials, for good and for bad input."""
    live = await start_live(**WIDE)
    code, output = await run(live, root / "openapi.json", tmp_path, "--max-examples", "12")

    assert code == 0, output
    operations = [
        name
        for item in json.loads((root / "openapi.json").read_text("utf-8"))["paths"].values()
        for name in item
    ]
    assert f"Tested: {len(operations)}" in output
    cases = re.search(r"(\d+) generated", output)
    assert cases is not None
    assert int(cases[1]) > 40 * len(operations)


async def test_a_promise_that_is_not_kept_is_seen(
    start_live: LiveStarter, root: Path, tmp_path: Path
) -> None:
    """The negative control: the same run against a document that says something else."""
    live = await start_live(**WIDE)
    document = json.loads((root / "openapi.json").read_text("utf-8"))
    answers = document["paths"]["/healthz"]["get"]["responses"]
    answers["204"] = answers.pop("200")
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(document))
    code, output = await run(
        live, changed, tmp_path, "--include-path", "/healthz", "--phases", "coverage,fuzzing"
    )

    assert code == 1
    assert "Undocumented status code: 1" in output
