"""`otp-service callers`: who may call, with which credentials. Only keyed digests of them are stored."""

import re
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Column

from otp_service.cli.audit import record
from otp_service.cli.caller_identities import (
    CertificateSan,
    CertificateSha256,
    JwtSubject,
    bound,
    check_free,
    forget,
    identify,
    named,
)
from otp_service.cli.caller_policy import policy
from otp_service.cli.caller_records import Name, change, existing, with_callers
from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.plain import console, folding_table
from otp_service.core import credentials
from otp_service.core.audit import Act, Detail
from otp_service.core.credentials import CALLER_NAME, MAX_LIVE, SCOPES, StoredCredential
from otp_service.store.callers import CallerRecord

app = typer.Typer(no_args_is_help=True, help="Callers, their credentials, identities and policies.")
app.command("policy")(policy)
app.command("identify")(identify)

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,5})([mhd])", re.ASCII)

ExpiresIn = Annotated[
    str | None,
    typer.Option(help="Validity of the credential, such as 90d or 12h. Default: no expiry."),
]


@app.command()
def create(
    name: Name,
    scope: Annotated[list[str], typer.Option(help=f"Scope; repeatable. Of {', '.join(SCOPES)}.")],
    expires_in: ExpiresIn = None,
    jwt_subject: JwtSubject = None,
    certificate_sha256: CertificateSha256 = None,
    certificate_san: CertificateSan = None,
) -> None:
    """Create a caller and print its credential once. A caller with a token or certificate gets one by `rotate`."""
    if CALLER_NAME.fullmatch(name) is None:
        refuse(["NAME: a-z, 0-9 and -, 32 at most, not - at the ends"])
    _refuse_unknown("--scope", scope)
    given = named(jwt_subject, certificate_sha256, certificate_san)
    settings, now = load_settings(), int(time.time())
    new, shown = CallerRecord(name, frozenset(scope), now, ()), f"{name} is created"
    about = {Detail.SCOPES: " ".join(sorted(new.scopes))}
    if not given:
        ends = seconds(expires_in)
        shown, stored = credentials.issue(settings.ring(), name, now=now, expires_in=ends)
        new = replace(new, credentials=(stored,))
        about[Detail.CREDENTIAL] = stored.id
    else:
        about[Detail.IDENTITIES] = ", ".join(map(str, given))
    taken = f"NAME: there is a caller {name} already; see `otp-service callers rotate {name}`"
    if with_callers(settings, lambda callers: callers.find(name)) is not None:
        refuse([taken])
    check_free(settings, new, given)
    record(settings, Act.CALLER_CREATED, caller=name, details=about)
    if given:
        new = bound(settings, new, given)
    if not with_callers(settings, lambda callers: callers.create(new)):
        refuse([taken])
    typer.echo(shown)


@app.command("list")
def list_callers() -> None:
    """List callers, scopes and credentials; never a secret."""
    table = folding_table(
        "caller", Column("scopes", no_wrap=True), "policy", "credential", "created", "expires"
    )
    for found in with_callers(load_settings(), lambda callers: callers.all()):
        scopes = "\n".join(sorted(found.scopes))
        for number, stored in enumerate(found.credentials or (None,)):
            own = " ".join(f"{name}={text}" for name, text in found.policy.texts().items())
            shown = (found.name, scopes, own) if number == 0 else ("", "", "")
            table.add_row(*shown, *_row(stored))
    console().print(table)


@app.command()
def show(name: Name) -> None:
    """Show one caller: scopes, credentials, identities and its own policy; never a secret."""
    found = existing(load_settings(), name)
    typer.echo(f"{found.name}: {', '.join(sorted(found.scopes))}")
    for stored in found.credentials:
        _, made, ends = _row(stored)
        typer.echo(f"  credential {stored.id}, created {made}, expires {ends}")
    for known in found.identities:
        typer.echo(f"  {known.kind} {known.value}")
    for field, text in found.policy.texts().items():
        typer.echo(f"  {field} = {text}")


@app.command()
def scopes(
    name: Name,
    add: Annotated[list[str] | None, typer.Option(help="Scope to add; repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Scope to remove; repeatable.")] = None,
) -> None:
    """Add or remove scopes of a caller and show them; credentials stay valid. Takes effect within 5 seconds."""
    _refuse_unknown("--add", add or ())
    _refuse_unknown("--remove", remove or ())
    settings = load_settings()
    known = existing(settings, name)
    wanted = (known.scopes | set(add or ())) - set(remove or ())
    if not wanted:
        refuse([f"nothing would be left; see `otp-service callers revoke {name}`"])
    if wanted != known.scopes:
        told = {Detail.SCOPES: " ".join(sorted(wanted))}
        record(settings, Act.CALLER_SCOPES_CHANGED, caller=name, details=told)
        change(settings, replace(known, scopes=frozenset(wanted)))
    typer.echo(f"{name}: {', '.join(sorted(wanted))}")


@app.command()
def rotate(name: Name, expires_in: ExpiresIn = None) -> None:
    """Print a second credential, once; the older one stays valid until it is revoked."""
    settings, now = load_settings(), int(time.time())
    known = existing(settings, name)
    live = [c for c in known.credentials if c.expires_at is None or c.expires_at > now]
    if len(live) >= MAX_LIVE:
        refuse([f"{name} has {MAX_LIVE} live credentials; revoke {live[0].id} first"])
    text, stored = credentials.issue(settings.ring(), name, now=now, expires_in=seconds(expires_in))
    record(settings, Act.CALLER_ROTATED, caller=name, details={Detail.CREDENTIAL: stored.id})
    change(settings, replace(known, credentials=(*live, stored)))
    typer.echo(text)


@app.command()
def revoke(
    name: Name,
    credential: Annotated[
        str | None,
        typer.Option(help="Id of one credential. Default: the caller with all credentials."),
    ] = None,
) -> None:
    """Revoke one credential, or a caller with all of them; refused everywhere within 5 seconds."""
    settings = load_settings()
    known = existing(settings, name)
    if credential is None:
        record(settings, Act.CALLER_REVOKED, caller=name)
        forget(settings, known)
        with_callers(settings, lambda callers: callers.remove(name))
        typer.echo(f"{name} is gone")
        return
    left = tuple(stored for stored in known.credentials if stored.id != credential)
    if len(left) == len(known.credentials):
        ids = ", ".join(stored.id for stored in known.credentials)
        refuse([f"--credential: {name} has {ids or 'none'}"])
    record(settings, Act.CALLER_REVOKED, caller=name, details={Detail.CREDENTIAL: credential})
    change(settings, replace(known, credentials=left))
    typer.echo(f"{credential} of {name} is revoked")


def seconds(duration: str | None) -> int | None:
    """Return the seconds in `90d`, `12h` or `30m`; None for None. Exits 1 on another shape."""
    if duration is None:
        return None
    match = _DURATION.fullmatch(duration)
    if match is None or int(match[1]) == 0:
        refuse(["--expires-in: such as 90d, 12h or 30m"])
    return int(match[1]) * _UNITS[match[2]]


def _refuse_unknown(option: str, scopes: Iterable[str]) -> None:
    if unknown := sorted(set(scopes) - set(SCOPES)):
        refuse([f"{option} {word}: there are {', '.join(SCOPES)}" for word in unknown])


def _row(stored: StoredCredential | None) -> tuple[str, str, str]:
    if stored is None:
        return ("none", "", "")
    expires = "never" if stored.expires_at is None else _date(stored.expires_at)
    return (stored.id, _date(stored.created_at), expires)


def _date(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M UTC")
