"""Measure, print ratios, write bench/results/."""

import argparse
import asyncio
import json
import os
import statistics
import time
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
    neighbours = round(os.getloadavg()[0], 2)
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
        "load_average_before": neighbours,
        "parameters": {"rounds": rounds, "seconds": seconds, "flows_at_once": at_once},
        "ceiling_hashes_per_second": round(statistics.median(turn["ceiling"] for turn in turns), 1),
        "flows_per_second": round(rate, 1),
        "share_of_ceiling": round(statistics.median(turn["share"] for turn in turns), 3),
        "share_by_cpu": _median([turn["share_by_cpu"] for turn in turns]),
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
    def cpu() -> list[float | None]:
        # The service, Valkey, and this process: the load and the provider.
        pids = (service.service_pid, service.valkey_pid)
        return [*map(machine.cpu_seconds, pids), time.process_time()]

    turns = []
    before = await asyncio.to_thread(machine.ceiling, seconds / 2, cost)
    for _ in range(rounds):
        began = cpu()
        observed = await load.saturate(seconds, at_once=at_once)
        used = [_difference(late, early) for late, early in zip(cpu(), began, strict=True)]
        after = await asyncio.to_thread(machine.ceiling, seconds / 2, cost)
        ceiling, one_hash = ((a + b) / 2 for a, b in zip(before, after, strict=True))
        rate, per_flow = observed.flows_per_second, 1000 / max(1, observed.flows_in_all)
        known = [seconds for seconds in used if seconds is not None]
        turns.append(
            {
                "ceiling": round(ceiling, 1),
                "flows_per_second": round(rate, 1),
                # Each flow hashes twice: when its code is drawn, and when it is verified.
                "share": round(2 * rate / ceiling, 3),
                "cpu_ms_per_flow": {
                    "two_hashes_at_ceiling": round(2000 * one_hash, 2),
                    "service": _times(used[0], per_flow),
                    "valkey": _times(used[1], per_flow),
                    "load_and_provider": _times(used[2], per_flow),
                },
                # What the share would be with the machine to itself: neighbours take time, but no CPU time of ours.
                "share_by_cpu": round(2000 * one_hash / (sum(known) * per_flow), 3)
                if len(known) == len(used)
                else None,
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


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 3) if known else None


def _times(seconds: float | None, factor: float) -> float | None:
    return None if seconds is None else round(seconds * factor, 2)


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
