"""The result as a person reads it: ratios first."""

from collections.abc import Iterator
from typing import Any

EXPECTED_SHARE = 0.85
EXPECTED_P99_MS = 50.0
HASHING = ("POST /otp/verify",)


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the report."""
    build = result["machine"]["argon2"]
    yield f"{result['machine']['cores']} cores, argon2 {build['version']} ({build['build']})"
    if result["load_average_before"] > 0.3:
        yield f"others were at work (load {result['load_average_before']}): look at the rounds, and run it again"
    yield ""
    yield f"argon2id ceiling   {result['ceiling_hashes_per_second']:8.1f} hashes/s"
    yield f"full flows         {result['flows_per_second']:8.1f} flows/s, two hashes each"
    share = result["share_of_ceiling"]
    yield f"share of ceiling   {share:8.1%}   expected {EXPECTED_SHARE:.0%}: {_met(share >= EXPECTED_SHARE)}"
    yield "  by round         " + ", ".join(f"{turn['share']:.1%}" for turn in result["rounds"])
    if result["share_by_cpu"] is not None:
        spent = result["rounds"][-1]["cpu_ms_per_flow"]
        yield f"  by CPU time      {result['share_by_cpu']:8.1%}   which neighbours on the machine disturb less"
        yield "  CPU ms per flow  " + ", ".join(
            f"{name.replace('_', ' ')} {ms}" for name, ms in spent.items()
        )
    worst = slowest_without_hash(result)
    if worst:
        name, p99 = worst
        yield (
            f"calls that hash nothing, at saturation: p99 at most {p99:.1f} ms ({name})   "
            f"expected < {EXPECTED_P99_MS:.0f} ms: {_met(p99 < EXPECTED_P99_MS)}"
        )
    for phase, title in (
        ("half_load", "at half load"),
        ("saturation", "at saturation"),
        ("overload", "with ten times as many flows at once"),
    ):
        yield ""
        yield f"{title}: {result[phase]['flows_per_second']} flows/s"
        yield f"  {'milliseconds':<28}{'p50':>9}{'p95':>9}{'p99':>9}{'calls':>8}"
        for call, row in result[phase]["milliseconds"].items():
            yield (
                f"  {call:<28}{row['p50']:9.1f}{row['p95']:9.1f}{row['p99']:9.1f}{row['count']:8d}"
            )
        if result[phase]["refused"]:
            yield f"  refused: {result[phase]['refused']}"
    memory = result["memory_mib"]
    yield ""
    yield (
        f"memory  {memory['idle']} MiB idle, {memory['under_load']} MiB after load "
        f"(Valkey {memory['valkey_under_load']} MiB)"
    )
    yield f"start   {result['start_up_seconds']} s until /readyz"
    if build["build"] == "wheel" and set(build["processor_also_has"]) & {"avx2", "avx512f"}:
        wider = ", ".join(build["processor_also_has"])
        yield f"argon2 is the wheel for every processor; this one has {wider}: see docs/operations.md"


def slowest_without_hash(result: dict[str, Any]) -> tuple[str, float] | None:
    """Return the call that hashes nothing whose p99 at saturation is the longest, in ms."""
    rows = result["saturation"]["milliseconds"]
    found = {call: row["p99"] for call, row in rows.items() if call not in HASHING}
    return max(found.items(), key=lambda item: float(item[1])) if found else None


def _met(yes: bool) -> str:
    return "met" if yes else "NOT met"
