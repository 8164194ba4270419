"""`otp-service doctor` and `otp-service settings`."""

import asyncio
from collections.abc import Iterable
from typing import Annotated

import typer
from pydantic_core import PydanticUndefined
from rich.text import Text

from otp_service.cli.configured import load_settings
from otp_service.cli.plain import console, folding_table, plain
from otp_service.doctor.finding import Finding
from otp_service.settings.environment import PREFIX
from otp_service.settings.table import Settings

_COLOURS = {"ok": "green", "note": "cyan", "warn": "yellow", "refuse": "red"}


def doctor(
    site: Annotated[
        bool, typer.Option(help="Also check the WordPress site; no SMS is sent.")
    ] = True,
) -> None:
    """
    Run all start-up checks, check the WordPress site, and list every finding.

    Exits with 1 if the service would refuse to start or could not send codes.
    """
    from otp_service.doctor.everything import look  # not above: it imports metrics

    current = load_settings()
    findings = [
        Finding("ok", "settings", "complete and within their ranges"),
        *asyncio.run(look(current, site=site)),
    ]
    table = folding_table("", "what", "found")
    for finding in findings:
        level = Text(finding.level, style=_COLOURS[finding.level])
        table.add_row(level, finding.what, plain(finding.message))
    console().print(table)
    if any(finding.level == "refuse" for finding in findings):
        raise typer.Exit(1)


def settings() -> None:
    """Print every setting with its default, as the README shows it."""
    typer.echo("\n".join(setting_rows()))


def setting_rows() -> Iterable[str]:
    """Yield a Markdown table of all settings."""
    yield "| setting | default | what |"
    yield "| --- | --- | --- |"
    for name, field in Settings.model_fields.items():
        value = "required" if field.default is PydanticUndefined else _shown(field.default)
        yield f"| `{PREFIX}{name.upper()}` | {value} | {field.description} |"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, frozenset):
        text = ",".join(sorted(value))
    elif isinstance(value, tuple):
        text = ",".join(str(part) for part in value)
    else:
        text = "" if value is None else str(value)
    return f"`{text}`" if text else ""
