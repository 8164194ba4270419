"""The load: full flows as fast as they go or at a pace, and calls that hash nothing beside them."""

import asyncio
import contextlib
import itertools
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.http11 import Client, Provider

LOST_AFTER = 60.0


@dataclass
class Observed:
    """What one phase saw. Latencies are seconds by call; `refused` is how often which code was answered."""

    seconds: float = 0.0
    flows: int = 0
    flows_in_all: int = 0  # with those of the warm-up and of the end
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def flows_per_second(self) -> float:
        return self.flows / self.seconds if self.seconds else 0.0

    def milliseconds(self) -> dict[str, dict[str, float]]:
        """Return p50, p95, p99 and the count of each call."""
        return {
            call: {
                "count": len(taken),
                **{f"p{p}": round(percentile(taken, p) * 1000, 2) for p in (50, 95, 99)},
            }
            for call, taken in sorted(self.latencies.items())
            if taken
        }


def percentile(values: list[float], p: float) -> float:
    """Return the smallest value that at least p percent do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * p / 100) - 1)]


class Load:
    """Drives one service."""

    def __init__(self, port: int, credential: str, provider: Provider) -> None:
        self._port = port
        self._credential = credential
        self._provider = provider
        self._numbers = itertools.count()
        self._idle: list[Client] = []
        self._all: list[Client] = []

    async def saturate(self, seconds: float, *, at_once: int, warm_up: float = 1.0) -> Observed:
        """Keep that many flows going; what ends during the warm-up is not counted."""
        observed = Observed()
        begin = time.perf_counter() + warm_up
        end = begin + seconds

        async def flows() -> None:
            while (now := time.perf_counter()) < end:
                await self.flow(observed if now >= begin else Observed())
                observed.flows_in_all += 1
                if begin <= time.perf_counter() < end:
                    observed.flows += 1

        await asyncio.gather(*(flows() for _ in range(at_once)))
        observed.seconds = seconds
        return observed

    async def pace(self, seconds: float, *, per_second: float) -> Observed:
        """Begin a flow every 1/per_second, whether or not the ones before are done."""
        observed = Observed(seconds=seconds)
        began, running = time.perf_counter(), set[asyncio.Task[None]]()

        async def one() -> None:
            await self.flow(observed)
            observed.flows += 1

        for number in range(int(seconds * per_second)):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            task = asyncio.create_task(one())
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        return observed

    async def flow(self, observed: Observed) -> None:
        """Request, get the code off the provider, verify. No connection is held while waiting for the code."""
        number = self._number()
        code = self._provider.expect(number)
        status, challenge = await self._timed(
            observed, "POST /otp/request", self._post("/otp/request", _request(number))
        )
        if status != 202:
            return
        body = {
            "challenge_id": challenge["challenge_id"],
            "purpose": "login",
            "code": await asyncio.wait_for(code, LOST_AFTER),
        }
        await self._timed(observed, "POST /otp/verify", self._post("/otp/verify", body))

    @asynccontextmanager
    async def probing(self, observed: Observed, *, pause: float = 0.02) -> AsyncIterator[None]:
        """Make the calls that hash nothing, one after the other, as long as the block lasts."""

        async def probe() -> None:
            _, challenge = await self._post("/otp/request", _request(self._number()))
            challenge_id = challenge["challenge_id"]
            for turn in itertools.count():
                await self._timed(observed, "GET /healthz", self._get("/healthz"))
                await asyncio.sleep(pause)
                await self._timed(observed, "GET /otp/{id}", self._get(f"/otp/{challenge_id}"))
                await asyncio.sleep(pause)
                if turn % 4 == 0:
                    cancel = self._post("/otp/cancel", {"challenge_id": challenge_id})
                    await self._timed(observed, "POST /otp/cancel", cancel)
                    await asyncio.sleep(pause)

        task = asyncio.create_task(probe())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def close(self) -> None:
        for client in self._all:
            client.close()

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        async with self._client() as client:
            return await client.post(path, body)

    async def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self._client() as client:
            return await client.get(path)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        client = None
        while self._idle and (client is None or client.transport.is_closing()):
            client = self._idle.pop()
        if client is None or client.transport.is_closing():
            client = await Client.connect(self._port, self._credential)
            self._all.append(client)
        yield client
        self._idle.append(client)

    async def _timed(
        self, observed: Observed, call: str, answer: Awaitable[tuple[int, dict[str, Any]]]
    ) -> tuple[int, dict[str, Any]]:
        began = time.perf_counter()
        status, body = await answer
        if status < 400:
            observed.latencies[call].append(time.perf_counter() - began)
        else:
            observed.refused[str(body["code"])] += 1
            observed.latencies[f"{call} -> {status}"].append(time.perf_counter() - began)
        return status, body

    def _number(self) -> str:
        # German mobile numbers, a thousand blocks apart: any two have nothing in common.
        n = next(self._numbers)
        return f"+49151{10_000_000 + n * 7919 % 89_999_999:08d}"


def _request(number: str) -> dict[str, Any]:
    return {"to": number, "purpose": "login", "subject": f"user-{number[1:]}"}
