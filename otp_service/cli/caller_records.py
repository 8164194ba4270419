"""Callers' records, as the commands read and write them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from otp_service.cli.configured import refuse
from otp_service.cli.in_redis import in_redis
from otp_service.settings.table import Settings
from otp_service.store.callers import CallerRecord, Callers

T = TypeVar("T")

Name = Annotated[str, typer.Argument(help="The caller's name: a-z, 0-9 and -.")]


def existing(settings: Settings, name: str) -> CallerRecord:
    """Return the caller of that name; exits 1 when there is none."""
    record = with_callers(settings, lambda callers: callers.find(name))
    if record is None:
        refuse([f"NAME: there is no caller {name}"])
    return record


def change(settings: Settings, record: CallerRecord) -> None:
    """Store a changed record; exits 1 if it was changed concurrently."""
    if not with_callers(settings, lambda callers: callers.change(record)):
        refuse([f"NAME: {record.name} was changed meanwhile; nothing is done, look and try again"])


def with_callers(settings: Settings, work: Callable[[Callers], Awaitable[T]]) -> T:
    """Return what `work` makes of the callers; exits 1 when Redis is away."""
    return in_redis(settings, lambda connection: work(Callers(connection)))
