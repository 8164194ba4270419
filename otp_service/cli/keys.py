"""
`otp-service keys`: the ring of secret keys, in the file that OTP_KEYRING_FILE names.

A new key goes through three states, with time between for every process to read the file again (5 seconds), and for
everybody who keeps our key set to fetch it again where the key signs: added, it only checks, and is published;
promoted, it makes new things and the one before only checks; retired, it does nothing.
"""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from otp_service.cli.audit import record_where_configured
from otp_service.cli.configured import refuse
from otp_service.core.audit import Act, Detail
from otp_service.core.keyring import (
    Keyring,
    KeyringError,
    Kind,
    KindMissing,
    State,
    generate,
    new_entry,
)
from otp_service.core.signing import CACHE_SECONDS

app = typer.Typer(no_args_is_help=True, help="The ring of secret keys.")

READ_SECONDS = 30  # between adding and promoting, so that no process meets a key it does not know
_SIGNS = (Kind.SIGNING, Kind.PROOF)

# Their fingerprints are where limits, subjects and live challenges are found: another key would not find them.
_FIXED = {
    Kind.ROUTE: "every live challenge and every count of wrong codes would be lost",
    Kind.PHONE: "every count of sends would be lost",
}

RingFile = Annotated[
    Path,
    typer.Option("--file", envvar="OTP_KEYRING_FILE", help="The ring's file.", show_envvar=True),
]
Kid = Annotated[str, typer.Argument(help="A key's id, as listed.")]


@app.command("generate")
def generate_ring() -> None:
    """Print a new ring with one active key of each kind, for a file of mode 0600."""
    typer.echo(generate(created_at=_now().isoformat(timespec="seconds")), nl=False)


@app.command("list")
def list_keys(file: RingFile) -> None:
    """List kinds, ids, states and ages; never a secret."""
    table = Table("kind", "kid", "state", "created")
    for entry in sorted(
        _read(file, whole=False)["keys"], key=lambda e: (e["kind"], e["created_at"])
    ):
        table.add_row(entry["kind"], entry["kid"], entry["state"], entry["created_at"])
    Console().print(table)


@app.command()
def add(kind: Annotated[Kind, typer.Argument(help="What the key is for.")], file: RingFile) -> None:
    """
    Add a key that only checks, for now; promote it once everybody who checks knows it.

    The first of its kind, in a ring of an earlier version, is active at once: nothing else can be.
    """
    ring = _read(file, whole=False)
    first = not any((e["kind"], e["state"]) == (kind, State.ACTIVE) for e in ring["keys"])
    if kind in _FIXED and not first:
        refuse([f"a key of kind {kind} is not rotated: {_FIXED[kind]}"])
    state = State.ACTIVE if first else State.VERIFY
    entry = new_entry(kind, state, created_at=_now().isoformat(timespec="seconds"))
    ring["keys"].append(entry)
    _record(Act.KEY_ADDED, entry)
    _write(file, ring)
    then = "and active" if first else f"promote it after {_wait(kind)} s"
    typer.echo(f"{entry['kid']} is added; {then}")


@app.command()
def promote(
    kid: Kid,
    file: RingFile,
    now: Annotated[
        bool, typer.Option("--now", help="Although not everybody who checks may know it yet.")
    ] = False,
) -> None:
    """
    Let a key make new things; the active one of its kind only checks from then on.

    A key that was added too recently is refused: what it makes would be refused by processes that have not read it, and
    what it signs by consumers whose copy of /.well-known/jwks.json is older than the key.
    """
    ring = _read(file)
    entry = _find(ring, kid)
    if entry["state"] != State.VERIFY:
        refuse([f"{kid} is {entry['state']}, not {State.VERIFY}"])
    age = (_now() - datetime.fromisoformat(entry["created_at"])).total_seconds()
    wait = _wait(Kind(entry["kind"]))
    if age < wait and not now:
        refuse([f"{kid} is {age:.0f} s old; wait until it is {wait}, or say --now"])
    _record(Act.KEY_PROMOTED, entry)
    for other in ring["keys"]:
        if other["kind"] == entry["kind"] and other["state"] == State.ACTIVE:
            other["state"] = State.VERIFY.value
    entry["state"] = State.ACTIVE.value
    _write(file, ring)
    typer.echo(f"{kid} is active")


@app.command()
def retire(kid: Kid, file: RingFile) -> None:
    """
    Take a key out of use: what it made is refused from then on.

    Wait until nothing of it is alive: ten minutes for pepper and proof, a day for seal, OTP_DEVICE_TTL for device; a
    seal key with enrolled authenticators, a credential key with live credentials and a signing key with receipts out
    stay.
    """
    ring = _read(file)
    entry = _find(ring, kid)
    if entry["state"] == State.ACTIVE:
        refuse([f"{kid} is active; promote another key of kind {entry['kind']} first"])
    _record(Act.KEY_RETIRED, entry)
    entry["state"] = State.RETIRED.value
    _write(file, ring)
    typer.echo(f"{kid} is retired")


def _record(act: Act, entry: dict[str, str]) -> None:
    record_where_configured(act, {Detail.KEY: entry["kid"], Detail.KIND: entry["kind"]})


def _wait(kind: Kind) -> int:
    """Return the seconds for which a key must have been there before it makes anything."""
    return READ_SECONDS + (CACHE_SECONDS if kind in _SIGNS else 0)


def _now() -> datetime:
    return datetime.now(UTC)


def _find(ring: dict[str, Any], kid: str) -> dict[str, str]:
    found: dict[str, dict[str, str]] = {entry["kid"]: entry for entry in ring["keys"]}
    if kid not in found:
        refuse([f"KID: the ring has {', '.join(found)}"])
    return found[kid]


def _read(file: Path, *, whole: bool = True) -> dict[str, Any]:
    """Return the ring; one that lacks a kind only where it need not be `whole`."""
    try:
        text = file.read_text("utf-8")
        _check(text, whole=whole)
    except (OSError, UnicodeDecodeError) as error:
        refuse([f"--file: can't be read ({type(error).__name__})"])
    except KeyringError as error:
        refuse([f"--file: {error}"])
    return dict(json.loads(text))


def _check(text: str, *, whole: bool) -> None:
    try:
        Keyring.from_json(text)
    except KindMissing:
        if whole:
            raise


def _write(file: Path, ring: dict[str, Any]) -> None:
    """Replace the file in one step, so that no process ever reads half a ring."""
    text = json.dumps(ring, indent=2) + "\n"
    _check(text, whole=False)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with open(handle, "w", encoding="utf-8") as temporary:
        os.fchmod(temporary.fileno(), file.stat().st_mode & 0o777)
        temporary.write(text)
        temporary.flush()
        os.fsync(temporary.fileno())
    Path(name).replace(file)
