"""``otp-service wsms``: call a site's WSMS API by hand. Exits 0 accepted, 1 refused, 3 unknown."""

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from otp_service.cli.configured import load_settings
from otp_service.wsms import (
    Accepted,
    BuddyPressUsers,
    Capability,
    Handler,
    NotAWsmsAnswer,
    OutboxRow,
    OutboxStatus,
    Recipients,
    Refused,
    Repeat,
    Roles,
    SendOutcome,
    SiteDown,
    SiteReport,
    Subscribers,
    Unknown,
    Users,
    WebhookEvent,
    WooCommerceCustomers,
    WsmsClient,
    WsmsError,
)
from otp_service.wsms.advice import findings

ACCEPTED, REFUSED, UNKNOWN = 0, 1, 3

app = typer.Typer(help="Call a site's WSMS API by hand.", no_args_is_help=True)
outbox_app = typer.Typer(help="What the site tried to send.", invoke_without_command=True)
webhook_app = typer.Typer(help="Have the site announce things.", no_args_is_help=True)
app.add_typer(outbox_app, name="outbox")
app.add_typer(webhook_app, name="webhook")

T = TypeVar("T")
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name: TypeAlias = Annotated[str, typer.Argument(help="Needed by the site.")]
Mobile: TypeAlias = Annotated[str, typer.Argument(help="E.164, e.g. +14155550123.")]
Group: TypeAlias = Annotated[int | None, typer.Option(help="One group id.")]
HookUrl: TypeAlias = Annotated[str, typer.Argument(help="https, with an ASCII host.")]
HookEvent: TypeAlias = Annotated[WebhookEvent | None, typer.Argument()]
Here: TypeAlias = Annotated[
    bool, typer.Option("--here", help="This service, at OTP_PUBLIC_URL, for both events.")
]
RowId: TypeAlias = Annotated[int, typer.Argument(help="The row's id.")]


@dataclass(frozen=True)
class Login:
    """Where and as whom; the password only from the environment, where `ps` does not show it."""

    url: str
    username: str
    application_password: str
    ca_file: str | None


@app.callback()
def settings(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="The site. Default: OTP_WSMS_URL.")] = "",
    username: Annotated[str, typer.Option(help="Default: OTP_WSMS_USERNAME.")] = "",
) -> None:
    """
    Call a site's WSMS API by hand.

    The application password is in OTP_WSMS_APPLICATION_PASSWORD. Each variable may also be the
    name of a file, with _FILE behind it; OTP_WSMS_CA_FILE is a private authority's.
    Exits 0 accepted, 1 refused, 2 misused, 3 unknown.
    """
    # Not read here: `--help` of a command must work without.
    context.obj = lambda: Login(
        url or _setting("OTP_WSMS_URL"),
        username or _setting("OTP_WSMS_USERNAME"),
        _setting("OTP_WSMS_APPLICATION_PASSWORD"),
        os.environ.get("OTP_WSMS_CA_FILE") or None,
    )


@app.command()
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
    handler: Annotated[Handler | None, typer.Option(help="Whose %variables% to fill in.")] = None,
    handler_id: Annotated[int | None, typer.Option(help="Of which object.")] = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for the whole call.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Send one message, and say what is certain about it."""
    kinds: list[Recipients] = [
        *([Subscribers(group)] if group else []),
        *([Users(user)] if user else []),
        *([Roles(role)] if role else []),
        *([WooCommerceCustomers()] if wc_customers else []),
        *([BuddyPressUsers()] if bp_users else []),
    ]
    if len(kinds) + bool(to) != 1:
        raise typer.BadParameter("give one kind of recipients: --to, --group, --user, --role, ...")
    text = sys.stdin.read().rstrip("\r\n") if message == "-" else message
    repeat = (
        Repeat(every=repeat_every, unit=repeat_unit, until=_moment(repeat_until))
        if repeat_every or repeat_until
        else None
    )

    async def call(wsms: WsmsClient) -> SendOutcome:
        return await wsms.send(
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

    _show_outcome(_run(context, call, changes=True), as_json)


@app.command()
def subscribe(
    context: typer.Context,
    name: Name,
    mobile: Mobile,
    group: Group = None,
    field: Annotated[list[str] | None, typer.Option(help="A custom field, key=value.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a number to the newsletter; with double opt-in the site sends it a code."""
    fields = dict(f.partition("=")[::2] for f in field or ())

    async def call(wsms: WsmsClient) -> str:
        subscription = await wsms.newsletter.subscribe(
            name=name, mobile=mobile, group_id=group, custom_fields=fields
        )
        return str(subscription.status)

    _show({"status": _run(context, call, changes=True)}, as_json)


@app.command()
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

    _show({"status": _run(context, call, changes=True)}, as_json)


@app.command()
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

    _show({"status": _run(context, call, changes=True)}, as_json)


@app.command()
def subscribers(context: typer.Context, as_json: AsJson = False) -> None:
    """List every row of the newsletter, pending ones too."""
    rows = _run(context, lambda wsms: wsms.newsletter.subscribers())
    _show_table(("name", "mobile"), [(r.name, r.mobile) for r in rows], as_json)


@outbox_app.callback()
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
    """List what the site tried to send; its status is no delivery report."""
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

    found = _run(context, call)
    columns = ["id", "sent_at", "status", "recipients", "sender", *(["message"] if texts else [])]
    _show_table(columns, [[getattr(row, c) for c in columns] for row in found], as_json)


@outbox_app.command()
def show(context: typer.Context, row_id: RowId, as_json: AsJson = False) -> None:
    """Show one row, its message included."""
    _show(dataclasses.asdict(_run(context, lambda wsms: wsms.outbox.row(row_id))), as_json)


@outbox_app.command()
def delete(context: typer.Context, row_id: RowId, as_json: AsJson = False) -> None:
    """Delete one row for good."""
    _run(context, lambda wsms: wsms.outbox.delete(row_id), changes=True)
    _show({"status": "deleted"}, as_json)


@outbox_app.command()
def resend(context: typer.Context, row_id: RowId, as_json: AsJson = False) -> None:
    """Send a row's message again, as a new row."""
    _show_outcome(_run(context, lambda wsms: wsms.outbox.resend(row_id), changes=True), as_json)


@app.command()
def credit(
    context: typer.Context,
    refresh: Annotated[bool, typer.Option(help="Let the site ask its gateway.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the gateway says is left."""

    async def call(wsms: WsmsClient) -> Mapping[str, object]:
        found = await (wsms.credit.refresh() if refresh else wsms.credit.stored())
        return dataclasses.asdict(found)

    _show(_run(context, call), as_json)


@webhook_app.command("subscribe")
def webhook_subscribe(
    context: typer.Context,
    url: HookUrl = "",
    event: HookEvent = None,
    here: Here = False,
    as_json: AsJson = False,
) -> None:
    """Have the site call an https URL; unsigned, so put a secret into its path. Or `--here`: this service."""
    for where, what in _hooks(url, event, here):
        _run(context, partial(_subscribe, where, what), changes=True)
    _show({"status": "subscribed"}, as_json)


@webhook_app.command("unsubscribe")
def webhook_unsubscribe(
    context: typer.Context,
    url: HookUrl = "",
    event: HookEvent = None,
    here: Here = False,
    as_json: AsJson = False,
) -> None:
    """Stop it."""
    for where, what in _hooks(url, event, here):
        _run(context, partial(_unsubscribe, where, what), changes=True)
    _show({"status": "unsubscribed"}, as_json)


@app.command()
def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what the site offers and what the credential may do; changes and sends nothing."""
    report: SiteReport = _run(context, lambda wsms: wsms.check())
    if as_json:
        _show(_report_data(report), as_json)
    else:
        typer.echo(f"{report.index.name or 'A site'} at {report.address}")
        signs = {True: "yes", False: "no", None: "?"}
        rows = [(f.what, signs[f.ok], f.advice) for f in findings(report)]
        _show_table(("what", "ok", "what to do"), rows, as_json=False)
    if not report.ready_to_send:
        raise typer.Exit(REFUSED)


async def _subscribe(url: str, event: WebhookEvent, wsms: WsmsClient) -> None:
    await wsms.webhooks.subscribe(url, event)


async def _unsubscribe(url: str, event: WebhookEvent, wsms: WsmsClient) -> None:
    await wsms.webhooks.unsubscribe(url, event)


def _hooks(url: str, event: WebhookEvent | None, here: bool) -> list[tuple[str, WebhookEvent]]:
    """What to subscribe: one URL to one event, or this service to both."""
    if not here:
        if not url or event is None:
            raise typer.BadParameter("give a URL and an event, or --here")
        return [(url, event)]
    if url:
        raise typer.BadParameter("--here takes no URL: it is made of OTP_PUBLIC_URL and the ring")
    from otp_service.core.hook_tokens import hook_token

    settings = load_settings()
    if settings.public_url is None:
        raise typer.BadParameter("set OTP_PUBLIC_URL to the https address of this service")
    own = f"{settings.public_url}/hooks/wsms/{hook_token(settings.ring())}"
    return [(own, each) for each in WebhookEvent]


def _run(
    context: typer.Context,
    call: Callable[[WsmsClient], Awaitable[T]],
    *,
    changes: bool = False,
) -> T:
    """Make one call, or print why not and exit: 3 if `changes` may have been made all the same."""

    async def main() -> T:
        login: Login = context.obj()
        async with WsmsClient(
            login.url, login.username, login.application_password, ca_file=login.ca_file
        ) as wsms:
            return await call(wsms)

    try:
        return asyncio.run(main())
    except WsmsError as error:
        open_end = isinstance(error, NotAWsmsAnswer) or (
            isinstance(error, SiteDown) and error.maybe_done
        )
        code = UNKNOWN if changes and open_end else REFUSED
        word = "unknown" if code == UNKNOWN else "refused"
        typer.echo(f"{word}: {type(error).__name__}: {error}", err=True)
        raise typer.Exit(code) from None


def _show_outcome(outcome: SendOutcome, as_json: bool) -> None:
    fields = {k: v for k, v in dataclasses.asdict(outcome).items() if v not in ("", None)}
    match outcome:
        case Accepted():
            word, code = "accepted", ACCEPTED
        case Refused():
            word, code = "refused", REFUSED
        case Unknown():
            word, code = "unknown", UNKNOWN
    _show({"outcome": word, **fields}, as_json)
    raise typer.Exit(code)


def _show(fields: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(fields, default=_plain, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None)
    for key, value in fields.items():
        if value is not None:
            table.add_row(key.replace("_", " "), _text(value))
    _console().print(table)


def _show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], as_json: bool) -> None:
    if as_json:
        listed = [dict(zip(columns, row, strict=True)) for row in rows]
        typer.echo(json.dumps(listed, default=_plain, ensure_ascii=False))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    _console().print(table)


def _console() -> Console:
    # Texts of the site are no markup, and a number is no link.
    return Console(markup=False, highlight=False, emoji=False)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("outbox", total=None)
        yield lambda known, total: bar.update(task, completed=known, total=total)


def _report_data(report: SiteReport) -> dict[str, object]:
    return {
        "address": report.address,
        "site": report.index.name,
        "https": report.https,
        "version": report.index.version,
        "zone": str(report.index.zone),
        "application_passwords": report.index.application_passwords,
        "authorized": report.authorized,
        "missing_routes": list(report.missing_routes),
        "capabilities": {str(c): report.capabilities[c] for c in Capability},
        "ready_to_send": report.ready_to_send,
        "advice": {f.what: f.advice for f in findings(report) if f.advice},
    }


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal() | tzinfo():
            return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def _setting(name: str) -> str:
    value = os.environ.get(name, "")
    file = os.environ.get(name + "_FILE", "")
    if file and not value:
        try:
            value = Path(file).read_text().strip()
        except OSError as error:
            raise typer.BadParameter(f"{name}_FILE cannot be read: {error.strerror}") from None
    if not value:
        raise typer.BadParameter(f"set {name} or {name}_FILE")
    return value


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO 8601 date and time") from None


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day like 2026-01-31") from None
