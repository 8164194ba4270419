"""Messages that were given up."""

from collections import Counter
from dataclasses import replace
from typing import Annotated

import typer

from otp_service.cli.configured import refuse
from otp_service.cli.plain import console, folding_table
from otp_service.cli.webhooks.app_context import AppContext, run
from otp_service.core import events
from otp_service.core.audit import Act
from otp_service.store.outgoing import Record
from otp_service.store.webhooks import Endpoint


def dead(
    retry: Annotated[
        str | None, typer.Option(help="Id of a message, or `all`, to send again.")
    ] = None,
) -> None:
    """List dead letters, which are kept for 30 days, or send them again."""

    async def work(desk: AppContext) -> list[tuple[Endpoint, str, Record]]:
        found = [
            (endpoint, message_id, record)
            for endpoint in await desk.webhooks.all(desk.ring)
            for message_id, record in await desk.outgoing.dead_letters(endpoint.name)
            if retry in (None, "all", message_id)
        ]
        if retry is not None:
            if off := sorted({endpoint.id for endpoint, _, _ in found if endpoint.off}):
                refuse([f"{endpoint_id}: is switched off; enable it first" for endpoint_id in off])
            for name, count in Counter(endpoint.id for endpoint, _, _ in found).items():
                endpoint = next(each for each, _, _ in found if each.id == name)
                await desk.record(Act.WEBHOOK_RETRIED, endpoint, count=str(count))
            for endpoint, message_id, record in found:
                await desk.outgoing.enqueue(
                    endpoint.name, message_id, replace(record, tries=0), again=True
                )
        return found

    found = run(work)
    if retry is not None:
        if not found:
            refuse([f"--retry {retry}: there is no such dead letter"])
        typer.echo(f"{len(found)} queued again")
        return
    table = folding_table("message", "caller", "endpoint", "event", "at", "tries", "last")
    for endpoint, message_id, record in found:
        table.add_row(
            message_id,
            endpoint.caller,
            endpoint.id,
            record.type,
            events.rfc3339(record.at),
            str(record.tries),
            record.last,
        )
    console().print(table)
