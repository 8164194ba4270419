"""
A real otp_service for the tests of its callers: enable it by `-p otp_service.pytest_plugin`.

It starts `otp-service dev` once a session: the service, a Valkey, and a stand-in for the site that sends, all on
loopback; no SMS leaves. Needs the extra `dev`.

Fixtures, both of the session:
    otp_settings   settings for the service, by name; override it in your conftest
    otp_service    what runs: `url`, `credential`, `sandbox_url`, `client()`, `async_client()`, `phone()`
"""

import ctypes
import itertools
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from otp_service.client import AsyncClient, Client

START_SECONDS = 60
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: all is on loopback, in clear
_LINE = itertools.count(200)  # of the phones that `phone()` hands out

# Limits are wide: tests of other things shouldn't trip over them.
SETTINGS = {
    "OTP_COOLDOWN": "1",
    "OTP_REDIS_TIMEOUT": "10",  # on a busy machine
    "OTP_LIMIT_RECIPIENT": "1000/1d",
    "OTP_LIMIT_RECIPIENT_TOTAL": "1000/1d",
    "OTP_LIMIT_CLIENT_IP": "10000/10m",
    "OTP_LIMIT_NUMBER_RANGE": "10000/10m",
}


@dataclass(frozen=True, slots=True)
class Phone:
    """
    A phone that gets the messages to one number.

    Attributes:
        to: Its number, E.164.
    """

    to: str
    sandbox: httpx.Client = field(repr=False)

    def messages(self) -> list[str]:
        """Return the texts it got, newest first."""
        answer = self.sandbox.get("/sandbox/messages", params={"to": self.to})
        return [str(found["message"]) for found in answer.raise_for_status().json()["messages"]]

    def message(self, *, within: float = 10.0) -> str:
        """
        Return the newest text; after a call with `wait=`, the one of that call.

        Args:
            within: Seconds to wait for a first one.

        Raises:
            AssertionError: none came.
        """
        end = time.monotonic() + within
        while not (texts := self.messages()):
            assert time.monotonic() < end, f"no message came to {self.to} within {within} s"  # noqa: S101
            time.sleep(0.02)
        return texts[0]

    def code(self, *, within: float = 10.0) -> str:
        """
        Return the code in the newest text.

        Raises:
            AssertionError: none came, or not one code is in it.
        """
        text = self.message(within=within)
        found: set[str] = set(re.findall(r"(?<![\d.,])\d{4,10}(?![\d.,]*\d)", text))
        assert len(found) == 1, f"not one code in: {text}"  # noqa: S101
        return found.pop()

    def wrong_code(self) -> str:
        """Return a code as long as the newest one, and another."""
        code = self.code()
        return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """
    What runs.

    Attributes:
        url: Of the service.
        credential: Of a caller with every scope.
        sandbox_url: Of the stand-in site; in a browser, the phones.
        sandbox: Speaks to it: `sandbox.put("/sandbox/faults", json=…)` makes sending fail.
    """

    url: str
    credential: str = field(repr=False)
    sandbox_url: str
    sandbox: httpx.Client = field(repr=False)

    def client(self, *, timeout: float = 10.0, retries: int = 2) -> Client:
        """Return a client; use it with `with`."""
        direct = httpx.HTTPTransport(verify=_NO_TLS)  # past proxies of the environment
        return Client(self.url, self.credential, timeout=timeout, transport=direct, retries=retries)

    def async_client(self, *, timeout: float = 10.0, retries: int = 2) -> AsyncClient:
        """Return a client; use it with `async with`."""
        direct = httpx.AsyncHTTPTransport(verify=_NO_TLS)  # past proxies of the environment
        return AsyncClient(
            self.url, self.credential, timeout=timeout, transport=direct, retries=retries
        )

    def phone(self, to: str | None = None) -> Phone:
        """Return the phone of a number, by default of an unused one."""
        return Phone(to or f"+1415555{next(_LINE):04d}", self.sandbox)


@pytest.fixture(scope="session")
def otp_settings() -> dict[str, str]:
    """Return settings for the service, `OTP_…` by name: those in `SETTINGS`. Override it to test limits."""
    return dict(SETTINGS)


@pytest.fixture(scope="session")
def otp_service(
    tmp_path_factory: pytest.TempPathFactory, otp_settings: Mapping[str, str]
) -> Iterator[RunningService]:
    """Yield a running service; it starts with the first test that asks for it, and ends with the session."""
    data = tmp_path_factory.mktemp("otp_service")
    # Nothing of the environment's own settings: the tests of a caller run alike everywhere.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTP_")}
    command = [sys.executable, "-m", "otp_service", "dev", "--port", "0", "--sandbox-port", "0"]
    command += ["--data-dir", str(data), "--credential-file", str(data / "handed-out")]
    with (data / "output").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            env={**inherited, **otp_settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches only the tests, which then end it
            preexec_fn=_end_with_us(),
        )
    try:
        endpoints = _endpoints(process, data)
        with httpx.Client(
            base_url=endpoints["sandbox_url"], trust_env=False, timeout=60
        ) as sandbox:
            yield RunningService(
                url=endpoints["service_url"],
                credential=(data / "handed-out").read_text("utf-8").strip(),
                sandbox_url=endpoints["sandbox_url"],
                sandbox=sandbox,
            )
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _endpoints(process: subprocess.Popen[bytes], data: Path) -> dict[str, str]:
    """Return what runs where, once all of it answers."""
    end = time.monotonic() + START_SECONDS
    while not (data / "endpoints.json").exists():
        if process.poll() is not None or time.monotonic() > end:
            told = (data / "output").read_text("utf-8", errors="replace").strip()
            pytest.fail(f"otp-service dev did not start:\n{told}", pytrace=False)
        time.sleep(0.02)
    while True:
        try:
            found = json.loads((data / "endpoints.json").read_text("utf-8"))
        except ValueError:  # half written
            continue
        return {str(name): str(url) for name, url in found.items()}


def _end_with_us() -> Callable[[], None] | None:
    """Return what lets the child end even when the tests are killed; Linux only."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    pr_set_pdeathsig = 1
    return lambda: libc.prctl(pr_set_pdeathsig, signal.SIGTERM)
