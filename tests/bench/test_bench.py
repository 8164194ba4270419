"""The benchmark runs and says what it is meant to say. How fast is never asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.load import Observed, percentile


def test_a_short_run_writes_ratios_latencies_memory_and_start_up_time(
    root: Path, tmp_path: Path
) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "bench", "--rounds", "1", "--seconds", "2", "--flows", "4",
         "--output", tmp_path],
        cwd=root, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip

    assert found.returncode == 0, found.stderr
    assert "share of ceiling" in found.stdout
    result = json.loads((tmp_path / "latest.json").read_text())
    assert (tmp_path / f"{result['measured_at'][:10]}.json").exists()
    assert result["ceiling_hashes_per_second"] > 0
    assert result["share_of_ceiling"] > 0
    [turn] = result["rounds"]
    assert turn["share_by_cpu"] is None or 0 < turn["share_by_cpu"] < 1.5
    assert result["start_up_seconds"] > 0
    assert set(result["memory_mib"]) == {"idle", "under_load", "valkey_under_load"}
    assert result["machine"]["argon2"]["build"] in ("wheel", "local")
    calls = set(result["saturation"]["milliseconds"])
    assert {"POST /otp/request", "POST /otp/verify", "GET /healthz", "GET /otp/{id}"} <= calls
    for row in result["saturation"]["milliseconds"].values():
        assert set(row) == {"count", "p50", "p95", "p99"}
    assert turn["refused"] == {}, "limits of the service stood in the way"


@pytest.mark.parametrize(
    ("values", "p", "expected"),
    [
        ([5.0], 99, 5.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99),
    ],
)
def test_a_percentile_is_a_value_that_was_seen(
    values: list[float], p: float, expected: float
) -> None:
    assert percentile(values, p) == expected


def test_a_phase_without_calls_has_no_percentiles() -> None:
    assert Observed().milliseconds() == {}
    assert Observed().flows_per_second == 0.0
