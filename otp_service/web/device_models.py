"""Request and response models of remembered devices."""

from typing import Annotated, Literal

from pydantic import Field

from otp_service.web.models import (
    EXAMPLE_ID,
    Binding,
    Label,
    Moment,
    ProofBinding,
    RequestModel,
    ResponseModel,
    Seconds,
    Subject,
    VerifiesBody,
)

_EXAMPLE_TOKEN = f"otpd_{EXAMPLE_ID}00000000{'x' * 43}"

DeviceId = Annotated[str, Field(examples=[EXAMPLE_ID])]
DeviceBinding = Annotated[
    Binding,
    Field(
        description="Binds the device to a value that stays with it and is not in the token, such as a hash of a key "
        "in the browser's storage. The same value must be sent at each verification. No hash "
        "of a session, which is another one the next time.",
        examples=["5d41402abc4b2a76b9719d911017c592"],
    ),
]
Token = Annotated[
    str,
    Field(
        description="Token for the person's browser (a cookie: Secure, HttpOnly, SameSite). Shown once, valid once.",
        examples=[_EXAMPLE_TOKEN],
    ),
]


class RememberBody(RequestModel):
    subject: Subject
    proof: Annotated[
        str,
        Field(
            pattern="^[A-Za-z0-9_-]{1,128}$",
            description="Proof of a recent verification of a code or an authenticator, by this caller and for this "
            "subject. The call spends it.",
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
            description="Seconds; at most OTP_DEVICE_TTL, the default.",
            examples=[604_800],
        ),
    ] = None
    binding: DeviceBinding | None = None


class DeviceRemembered(ResponseModel):
    device_id: DeviceId
    token: Token
    purpose: Annotated[
        str, Field(description="Purpose of the device, taken from the proof.", examples=["login"])
    ]
    expires_at: Moment
    expires_in: Seconds


class DeviceVerifyBody(VerifiesBody):
    subject: Subject
    token: Annotated[
        str,
        Field(
            max_length=4096,
            description="Token as sent by the person's browser, unchecked; a malformed one is `invalid_device`.",
            examples=[_EXAMPLE_TOKEN],
        ),
    ]
    binding: DeviceBinding | None = None


class DeviceVerification(ResponseModel):
    verified: Literal[True]
    method: Literal["device"]
    device_id: DeviceId
    token: Annotated[
        str,
        Field(
            description="New token. It replaces the sent one, which is now invalid.",
            examples=[_EXAMPLE_TOKEN],
        ),
    ]
    purpose: Annotated[str, Field(examples=["login"])]
    subject: Annotated[str, Field(examples=["user-4711"])]
    amr: Annotated[
        list[str],
        Field(
            description="Empty: a device is not a factor, and RFC 8176 has no value for it.",
            examples=[[]],
        ),
    ]
    verified_at: Moment
    expires_at: Moment
    proof: Annotated[str, Field(examples=["otpp_1f" + "x" * 43])]
    proof_expires_in: Seconds


class DevicesQuery(RequestModel):
    subject: Subject


class DeviceView(ResponseModel):
    device_id: DeviceId
    name: Annotated[str | None, Field(examples=["Phone"])]
    purpose: Annotated[str, Field(examples=["login"])]
    created_at: Moment
    last_used_at: Moment | None
    expires_at: Moment


class DeviceList(ResponseModel):
    subject: Annotated[str, Field(examples=["user-4711"])]
    devices: list[DeviceView]
