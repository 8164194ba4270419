"""
What the reliability tests share: waiting for a condition, processes of the service, and a door that can be held shut.

`Gate` stands between a process and Redis and reads what passes, so a test can stop the process between any two steps
without a hook in it.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import redis

from otp_service.cli import valkey
from otp_service.cli.ports import listen
from otp_service.connections import open_redis
from otp_service.core import credentials
from otp_service.core.credentials import SCOPES
from otp_service.settings.environment import load
from otp_service.store import keys
from otp_service.store.callers import CallerRecord, Callers
from otp_service.store.deliveries import GROUP
from otp_service.store.script_sources import source
from otp_service.store.scripts import Scripts
from tests.conftest import Sandbox, code_in

Command = list[bytes]


async def eventually(
    condition: Callable[[], Any | Awaitable[Any]], what: str, *, seconds: float = 60
) -> Any:
    """Poll until the condition gives something true, and return it; fail after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"still not: {what}"
        await asyncio.sleep(0.01)


def number(i: int) -> str:
    """The i-th mobile number of a row; far enough apart that no two share a block of numbers."""
    return f"+1415{5550000 + 1000 * (i % 100) + 100 + i // 100}" if i else "+14155550123"


# --- Processes -------------------------------------------------------------------------------------------------------


@dataclass
class Process:
    """`otp-service serve` or `worker` as a process of its own."""

    popen: subprocess.Popen[bytes]
    url: str = ""
    admin_url: str = ""
    ports: ExitStack = field(default_factory=ExitStack)

    def kill(self) -> None:
        """As a power cut would."""
        self.popen.kill()
        self.popen.wait(60)

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self.popen.send_signal(signal.SIGTERM)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        self.ports.close()

    def hashes(self, use: str = "verify") -> int:
        """How many argon2id it has computed for this use."""
        text = httpx.get(f"{self.admin_url}/metrics").raise_for_status().text
        found = re.search(rf'^otp_hashes_total{{use="{use}"}} ([0-9.]+)', text, re.MULTILINE)
        return int(float(found[1])) if found else 0


def serve(environment: dict[str, str], *, stdout: int | None = subprocess.DEVNULL) -> Process:
    """Start a serving process on a free port; it queues calls until it answers. Without `stdout` that is closed."""
    ports = ExitStack()
    listening = ports.enter_context(listen(0, what="the service", variable="PORT"))
    admin = ports.enter_context(valkey.free_port())
    process = start(
        ["serve", "--fd", str(listening.fileno())],
        {**environment, "OTP_ADMIN_PORT": str(admin)},
        pass_fds=[listening.fileno()],
        stdout=stdout,
    )
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    return Process(process, url, f"http://127.0.0.1:{admin}", ports)


def work(environment: dict[str, str]) -> Process:
    """Start a delivery worker."""
    return Process(start(["worker"], {**environment, "OTP_ADMIN_PORT": "0"}))


def start(
    arguments: Sequence[str],
    environment: dict[str, str],
    pass_fds: Sequence[int] = (),
    stdout: int | None = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTP_", "COV_"))
    }
    arm = valkey.die_with_parent()

    def before() -> None:
        if arm is not None:
            arm()
        if stdout is None:
            os.close(1)

    return subprocess.Popen(
        [sys.executable, "-m", "otp_service", *arguments],
        env={**inherited, **environment},
        pass_fds=pass_fds,
        stdout=stdout,
        preexec_fn=before,
    )


async def credential(environment: dict[str, str], name: str = "shop") -> dict[str, str]:
    """Create a caller with all scopes; return its Authorization header."""
    settings = load(environment)
    connection = open_redis(settings)
    try:
        now = int(time.time())
        text, stored = credentials.issue(settings.ring(), name, now=now, expires_in=None)
        await Callers(connection).replace(CallerRecord(name, frozenset(SCOPES), now, (stored,)))
        return {"Authorization": f"Bearer {text}"}
    finally:
        await connection.aclose()


# --- What came of a race ---------------------------------------------------------------------------------------------


def count(answers: Sequence[httpx.Response]) -> dict[str, int]:
    """How often each outcome came: `200`, or the refusal's code."""
    found: dict[str, int] = {}
    for answer in answers:
        word = str(answer.status_code) if answer.status_code < 400 else answer.json()["code"]
        found[word] = found.get(word, 0) + 1
    return found


def generations(messages: Sequence[dict[str, Any]]) -> list[str]:
    """The codes in messages, newest first."""
    return [code_in(message["message"]) for message in messages]


def age_jobs(url: str) -> int:
    """Make every job that a worker has taken look abandoned for an hour; return how many there are."""
    found = 0
    with redis.Redis.from_url(url, decode_responses=True) as client:
        for queue in keys.queues():
            if not client.exists(queue):
                continue
            for entry in client.xpending_range(queue, GROUP, "-", "+", 100):
                found += 1
                client.xclaim(
                    queue, GROUP, entry["consumer"], 0, [entry["message_id"]],
                    idle=3_600_000, justid=True,
                )  # fmt: skip
    return found


# --- A door that can be held shut ------------------------------------------------------------------------------------


def script(name: str) -> Callable[[Command], bool]:
    """Whether a command runs the script of that name."""
    text = source(name).encode()
    sha = sha1(text, usedforsecurity=False).hexdigest().encode()

    def matches(command: Command) -> bool:
        return command[0].upper() in (b"EVALSHA", b"EVAL") and command[1] in (sha, text)

    return matches


def command(name: str) -> Callable[[Command], bool]:
    """Whether it is the command of that name."""
    return lambda found: found[0].upper() == name.encode()


@dataclass
class Rule:
    """
    What happens to commands that match.

    Attributes:
        action: `hold_before`: stays here until released; `hold_after`: Redis runs it, the answer stays here;
            `run_late`: stays here until released, then Redis runs it and the answer is kept in `answer`;
            `reset_after`: Redis runs it, half of the answer goes on, then the connection is reset;
            `reply`: Redis never sees it, `payload` is the answer; `watch`: passes, and is counted.
        skip: So many matching commands pass first.
        times: How many are stopped; 0 for all.
    """

    matches: Callable[[Command], bool]
    action: Literal["hold_before", "hold_after", "run_late", "reset_after", "reply", "watch"]
    payload: bytes = b""
    skip: int = 0
    times: int = 1
    seen: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    answer: bytes = b""

    def takes(self, command: Command) -> bool:
        if not self.matches(command):
            return False
        self.seen += 1
        stopped = self.seen - self.skip
        return stopped > 0 and (self.times == 0 or stopped <= self.times)

    async def is_reached(self) -> None:
        async with asyncio.timeout(60):
            await self.reached.wait()

    async def is_answered(self) -> bytes:
        """Release it, and return what Redis answered to the late command."""
        self.released.set()
        async with asyncio.timeout(60):
            await self.answered.wait()
        return self.answer


class Gate:
    """A TCP proxy before Redis; `rules` decide over each command in turn, the first that takes it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._links: set[asyncio.Task[None]] = set()
        self.rules: list[Rule] = []

    def add(self, matches: Callable[[Command], bool], action: Any, **options: Any) -> Rule:
        rule = Rule(matches, action, **options)
        self.rules.append(rule)
        return rule

    def release(self) -> None:
        """Let everything pass from now on."""
        for rule in self.rules:
            rule.released.set()
        self.rules.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        with (
            contextlib.closing(writer),
            contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError),
        ):
            upstream_reader, upstream = await asyncio.open_connection(*self._target)
            link = _Link(reader, writer, upstream_reader, upstream)
            try:
                await link.run(self.rules)
            finally:
                link.close()

    async def drop(self) -> None:
        """Lose what is held, with every connection; what comes later passes."""
        self.rules.clear()
        for task in list(self._links):
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)


class _Link:
    """One connection through the gate."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._upstream_reader = upstream_reader
        self._upstream = upstream
        self._answers = asyncio.create_task(_pump(upstream_reader, writer))

    def close(self) -> None:
        self._answers.cancel()
        self._upstream.close()
        self._writer.close()

    async def run(self, rules: list[Rule]) -> None:
        while True:
            raw, found = await read_command(self._reader)
            rule = next((rule for rule in rules if rule.takes(found)), None)
            if rule is not None:
                if rule.action in ("hold_after", "run_late", "reset_after"):
                    await self._after(rule, raw)
                    return
                rule.reached.set()
                if rule.action == "hold_before":
                    await rule.released.wait()
                if rule.action == "reply":
                    self._writer.write(rule.payload)
                    continue
            self._upstream.write(raw)
            await self._upstream.drain()

    async def _after(self, rule: Rule, raw: bytes) -> None:
        """The connection ends with this command: what ran, ran, and its answer stays here."""
        self._answers.cancel()
        await asyncio.gather(self._answers, return_exceptions=True)
        if rule.action == "run_late":
            rule.reached.set()
            await rule.released.wait()
        self._upstream.write(raw)
        answer = await self._upstream_reader.read(65_536)
        rule.reached.set()
        if rule.action == "run_late":
            rule.answer = answer
            rule.answered.set()
            return
        if rule.action == "hold_after":
            await rule.released.wait()
            return
        self._writer.write(answer[: max(1, len(answer) // 2)])
        await self._writer.drain()
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


async def read_command(reader: asyncio.StreamReader) -> tuple[bytes, Command]:
    """Read one command as clients send them: an array of bulk strings."""
    raw = await reader.readuntil(b"\r\n")
    assert raw[:1] == b"*", raw
    found: Command = []
    for _ in range(int(raw[1:])):
        length = await reader.readuntil(b"\r\n")
        body = await reader.readexactly(int(length[1:]) + 2)
        raw += length + body
        found.append(body[:-2])
    return raw, found


@asynccontextmanager
async def gate_before(url: str) -> AsyncIterator[tuple[Gate, str]]:
    """Stand a gate before the Redis of that URL; gives it and the URL to use instead."""
    parts = urlsplit(url)
    gate = Gate((parts.hostname or "127.0.0.1", parts.port or 6379))
    async with _listening(gate.serve) as port:
        try:
            yield gate, url.replace(f":{parts.port}/", f":{port}/")
        finally:
            await gate.drop()


@dataclass
class SiteGate:
    """A TCP proxy before the site that holds what is posted."""

    url: str = ""
    arrived: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def gate_before_site(sandbox: Sandbox) -> AsyncIterator[SiteGate]:
    """Stand a gate before the sandbox; shut until `open` is set."""
    target = urlsplit(sandbox.url)
    gate = SiteGate()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        task.add_done_callback(running.discard)
        upstream = None
        with contextlib.suppress(OSError, asyncio.CancelledError):
            first = await reader.read(65_536)
            if first:
                gate.arrived += 1
                await gate.open.wait()
                upstream_reader, upstream = await asyncio.open_connection(
                    target.hostname, target.port
                )
                upstream.write(first)
                back = asyncio.create_task(_pump(upstream_reader, writer))
                await _pump(reader, upstream)
                back.cancel()
        writer.close()
        if upstream is not None:
            upstream.close()

    async with _listening(serve) as port:
        gate.url = f"http://127.0.0.1:{port}"
        try:
            yield gate
        finally:
            for task in list(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@dataclass(frozen=True)
class Mutant:
    """A script with one defence taken out."""

    what: str
    script: str
    line: str
    instead: str

    def put_into(self, scripts: Scripts) -> None:
        text = source(self.script)
        if (
            text.count(self.line) != 1
        ):  # no AssertionError: a control would take it for the expected failure
            raise ValueError(f"{self.script} does not have exactly once: {self.line}")
        text = text.replace(self.line, self.instead)
        scripts._sources[self.script] = text
        scripts._shas[self.script] = sha1(text.encode(), usedforsecurity=False).hexdigest()
