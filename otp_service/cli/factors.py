"""
`otp-service factors`: authenticators that come from elsewhere, that go elsewhere, and that an operator takes away.

No seed is ever printed to a terminal or named in an error.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from otp_service.cli.audit import record
from otp_service.cli.configured import load_settings, refuse, subject_id
from otp_service.cli.in_redis import in_redis, refuse_if_emptied
from otp_service.cli.seed_files import ISSUER, Format, format_of, read_file, write_file
from otp_service.core.audit import Act, Detail, checked_reason
from otp_service.core.challenge import ChallengeAddress, person_address
from otp_service.core.seeds import Seed, SeedRefused
from otp_service.errors import TooManyFactors
from otp_service.settings.table import Settings
from otp_service.store.callers import Callers
from otp_service.store.connection import Connection
from otp_service.store.factors import Factors
from otp_service.store.proofs import FactorProof
from otp_service.store.scripts import Scripts

app = typer.Typer(no_args_is_help=True, help="Import, export and remove authenticators.")
if (
    TYPE_CHECKING
):  # flows count in metrics, which must not be there before `serve` says where they are kept
    from otp_service.services.seed_transfer import LeftBehind

T = TypeVar("T")

AT_ONCE = 16

Caller = Annotated[str, typer.Option(help="Caller of the subjects.")]


@app.command("import")
def import_seeds(
    file: Annotated[
        Path, typer.Argument(help="File to import; /dev/stdin leaves no trace on disk.")
    ],
    caller: Caller,
    format: Annotated[
        Format | None, typer.Option(help="Format. Default: by the file name.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row and write nothing.")
    ] = False,
) -> None:
    """Import existing authenticators as confirmed ones. A repeated import skips known ones."""
    settings = load_settings()
    try:
        rows = list(read_file(file.read_text("utf-8-sig"), format or format_of(file)))
    except (OSError, UnicodeDecodeError) as error:
        refuse([f"FILE: can't be read ({type(error).__name__})"])
    except SeedRefused as refused:
        refuse([f"FILE: {refused.reason}"])
    good = [(number, seed) for number, seed in rows if isinstance(seed, Seed)]
    bad = [(number, row) for number, row in rows if isinstance(row, SeedRefused)]
    brought = 0
    if not dry_run:
        record(settings, Act.SEEDS_IMPORTED, caller=caller, details={Detail.COUNT: len(good)})
        brought, late = _run(
            settings, caller, lambda factors: _bring(settings, factors, caller, good)
        )
        bad += late
    for number, why in sorted(bad, key=lambda found: found[0]):
        typer.echo(f"row {number}: {why.field} {why.reason}")
    known = len(rows) - len(bad) - brought
    done = "good, nothing written" if dry_run else f"brought, {known} known before"
    typer.echo(f"{len(good) if dry_run else brought} {done}, {len(bad)} refused")
    if bad:
        raise typer.Exit(1)


@app.command("export")
def export_seeds(
    caller: Caller,
    format: Annotated[Format, typer.Option(help="Output format.")],
    output: Annotated[
        Path | None, typer.Option(help="New file with mode 0600. Default: a pipe.")
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes-export-secrets", help="Required: the output allows generating everyone's codes."
        ),
    ] = False,
) -> None:
    """Export the seeds of all confirmed authenticators, to migrate to another service."""
    if not yes:
        refuse(["--yes-export-secrets: seeds leave in clear; say that you mean it"])
    if output is None and sys.stdout.isatty():
        refuse(["--output: seeds are not shown on a terminal; name a file, or pipe them"])
    settings = load_settings()
    if output is not None and output.exists():
        refuse(["--output: is there already"])
    found = _run(settings, caller, lambda factors: _collect(settings, factors, caller))
    refuse_if_emptied(settings)  # after the look: Redis may have been emptied meanwhile
    seeds = [each for each in found if isinstance(each, Seed)]
    record(settings, Act.SEEDS_EXPORTED, caller=caller, details={Detail.COUNT: len(seeds)})
    text = write_file(seeds, format, issuer=settings.brand or ISSUER)
    if output is None:
        sys.stdout.write(text)
    else:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    left = [each for each in found if not isinstance(each, Seed)]
    for each in left:
        typer.echo(f"left behind {each.factor_id}: {each.reason}", err=True)
    typer.echo(f"{len(seeds)} written, {len(left)} left behind", err=True)
    if left:
        raise typer.Exit(1)


@app.command()
def remove(
    caller: Caller,
    subject: Annotated[
        str,
        typer.Option(help="The caller's id of the person.", parser=subject_id, metavar="TEXT"),
    ],
    reason: Annotated[str, typer.Option(help="Reason, for the audit log.")],
) -> None:
    """Remove all authenticators of a person who lost them, without a proof. Audited."""
    try:
        reason = checked_reason(reason, not_naming=subject)
    except ValueError as error:
        refuse([f"--reason: {error}"])
    settings = load_settings()
    refuse_if_emptied(settings)
    address = person_address(settings.ring(), caller, subject)
    record(settings, Act.FACTORS_REMOVED, caller=caller, subject=address, reason=reason)

    async def work(factors: Factors) -> int:
        found = await factors.all(address)
        for factor in found:
            await factors.remove(
                ChallengeAddress(factor.factor_id, address),
                caller=caller,
                events=True,
                proof=FactorProof(),
            )
        return len(found)

    removed = _run(settings, caller, work)
    typer.echo(f"{removed} removed")


async def _bring(
    settings: Settings, factors: Factors, caller: str, rows: list[tuple[int, Seed]]
) -> tuple[int, list[tuple[int, SeedRefused]]]:
    """Return how many are new, and which rows had no room."""
    from otp_service.services.seed_transfer import SeedTransfer

    ring = settings.ring()
    transfer = SeedTransfer(keyring=lambda: ring, factors=factors)
    full: list[tuple[int, SeedRefused]] = []

    async def one(number: int, seed: Seed) -> bool:
        try:
            return await transfer.bring(caller, seed)
        except TooManyFactors:
            full.append((number, SeedRefused("subject", "has as many authenticators as it may")))
            return False

    brought = 0
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("bringing", total=len(rows))
        for start in range(0, len(rows), AT_ONCE):
            batch = rows[start : start + AT_ONCE]
            brought += sum(await asyncio.gather(*(one(*row) for row in batch)))
            progress.advance(task, len(batch))
    return brought, full


async def _collect(settings: Settings, factors: Factors, caller: str) -> "list[Seed | LeftBehind]":
    from otp_service.services.seed_transfer import SeedTransfer

    ring = settings.ring()
    transfer = SeedTransfer(keyring=lambda: ring, factors=factors)
    return [found async for found in transfer.all_of(caller)]


def _run(settings: Settings, caller: str, work: Callable[[Factors], Awaitable[T]]) -> T:
    """Return what the work gives, with the authenticators of a caller that exists."""

    async def run(connection: Connection) -> T:
        if await Callers(connection).find(caller) is None:
            refuse([f"--caller: there is no caller {caller}"])
        scripts = Scripts(connection, durability=settings.durability)
        return await work(Factors(scripts, history_ms=settings.policy().history_ms))

    return in_redis(settings, run)
