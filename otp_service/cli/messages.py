"""``otp-service messages``: check the texts of SMS, and see what they come to."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otp_service.cli.plain import folding_table
from otp_service.core.message_lint import CODE_LENGTHS, lint, longest_host
from otp_service.core.messages import (
    CONTEXT_FIELDS,
    Catalogue,
    Finding,
    MessagesInvalid,
    is_locale_tag,
    resolve_locale,
    room,
)
from otp_service.core.segments import segments

app = typer.Typer(help="Check and preview the SMS texts.", no_args_is_help=True)

_SAMPLE_CONTEXT = {"amount": "1234.50 EUR", "payee": "Corner Bookshop"}

Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        exists=True,
        file_okay=False,
        help="Directory of your own texts: files such as en.toml.",
    ),
]
Brand = Annotated[str | None, typer.Option(help="Your name in messages; at most 20 characters.")]
Origin = Annotated[
    str | None, typer.Option(help="Host that codes are bound to: the last line, @host #code.")
]
AppHash = Annotated[
    str | None,
    typer.Option(help="Hash (11 characters) of an Android app, for the SMS Retriever."),
]
Configured = Annotated[
    list[str] | None,
    typer.Option("--configured", help="Additional purpose that may have texts; repeatable."),
]


@app.command("lint")
def lint_command(
    directory: Directory = None,
    brand: Brand = None,
    origin: Origin = None,
    app_hash: AppHash = None,
    digits: Annotated[
        list[int] | None,
        typer.Option(min=4, max=10, help="Length of codes; repeatable. Default: 4 to 10."),
    ] = None,
    locale: Annotated[
        list[str] | None, typer.Option(help="A locale; repeatable. Default: all.")
    ] = None,
    purpose: Annotated[
        list[str] | None, typer.Option(help="A purpose; repeatable. Default: all.")
    ] = None,
    configured: Configured = None,
) -> None:
    """
    Check every text with the longest possible values.

    Without --brand and --origin it assumes the longest ones, but no host with --app-hash.
    Exits with 1 on an error.
    """
    console = Console(highlight=False)
    catalogue = _load(directory, configured, console)
    lengths = sorted(set(digits or CODE_LENGTHS))
    locales, purposes = _chosen(catalogue, locale, purpose)
    findings = lint(
        catalogue,
        digits=lengths,
        brand=brand,
        origin=origin,
        app_hash=app_hash,
        locales=locales,
        purposes=purposes,
    )
    if findings:
        _print_findings(console, findings)
        raise typer.Exit(1)
    console.print(
        f"{', '.join(locales)}: nothing is wrong with the texts for {', '.join(purposes)}."
    )
    console.print("The longest host by digits of the code, for payments|for other purposes:")
    console.print(_hosts_table(catalogue, locales, purposes, lengths, bool(app_hash)))


@app.command()
def preview(
    locale: Annotated[
        list[str] | None, typer.Option(help="A locale; repeatable. Default: all.")
    ] = None,
    purpose: Annotated[
        list[str] | None, typer.Option(help="A purpose; repeatable. Default: all.")
    ] = None,
    directory: Directory = None,
    brand: Brand = None,
    origin: Origin = None,
    app_hash: AppHash = None,
    digits: Annotated[int, typer.Option(min=4, max=10, help="Length of the code.")] = 6,
    minutes: Annotated[int, typer.Option(min=1, max=60, help="Minutes the code is valid.")] = 5,
    amount: Annotated[str, typer.Option(help="For payments.")] = _SAMPLE_CONTEXT["amount"],
    payee: Annotated[str, typer.Option(help="For payments.")] = _SAMPLE_CONTEXT["payee"],
    configured: Configured = None,
) -> None:
    """Show messages with a sample code, as they would be sent, with their encoding and segments."""
    console = Console(highlight=False)
    catalogue = _load(directory, configured, console)
    locales, purposes = _chosen(catalogue, locale, purpose)
    table = folding_table(
        "locale", "purpose", "message", "encoding", "units", "segments", show_lines=True
    )
    for tag in locales:
        for one in purposes:
            context = {"amount": amount, "payee": payee} if one in CONTEXT_FIELDS else None
            try:
                message = catalogue.render(
                    purpose=one,
                    locale=tag,
                    code="1234567890"[:digits],
                    minutes=minutes,
                    brand=brand,
                    origin=origin,
                    app_hash=app_hash,
                    context=context,
                )
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
            size = segments(message)
            told = app_hash is not None and app_hash in message.split("\n")
            units = f"{size.units} of {room(size.encoding, app_hash=told)}"
            if app_hash and not told:
                units += ", without the app's hash"
            table.add_row(
                tag, one, Text(message, overflow="fold"), size.encoding, units, str(size.count)
            )
    console.print(table)


def _chosen(
    catalogue: Catalogue, locale: list[str] | None, purpose: list[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the locales and purposes to look at; a locale falls back as a request's does."""
    for unknown in sorted(set(purpose or ()) - set(catalogue.purposes)):
        raise typer.BadParameter(f"no such purpose: {unknown}", param_hint="--purpose")
    for tag in locale or ():
        if not is_locale_tag(tag):
            raise typer.BadParameter(f"no language tag: {tag!r}", param_hint="--locale")
    resolved = (resolve_locale(tag, catalogue.locales, "en") for tag in locale or ())
    return tuple(dict.fromkeys(resolved)) or catalogue.locales, (
        tuple(purpose or ()) or catalogue.purposes
    )


def _load(directory: Path | None, configured: list[str] | None, console: Console) -> Catalogue:
    try:
        return Catalogue.load(directory, purposes=configured or ())
    except MessagesInvalid as error:
        _print_findings(console, error.findings)
        raise typer.Exit(1) from None


def _print_findings(console: Console, findings: Iterable[Finding]) -> None:
    table = folding_table("file", "locale", "key", "what is wrong", show_lines=True)
    for finding in findings:
        cells = (finding.file, finding.locale or "-", finding.key, finding.problem)
        table.add_row(*map(Text, cells))
    console.print(table)


def _hosts_table(
    catalogue: Catalogue,
    locales: Iterable[str],
    purposes: Collection[str],
    lengths: Collection[int],
    app_hash: bool,
) -> Table:
    """Lay out the longest hosts per locale and length of code: for payments, for all else."""
    headings = [str(length) for length in lengths]
    table = folding_table("locale", *headings)
    for tag in locales:
        texts = catalogue.by_locale[tag]
        cells = []
        for length in lengths:
            hosts = {
                one: longest_host(texts, one, length, app_hash=app_hash)
                for one in texts.texts
                if one in purposes
            }
            payment = hosts.pop("payment", None)
            others = min(hosts.values(), default=None)
            cells.append("|".join("-" if one is None else str(one) for one in (payment, others)))
        table.add_row(tag, *cells)
    return table
