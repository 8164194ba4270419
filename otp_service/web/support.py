"""A caller's help desk over HTTP. What is asked for stands in the body: no number belongs into a URL."""

from dataclasses import asdict

from otp_service.core.audit import checked_reason
from otp_service.core.timeline import TimelineEvent
from otp_service.errors import FieldError, InvalidRequest
from otp_service.services.support import History, Person
from otp_service.web.operations import Answer, Call
from otp_service.web.problems import rfc3339
from otp_service.web.support_models import (
    ActOnPerson,
    Block,
    EraseBody,
    Erased,
    Timeline,
    TimelineBody,
    TimelineEntry,
    Timelines,
    UnblockBody,
    Unblocked,
)


async def read_timeline(call: Call) -> Answer:
    sent: TimelineBody = call.body
    _require_one(subject=sent.subject, to=sent.to, challenge_id=sent.challenge_id)
    caller, by, support = call.caller.name, f"caller:{call.caller.name}", call.service.support
    if sent.challenge_id is not None:
        found = await support.of_challenge(caller, sent.challenge_id, by=by)
    else:
        found = await support.of_person(caller, Person(subject=sent.subject, to=sent.to), by=by)
    return Answer(Timelines(timelines=[view(history) for history in found]))


async def unblock_subject(call: Call) -> Answer:
    sent: UnblockBody = call.body
    reason = _checked(sent)
    tries = await call.service.support.unblock(
        call.caller.name,
        Person(subject=sent.subject, to=sent.to),
        factor=sent.factor,
        reason=reason,
        by=f"caller:{call.caller.name}",
        handle=call.handle,
    )
    return Answer(
        Unblocked(
            status="unblocked" if tries else "not_blocked",
            factor=sent.factor,
            tries=tries,
        )
    )


async def erase_subject(call: Call) -> Answer:
    sent: EraseBody = call.body
    erased = await call.service.erasure.erase(
        call.caller.name,
        Person(subject=sent.subject, to=sent.to),
        reason=_checked(sent),
        by=f"caller:{call.caller.name}",
    )
    return Answer(Erased.model_validate({"status": "erased", **asdict(erased)}))


def _checked(sent: ActOnPerson) -> str:
    """Return the reason, when exactly one person is named and not in it."""
    _require_one(subject=sent.subject, to=sent.to)
    try:
        return checked_reason(sent.reason, not_naming=sent.subject)
    except ValueError as error:
        raise InvalidRequest(FieldError("reason", str(error))) from None


def _require_one(**given: str | None) -> None:
    names = list(given)
    if sum(value is not None for value in given.values()) != 1:
        reason = f"give exactly one of {', '.join(names)}"
        raise InvalidRequest(*(FieldError(name, reason) for name in names))


def view(history: History) -> Timeline:
    """Return a history as callers get it."""
    return Timeline(
        subject=history.subject,
        blocks=[
            Block.model_validate({"factor": factor, "blocked_until": _at(until)})
            for factor, until in history.blocks.items()
        ],
        entries=[_entry(moment, history) for moment in history.moments],
    )


def _entry(moment: TimelineEvent, history: History) -> TimelineEntry:
    kind = "device_id" if moment.factor == "device" else "factor_id"
    kind = "challenge_id" if moment.of_challenge else kind
    ids = dict.fromkeys(("challenge_id", "factor_id", "device_id")) | {kind: moment.id}
    return TimelineEntry.model_validate(
        {
            "at": rfc3339(moment.at),
            "event": moment.what,
            "factor": moment.factor,
            **ids,
            "purpose": moment.purpose,
            "client_ref": history.client_refs.get(moment.id or ""),
            "generation": moment.generation,
            "reason": moment.reason,
            "attempt": moment.attempt,
            "attempts_allowed": moment.of,
            "until": _at(moment.until),
            "remaining": moment.remaining,
        }
    )


def _at(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)
