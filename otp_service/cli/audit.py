"""`otp-service audit`: who did what, for people, for a SIEM, and checked."""

import asyncio
import contextlib
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

from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.in_redis import in_redis
from otp_service.cli.plain import console, folding_table, plain
from otp_service.core.audit import Act, Chain, Detail, Entry
from otp_service.core.challenge import SubjectAddress
from otp_service.core.events import rfc3339
from otp_service.errors import Unavailable
from otp_service.settings.environment import SettingsError, load
from otp_service.settings.table import Settings
from otp_service.store.audit import Audit
from otp_service.store.connection import Connection

app = typer.Typer(help="Show the append-only audit log of administrative acts.")

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_COLUMNS = ("at", "act", "by", "about", "reason")
_LOOK_EVERY = 1.0  # seconds
_ID = re.compile(r"[0-9]{13,15}-[0-9]{1,10}", re.ASCII)
_AGO = re.compile(r"([0-9]{1,5})([mhd])", re.ASCII)


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(
            help="Time such as 2026-11-23T12:00Z, age such as 7d, or the id of the last entry you have."
        ),
    ] = None,
    act: Annotated[
        list[Act] | None, typer.Option(help="Only acts of this type; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines, for a SIEM.")] = False,
    follow: Annotated[
        bool,
        typer.Option(help="Follow new entries until interrupted, also after an outage."),
    ] = False,
) -> None:
    """List the audit log, the oldest entry first. People are in it as fingerprints."""
    if context.invoked_subcommand is not None:
        return
    known, start = _known(since)
    table = None if as_json or follow else folding_table(*_COLUMNS)

    def show(entry: Entry) -> None:
        if act and entry.act not in act:
            return
        if as_json:
            typer.echo(json.dumps({"at": rfc3339(entry.at), **asdict(entry)}))
        elif table is None:
            typer.echo(plain("  ".join(part for part in _cells(entry) if part)))
        else:
            table.add_row(*_cells(entry))

    async def work(log: Audit) -> None:
        after = known
        while True:
            try:
                async for entry in log.entries(since=start, after=after):
                    show(entry)
                    after = entry.id
            except Unavailable as error:
                if not follow:
                    raise
                typer.echo(f"waiting: {error.detail}", err=True)
            if not follow:
                return
            await asyncio.sleep(_LOOK_EVERY)

    with contextlib.suppress(KeyboardInterrupt):
        _run(load_settings(), work)
    if table is not None:
        console().print(table)


def _cells(entry: Entry) -> tuple[str, ...]:
    """Return an entry for people, as in `_COLUMNS`."""
    details = [f"{name} {value}" for name, value in entry.details.items()]
    about = ", ".join(part for part in (entry.caller, entry.subject, *details) if part)
    at = datetime.fromtimestamp(entry.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return at, entry.act, entry.by, about, entry.reason


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
        settings = load(os.environ)
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


def _known(since: str | None) -> tuple[str, int]:
    """Return the id of the last entry that is known, or "", and else from when on, in Unix milliseconds."""
    if since is not None and _ID.fullmatch(since):
        return since, 0
    return "", _start(since)


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
    from otp_service.store.scripts import Scripts

    ring = settings.ring()

    def run(connection: Connection) -> Any:  # noqa: ANN401
        scripts = Scripts(connection, durability=settings.durability)
        return work(Audit(scripts, lambda: ring, days=settings.audit_days))

    try:
        return in_redis(settings, run)
    except ValueError as error:
        refuse([str(error)])
