"""`otp-service timeline`, `unblock`, `erase`: how it went for a person, freeing who is blocked, forgetting who goes."""

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar

import typer

from otp_service.cli.audit import operator
from otp_service.cli.configured import load_settings, refuse, subject_id
from otp_service.cli.in_redis import in_redis
from otp_service.cli.plain import console, folding_table
from otp_service.core.audit import checked_reason
from otp_service.core.challenge import MAY_HAVE_ARRIVED
from otp_service.core.test_numbers import TEST_NUMBER
from otp_service.core.timeline import TimelineEvent, TimelineEventType
from otp_service.errors import ChallengeNotFound, DestinationRefused, RateLimited
from otp_service.services.erasure import Erasure
from otp_service.services.support import History, Person, Support
from otp_service.store.audit import Audit
from otp_service.store.connection import Connection
from otp_service.store.guards import FACTORS

T = TypeVar("T")

Caller = Annotated[str, typer.Argument(help="Caller of the person.")]
SubjectId = Annotated[
    str | None,
    typer.Option(help="The caller's id of the person.", parser=subject_id, metavar="TEXT"),
]
InsteadOfSubject = Annotated[
    str | None,
    typer.Option("--to", "--number", help="Number of the person, if the caller uses no subjects."),
]
Reason = Annotated[
    str, typer.Option(help="Reason for the audit log, such as a ticket; no names or numbers.")
]

_SAID = {
    TimelineEventType.REFUSED: "request refused",
    TimelineEventType.RESENT: "requested again",
    TimelineEventType.SENDING: "handed to the site",
    TimelineEventType.ACCEPTED: "taken by the site",
    TimelineEventType.FAILED: "not sent",
    TimelineEventType.UNKNOWN: "sent or not: unknown",
    TimelineEventType.APPROVED: "right code",
    TimelineEventType.EXHAUSTED: "tries used up",
    TimelineEventType.REPLACED: "replaced by a newer request",
    TimelineEventType.ISSUED: "recovery codes issued",
    TimelineEventType.REUSED: "a used token came again",
}
_EXPIRING = (TimelineEventType.REQUESTED, TimelineEventType.RESENT, TimelineEventType.REMEMBERED)


def timeline(
    caller: Caller,
    subject: SubjectId = None,
    to: Annotated[
        str | None, typer.Option("--to", "--number", help="Number that codes were sent to.")
    ] = None,
    challenge: Annotated[str | None, typer.Option(help="Id of a challenge.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as POST /timeline returns it.")
    ] = False,
) -> None:
    """Show the events of a person or a challenge in the last day, without codes. Audited."""
    if sum(given is not None for given in (subject, to, challenge)) != 1:
        refuse(["--subject, --to or --challenge: exactly one of them"])

    async def work(support: Support) -> list[History]:
        if challenge is not None:
            return await support.of_challenge(caller, challenge, by=operator())
        return await support.of_person(caller, Person(subject=subject, to=to), by=operator())

    found = _run(lambda desk: work(desk.support))
    if as_json:
        from otp_service.web.support import view

        typer.echo(json.dumps([view(history).model_dump(mode="json") for history in found]))
        return
    if not any(history.moments or history.blocks for history in found):
        typer.echo("nothing is known of the last day")
        return
    for history in found:
        _show(history)


def unblock(
    caller: Caller,
    reason: Reason,
    subject: SubjectId = None,
    to: InsteadOfSubject = None,
    factor: Annotated[str, typer.Option(help=f"Of {', '.join(FACTORS)}.")] = "sms",
) -> None:
    """Allow a blocked person five more attempts with one factor. The long-term counts are not reset. Audited."""
    if (subject is None) == (to is None):
        refuse(["--subject or --to: exactly one of them"])
    if factor not in FACTORS:
        refuse([f"--factor: one of {', '.join(FACTORS)}"])
    reason, person = _checked(reason, subject), Person(subject=subject, to=to)
    tries = _run(
        lambda desk: desk.support.unblock(
            caller, person, factor=factor, reason=reason, by=operator()
        )
    )
    if not tries:
        typer.echo(f"not blocked with {factor}: nothing to do")
        return
    typer.echo(f"unblocked with {factor}: {tries} more tries")


def erase(
    caller: Caller, reason: Reason, subject: SubjectId = None, to: InsteadOfSubject = None
) -> None:
    """Erase a person's data: authenticators, recovery codes, devices, challenges, timeline. Audited."""
    if (subject is None) == (to is None):
        refuse(["--subject or --to: exactly one of them"])
    reason, person = _checked(reason, subject), Person(subject=subject, to=to)
    erased = _run(lambda desk: desk.erasure.erase(caller, person, reason=reason, by=operator()))
    typer.echo(
        f"erased: {erased.factors} authenticators, {erased.recovery_codes} recovery codes, {erased.devices} devices, "
        f"{erased.challenges} challenges"
    )


def _checked(reason: str, subject: str | None) -> str:
    try:
        return checked_reason(reason, not_naming=subject)
    except ValueError as error:
        refuse([f"--reason: {error}"])


def _show(history: History) -> None:
    shown, here = console(), datetime.now().astimezone()
    offset = here.isoformat()[-6:]
    who = history.subject or "who has the number"
    shown.print(f"{who}, times in {here.tzname()} (UTC{offset})")
    for factor, until in history.blocks.items():
        when = f"until {_time(until):%Y-%m-%d %H:%M:%S}" if until is not None else "until freed"
        shown.print(f"blocked now: {factor} {when}", style="red")
    named = {name: f"#{n}" for n, name in enumerate(dict.fromkeys(_names(history)), 1)}
    table = folding_table("at", "of", "what", "details")
    unsent = {(m.id, m.generation) for m in history.moments if m.reason == TEST_NUMBER}
    for moment in history.moments:
        if moment.what is TimelineEventType.SENDING and (moment.id, moment.generation) in unsent:
            continue  # nobody was handed anything
        of = f"{moment.factor} {named.get(moment.id or '', '')}"
        at = _time(moment.at)
        table.add_row(
            f"{at:%Y-%m-%d %H:%M:%S}", of, event_text(moment), ", ".join(_details(moment, at))
        )
    shown.print(table)
    for name, number in named.items():
        ref = history.client_refs.get(name)
        said = f"{number} {name}" + (f" ({ref})" if ref else "")
        shown.print(said, soft_wrap=True)


def event_text(moment: TimelineEvent) -> str:
    """Return what the table says of an event."""
    if moment.reason == TEST_NUMBER:
        return "test number: no SMS"
    if moment.what is TimelineEventType.FAILED and moment.reason in MAY_HAVE_ARRIVED:
        return "failed, but may have arrived"
    return _SAID.get(moment.what, moment.what)


def _names(history: History) -> Iterator[str]:
    return (moment.id for moment in history.moments if moment.id is not None)


def _details(moment: TimelineEvent, at: datetime) -> list[str]:
    said = []
    if moment.purpose is not None:
        said.append(moment.purpose)
    if moment.generation is not None:
        said.append(f"code {moment.generation}")
    if moment.attempt is not None:
        said.append(f"try {moment.attempt} of {moment.of}")
    if moment.reason not in (None, TEST_NUMBER):
        said.append(f"because of {moment.reason}")
    if moment.remaining is not None:
        said.append(f"{moment.remaining} left")
    if moment.until is not None:
        until = _time(moment.until)
        verb = "expires" if moment.what in _EXPIRING else "until"
        when = f"{until:%H:%M:%S}" if until.date() == at.date() else f"{until:%Y-%m-%d %H:%M:%S}"
        said.append(f"{verb} {when}")
    elif moment.what is TimelineEventType.BLOCKED:
        said.append("until freed")
    return said


def _time(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000).astimezone()


@dataclass(frozen=True, slots=True)
class _Desk:
    support: Support
    erasure: Erasure


def _run(work: Callable[[_Desk], Awaitable[T]]) -> T:
    from otp_service.container import make_erasure, make_support
    from otp_service.store.scripts import Scripts

    settings = load_settings()
    policy, ring = settings.policy(), settings.ring()

    def run(connection: Connection) -> Awaitable[T]:
        scripts = Scripts(connection, durability=settings.durability)
        audit = Audit(scripts, lambda: ring, days=settings.audit_days)
        made = (policy, lambda: ring, scripts, audit)
        return work(_Desk(make_support(*made), make_erasure(*made)))

    try:
        return in_redis(settings, run)
    except ChallengeNotFound:
        refuse(["--challenge: never existed, of another caller, or older than a day"])
    except DestinationRefused as error:
        refuse([f"--to: {error.detail}"])
    except RateLimited as error:
        refuse([f"the limit OTP_LIMIT_{error.limit.upper()} is reached for {error.retry_after} s"])
