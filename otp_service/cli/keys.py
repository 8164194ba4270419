"""
`otp-service keys`: the ring of secret keys, in the file that OTP_KEYRING_FILE names.

A new key goes through three states, with time between for every process to read the file again (5 seconds), and for
everybody who keeps our key set to fetch it again where the key signs: added, it only checks, and is published;
promoted, it makes new things and the one before only checks; retired, it does nothing. `reseal` brings what lasts under
the new keys, and `retire` refuses while anything depends on the old one.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from otp_service.cli import ring_file
from otp_service.cli.audit import record_where_configured
from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.in_redis import in_redis, refuse_if_emptied
from otp_service.cli.plain import console, folding_table
from otp_service.core.audit import Act, Detail
from otp_service.core.keyring import (
    Keyring,
    Kind,
    State,
    generate,
    new_entry,
    retired,
)
from otp_service.services import resealing
from otp_service.settings.table import Settings
from otp_service.store.callers import Callers
from otp_service.store.connection import Connection
from otp_service.store.reencryption import ReencryptionScan
from otp_service.store.scripts import Scripts

app = typer.Typer(no_args_is_help=True, help="Manage the key ring.")
T = TypeVar("T")

_MARKS_KEPT_APART = (
    10  # ids tell their route key by one of 15 marks; those of the newest keys differ
)

RingFile = Annotated[
    Path,
    typer.Option("--file", envvar="OTP_KEYRING_FILE", help="The ring's file.", show_envvar=True),
]
Kid = Annotated[str, typer.Argument(help="A key's id, as listed.")]


@app.command("generate")
def generate_ring() -> None:
    """Print a new ring with one active key of each kind, for a file of mode 0600."""
    typer.echo(generate(created_at=_now()), nl=False)


@app.command("list")
def list_keys(file: RingFile) -> None:
    """List kinds, ids, states and ages; never a secret."""
    table = folding_table("kind", "kid", "state", "created", "replaced")
    for entry in sorted(
        ring_file.read(file, incomplete=True)["keys"], key=lambda e: (e["kind"], e["created_at"])
    ):
        table.add_row(
            entry["kind"],
            entry["kid"],
            entry["state"],
            _shown(entry["created_at"]),
            _shown(entry["replaced_at"]) if "replaced_at" in entry else "",
        )
    console().print(table)


@app.command()
def add(kind: Annotated[Kind, typer.Argument(help="Kind of key.")], file: RingFile) -> None:
    """
    Add a key that only verifies. Promote it once every process and consumer knows it.

    The first key of a kind, in a ring of an earlier version, is active at once.
    """
    from otp_service.services.rotation import promotable_seconds

    ring = ring_file.read(file, incomplete=True)
    kids = [entry["kid"] for entry in ring["keys"] if entry["kind"] == kind]
    if kind is Kind.NAME and kids:
        refuse(["a key of kind name is not rotated: with another one nobody is found again"])
    entry = new_entry(
        kind,
        State.VERIFY if kids else State.ACTIVE,
        created_at=_now(),
        beside=kids[-_MARKS_KEPT_APART:] if kind is Kind.ROUTE else (),
    )
    ring["keys"].append(entry)
    _record(Act.KEY_ADDED, entry)
    ring_file.write(file, ring, incomplete=True)
    typer.echo(
        f"{entry['kid']} is added; promote it after {promotable_seconds(kind)} s"
        if kids
        else f"{entry['kid']} is added and active"
    )


@app.command()
def promote(
    kid: Kid,
    file: RingFile,
    now: Annotated[
        bool,
        typer.Option(
            "--now", help="Promote although some processes or consumers may not know the key."
        ),
    ] = False,
) -> None:
    """
    Make a key the active one of its kind; the previous one only verifies from then on.

    A key that was added too recently is refused, because processes and consumers with a cached
    /.well-known/jwks.json may not know it yet.
    """
    from otp_service.services.rotation import promotable_seconds

    ring = ring_file.read(file)
    entry = ring_file.find(ring, kid)
    if entry["state"] != State.VERIFY:
        refuse([f"{kid} is {entry['state']}, not {State.VERIFY}"])
    age = (datetime.now(UTC) - datetime.fromisoformat(entry["created_at"])).total_seconds()
    wait = promotable_seconds(Kind(entry["kind"]))
    if age < wait and not now:
        refuse([f"{kid} is {age:.0f} s old; wait until it is {wait}, or say --now"])
    _record(Act.KEY_PROMOTED, entry)
    for other in ring["keys"]:
        if other["kind"] == entry["kind"] and other["state"] == State.ACTIVE:
            other["state"] = State.VERIFY.value
            other["replaced_at"] = _now()
    entry["state"] = State.ACTIVE.value
    entry.pop("replaced_at", None)
    ring_file.write(file, ring)
    typer.echo(f"{kid} is active")


@app.command()
def reseal(
    file: RingFile,
    erase: Annotated[
        bool,
        typer.Option(
            "--erase-orphans",
            help="Erase data under retired route keys, which cannot be found any more.",
        ),
    ] = False,
) -> None:
    """
    Re-encrypt stored data with the active seal and route keys: authenticators, webhook endpoints, wrong-code counts.

    Run it half a minute after promoting a seal or route key. It can run while the service runs, and it can be
    interrupted and repeated.
    """
    settings = load_settings()
    refuse_if_emptied(settings)
    text = json.dumps(ring_file.read(file))
    ring, orphaned = Keyring.from_json(text), retired(text, Kind.ROUTE) if erase else ()
    if erase:
        kids = ", ".join(key.kid for key in orphaned)
        if not kids:
            refuse(["--erase-orphans: the ring has no retired route key"])
        record_where_configured(Act.ORPHANS_ERASED, {Detail.KEY: kids, Detail.KIND: Kind.ROUTE})

    async def work(lasting: ReencryptionScan, _: Callers) -> resealing.Resealed:
        return await resealing.reseal(
            lasting, ring, lambda n: typer.echo(f"{n} looked at …", err=True), erasing=orphaned
        )

    result = _in_redis(settings, work)
    typer.echo(f"done: {_counted(result.done) or 'nothing was to do'}")
    if result.lost:
        refuse([f"{len(result.lost)} left, which no key of the ring opens:", *result.lost])


@app.command()
def retire(
    kid: Kid,
    file: RingFile,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Retire although something depends on the key; that becomes invalid."
        ),
    ] = False,
) -> None:
    """Retire a key: everything made with it is refused from then on. Fails while something depends on it."""
    ring = ring_file.read(file)
    entry = ring_file.find(ring, kid)
    if entry["state"] == State.ACTIVE:
        refuse([f"{kid} is active; promote another key of kind {entry['kind']} first"])
    if not force and (reasons := _reasons_to_stay(ring, entry)):
        refuse([*(f"{kid}: {reason}" for reason in reasons), "--force voids all that"])
    _record(Act.KEY_RETIRED, entry)
    entry["state"] = State.RETIRED.value
    ring_file.write(file, ring)
    typer.echo(f"{kid} is retired")


def _record(act: Act, entry: dict[str, str]) -> None:
    record_where_configured(act, {Detail.KEY: entry["kid"], Detail.KIND: entry["kind"]})


def _reasons_to_stay(ring: dict[str, Any], entry: dict[str, str]) -> list[str]:
    from otp_service.services.rotation import needed_seconds

    kind, kid = Kind(entry["kind"]), entry["kid"]
    if "replaced_at" not in entry:
        return []  # it has never made anything
    settings = load_settings()
    seconds = needed_seconds(kind, settings.policy())
    if seconds is None:
        return ["what it has signed is checked for as long as anybody keeps it"]
    until = datetime.fromisoformat(entry["replaced_at"]) + timedelta(seconds=seconds)
    if until > datetime.now(UTC):
        return [f"what it made lives until {until.isoformat(timespec='seconds')}"]
    keyring = Keyring.from_json(json.dumps(ring))

    async def work(lasting: ReencryptionScan, callers: Callers) -> Counter[str]:
        if kind in (Kind.SEAL, Kind.ROUTE):
            return await resealing.dependents(lasting, keyring, kind, kid)
        if kind is Kind.CREDENTIAL:
            return await _credentials(callers, kid)
        return Counter()

    advice = "callers rotate" if kind is Kind.CREDENTIAL else "keys reseal"
    left = _in_redis(settings, work)
    refuse_if_emptied(settings)  # after the look: Redis may have been emptied meanwhile
    return [f"depends on it: {_counted(left)}; see `otp-service {advice}`"] if left else []


async def _credentials(callers: Callers, kid: str) -> Counter[str]:
    now = datetime.now(UTC).timestamp()
    return Counter(
        f"credential {credential.id} of {record.name}"
        for record in await callers.all()
        for credential in record.credentials
        if credential.kid == kid and (credential.expires_at is None or credential.expires_at > now)
    )


def _in_redis(settings: Settings, work: Callable[[ReencryptionScan, Callers], Awaitable[T]]) -> T:
    def run(connection: Connection) -> Awaitable[T]:
        scripts = Scripts(connection, durability=settings.durability)
        return work(ReencryptionScan(scripts), Callers(connection))

    return in_redis(settings, run)


def _counted(words: Counter[str]) -> str:
    return ", ".join(f"{count} × {word}" for word, count in sorted(words.items()))


def _shown(moment: str) -> str:
    """Return a time of the ring for people; its seconds don't fit a terminal of 80 columns."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
