"""`otp-service wsms subscribe | verify | unsubscribe | subscribers`: the site's newsletter."""

import sys
from typing import Annotated, TypeAlias

import typer

from otp_service.cli.wsms.running import run
from otp_service.cli.wsms.showing import AsJson, show, show_table
from otp_service.wsms import WsmsClient

Name: TypeAlias = Annotated[str, typer.Argument(help="Name; required by the site.")]
Mobile: TypeAlias = Annotated[str, typer.Argument(help="E.164, e.g. +14155550123.")]
Group: TypeAlias = Annotated[int | None, typer.Option(help="One group id.")]


def subscribe(
    context: typer.Context,
    name: Name,
    mobile: Mobile,
    group: Group = None,
    field: Annotated[list[str] | None, typer.Option(help="A custom field, key=value.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a number to the newsletter; with double opt-in the site sends it a code."""
    fields = dict(map(_pair, field or ()))

    async def call(wsms: WsmsClient) -> str:
        subscription = await wsms.newsletter.subscribe(
            name=name, mobile=mobile, group_id=group, custom_fields=fields
        )
        return str(subscription.status)

    show({"status": run(context, call, changes=True)}, as_json)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{text!r} is not key=value", param_hint="--field")
    return key, value


def verify(
    context: typer.Context,
    name: Name,
    mobile: Mobile,
    activation: Annotated[str, typer.Argument(help="Four digits; - reads standard input.")],
    group: Group = None,
    as_json: AsJson = False,
) -> None:
    """Confirm a number with the code it was sent."""
    code = sys.stdin.read().strip() if activation == "-" else activation

    async def call(wsms: WsmsClient) -> str:
        await wsms.newsletter.verify(name=name, mobile=mobile, activation=code, group_id=group)
        return "subscribed"

    show({"status": run(context, call, changes=True)}, as_json)


def unsubscribe(
    context: typer.Context,
    name: Name,
    mobile: Annotated[str, typer.Argument(help="As the site lists it.")],
    group: Annotated[list[int] | None, typer.Option(help="Only these; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Remove a number from the newsletter."""

    async def call(wsms: WsmsClient) -> str:
        await wsms.newsletter.unsubscribe(name=name, mobile=mobile, groups=group or ())
        return "unsubscribed"

    show({"status": run(context, call, changes=True)}, as_json)


def subscribers(context: typer.Context, as_json: AsJson = False) -> None:
    """List every row of the newsletter, pending ones too."""
    rows = run(context, lambda wsms: wsms.newsletter.subscribers())
    show_table(("name", "mobile"), [(r.name, r.mobile) for r in rows], as_json)
