"""`otp-service store`: what an operator does after Redis was restored, or came back empty."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from otp_service.cli.audit import record
from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.in_redis import in_redis
from otp_service.cli.plain import plain
from otp_service.core.audit import Act, Detail, checked_reason
from otp_service.settings.table import Settings
from otp_service.store.connection import Connection
from otp_service.store.history import HistoryStore, StepBack

T = TypeVar("T")

app = typer.Typer(help="Recover after Redis was restored or emptied; see docs/restore.md.")

_WHY = {
    "emptied": "it came back empty, or is another one",
    "lost": "what it had acknowledged is gone: a restored backup, a stale replica, a lost tail",
    "clock": "its clock was set back",
}
_UNKNOWN = (
    "Not known, so please decide:",
    "- recovery codes used in the lost time are valid again: let people in doubt make new ones",
    "- wrong codes and sends of the lost time are not counted any more",
    "- acts that no running process has seen: compare with the lines audit.recorded of your logs",
    "Challenges and proofs of before were refused by the service itself, and steps of authenticators until then.",
)


@app.command("after-restore")
def after_restore(
    done: Annotated[
        bool, typer.Option("--done", help="Everything was repeated: end the warning of /readyz.")
    ] = False,
) -> None:
    """List when Redis went back in time, and which acts of operators must be repeated."""
    settings = load_settings()
    steps = _run(settings, lambda store: store.steps_back())
    if not steps:
        typer.echo("Redis was never seen to go back in time, or it has been dealt with")
        return
    for step in steps:
        for line in _lines(step):
            typer.echo(plain(line))
    for line in _UNKNOWN:
        typer.echo(line)
    if done:
        record(settings, Act.STORE_RESTORE_DONE, details={Detail.COUNT: len(steps)})
        _run(settings, lambda store: store.dealt_with())
        typer.echo("dealt with: the warning ends within seconds")


@app.command("accept-empty")
def accept_empty(
    reason: Annotated[str, typer.Option(help="Reason, for the audit log.")],
) -> None:
    """
    Accept that Redis came back empty: all authenticators, recovery codes and devices are lost.

    Takes effect in every process within seconds.
    """
    try:
        why = checked_reason(reason)
    except ValueError as error:
        refuse([f"--reason: {error}"])
    settings = load_settings()
    if not _run(settings, lambda store: store.is_emptied()):
        typer.echo("the store is not taken to be emptied: there is nothing to accept")
        return
    record(settings, Act.STORE_EMPTY_ACCEPTED, reason=why)
    _run(settings, lambda store: store.accept_empty())
    typer.echo("accepted: factors are answered again within seconds, and nobody has any")


def _lines(step: StepBack) -> list[str]:
    found = [
        f"{_time(step.noticed_at)}: {_WHY.get(step.why, step.why)}",
        f"  Redis knew nothing after {_time(step.newest_at)}; last seen by the service: {_time(step.seen_at)}",
        f"  entries of the audit log that are gone: {step.lost}",
    ]
    for act in step.acts:
        details = " ".join(f"{name}={value}" for name, value in json.loads(act["details"]).items())
        parts = (
            act["act"],
            act["caller"],
            act["subject"],
            details,
            f"by {act['by']}",
            act["reason"],
        )
        found.append(f"  do again: {' '.join(part for part in parts if part)}")
    return found


def _time(ms: int) -> str:
    if not ms:
        return "an unknown time"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _run(settings: Settings, work: Callable[[HistoryStore], Awaitable[T]]) -> T:
    from otp_service.store.scripts import Scripts

    def run(connection: Connection) -> Awaitable[T]:
        return work(HistoryStore(Scripts(connection, durability=settings.durability)))

    return in_redis(settings, run)
