"""What help desks send and get."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.types import JsonValue

from otp_service.core.audit import MAX_REASON, checked_reason
from otp_service.core.timeline import Happening
from otp_service.web.models import EXAMPLE_ID, ChallengeId, Given, Moment, Sent, Subject

FactorName = Annotated[
    Literal["sms", "totp", "recovery"],
    Field(description="Wrong codes are counted for each by itself."),
]
EntryFactor = Annotated[
    Literal["sms", "totp", "recovery", "device"],
    Field(description="What it happened to; `device` is a remembered one."),
]
Number = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        description="The person's number, in international form, in any usual spelling.",
        examples=["+14155550123"],
    ),
]


Reason = Annotated[
    str,
    AfterValidator(checked_reason),
    Field(
        min_length=1,
        max_length=MAX_REASON,
        description="For the audit log, where it is kept: a ticket, never the person or a number.",
        examples=["called the help desk, ticket 17"],
    ),
]


def _one_of(*names: str, example: JsonDict) -> ConfigDict:
    one: list[JsonValue] = [
        {"required": [name], "properties": {name: {"type": "string"}}} for name in names
    ]
    return ConfigDict(json_schema_extra={"oneOf": one, "examples": [example]})


class TimelineBody(Sent):
    model_config = _one_of("subject", "to", "challenge_id", example={"to": "+14155550123"})

    subject: Subject | None = None
    to: Number | None = None
    challenge_id: ChallengeId | None = None


class ActOnPerson(Sent):
    subject: Subject | None = None
    to: Annotated[
        Number | None,
        Field(description="Where you give no subject: the number stands for the person."),
    ] = None
    reason: Reason


class UnblockBody(ActOnPerson):
    model_config = _one_of(
        "subject", "to", example={"subject": "user-4711", "reason": "called, ticket 17"}
    )

    factor: FactorName = "sms"


class EraseBody(ActOnPerson):
    model_config = _one_of(
        "subject", "to", example={"subject": "user-4711", "reason": "account closed, ticket 18"}
    )


class TimelineEntry(Given):
    at: Moment
    event: Annotated[Happening, Field(description="See docs/operations.md.")]
    factor: EntryFactor
    challenge_id: Annotated[str | None, Field(examples=[EXAMPLE_ID])]
    factor_id: Annotated[str | None, Field(examples=[None])]
    device_id: Annotated[str | None, Field(examples=[None])]
    purpose: Annotated[str | None, Field(examples=["login"])]
    client_ref: Annotated[str | None, Field(examples=["checkout-17"])]
    generation: Annotated[
        int | None, Field(description="Which code of the challenge.", examples=[1])
    ]
    reason: Annotated[
        str | None,
        Field(
            description="Of `failed` and `unknown`, as in `delivery`; of `refused`: `blocked`, or the limit's name.",
            examples=["timeout"],
        ),
    ]
    attempt: Annotated[int | None, Field(description="Try number so …", examples=[1])]
    attempts_allowed: Annotated[int | None, Field(description="… of so many.", examples=[5])]
    until: Annotated[
        str | None,
        Field(
            description="RFC 3339: when the code or device expires, or the refusal or block ends.",
            examples=["2026-11-23T12:05:00.000Z"],
        ),
    ]
    remaining: Annotated[int | None, Field(description="Recovery codes left.", examples=[9])]


class Block(Given):
    factor: FactorName
    blocked_until: Annotated[
        str | None,
        Field(
            description="RFC 3339; null: until it is freed, or another factor succeeds.",
            examples=["2026-11-23T12:30:00.000Z"],
        ),
    ]


class Timeline(Given):
    subject: Annotated[
        str | None,
        Field(description="Null where the number stands for the person.", examples=["user-4711"]),
    ]
    blocks: Annotated[list[Block], Field(description="What is blocked now.")]
    entries: Annotated[list[TimelineEntry], Field(description="The oldest first.")]


class Timelines(Given):
    timelines: Annotated[
        list[Timeline],
        Field(description="One; by number, one for each person to whom codes went there, or none."),
    ]


class Unblocked(Given):
    status: Annotated[
        Literal["unblocked", "not_blocked"],
        Field(description="`not_blocked`: there was nothing to do, and nothing was done."),
    ]
    factor: FactorName
    tries: Annotated[
        int, Field(ge=0, description="Wrong codes until the next block.", examples=[5])
    ]


class Erased(Given):
    status: Annotated[Literal["erased"], Field(description="Done, also where there was nothing.")]
    factors: Annotated[int, Field(ge=0, description="How many there were.", examples=[1])]
    recovery_codes: Annotated[int, Field(ge=0, description="That were left.", examples=[9])]
    devices: Annotated[int, Field(ge=0, examples=[2])]
    challenges: Annotated[int, Field(ge=0, description="Live and ended ones.", examples=[3])]
