"""`otp-service serve`, `worker`, `healthcheck` and `openapi`: what containers and service managers run."""

import asyncio
import json
import os
import resource
import signal
import socket
import urllib.error
import urllib.request
from typing import Annotated

import typer

from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.metrics_directory import metrics_directory
from otp_service.cli.turns import take_turns
from otp_service.settings.environment import SettingsError
from otp_service.settings.table import Settings

_OTHER_FILES = (
    400  # refused connections, sends, webhooks, the admin port, what Python and the log have open
)


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", envvar="OTP_HOST")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", envvar="OTP_PORT")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Serving processes.", envvar="OTP_WORKERS")
    ] = None,
    fd: Annotated[int | None, typer.Option(help="Listen on this inherited socket instead.")] = None,
) -> None:
    """Serve the API, and deliver codes in the same processes unless OTP_DELIVER=false."""
    for name, value in (("OTP_HOST", host), ("OTP_PORT", port), ("OTP_WORKERS", workers)):
        if value is not None:
            os.environ[name] = str(value)
    settings = load_settings()
    _raise_file_limit(settings)
    with metrics_directory():
        _check(settings)
        take_turns()
        _serve_metrics(settings)
        _run_uvicorn(settings, fd)


def worker() -> None:
    """Deliver codes without serving the API; metrics are served."""
    settings = load_settings()
    with metrics_directory():
        _check(settings)
        take_turns()
        _serve_metrics(settings)
        from otp_service.telemetry import configure_logging

        configure_logging(settings.log_level)
        try:
            asyncio.run(_deliver(settings))
        except SettingsError as error:
            refuse(error.lines)


def healthcheck(
    url: Annotated[
        str | None, typer.Option(help="URL to check. Default: /readyz of this host.")
    ] = None,
) -> None:
    """Exit with 0 if the service is ready, else with 1; for containers without curl."""
    port = os.environ.get("OTP_PORT", "8000")
    try:
        with urllib.request.urlopen(url or f"http://127.0.0.1:{port}/readyz", timeout=3) as answer:  # noqa: S310
            typer.echo(answer.read(2000).decode())
    except (urllib.error.URLError, OSError) as error:
        typer.echo(f"not ready: {error}", err=True)
        raise typer.Exit(1) from None


def openapi() -> None:
    """Print openapi.json."""
    from otp_service.web.openapi.document import document
    from otp_service.web.routes import OPERATIONS

    typer.echo(json.dumps(document(OPERATIONS), indent=2, ensure_ascii=False))


def _check(settings: Settings) -> None:
    """Refuse before anything listens; every process checks once more when it starts."""
    from otp_service.doctor.start import check
    from otp_service.telemetry import configure_logging

    configure_logging("ERROR", lasting=False)
    try:
        asyncio.run(check(settings))
    except SettingsError as error:
        refuse(error.lines)


def _serve_metrics(settings: Settings) -> None:
    from otp_service.web.metrics import start

    try:
        start(settings.admin_host, settings.admin_port)
    except OSError as error:
        where = f"{settings.admin_host}:{settings.admin_port}"
        refuse([f"OTP_ADMIN_PORT: can't listen on {where}: {error.strerror}"])


def _run_uvicorn(settings: Settings, fd: int | None) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from otp_service.cli.processes import Config

    if fd is None:
        _require_free(settings)
    config = Config(
        "otp_service.app:from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="otp_service.web.protocol:DeadlineProtocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # they would hide the hop; see web.client_certificate
        backlog=1024,
        limit_concurrency=settings.http_connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=settings.drain_seconds,
        timeout_worker_healthcheck=30,
    )
    # Not uvicorn's own `fd`: it takes every inherited socket for a Unix one, so that answers wait 40 ms for Nagle.
    sockets = [_inherited(fd) if fd is not None else config.bind_socket()]
    if settings.workers > 1:
        Multiprocess(config, sockets=sockets).run()
        return
    server = uvicorn.Server(config)
    server.run(sockets=sockets)
    if not server.started:
        raise typer.Exit(1)


def _inherited(fd: int) -> socket.socket:
    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        refuse([f"--fd {fd}: no socket was handed over there ({error.strerror})"])


def _raise_file_limit(settings: Settings) -> None:
    """Let every process open as many files as its connections may need; refuse what the system's limit forbids."""
    needed = settings.http_connections + settings.redis_connections + _OTHER_FILES
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        refuse(
            [
                f"OTP_HTTP_CONNECTIONS: {settings.http_connections} need {needed} open files, and this process may "
                f"have {most}: raise its limit (ulimit -n, LimitNOFILE=), or have fewer"
            ]
        )
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))


def _require_free(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            refuse([f"OTP_PORT: can't listen on {settings.host}:{settings.port}: {error.strerror}"])


async def _deliver(settings: Settings) -> None:
    from otp_service.container import build_container

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with build_container(settings) as built:
        await built.start(deliver=True)
        await stop.wait()
        await built.stop()
