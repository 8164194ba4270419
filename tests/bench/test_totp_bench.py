"""The benchmark of authenticator codes runs and says what it is meant to say. How fast is never asserted."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_short_run_writes_the_share_of_a_plain_service(root: Path, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "bench.totp", "--rounds", "1", "--seconds", "0.5", "--at-once", "4",
         "--apps", "300", "--output", tmp_path],
        cwd=root, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip

    assert found.returncode == 0, found.stderr
    assert "share of plain" in found.stdout
    result = json.loads((tmp_path / "totp-latest.json").read_text())
    assert result["plain_per_second"] > 0
    assert result["share_of_plain"] > 0
    [turn] = result["rounds"]
    assert set(turn["milliseconds"]) == {"p50", "p95", "p99"}
    assert set(turn["refused"]) <= {"invalid_code"}, "a code that grew old on its way at most"
