"""Making one call to a site, and how it ends: 0 accepted, 1 refused, 3 unknown."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import typer

from otp_service.wsms import (
    NoSuchRoute,
    Refused,
    RefusedReason,
    SendOutcome,
    SiteDown,
    UnexpectedResponse,
    WsmsClient,
    WsmsError,
)
from otp_service.wsms.advice import missing_route_advice

ACCEPTED, REFUSED, UNKNOWN = 0, 1, 3

T = TypeVar("T")


@dataclass(frozen=True)
class Login:
    """Where and as whom; the password only from the environment, where `ps` does not show it."""

    url: str
    username: str
    application_password: str
    ca_file: str | None


def run(
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
            try:
                return await call(wsms)
            except NoSuchRoute as error:
                raise NoSuchRoute(await _missing_route_advice(wsms, str(error))) from None

    try:
        return asyncio.run(main())
    except WsmsError as error:
        open_end = isinstance(error, UnexpectedResponse) or (
            isinstance(error, SiteDown) and error.maybe_done
        )
        code = UNKNOWN if changes and open_end else REFUSED
        word = "unknown" if code == UNKNOWN else "refused"
        typer.echo(f"{word}: {type(error).__name__}: {error}", err=True)
        raise typer.Exit(code) from None


async def explain(wsms: WsmsClient, outcome: SendOutcome) -> SendOutcome:
    """Say which WSMS the site has where it has no route to send by."""
    if isinstance(outcome, Refused) and outcome.reason is RefusedReason.NO_ROUTE:
        return replace(outcome, detail=await _missing_route_advice(wsms, outcome.detail))
    return outcome


async def _missing_route_advice(wsms: WsmsClient, otherwise: str) -> str:
    try:
        return f"the site has no such route. {missing_route_advice(await wsms.site.index())}"
    except WsmsError:
        return otherwise


def setting(name: str) -> str:
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
