"""`otp-service doctor` and `otp-service settings`: what is wrong, and what can be set."""

import asyncio
from collections.abc import Iterable
from typing import Annotated

import typer
from pydantic_core import PydanticUndefined
from rich.table import Table
from rich.text import Text

from otp_service.cli.configured import load_settings
from otp_service.cli.plain import console, plain
from otp_service.doctor.finding import Finding
from otp_service.doctor.issuer import inspect_issuer
from otp_service.doctor.process import (
    inspect_argon2,
    inspect_messages,
    inspect_region_pause,
    inspect_test_numbers,
)
from otp_service.doctor.redis import inspect_redis
from otp_service.doctor.site import inspect_opt_in, inspect_outbox_rows, inspect_site
from otp_service.settings.environment import PREFIX
from otp_service.settings.table import Settings
from otp_service.store.opt_ins import OptIns
from otp_service.store.scripts import Scripts
from otp_service.store.traces import Traces
from otp_service.wsms.client import WsmsClient

_COLOURS = {"ok": "green", "note": "cyan", "warn": "yellow", "refuse": "red"}


def doctor(
    site: Annotated[bool, typer.Option(help="Ask the WordPress site too; nothing is sent.")] = True,
) -> None:
    """
    Look at everything that start-up looks at, and at the WordPress site, and say it all.

    Exits 1 when the service would refuse to start, or could send no code.
    """
    current = load_settings()
    findings = [
        Finding("ok", "settings", "complete and within their ranges"),
        *asyncio.run(_look(current, site)),
    ]
    table = Table("", "what", "found")
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


async def _look(current: Settings, site: bool) -> list[Finding]:
    from otp_service.outside import load_catalogue, open_redis, site_client

    connection = open_redis(current, name="otp_service_doctor")
    try:
        return [
            *await inspect_redis(connection, current),
            *inspect_messages(load_catalogue(current), current),
            inspect_region_pause(current),
            *inspect_test_numbers(current),
            inspect_argon2(),
            await inspect_opt_in(
                OptIns(Scripts(connection), guesses=current.policy().failures), current
            ),
            *await inspect_outbox_rows(Traces(Scripts(connection))),
            *await inspect_issuer(current),
            *(await _look_at_site(site_client(current), current) if site else ()),
        ]
    finally:
        await connection.aclose()


async def _look_at_site(client: WsmsClient, current: Settings) -> list[Finding]:
    async with client:
        return await inspect_site(client, current)
