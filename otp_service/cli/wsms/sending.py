"""`otp-service wsms send`: one message by hand."""

import sys
from datetime import datetime
from typing import Annotated, Literal

import typer

from otp_service.cli.wsms.running import explain, run
from otp_service.cli.wsms.showing import AsJson, show_outcome
from otp_service.wsms import (
    BuddyPressUsers,
    Handler,
    Recipients,
    Repeat,
    Roles,
    SendOutcome,
    Subscribers,
    Users,
    WooCommerceCustomers,
    WsmsClient,
)


def send(
    context: typer.Context,
    message: Annotated[str, typer.Argument(help="The text; - reads it from standard input.")],
    to: Annotated[list[str] | None, typer.Option(help="E.164; repeatable.")] = None,
    group: Annotated[list[int] | None, typer.Option(help="Subscribers of a group.")] = None,
    user: Annotated[list[int] | None, typer.Option(help="A WordPress user's id.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="All users of a role.")] = None,
    wc_customers: Annotated[bool, typer.Option(help="WooCommerce customers.")] = False,
    bp_users: Annotated[bool, typer.Option(help="BuddyPress users.")] = False,
    sender: Annotated[str, typer.Option(help="Default: the gateway's.")] = "",
    flash: Annotated[bool, typer.Option(help="Show at once, do not store.")] = False,
    media: Annotated[list[str] | None, typer.Option(help="URL for MMS.")] = None,
    schedule: Annotated[str, typer.Option(help="ISO 8601 with a zone.")] = "",
    repeat_every: Annotated[int, typer.Option(help="Units between two sends.")] = 0,
    repeat_unit: Annotated[Literal["minute", "hour", "day", "week", "month"], typer.Option()] = (
        "day"
    ),
    repeat_until: Annotated[str, typer.Option(help="ISO 8601 with a zone.")] = "",
    handler: Annotated[
        Handler | None, typer.Option(help="Handler whose %variables% are filled in.")
    ] = None,
    handler_id: Annotated[int | None, typer.Option(help="Id of the handler's object.")] = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for the whole call.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Send one message and print the certain result."""
    kinds: list[Recipients] = [
        *([Subscribers(group)] if group else []),
        *([Users(user)] if user else []),
        *([Roles(role)] if role else []),
        *([WooCommerceCustomers()] if wc_customers else []),
        *([BuddyPressUsers()] if bp_users else []),
    ]
    if len(kinds) + bool(to) != 1:
        raise typer.BadParameter(
            "give one kind of recipients: --to, --group, --user, --role, --wc-customers or --bp-users"
        )
    text = sys.stdin.read().rstrip("\r\n") if message == "-" else message
    repeat = (
        Repeat(every=repeat_every, unit=repeat_unit, until=_moment(repeat_until))
        if repeat_every or repeat_until
        else None
    )

    async def call(wsms: WsmsClient) -> SendOutcome:
        outcome = await wsms.send(
            message=text,
            numbers=to or None,
            recipients=kinds[0] if kinds else None,
            sender=sender,
            flash=flash,
            media_urls=media or (),
            schedule=_moment(schedule),
            repeat=repeat,
            handler=handler,
            handler_id=handler_id,
            deadline=deadline,
        )
        return await explain(wsms, outcome)

    show_outcome(run(context, call, changes=True), as_json)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO 8601 date and time") from None
