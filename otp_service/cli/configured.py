"""The settings for a command, or its end with one line for each thing that is wrong."""

import os
from collections.abc import Iterable
from typing import NoReturn

import typer

from otp_service.core.text import subject
from otp_service.settings.environment import SettingsError, load
from otp_service.settings.table import Settings


def load_settings() -> Settings:
    """Return the environment's settings; exit 1 naming each setting that can't be used."""
    try:
        return load(os.environ)
    except SettingsError as error:
        refuse(error.lines)


def refuse(lines: Iterable[str]) -> NoReturn:
    """Say why not on standard error, and exit 1."""
    typer.secho("otp-service refuses:", fg="red", err=True)
    for line in lines:
        typer.echo(f"  {line}", err=True)
    raise typer.Exit(1)


def subject_id(text: str) -> str:
    """Return a caller's id of a person as it is compared. Raises BadParameter."""
    try:
        return subject(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
