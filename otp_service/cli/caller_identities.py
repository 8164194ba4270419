"""`otp-service callers identify`: as whom a caller may come besides its credentials, by token or certificate."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from otp_service.cli.audit import record
from otp_service.cli.caller_records import Name, change, existing, with_callers
from otp_service.cli.configured import load_settings, refuse
from otp_service.core.audit import Act, Detail
from otp_service.core.identities import MAX_IDENTITIES, Identity, IdentityKind, bind, identity
from otp_service.core.keyring import Keyring
from otp_service.settings.table import Settings
from otp_service.store.callers import CallerRecord, Callers

JwtSubject = Annotated[
    list[str] | None,
    typer.Option(help="Subject of the caller's JWTs from OTP_CALLER_ISSUER."),
]
CertificateSha256 = Annotated[
    list[str] | None,
    typer.Option(help="SHA-256 of the caller's certificate (DER), in hex."),
]
CertificateSan = Annotated[
    list[str] | None,
    typer.Option(help="URI (SPIFFE) or DNS name of the caller's certificates."),
]


def identify(
    name: Name,
    jwt_subject: JwtSubject = None,
    certificate_sha256: CertificateSha256 = None,
    certificate_san: CertificateSan = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove these instead; refused within 5 seconds.")
    ] = False,
) -> None:
    """Register a token subject or certificate of a caller."""
    settings = load_settings()
    known = existing(settings, name)
    given = named(jwt_subject, certificate_sha256, certificate_san)
    if not given:
        refuse(["name a --jwt-subject, --certificate-sha256 or --certificate-san"])
    if remove:
        _remove(settings, known, given)
    else:
        check_free(settings, known, given)
        record(settings, Act.CALLER_IDENTIFIED, caller=name, details=_told(given))
        change(settings, bound(settings, known, given))
    typer.echo(f"{name}: {', '.join(map(str, given))} {'removed' if remove else 'added'}")


def named(
    subjects: Iterable[str] | None, hashes: Iterable[str] | None, names: Iterable[str] | None
) -> list[Identity]:
    """Return the identities of those options; exits 1 for what can be none."""
    found, wrong = [], []
    for kind, texts in (
        (IdentityKind.JWT_SUBJECT, subjects),
        (IdentityKind.CERTIFICATE_SHA256, hashes),
        (IdentityKind.CERTIFICATE_SAN, names),
    ):
        for text in texts or ():
            try:
                found.append(identity(kind, text))
            except ValueError as error:
                wrong.append(f"--{kind}: {error}")
    if wrong:
        refuse(wrong)
    return list(dict.fromkeys(found))


def check_free(settings: Settings, known: CallerRecord, given: Sequence[Identity]) -> None:
    """Exit 1 when these are too many for the caller, or one is another's; nothing is changed."""
    fresh = [one for one in given if not known.has(one)]
    if len(known.identities) + len(fresh) > MAX_IDENTITIES:
        refuse([f"{known.name}: at most {MAX_IDENTITIES} identities"])

    async def holders(callers: Callers) -> list[str | None]:
        return list(await asyncio.gather(*(callers.holder(one) for one in fresh)))

    _refuse_taken(known, dict(zip(fresh, with_callers(settings, holders), strict=True)))


def bound(settings: Settings, known: CallerRecord, given: Sequence[Identity]) -> CallerRecord:
    """Return the record with these identities, which now lead to it; exits 1 when another was first."""

    async def bind_all(callers: Callers) -> list[str | None]:
        return list(await asyncio.gather(*(callers.bind(one, known.name) for one in given)))

    _refuse_taken(known, dict(zip(given, with_callers(settings, bind_all), strict=True)))
    ring: Keyring = settings.ring()
    kept = [stored for stored in known.identities if not _among(given, stored.kind, stored.value)]
    new = [bind(ring, known.name, one) for one in given]
    return replace(known, identities=(*kept, *new))


def _refuse_taken(known: CallerRecord, held: Mapping[Identity, str | None]) -> None:
    others = {one: name for one, name in held.items() if name not in (None, known.name)}
    if others:
        refuse([f"--{one.kind}: {one.value} is {name}'s" for one, name in others.items()])


def _remove(settings: Settings, known: CallerRecord, given: Sequence[Identity]) -> None:
    if missing := [str(one) for one in given if not known.has(one)]:
        refuse([f"{known.name} has no {one}" for one in missing])
    left = tuple(
        stored for stored in known.identities if not _among(given, stored.kind, stored.value)
    )
    record(settings, Act.CALLER_IDENTITY_REMOVED, caller=known.name, details=_told(given))
    change(settings, replace(known, identities=left))
    _unlead(settings, given)


def forget(settings: Settings, known: CallerRecord) -> None:
    """Let the identities of a caller that goes lead nowhere."""
    _unlead(settings, [Identity(IdentityKind(one.kind), one.value) for one in known.identities])


def _unlead(settings: Settings, given: Sequence[Identity]) -> None:
    async def unbind_all(callers: Callers) -> None:
        for one in given:
            await callers.unbind(one)

    with_callers(settings, unbind_all)


def _told(given: Sequence[Identity]) -> dict[Detail, str]:
    return {Detail.IDENTITIES: ", ".join(map(str, given))}


def _among(given: Sequence[Identity], kind: str, value: str) -> bool:
    return any((one.kind, one.value) == (kind, value) for one in given)
