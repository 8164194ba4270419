"""`otp-service unblock`: an operator frees a person whom too many wrong codes have blocked."""

import asyncio
import getpass
from typing import Annotated

import structlog
import typer

from otp_service.cli.configured import load_settings, refuse
from otp_service.core.challenge import SubjectAddress, subject_address
from otp_service.core.recipients import RecipientRefused, parse_recipient
from otp_service.errors import Unavailable
from otp_service.settings import Settings
from otp_service.store import guards
from otp_service.store.guards import FACTORS, UNBLOCKED_TRIES
from otp_service.store.scripts import Scripts

log = structlog.get_logger()


def unblock(
    caller: Annotated[str, typer.Argument(help="The caller whose subject it is.")],
    reason: Annotated[str, typer.Option(help="Why; it is logged.")],
    subject: Annotated[str | None, typer.Option(help="The caller's id of the person.")] = None,
    to: Annotated[
        str | None, typer.Option(help="The number, where the caller gives no subject.")
    ] = None,
    factor: Annotated[str, typer.Option(help=f"Of {', '.join(FACTORS)}.")] = "sms",
) -> None:
    """Give a blocked subject five more tries with one factor. The long counts go on; success clears them."""
    if (subject is None) == (to is None):
        refuse(["--subject or --to: exactly one of them"])
    if factor not in FACTORS:
        refuse([f"--factor: one of {', '.join(FACTORS)}"])
    settings = load_settings()
    address = _address(settings, caller, subject, to)
    try:
        done = asyncio.run(_unblock(settings, address, factor))
    except Unavailable as error:
        refuse([f"OTP_REDIS_URL: {error.detail}"])
    if not done:
        typer.echo(f"not blocked with {factor}: nothing to do")
        return
    who = getpass.getuser()
    log.warning(
        "audit.unblocked", caller=caller, subject=address.tag, factor=factor, by=who, reason=reason
    )
    typer.echo(f"unblocked with {factor}: {UNBLOCKED_TRIES} more tries")


def _address(
    settings: Settings, caller: str, subject: str | None, to: str | None
) -> SubjectAddress:
    if subject is not None:
        return subject_address(settings.ring(), caller, f"subject:{subject}")
    try:
        recipient = parse_recipient(str(to), regions=None)
    except RecipientRefused as error:
        refuse([f"--to: {error}"])
    return subject_address(settings.ring(), caller, f"recipient:{recipient.e164}")


async def _unblock(settings: Settings, address: SubjectAddress, factor: str) -> bool:
    from otp_service.app import open_redis

    connection = open_redis(settings, name="otp_service_cli")
    try:
        scripts = Scripts(connection, durability=settings.durability)
        return await guards.unblock(
            scripts, address, factor=factor, budget=settings.policy().failures
        )
    finally:
        await connection.aclose()
