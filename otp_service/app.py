"""The application: its routes, and the container behind them."""

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otp_service.container import build_container
from otp_service.doctor.start import check
from otp_service.settings.environment import SettingsError, load
from otp_service.settings.table import Settings
from otp_service.telemetry import LOG_OUTPUT, configure_logging
from otp_service.web.edge import RequestContextMiddleware, http_exception
from otp_service.web.routing import routes
from otp_service.web.service import State

log = structlog.get_logger()


def create_app(
    settings: Settings, *, frozen_at_ms: int | None = None, freeze: bool = False
) -> Starlette:
    """
    Return the application; it connects and starts to deliver with its lifespan.

    Args:
        settings: All of it.
        frozen_at_ms: See `Scripts`; None outside tests.
        freeze: Whether what is alive after the start lives as long as the process: the collector then never looks at
            it again, which takes its pauses out of the slowest answers.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[State]:
        async with build_container(settings, frozen_at_ms=frozen_at_ms) as built:
            app.state.container = built
            await check(settings)
            await built.start(deliver=settings.deliver)
            if freeze:
                gc.collect()
                gc.freeze()
            log.info("service.started", deliver=settings.deliver)
            try:
                yield {"service": built.service}
            finally:
                if settings.deliver:
                    await built.stop()
                log.info("service.stopped")
                LOG_OUTPUT.drain()

    return Starlette(
        routes=routes(),
        middleware=[Middleware(RequestContextMiddleware)],
        exception_handlers={HTTPException: http_exception},
        lifespan=lifespan,
    )


def from_environment() -> ASGIApp:
    """Return the application that the environment describes; what uvicorn's processes call."""
    settings = load(os.environ)
    configure_logging(settings.log_level)
    return _without_traceback(create_app(settings, freeze=True))


def _without_traceback(app: ASGIApp) -> ASGIApp:
    """Return an application that ends a start that the settings forbid with their lines, as `worker` does."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        failed: list[Message] = []

        async def hold(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failed.append(message)
            else:
                await send(message)

        try:
            await app(scope, receive, hold)
        except SettingsError as error:
            await send({"type": "lifespan.startup.failed", "message": "\n".join(error.lines)})
        except BaseException:
            for message in failed:
                await send(message)
            raise

    return application
