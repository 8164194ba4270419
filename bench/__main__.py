"""Measure, print ratios, write bench/results/."""

import argparse
import asyncio
import json
import statistics
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from bench import machine, report
from bench.http11 import Provider
from bench.load import Load, Observed
from otp_service.core.codes import HashCost

RESULTS = Path(__file__).parent / "results"


async def measure(*, rounds: int, seconds: float, at_once: int) -> dict[str, Any]:
    """
    Return one run's result.

    Args:
        rounds: How often the ceiling and the saturated service are measured in turn: a neighbour on the machine then
            disturbs both.
        seconds: Of each measurement.
        at_once: Flows in flight at saturation.
    """
    cost, provider = HashCost(), Provider()
    site_port = await provider.start()
    machine.ceiling(min(seconds, 2.0), cost)  # a cold kernel hashes slowly
    with machine.running(site_port) as service:
        load = Load(service.port, service.credential, provider)
        idle = machine.resident_mib(service.service_pid)
        try:
            turns = await _turns(load, service, cost, rounds, seconds, at_once)
            rate = statistics.median(turn["flows_per_second"] for turn in turns)
            half = await _with_probes(load, load.pace(seconds * 2, per_second=max(1.0, rate / 2)))
            full = await _with_probes(load, load.saturate(seconds * 2, at_once=at_once))
            over = await load.saturate(seconds, at_once=at_once * 10)
            under_load = machine.resident_mib(service.service_pid)
            valkey = machine.resident_mib(service.valkey_pid)
        finally:
            load.close()
            provider.close()
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.description(),
        "parameters": {"rounds": rounds, "seconds": seconds, "flows_at_once": at_once},
        "ceiling_hashes_per_second": round(statistics.median(turn["ceiling"] for turn in turns), 1),
        "flows_per_second": round(rate, 1),
        "share_of_ceiling": round(statistics.median(turn["share"] for turn in turns), 3),
        "rounds": turns,
        "half_load": _told(half),
        "saturation": _told(full),
        "overload": _told(over),
        "memory_mib": {"idle": idle, "under_load": under_load, "valkey_under_load": valkey},
        "start_up_seconds": round(service.started_in, 3),
    }


async def _turns(
    load: Load,
    service: machine.Running,
    cost: HashCost,
    rounds: int,
    seconds: float,
    at_once: int,
) -> list[dict[str, Any]]:
    turns = []
    before = await asyncio.to_thread(machine.ceiling, seconds / 2, cost)
    for _ in range(rounds):
        began = machine.cpu_seconds(service.service_pid), machine.cpu_seconds(service.valkey_pid)
        observed = await load.saturate(seconds, at_once=at_once)
        ended = machine.cpu_seconds(service.service_pid), machine.cpu_seconds(service.valkey_pid)
        after = await asyncio.to_thread(machine.ceiling, seconds / 2, cost)
        ceiling, rate = (before + after) / 2, observed.flows_per_second
        turns.append(
            {
                "ceiling": round(ceiling, 1),
                "flows_per_second": round(rate, 1),
                # Each flow hashes twice: when its code is drawn, and when it is verified.
                "share": round(2 * rate / ceiling, 3),
                "service_cpu_seconds": _difference(ended[0], began[0]),
                "valkey_cpu_seconds": _difference(ended[1], began[1]),
                "refused": dict(observed.refused),
            }
        )
        before = after
    return turns


async def _with_probes(load: Load, work: Awaitable[Observed]) -> Observed:
    probes = Observed()
    async with load.probing(probes):
        observed = await work
    for call, taken in probes.latencies.items():
        observed.latencies[call] += taken
    return observed


def _told(observed: Observed) -> dict[str, Any]:
    return {
        "flows_per_second": round(observed.flows_per_second, 1),
        "milliseconds": observed.milliseconds(),
        "refused": dict(observed.refused),
    }


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else round(after - before, 2)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="ceiling and saturation in turn")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--flows", type=int, default=8 * machine.cores(), help="at once")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for the results")
    options = parser.parse_args()
    result = uvloop.run(
        measure(rounds=options.rounds, seconds=options.seconds, at_once=options.flows)
    )
    print("\n".join(report.lines(result)))
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    for name in (result["measured_at"][:10], "latest"):
        (options.output / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main()
