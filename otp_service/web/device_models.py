"""What callers send and get about remembered devices."""

from typing import Annotated, Literal

from pydantic import Field

from otp_service.web.models import (
    EXAMPLE_ID,
    Binding,
    Given,
    Label,
    Moment,
    ProofBinding,
    Seconds,
    Sent,
    Subject,
    VerifiesBody,
)

_EXAMPLE_TOKEN = f"otpd_{EXAMPLE_ID}00000000{'x' * 43}"

DeviceId = Annotated[str, Field(examples=[EXAMPLE_ID])]
DeviceBinding = Annotated[
    Binding,
    Field(
        description="Ties the device to something that stays with it and is not in the token, such as a hash of a key "
        "in the browser's own store: what is given when it is remembered must be given at each verification. No hash "
        "of a session, which is another one the next time.",
        examples=["5d41402abc4b2a76b9719d911017c592"],
    ),
]
Token = Annotated[
    str,
    Field(
        description="For the person's browser to keep (a cookie: Secure, HttpOnly, SameSite). Shown once, good once.",
        examples=[_EXAMPLE_TOKEN],
    ),
]


class RememberBody(Sent):
    subject: Subject
    proof: Annotated[
        str,
        Field(
            pattern="^[A-Za-z0-9_-]{1,128}$",
            description="Of the verification that just was: of a code or an authenticator, by this caller, for this "
            "subject. It is spent.",
            examples=["otpp_1f" + "x" * 43],
        ),
    ]
    proof_binding: ProofBinding | None = None
    name: Label | None = None
    expires_in: Annotated[
        int | None,
        Field(
            ge=60,
            le=90 * 86_400,
            description="Seconds; at most OTP_DEVICE_TTL, which is the default.",
            examples=[604_800],
        ),
    ] = None
    binding: DeviceBinding | None = None


class DeviceRemembered(Given):
    device_id: DeviceId
    token: Token
    purpose: Annotated[
        str, Field(description="What it stands in for: the proof's.", examples=["login"])
    ]
    expires_at: Moment
    expires_in: Seconds


class DeviceVerifyBody(VerifiesBody):
    subject: Subject
    token: Annotated[
        str,
        Field(
            max_length=4096,
            description="As the person's browser gave it, whatever that is: what is none is `invalid_device`.",
            examples=[_EXAMPLE_TOKEN],
        ),
    ]
    binding: DeviceBinding | None = None


class DeviceVerification(Given):
    verified: Literal[True]
    method: Literal["device"]
    device_id: DeviceId
    token: Annotated[
        str,
        Field(
            description="The new token, to take the place of the one that was sent: that is dead.",
            examples=[_EXAMPLE_TOKEN],
        ),
    ]
    purpose: Annotated[str, Field(examples=["login"])]
    subject: Annotated[str, Field(examples=["user-4711"])]
    amr: Annotated[
        list[str],
        Field(
            description="Empty: RFC 8176 has no value for it, and it is no factor.", examples=[[]]
        ),
    ]
    verified_at: Moment
    expires_at: Moment
    proof: Annotated[str, Field(examples=["otpp_1f" + "x" * 43])]
    proof_expires_in: Seconds


class DevicesQuery(Sent):
    subject: Subject


class DeviceView(Given):
    device_id: DeviceId
    name: Annotated[str | None, Field(examples=["Phone"])]
    purpose: Annotated[str, Field(examples=["login"])]
    created_at: Moment
    last_used_at: Moment | None
    expires_at: Moment


class DeviceList(Given):
    subject: Annotated[str, Field(examples=["user-4711"])]
    devices: list[DeviceView]
