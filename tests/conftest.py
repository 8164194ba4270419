"""
The real parts that every test runs on: a Valkey server, the WSMS sandbox over HTTP, and the service itself.

Time stands still and moves by `service.advance(seconds)`, which shifts the clock inside the scripts: by it a test takes
as long on a slow machine as on a fast one. After each test the fixture `valkey_url` fails on any key that has no end
and is not named as permanent. Every answer of `service.http` is checked against openapi.json.
"""

import os
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as fuzzing

from otp_service.app import create_app
from otp_service.cli import valkey
from otp_service.cli.ports import listen
from otp_service.connections import open_redis
from otp_service.container import Container
from otp_service.core import credentials, keyring
from otp_service.core.caller_policy import CallerPolicy
from otp_service.core.credentials import SCOPES
from otp_service.services import authentication
from otp_service.settings.environment import load
from otp_service.settings.table import Settings
from otp_service.store import keys
from otp_service.store.callers import CallerRecord, Callers
from otp_service.web import client_certificate, edge
from tests.contract import check_answer

PASSWORD = "abcd EFGH 2345 ijkl MNOP 6789"  # the sandbox's application password
TO = "+14155550123"
# The same examples everywhere, however long they take.
fuzzing.register_profile(
    "same",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
fuzzing.load_profile("same")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading authorities takes longer than most tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds", type=int, default=20, help="repetitions of each race; `make test-long`: 200"
    )


@pytest.fixture
def rounds(pytestconfig: pytest.Config) -> int:
    """How often a race is run."""
    return int(pytestconfig.getoption("--rounds"))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def every_log_line() -> None:
    """Lines that the tests before have used up are there again: they are limited by process and minute."""
    for lines in (edge._OF_STRANGERS, client_certificate._REFUSED, authentication._REFUSED):
        lines._began = -lines._seconds


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[valkey.Valkey]:
    """One server for the whole session."""
    server = valkey.start(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture
def valkey_url(valkey_server: valkey.Valkey) -> Iterator[str]:
    """Its URL, with no data; afterwards no key may be left that has no end."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
        yield valkey_server.url
        endless = [
            key.decode()
            for key in client.scan_iter(count=1000)
            if client.ttl(key) == -1 and not any(p.fullmatch(key.decode()) for p in keys.PERMANENT)
        ]
    assert endless == [], "keys without an end"


@dataclass(frozen=True)
class Sandbox:
    """The stand-in site, as a test works with it."""

    url: str

    def messages(self, to: str = TO) -> list[dict[str, Any]]:
        """What the phone of that number got, newest first."""
        return list(self.ask("GET", "messages", params={"to": to}).json()["messages"])

    def code(self, to: str = TO) -> str:
        """The code in the newest message."""
        return code_in(self.messages(to)[0]["message"])

    def state(self) -> dict[str, Any]:
        """What the site keeps: outbox, subscribers, groups."""
        return dict(self.ask("GET", "state").json())

    def group(self, name: str) -> int:
        """Make a group of subscribers; return its id."""
        return int(self.ask("POST", "groups", json={"name": name}).json()["id"])

    def fail(self, **fault: Any) -> None:
        """Set a fault; see `otp_service.sandbox.faults`."""
        self.ask("PUT", "faults", json=fault)

    def settings(self, **settings: Any) -> None:
        """Change the site's settings."""
        self.ask("PUT", "settings", json=settings)

    def reset(self) -> None:
        self.ask("POST", "reset")

    def ask(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """Its own API, which a busy machine may keep waiting."""
        url = f"{self.url}/sandbox/{path}"
        return httpx.request(
            method, url, timeout=60, verify=NO_TLS, trust_env=False, **sent
        ).raise_for_status()


def code_in(message: str) -> str:
    """The one run of four digits and more."""
    found = set(re.findall(r"[0-9]{4,10}", message))
    assert len(found) == 1, message
    return found.pop()


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[str]:
    listening = listen(0, what="the sandbox", variable="SANDBOX_PORT")
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    process = subprocess.Popen(
        [sys.executable, "-m", "otp_service", "sandbox", "--fd", str(listening.fileno())],
        env={**os.environ, "OTP_SANDBOX_APPLICATION_PASSWORD": PASSWORD},
        pass_fds=[listening.fileno()],
        stdout=subprocess.DEVNULL,
        preexec_fn=valkey.die_with_parent(),
    )
    try:
        with urllib.request.urlopen(f"{url}/sandbox/faults", timeout=300):
            pass  # the socket queues us until the process answers
        yield url
    finally:
        process.terminate()
        process.wait(60)
        listening.close()


@pytest.fixture
def sandbox(sandbox_process: str) -> Sandbox:
    """The site, as new."""
    found = Sandbox(sandbox_process)
    found.reset()
    return found


@pytest.fixture(scope="session")
def ring() -> str:
    return keyring.generate(created_at="2026-11-23T00:00:00Z")


def base_environment(valkey_url: str, site_url: str, ring: str) -> dict[str, str]:
    """Settings that start; limits that tests on other things would trip over are wide."""
    return {
        "OTP_ENVIRONMENT": "development",
        "OTP_REDIS_URL": valkey_url,
        "OTP_KEYRING": ring,
        "OTP_WSMS_URL": site_url,
        "OTP_WSMS_USERNAME": "otp",
        "OTP_WSMS_APPLICATION_PASSWORD": PASSWORD,
        # Long, for a busy machine; tests on late answers set their own.
        "OTP_WSMS_DEADLINE": "30",
        "OTP_REDIS_TIMEOUT": "10",
    }


@pytest.fixture
def environment(valkey_url: str, sandbox: Sandbox, ring: str) -> dict[str, str]:
    return base_environment(valkey_url, sandbox.url, ring)


class Service:
    """The service in this process, spoken to over ASGI."""

    def __init__(
        self, container: Container, http: httpx.AsyncClient, settings: Settings, sandbox: Sandbox
    ) -> None:
        self.container = container
        self.http = http
        self.settings = settings
        self.sandbox = sandbox

    def advance(self, seconds: float) -> None:
        """Let time pass for everything that Redis decides."""
        self.container.scripts.offset_ms += int(seconds * 1000)

    async def caller(self, name: str, *scopes: str, **policy: str) -> dict[str, str]:
        """Create a caller, with rules of its own as texts; return its Authorization header."""
        connection = open_redis(self.settings)
        try:
            now = int(time.time())
            text, stored = credentials.issue(self.settings.ring(), name, now=now, expires_in=None)
            own = CallerPolicy.read(policy)
            record = CallerRecord(name, frozenset(scopes or SCOPES), now, (stored,), own)
            await Callers(connection).replace(record)
            return {"Authorization": f"Bearer {text}"}
        finally:
            await connection.aclose()

    async def post(
        self, path: str, *, headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        return await self.http.post(path, json=body, headers=headers)

    async def now(self) -> int:
        """The clock of the scripts in seconds."""
        scripts = self.container.scripts
        if scripts.frozen_at_ms is None:
            seconds, micros = await scripts.connection.client.time()
            return int(seconds * 1000 + micros // 1000 + scripts.offset_ms) // 1000
        return (scripts.frozen_at_ms + scripts.offset_ms) // 1000

    async def request(self, *, wait: int = 30, **body: Any) -> dict[str, Any]:
        """Request a code and wait until it has gone out; return the challenge."""
        sent = {"to": TO, "purpose": "login", **body}
        answer = await self.post("/otp/request", headers={"Prefer": f"wait={wait}"}, **sent)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def verify(self, challenge: dict[str, Any], code: str, **body: Any) -> httpx.Response:
        sent = {"challenge_id": challenge["challenge_id"], "code": code, "purpose": "login", **body}
        return await self.post("/otp/verify", **sent)

    async def look(self, challenge: dict[str, Any]) -> dict[str, Any]:
        answer = await self.http.get(f"/otp/{challenge['challenge_id']}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def code(self, to: str = TO) -> str:
        return self.sandbox.code(to)

    def wrong_code(self, to: str = TO) -> str:
        """As long as the newest code, and another."""
        code = self.code(to)
        return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


@asynccontextmanager
async def running_service(
    environment: dict[str, str], sandbox: Sandbox, *, frozen_at_ms: int | None = None
) -> AsyncIterator[Service]:
    """The application with its lifespan, and a client with all scopes."""
    settings = load(environment)
    app = create_app(settings, frozen_at_ms=frozen_at_ms)
    async with app.router.lifespan_context(app) as state:

        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(app=asgi)
        hooks = {"response": [check_answer]}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://otp.test", event_hooks=hooks, timeout=120
        ) as http:
            service = Service(app.state.container, http, settings, sandbox)
            http.headers.update(await service.caller("shop"))
            yield service


Starter = Callable[..., Awaitable[Service]]


@pytest.fixture
def frozen_at_ms() -> int | None:
    """Where the clock of the scripts stands, Unix ms; overridden by None where other processes share the Redis."""
    return int(time.time() * 1000)


@pytest.fixture
async def start_service(
    environment: dict[str, str], sandbox: Sandbox, frozen_at_ms: int | None
) -> AsyncIterator[Starter]:
    """Start a service with settings of its own: `await start_service(OTP_MAX_ATTEMPTS="3")`."""
    async with AsyncExitStack() as stack:

        async def start(**changes: str) -> Service:
            return await stack.enter_async_context(
                running_service({**environment, **changes}, sandbox, frozen_at_ms=frozen_at_ms)
            )

        yield start


@pytest.fixture
async def service(start_service: Starter) -> Service:
    """The service with default settings."""
    return await start_service()


@pytest.fixture
def root() -> Path:
    """The top of the project."""
    return Path(__file__).parent.parent


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count the recordings that the sandbox was judged by, wherever they ran, and list where it differs on purpose."""
    told = [
        p for report in terminalreporter.stats.get("passed", []) for p in report.user_properties
    ]
    exchanges = [value for name, value in told if name == "replayed"]
    if exchanges:
        terminalreporter.write_line(
            f"sandbox: {sum(exchanges)} exchanges of {len(exchanges)} recordings replayed; deliberate differences:"
        )
    for name, value in told:
        if name == "differs":
            terminalreporter.write_line(f"  {value}")
