"""What came of a call, as tables or as JSON."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Annotated, TypeAlias

import typer
from rich.table import Column, Table

from otp_service.cli.plain import console, folding_table, plain
from otp_service.cli.wsms.running import ACCEPTED, REFUSED, UNKNOWN
from otp_service.wsms import Accepted, Refused, SendOutcome, Unknown

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show_outcome(outcome: SendOutcome, as_json: bool) -> None:
    fields = {k: v for k, v in dataclasses.asdict(outcome).items() if v not in ("", None)}
    match outcome:
        case Accepted():
            word, code = "accepted", ACCEPTED
        case Refused():
            word, code = "refused", REFUSED
        case Unknown():
            word, code = "unknown", UNKNOWN
    show({"outcome": word, **fields}, as_json)
    raise typer.Exit(code)


def show(fields: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        typer.echo(plain(json.dumps(fields, default=_jsonable, ensure_ascii=False)))
        return
    table = Table("", Column(overflow="fold"), show_header=False, box=None)
    for key, value in fields.items():
        if value is not None:
            table.add_row(key.replace("_", " "), plain(_text(value)))
    console().print(table)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], as_json: bool) -> None:
    if as_json:
        listed = [dict(zip(columns, row, strict=True)) for row in rows]
        typer.echo(plain(json.dumps(listed, default=_jsonable, ensure_ascii=False)))
        return
    table = folding_table(*columns)
    for row in rows:
        table.add_row(*(plain(_text(cell)) for cell in row))
    console().print(table)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


def _jsonable(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal() | tzinfo():
            return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
