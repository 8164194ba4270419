"""What a command does in Redis: over a connection of its own, closed again; without Redis the command ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from otp_service.cli.configured import refuse
from otp_service.errors import Unavailable
from otp_service.settings.table import Settings
from otp_service.store.connection import Connection
from otp_service.store.history import HistoryStore
from otp_service.store.scripts import Scripts

T = TypeVar("T")


def in_redis(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Return what `work` makes of the connection; exit 1 when Redis is away."""
    from otp_service.connections import open_redis

    async def run() -> T:
        connection = open_redis(settings, name="otp_service_cli")
        try:
            return await work(connection)
        finally:
            await connection.aclose()

    try:
        return asyncio.run(run())
    except Unavailable as error:
        refuse([f"OTP_REDIS_URL: {error.detail}"])


def refuse_if_emptied(settings: Settings) -> None:
    """Exit 1 while Redis counts as emptied: what is stored for people is unknown then, not nothing."""

    async def run(connection: Connection) -> bool:
        return await HistoryStore(Scripts(connection)).is_emptied()

    if in_redis(settings, run):
        refuse(
            [
                "OTP_REDIS_URL: Redis came back empty, so what it held is unknown: restore it, or accept the loss "
                "(otp-service store accept-empty); see docs/restore.md"
            ]
        )
