"""`otp-service audit`: who did what, for people, for a SIEM, and checked."""

import asyncio
import json
import os
import pwd
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from otp_service import settings as configuration
from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.plain import console
from otp_service.core.audit import Act, Chain, Detail, Entry
from otp_service.core.challenge import SubjectAddress
from otp_service.core.events import rfc3339
from otp_service.errors import Unavailable
from otp_service.settings import Settings, SettingsError
from otp_service.store.audit import Audit

app = typer.Typer(help="Who did what: a log that can only be added to.")

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_AGO = re.compile(r"([0-9]{1,5})([mhd])", re.ASCII)


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="A time such as 2026-11-23T12:00Z, or how long ago: 7d.")
    ] = None,
    act: Annotated[list[Act] | None, typer.Option(help="Only these.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines, for a SIEM.")] = False,
) -> None:
    """List the audit log, the oldest entry first. People are in it as fingerprints."""
    if context.invoked_subcommand is not None:
        return
    table, start = Table(), _start(since)
    for column in ("at", "act", "by", "about", "reason"):
        table.add_column(column, overflow="fold")

    def show(entry: Entry) -> None:
        if act and entry.act not in act:
            return
        if as_json:
            typer.echo(json.dumps({"at": rfc3339(entry.at), **asdict(entry)}))
            return
        details = [f"{name} {value}" for name, value in entry.details.items()]
        about = ", ".join(part for part in (entry.caller, entry.subject, *details) if part)
        at = datetime.fromtimestamp(entry.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        table.add_row(at, entry.act, entry.by, about, entry.reason)

    async def work(log: Audit) -> None:
        async for entry in log.entries(since=start):
            show(entry)

    _run(load_settings(), work)
    if not as_json:
        console().print(table)


@app.command()
def verify() -> None:
    """Check that no entry was changed, removed or forged; exit 1 and say which, if one was."""
    settings = load_settings()

    async def work(log: Audit) -> tuple[Chain, list[str]]:
        since = await log.now() - settings.audit_days * 86_400_000
        chain, found = Chain(settings.ring(), since=since), []
        async for entry in log.entries():
            found += chain.add(entry)
        return chain, found + chain.end(await log.newest())

    chain, found = _run(settings, work)
    if found:
        refuse(found)
    if chain.first is None or chain.last is None:
        typer.echo("the log is empty")
        return
    typer.echo(
        f"{chain.count} entries, numbers {chain.first.number} to {chain.last.number}, are as they were written; "
        f"the newest has mac {chain.last.mac}"
    )


def record(
    settings: Settings,
    act: Act,
    *,
    caller: str = "",
    subject: SubjectAddress | None = None,
    reason: str = "",
    details: Mapping[Detail, str | int] | None = None,
) -> None:
    """Write what the operator is about to do; exit 1 when that can't be done. See `Audit.record`."""
    _run(
        settings,
        lambda log: log.record(
            act, by=operator(), caller=caller, subject=subject, reason=reason, details=details
        ),
    )


def record_where_configured(act: Act, details: Mapping[Detail, str | int]) -> None:
    """As `record`, for commands that work without Redis too: then it is said that nothing was written."""
    try:
        settings = configuration.load(os.environ)
    except SettingsError:
        typer.echo(
            "not in the audit log: this environment lacks the service's settings, or one is wrong",
            err=True,
        )
        return
    record(settings, act, details=details)


def operator() -> str:
    """Return who runs this command: the operating system's word, not the environment's."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid-{os.getuid()}"
    return f"operator:{name}@{socket.gethostname()}"


def _start(since: str | None) -> int:
    if since is None:
        return 0
    if ago := _AGO.fullmatch(since):
        return int((time.time() - int(ago[1]) * _UNITS[ago[2]]) * 1000)
    try:
        at = datetime.fromisoformat(since)
    except ValueError:
        refuse(["--since: a time such as 2026-11-23T12:00Z, or 7d, 12h or 30m"])
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _run(settings: Settings, work: Callable[[Audit], Any]) -> Any:  # noqa: ANN401
    from otp_service.app import open_redis
    from otp_service.store.scripts import Scripts

    async def run() -> Any:  # noqa: ANN401
        connection = open_redis(settings, name="otp_service_cli")
        try:
            scripts = Scripts(connection, durability=settings.durability)
            ring = settings.ring()
            return await work(Audit(scripts, lambda: ring, days=settings.audit_days))
        finally:
            await connection.aclose()

    try:
        return asyncio.run(run())
    except Unavailable as error:
        refuse([f"OTP_REDIS_URL: {error.detail}"])
    except ValueError as error:
        refuse([str(error)])
