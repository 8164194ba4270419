"""`otp-service wsms outbox`: what the site tried to send."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.progress import Progress

from otp_service.cli.wsms.running import explain, run
from otp_service.cli.wsms.showing import AsJson, show, show_outcome, show_table
from otp_service.wsms import OutboxRow, OutboxStatus, SendOutcome, WsmsClient

app = typer.Typer(help="Outbox of the site.", invoke_without_command=True)

RowId: TypeAlias = Annotated[int, typer.Argument(help="The row's id.")]


@app.callback()
def outbox(
    context: typer.Context,
    search: Annotated[str, typer.Option(help="Part of text, recipient or sender.")] = "",
    status: Annotated[OutboxStatus | None, typer.Option()] = None,
    since: Annotated[str, typer.Option(help="First day, YYYY-MM-DD, in the site's zone.")] = "",
    until: Annotated[str, typer.Option(help="Last day.")] = "",
    oldest_first: Annotated[bool, typer.Option()] = False,
    limit: Annotated[int, typer.Option(min=0, help="Rows at most; 0 is all.")] = 100,
    texts: Annotated[bool, typer.Option(help="Show the messages, codes included.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the messages that the site tried to send; the status is not a delivery report."""
    if context.invoked_subcommand:
        return

    async def call(wsms: WsmsClient) -> list[OutboxRow]:
        found: list[OutboxRow] = []
        with _progress() as progress:
            rows = wsms.outbox.rows(
                search=search,
                status=status,
                since=_day(since),
                until=_day(until),
                order="asc" if oldest_first else "desc",
                page_size=min(limit or 100, 100),
                progress=progress,
            )
            async for row in rows:
                found.append(row)
                if len(found) == limit:
                    break
            await rows.aclose()
        return found

    found = run(context, call)
    columns = ["id", "sent_at", "status", "recipients", "sender", *(["message"] if texts else [])]
    show_table(columns, [[getattr(row, c) for c in columns] for row in found], as_json)


@app.command("show")
def show_row(context: typer.Context, row_id: RowId, as_json: AsJson = False) -> None:
    """Show one row, its message included."""
    show(dataclasses.asdict(run(context, lambda wsms: wsms.outbox.row(row_id))), as_json)


@app.command()
def delete(context: typer.Context, row_id: RowId, as_json: AsJson = False) -> None:
    """Delete one row for good."""
    run(context, lambda wsms: wsms.outbox.delete(row_id), changes=True)
    show({"status": "deleted"}, as_json)


@app.command()
def resend(context: typer.Context, row_id: RowId, as_json: AsJson = False) -> None:
    """Send a row's message again, as a new row."""

    async def call(wsms: WsmsClient) -> SendOutcome:
        return await explain(wsms, await wsms.outbox.resend(row_id))

    show_outcome(run(context, call, changes=True), as_json)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("outbox", total=None)
        yield lambda known, total: bar.update(task, completed=known, total=total)


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day like 2026-01-31") from None
