"""`otp-service regions`: which are paused since few of their codes come back, and letting them go on."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, TypeVar

import typer

from otp_service.cli.audit import record
from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.in_redis import in_redis
from otp_service.cli.plain import console, folding_table
from otp_service.core.audit import Act, Detail, checked_reason
from otp_service.core.region_pauses import PauseMode
from otp_service.settings.table import Settings
from otp_service.store.connection import Connection
from otp_service.store.region_codes import Pair, RegionCodes

T = TypeVar("T")

app = typer.Typer(help="Regions that are paused because few codes are approved.")


@app.callback(invoke_without_command=True)
def regions(context: typer.Context) -> None:
    """List the regions that are paused, by caller, with what was counted in the time that is looked at."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    rules, paused = settings.pause_rules(), _run(settings, lambda codes: codes.paused())
    if not paused or rules.mode is PauseMode.OFF:  # what was paused before ends by itself
        typer.echo(f"no region is paused (OTP_REGION_PAUSE={rules.mode})")
        return
    table = folding_table("caller", "region", "since", "recipients", "approved", "what it does")
    for pause in paused:
        since = datetime.fromtimestamp(pause.since / 1000).astimezone()
        table.add_row(
            pause.pair.caller,
            pause.pair.region,
            f"{since:%Y-%m-%d %H:%M}",
            str(pause.codes.requested),
            str(pause.codes.approved),
            f"trickle {rules.trickle}" if rules.enforced(pause.pair.region) else "only told",
        )
    console().print(table)


@app.command()
def resume(
    region: Annotated[str, typer.Argument(help="ISO code, such as DE.")],
    caller: Annotated[str, typer.Option(help="Caller for which it is paused.")],
    reason: Annotated[str, typer.Option(help="Reason, for the audit log.")],
) -> None:
    """
    End a pause and reset its counts. If few codes are approved again, a new pause begins.

    Takes effect in every process within seconds.
    """
    settings = load_settings()
    try:
        reason = checked_reason(reason)
    except ValueError as error:
        refuse([f"--reason: {error}"])
    region = region.upper()
    pair = Pair(caller, region)
    if pair not in [pause.pair for pause in _run(settings, lambda codes: codes.paused())]:
        refuse([f"{region} is not paused for {caller}; `otp-service regions` lists what is"])
    record(
        settings, Act.REGION_RESUMED, caller=caller, reason=reason, details={Detail.REGION: region}
    )
    _run(settings, lambda codes: codes.lift(pair))
    typer.echo(f"{region} is no longer paused for {caller}")


def _run(settings: Settings, work: Callable[[RegionCodes], Awaitable[T]]) -> T:
    from otp_service.store.scripts import Scripts

    def run(connection: Connection) -> Awaitable[T]:
        return work(RegionCodes(Scripts(connection, durability=settings.durability)))

    return in_redis(settings, run)
