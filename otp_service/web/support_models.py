"""Request and response models of the help desk."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.types import JsonValue

from otp_service.core.audit import MAX_REASON, checked_reason
from otp_service.core.timeline import TimelineEventType
from otp_service.web.models import (
    EXAMPLE_ID,
    ChallengeId,
    Moment,
    RequestModel,
    ResponseModel,
    Subject,
)

FactorName = Annotated[
    Literal["sms", "totp", "recovery"],
    Field(description="Wrong codes are counted per factor."),
]
EntryFactor = Annotated[
    Literal["sms", "totp", "recovery", "device"],
    Field(description="Factor of the event; `device` is a remembered device."),
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
        description="Reason for the audit log, such as a ticket. It must not contain the person's name or a number.",
        examples=["called the help desk, ticket 17"],
    ),
]


def _one_of(*names: str, example: JsonDict) -> ConfigDict:
    one: list[JsonValue] = [
        {"required": [name], "properties": {name: {"type": "string"}}} for name in names
    ]
    return ConfigDict(json_schema_extra={"oneOf": one, "examples": [example]})


class TimelineBody(RequestModel):
    model_config = _one_of("subject", "to", "challenge_id", example={"to": "+14155550123"})

    subject: Subject | None = None
    to: Number | None = None
    challenge_id: ChallengeId | None = None


class ActOnPerson(RequestModel):
    subject: Subject | None = None
    to: Annotated[
        Number | None,
        Field(description="Number of the person, if you use no subjects."),
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


class TimelineEntry(ResponseModel):
    at: Moment
    event: Annotated[TimelineEventType, Field(description="See docs/operations.md.")]
    factor: EntryFactor
    challenge_id: Annotated[str | None, Field(examples=[EXAMPLE_ID])]
    factor_id: Annotated[str | None, Field(examples=[None])]
    device_id: Annotated[str | None, Field(examples=[None])]
    purpose: Annotated[str | None, Field(examples=["login"])]
    client_ref: Annotated[str | None, Field(examples=["checkout-17"])]
    generation: Annotated[
        int | None, Field(description="Number of the code within the challenge.", examples=[1])
    ]
    reason: Annotated[
        str | None,
        Field(
            description="For `failed` and `unknown`, as in `delivery`; for `refused`: `blocked`, or the limit's name.",
            examples=["timeout"],
        ),
    ]
    attempt: Annotated[int | None, Field(description="Number of the attempt.", examples=[1])]
    attempts_allowed: Annotated[
        int | None, Field(description="Maximum number of attempts.", examples=[5])
    ]
    until: Annotated[
        str | None,
        Field(
            description="Expiry of the code or device, or end of the refusal or block; RFC 3339.",
            examples=["2026-11-23T12:05:00.000Z"],
        ),
    ]
    remaining: Annotated[int | None, Field(description="Recovery codes left.", examples=[9])]


class Block(ResponseModel):
    factor: FactorName
    blocked_until: Annotated[
        str | None,
        Field(
            description="RFC 3339; null: until it is unblocked, or another factor succeeds.",
            examples=["2026-11-23T12:30:00.000Z"],
        ),
    ]


class Timeline(ResponseModel):
    subject: Annotated[
        str | None,
        Field(description="Null if the number identifies the person.", examples=["user-4711"]),
    ]
    blocks: Annotated[list[Block], Field(description="Current blocks.")]
    entries: Annotated[list[TimelineEntry], Field(description="Events, oldest first.")]


class Timelines(ResponseModel):
    timelines: Annotated[
        list[Timeline],
        Field(description="One; for a number, one per person who got codes there, or none."),
    ]


class Unblocked(ResponseModel):
    status: Annotated[
        Literal["unblocked", "not_blocked"],
        Field(description="`not_blocked`: there was no block, and nothing was changed."),
    ]
    factor: FactorName
    tries: Annotated[
        int, Field(ge=0, description="Wrong codes until the next block.", examples=[5])
    ]


class Erased(ResponseModel):
    status: Annotated[Literal["erased"], Field(description="Also if there was no data.")]
    factors: Annotated[int, Field(ge=0, description="Erased authenticators.", examples=[1])]
    recovery_codes: Annotated[int, Field(ge=0, description="Erased unused codes.", examples=[9])]
    devices: Annotated[int, Field(ge=0, examples=[2])]
    challenges: Annotated[int, Field(ge=0, description="Live and ended challenges.", examples=[3])]
