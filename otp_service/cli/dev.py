"""
`otp-service dev`: everything on loopback by one command: a real Valkey, the WSMS sandbox, the service.

All data lies in one directory and outlives a restart. The children are in sessions of their own, so Ctrl-C reaches only
this process, which ends them in order; should it be killed, the kernel ends them (Linux).
"""

import asyncio
import contextlib
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from otp_service.cli import valkey
from otp_service.cli.configured import refuse
from otp_service.cli.ports import PortTaken, listen
from otp_service.core import credentials, keyring
from otp_service.core.credentials import SCOPES
from otp_service.sandbox.users import generate_application_password

CALLER = "dev"


def dev(
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the service; 0 picks a free one.")
    ] = 8000,
    sandbox_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the WSMS sandbox; 0 picks a free one.")
    ] = 8025,
    data_dir: Annotated[Path, typer.Option(help="Data directory; kept between runs.")] = Path(
        ".dev"
    ),
    credential_file: Annotated[
        Path | None, typer.Option(help="File to write the dev caller's credential to.")
    ] = None,
) -> None:
    """Start the service with its own Valkey and WSMS sandbox, for development. No SMS is sent."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a script that runs us with & has SIGINT ignored
        signal.signal(number, _leave)
    data = data_dir.resolve()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        try:
            service = stack.enter_context(listen(port, what="the service", variable="PORT"))
            sandbox = stack.enter_context(
                listen(sandbox_port, what="the sandbox", variable="SANDBOX_PORT")
            )
            redis = valkey.start(
                data / "valkey", password=_kept(data / "redis-password", secrets.token_urlsafe(24))
            )
        except (PortTaken, valkey.ValkeyMissing, TimeoutError) as error:
            refuse([str(error)])
        stack.callback(redis.stop)
        service_url = f"http://127.0.0.1:{service.getsockname()[1]}"
        sandbox_url = f"http://127.0.0.1:{sandbox.getsockname()[1]}"
        admin_port = stack.enter_context(valkey.free_port())
        environment = _environment(data, redis.url, sandbox_url, admin_port)
        _write(data / "environment", _settings(environment))
        admin_url = f"http://127.0.0.1:{environment['OTP_ADMIN_PORT']}/metrics"

        credential = asyncio.run(_credential(data, environment))
        for path in (data / "credential", credential_file):
            if path is not None:
                _write(path, credential)
        children = [
            stack.enter_context(_child(command, listening.fileno(), environment, data))
            for command, listening in (
                (["sandbox", _double_opt_in(environment)], sandbox),
                (["serve"], service),
            )
        ]
        _wait_until_ready(f"{service_url}/readyz", children, data)
        endpoints = {
            "service_url": service_url,
            "sandbox_url": sandbox_url,
            "redis_url": redis.url,
            "metrics_url": admin_url,
        }
        _write(data / "endpoints.json", json.dumps(endpoints, indent=2) + "\n")
        stack.callback((data / "endpoints.json").unlink, missing_ok=True)
        typer.echo(_welcome(endpoints, credential, data))
        with contextlib.suppress(KeyboardInterrupt):
            _watch([*children, redis.process])
        typer.echo("\nstopping: what is in flight finishes first")


def _environment(data: Path, redis_url: str, sandbox_url: str, admin_port: int) -> dict[str, str]:
    """Return the children's environment: the caller's own OTP_ settings win, but for what ties the parts together."""
    now = datetime.now(UTC).isoformat()
    ring = _kept(data / "keyring.json", keyring.generate(created_at=now))
    with contextlib.suppress(
        keyring.KeyringError
    ):  # the settings say in words what is wrong with it
        # One of an earlier version may lack a kind.
        _write(data / "keyring.json", keyring.completed(ring, created_at=now))
    password = _kept(data / "sandbox-password", generate_application_password())
    defaults = {
        "OTP_ENVIRONMENT": "development",
        "OTP_BRAND": "Acme",
        "OTP_ADMIN_PORT": str(admin_port),
    }
    tied = {
        "OTP_REDIS_URL": redis_url,
        "OTP_KEYRING_FILE": str(data / "keyring.json"),
        "OTP_WSMS_URL": sandbox_url,
        "OTP_WSMS_USERNAME": "otp",
        "OTP_WSMS_APPLICATION_PASSWORD": password,
        "OTP_SANDBOX_APPLICATION_PASSWORD": password,
    }
    bases = {name.removesuffix("_FILE") for name in tied}
    own = {n: value for n, value in os.environ.items() if n.removesuffix("_FILE") not in bases}
    return {**defaults, **own, **tied}


def _double_opt_in(environment: Mapping[str, str]) -> str:
    """Return the sandbox settings for the opt-in mode: the site sends the code, or the service does."""
    sites = environment.get("OTP_OPTIN_MODE") == "wsms"
    return "--double-opt-in" if sites else "--no-double-opt-in"


def _settings(environment: Mapping[str, str]) -> str:
    """Return the service's settings for a shell to read, so that operators' commands find this one."""
    names = sorted(n for n in environment if n.startswith("OTP_") and "SANDBOX" not in n)
    return "".join(f"{name}={shlex.quote(environment[name])}\n" for name in names)


async def _credential(data: Path, environment: Mapping[str, str]) -> str:
    """Return the dev caller's credential: the kept one while its caller exists, else a new one."""
    from otp_service.connections import open_redis
    from otp_service.settings.environment import SettingsError, load
    from otp_service.store.callers import CallerRecord, Callers

    try:
        current = load(environment)
    except SettingsError as error:
        refuse(error.lines)
    connection = open_redis(current, name="otp_service_dev")
    try:
        callers, kept = Callers(connection), data / "credential"
        record = await callers.find(CALLER)
        if record is not None and record.scopes == frozenset(SCOPES) and kept.exists():
            return kept.read_text().strip()
        now = int(time.time())
        text, stored = credentials.issue(current.ring(), CALLER, now=now, expires_in=None)
        await callers.replace(CallerRecord(CALLER, frozenset(SCOPES), now, (stored,)))
        return text
    finally:
        await connection.aclose()


@contextmanager
def _child(
    command: Sequence[str], fd: int, environment: Mapping[str, str], data: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with (data / f"{command[0]}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "otp_service", *command, "--fd", str(fd)],
            env=dict(environment), pass_fds=[fd], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, preexec_fn=valkey.die_with_parent(),
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, children: Sequence[subprocess.Popen[bytes]], data: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for process in children:
            if process.poll() is not None:
                refuse(
                    [
                        f"{_name(process)} ended at once; the last it said:",
                        *_last_lines(process, data),
                    ]
                )
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    refuse([f"the service was not ready within 30 s; see the logs in {data}"])


def _watch(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Return when one of them has ended."""
    while True:
        for process in processes:
            if process.poll() is not None:
                typer.echo(
                    f"{_name(process)} ended with {process.returncode}; the rest follows", err=True
                )
                return
        time.sleep(0.2)


def _name(process: subprocess.Popen[bytes]) -> str:
    arguments = [str(part) for part in process.args] if isinstance(process.args, list) else []
    return next((a for a in arguments if a in ("serve", "sandbox")), "valkey-server")


def _last_lines(process: subprocess.Popen[bytes], data: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return (data / f"{_name(process)}.log").read_text(errors="replace").splitlines()[-8:]
    return []


def _kept(path: Path, fresh: str) -> str:
    """Return what the file holds, or write there what is fresh and return that."""
    if path.exists():
        return path.read_text("utf-8").strip()
    _write(path, fresh)
    return fresh.strip()


def _write(path: Path, text: str) -> None:
    """Write a file with mode 0600 atomically: it is never readable by others and never half written."""
    handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
    with open(handle, "w", encoding="utf-8") as file:  # mkstemp made it with mode 0600
        file.write(text)
    Path(name).replace(path)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _welcome(endpoints: Mapping[str, str], credential: str, data: Path) -> str:
    """Return what to try: commands that work as printed in any directory, and lines of 80 columns but for paths."""
    service, sandbox = endpoints["service_url"], endpoints["sandbox_url"]
    kept, environment = (shlex.quote(str(data / name)) for name in ("credential", "environment"))
    return f"""
  the service   {service}   its contract: /openapi.json
  the phone     {sandbox}   of a stand-in site: no SMS leaves it
  metrics       {endpoints["metrics_url"]}
  Valkey        {endpoints["redis_url"].rpartition("@")[2]}
  data, logs    {data}
  credential    {credential}

  To copy into another terminal: request a code, read the phone, verify.

CREDENTIAL=$(cat {kept})

curl -s {service}/otp/request \\
  -H "Authorization: Bearer $CREDENTIAL" -H 'Content-Type: application/json' \\
  -d '{{"to": "+14155550123", "purpose": "login"}}'

curl -s '{sandbox}/sandbox/messages?to=%2B14155550123'

curl -s {service}/otp/verify \\
  -H "Authorization: Bearer $CREDENTIAL" -H 'Content-Type: application/json' \\
  -d '{{"challenge_id": "THE FIRST ONE SAID", "code": "THE PHONE SAYS",
       "purpose": "login"}}'

  Operators' commands find the service by its settings:

set -a; . {environment}; set +a
{_command()} timeline dev --number +14155550123

  Ctrl-C stops everything and keeps the data.
"""


def _command() -> str:
    """Return how a shell calls this otp-service: it need not be on the path."""
    beside = Path(sys.executable).with_name("otp-service")
    if beside.exists():
        return shlex.quote(str(beside))
    return f"{shlex.quote(sys.executable)} -m otp_service"
