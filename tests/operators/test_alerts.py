"""The alert rules that are shipped: they fire when they should, on series that a service has from its start."""

import re
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client import Counter

from otp_service import telemetry
from tests.reliability.conftest import Spawn, spawn_server  # noqa: F401
from tests.reliability.harness import eventually

ALERTS = Path(__file__).parent.parent.parent / "docker/monitoring/alerts.yml"


@pytest.mark.promtool
def test_rules_fire_when_they_should() -> None:
    rules = Path(__file__).parent / "alerts_test.yml"
    for command in (("check", "rules", ALERTS), ("test", "rules", rules)):
        found = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr


def test_every_rule_has_a_test_in_which_it_fires() -> None:
    rules = set(re.findall(r"- alert: (\w+)", ALERTS.read_text()))
    tests = (Path(__file__).parent / "alerts_test.yml").read_text()
    fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts", tests))
    assert rules == fired


def test_rules_name_metrics_and_labels_that_exist() -> None:
    known = {
        metric._name + ("_total" if metric._type == "counter" else ""): set(metric._labelnames)
        for metric in vars(telemetry).values()
        if hasattr(metric, "_labelnames")
    }
    used = re.findall(r"(otp_[a-z_]+)(?:\{([^}]*)\})?", ALERTS.read_text())
    assert used
    for name, labels in used:
        assert set(re.findall(r"(\w+)[!=]", labels)) <= known[name], name


@pytest.fixture
def frozen_at_ms() -> None:
    """Time goes on: another process serves."""


async def test_series_exist_at_zero_from_the_start(
    environment: dict[str, str],
    spawn_server: Spawn,  # noqa: F811
) -> None:
    """Without them `increase()` misses the first event, and a ratio has no data while nothing is approved."""
    process = spawn_server({**environment, "OTP_REGIONS": "DE,AT"})

    async def scraped() -> str:
        try:
            async with httpx.AsyncClient() as client:
                await client.get(f"{process.url}/healthz", timeout=60)
                return (await client.get(f"{process.admin_url}/metrics", timeout=60)).text
        except httpx.HTTPError:
            return ""

    text = await eventually(scraped, "metrics")
    values = re.findall(r'(\w+)="([^"|]+)"', ALERTS.read_text())
    for label, value in [*values, ("region", "DE"), ("region", "AT")]:
        if label not in ("job", "status"):
            assert re.search(rf'^otp_\w+{{[^}}]*{label}="{value}"[^}}]*}} 0\.0$', text, re.M), value
    for series in (
        'otp_region_pauses_total{event="paused",region="DE"} 0.0',
        'otp_region_codes_total{event="approved",region="AT"} 0.0',
        'otp_refusals_total{code="clock_skew"} 0.0',
        'otp_deliveries_total{channel="sms",reason="no_route",status="failed"} 0.0',
        'otp_check_failed{check="redis"} 0.0',
        'otp_log_lines_dropped_total{why="sampled"} 0.0',
        'otp_refusals_total{code="internal"} 0.0',
        'otp_refusals_total{code="store_emptied"} 0.0',
        'otp_redis_steps_back_total{why="lost"} 0.0',
    ):
        assert series in text.splitlines()
    for metric in vars(telemetry).values():
        if isinstance(metric, Counter) and metric is not telemetry.REQUESTS:  # too many label sets
            assert re.search(rf"^{metric._name}_total\b.* 0\.0$", text, re.M), metric._name
