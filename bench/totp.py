"""
What share of a plain HTTP and Redis service's rate the verification of an authenticator's code reaches, in one run.

Every code is right and accepted. Ceiling and service are measured in turn: a neighbour on the machine disturbs both.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import statistics
import struct
import subprocess
import sys
import time
from base64 import b32encode
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from bench import machine
from bench.http11 import Client, Provider
from bench.load import percentile
from otp_service.cli import valkey
from otp_service.cli.ports import listen
from otp_service.connections import open_redis
from otp_service.core.challenge import (
    ChallengeAddress,
    lasting_id_for,
    new_handle,
    subject_address,
)
from otp_service.core.envelopes import seed_of
from otp_service.core.seal import seal
from otp_service.settings.environment import load
from otp_service.store.factor_records import NewFactor
from otp_service.store.factors import Factors
from otp_service.store.scripts import Scripts

RESULTS = Path(__file__).parent / "results"
STEP = 30


@dataclass
class Rate:
    """Answers per second, processor time of one in ms, their times in seconds, and what was no success."""

    per_second: float = 0.0
    cpu_ms: float | None = None
    taken: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


class Apps:
    """Authenticators, each with the codes that are still good: two for each step, the older one first."""

    def __init__(self) -> None:
        self._seeds: dict[str, bytes] = {}
        self._queue: deque[tuple[str, int]] = deque()
        self._queued_until = 0

    async def enroll(self, environment: dict[str, str], count: int) -> None:
        settings = load({**environment, "OTP_REDIS_TIMEOUT": "10"})
        ring, connection = settings.ring(), open_redis(settings)
        factors = Factors(Scripts(connection), history_ms=settings.policy().history_ms)

        async def one(subject: str, seed: bytes) -> None:
            address = subject_address(ring, machine.CALLER, f"subject:{subject}")
            factor_id = lasting_id_for(ring, address, new_handle(ring))
            text = b32encode(seed).decode()
            await factors.bring(
                ChallengeAddress(factor_id, address),
                NewFactor(
                    caller=machine.CALLER, name="bench", about="", algorithm="SHA1", digits=6,
                    seed=seal(ring, text, belongs_to=seed_of(address, factor_id)),
                ),
                step_ms=10**12,
            )  # fmt: skip

        self._seeds = {f"app-{number}": os.urandom(20) for number in range(count)}
        waiting = list(self._seeds.items())
        for start in range(0, count, 16):
            await asyncio.gather(*(one(*app) for app in waiting[start : start + 16]))
        await connection.aclose()

    def next(self) -> dict[str, str] | None:
        """A body that will be accepted, or None when every code of the moment has been used."""
        step = int(time.time()) // STEP
        if step > self._queued_until:
            first = max(step - 1, self._queued_until + 1)
            self._queue = deque(
                (subject, s) for s in range(first, step + 1) for subject in self._seeds
            )
            self._queued_until = step
        if not self._queue:
            return None
        subject, step = self._queue.popleft()
        mac = hmac.digest(self._seeds[subject], struct.pack(">Q", step), hashlib.sha1)
        [number] = struct.unpack(">I", mac[mac[-1] & 15 :][:4])
        return {
            "subject": subject,
            "code": f"{(number & 0x7FFFFFFF) % 10**6:06d}",
            "purpose": "login",
        }


async def measure(*, rounds: int, seconds: float, at_once: int, apps: int) -> dict[str, Any]:
    """Return one run's result."""
    neighbours = round(os.getloadavg()[0], 2)
    provider, codes = Provider(), Apps()
    with machine.running(await provider.start()) as service:
        await codes.enroll(service.environment, apps)
        with plain(service.environment["OTP_REDIS_URL"]) as (port, pid):
            async with connected(port, "") as client:
                await client.post("/", {"subject": "x"})  # waits in the backlog until it serves
            turns = []
            for _ in range(rounds):
                ceiling = await drive(
                    port, pid, "", "/", lambda: {"subject": "x"}, seconds, at_once
                )
                ours = await drive(
                    service.port, service.service_pid, service.credential, "/factors/totp/verify", codes.next,
                    seconds, at_once,
                )  # fmt: skip
                turns.append((ceiling, ours))
    provider.close()
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.description(),
        "load_average_before": neighbours,
        "parameters": {"rounds": rounds, "seconds": seconds, "at_once": at_once, "apps": apps},
        "plain_per_second": round(statistics.median(c.per_second for c, _ in turns), 1),
        "verifications_per_second": round(statistics.median(o.per_second for _, o in turns), 1),
        "share_of_plain": round(
            statistics.median(o.per_second / c.per_second for c, o in turns), 3
        ),
        # The same by processor time of the two processes, which neighbours on the machine disturb less.
        "share_by_cpu": _share_by_cpu(turns),
        "rounds": [
            {
                "plain": round(c.per_second, 1),
                "verifications": round(o.per_second, 1),
                "cpu_ms_per_call": {"plain": c.cpu_ms, "service": o.cpu_ms},
                "milliseconds": {
                    f"p{p}": round(percentile(o.taken, p) * 1000, 2) for p in (50, 95, 99)
                },
                "refused": dict(o.refused),
            }
            for c, o in turns
        ],
    }


def _share_by_cpu(turns: list[tuple[Rate, Rate]]) -> float | None:
    known = [c.cpu_ms / o.cpu_ms for c, o in turns if c.cpu_ms and o.cpu_ms]
    return round(statistics.median(known), 3) if known else None


async def drive(
    port: int,
    pid: int,
    credential: str,
    path: str,
    body: Callable[[], dict[str, str] | None],
    seconds: float,
    at_once: int,
) -> Rate:
    """Keep so many calls going; what is answered in the first tenth is not counted."""
    rate, begin = Rate(), time.perf_counter() + seconds / 10
    end = begin + seconds
    ran_out, done, before = end, 0, machine.cpu_seconds(pid)

    async def calls() -> None:
        nonlocal ran_out, done
        async with connected(port, credential) as client:
            while (now := time.perf_counter()) < end:
                if (sent := body()) is None:
                    ran_out = min(ran_out, now)
                    return
                status, answer = await client.post(path, sent)
                done += 1
                if status >= 400:
                    rate.refused[str(answer["code"])] += 1
                elif begin <= (late := time.perf_counter()) < end:
                    rate.taken.append(late - now)

    await asyncio.gather(*(calls() for _ in range(at_once)))
    after = machine.cpu_seconds(pid)
    if before is not None and after is not None and done:
        rate.cpu_ms = round((after - before) * 1000 / done, 3)
    if not rate.taken and not rate.refused:
        raise SystemExit("every code of the moment was used up before the measurement: more --apps")
    rate.per_second = len(rate.taken) / max(0.001, ran_out - begin)
    return rate


@asynccontextmanager
async def connected(port: int, credential: str) -> AsyncIterator[Client]:
    client = await Client.connect(port, credential)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def plain(redis_url: str) -> Iterator[tuple[int, int]]:
    """Start the plain service; yield its port and process."""
    listening = listen(0, what="the plain service", variable="PORT")
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.plain"],
        env={**os.environ, "BENCH_REDIS_URL": redis_url, "BENCH_FD": str(listening.fileno())},
        pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL,
        preexec_fn=valkey.die_with_parent(),
    )  # fmt: skip
    try:
        yield int(listening.getsockname()[1]), process.pid
    finally:
        process.terminate()
        process.wait(30)
        listening.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.totp", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="ceiling and service in turn")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--at-once", type=int, default=8 * machine.cores(), help="calls in flight")
    parser.add_argument("--apps", type=int, default=10_000, help="authenticators, two codes each")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for the result")
    options = parser.parse_args()
    result = uvloop.run(
        measure(
            rounds=options.rounds,
            seconds=options.seconds,
            at_once=options.at_once,
            apps=options.apps,
        )
    )
    print(f"plain HTTP and Redis   {result['plain_per_second']:8.1f} calls/s, one script each")
    print(
        f"authenticator codes    {result['verifications_per_second']:8.1f} accepted/s, two scripts each"
    )
    print(f"share of plain         {result['share_of_plain']:8.1%}")
    print(
        "  by round             "
        + ", ".join(f"{t['verifications'] / t['plain']:.1%}" for t in result["rounds"])
    )
    print(
        f"  last round           {result['rounds'][-1]['milliseconds']} ms, refused {result['rounds'][-1]['refused']}"
    )
    if result["share_by_cpu"] is not None:
        print(
            f"  by CPU time          {result['share_by_cpu']:8.1%}   which neighbours disturb less"
        )
    if result["load_average_before"] > 0.3:
        print(f"others were at work (load {result['load_average_before']}): run it again")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "totp-latest.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
