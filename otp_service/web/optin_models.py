"""Request and response models of double opt-in."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from otp_service.web.models import Moment, RequestModel, ResponseModel, _code, visible
from otp_service.web.otp_models import Delivery, _address, _locale


def _person_name(value: str) -> str:
    if value.strip() == "0":
        raise ValueError("must be a name, not 0")
    return visible(value)


def _custom_field(value: object) -> object:
    if not isinstance(value, str | int):
        raise ValueError("must be a string, a whole number, true or false")  # noqa: TRY004
    return value


CustomField = Annotated[str | int | bool, BeforeValidator(_custom_field)]
GroupId = Annotated[
    int | None,
    Field(ge=1, le=2_147_483_647, description="Group of the site; optional.", examples=[3]),
]
PersonName = Annotated[
    str,
    AfterValidator(_person_name),
    Field(min_length=1, max_length=250, description="The subscriber's name.", examples=["Ann Lee"]),
]
Mobile = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        description="Number in international form, in any usual spelling.",
        examples=["+14155550123"],
    ),
]


class OptInRequestBody(RequestModel):
    name: PersonName
    mobile: Mobile
    group_id: GroupId = None
    custom_fields: Annotated[
        dict[str, CustomField] | None,
        Field(
            max_length=32,
            description="Custom fields, as defined by the site's form.",
            examples=[{"city": "Berlin"}],
        ),
    ] = None
    consent_text: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=4000,
            description="Text that the person agreed to; only its SHA-256 is stored, for the receipt.",
            examples=["Yes, send me the newsletter."],
        ),
    ] = None
    consent_version: Annotated[
        str | None,
        Field(
            pattern="^[\\x21-\\x7e]{1,64}$",
            description="Your identifier of that text, for the receipt.",
            examples=["newsletter-2026-11"],
        ),
    ] = None
    locale: Annotated[
        Annotated[str, Field(max_length=64), AfterValidator(_locale)] | None,
        Field(
            description="Language of the text and of the message.",
            examples=["en"],
        ),
    ] = None
    client_ip: Annotated[
        Annotated[str, Field(max_length=64), AfterValidator(_address)] | None,
        Field(
            description="IP address of the end user; sends are limited per address.",
            examples=["203.0.113.7"],
        ),
    ] = None


class OptInVerifyBody(RequestModel):
    name: PersonName
    mobile: Mobile
    activation: Annotated[
        str,
        AfterValidator(_code),
        Field(
            min_length=1,
            max_length=64,
            description="Code as typed by the person, a string: 4 digits if drawn by the site, else OTP_CODE_DIGITS.",
            examples=["5678"],
        ),
    ]
    group_id: GroupId = None


class OptInUnsubscribeBody(RequestModel):
    name: PersonName
    mobile: Mobile
    group_id: GroupId = None


class OptInAsked(ResponseModel):
    status: Annotated[
        Literal["pending"],
        Field(
            description="The same for a subscribed number, so that it does not reveal who is subscribed."
        ),
    ]
    mobile: Annotated[str, Field(description="Masked.", examples=["+1•••••23"])]
    expires_in: Annotated[int, Field(description="Seconds.", examples=[1800])]
    resend_in: Annotated[
        int | None,
        Field(
            description="Seconds until another request is allowed; null if none is.", examples=[30]
        ),
    ]
    delivery: Delivery


class OptInSubscribed(ResponseModel):
    status: Literal["subscribed"]
    mobile: Annotated[str, Field(description="Masked.", examples=["+1•••••23"])]
    group_id: Annotated[int | None, Field(examples=[3])]
    confirmed_at: Moment
    receipt: Annotated[
        str,
        Field(
            description="Receipt of the consent, to keep: a JWS (ES256, typ consent-receipt+jws); its key is in "
            "/.well-known/jwks.json.",
            examples=[
                "eyJhbGciOiJFUzI1NiIsImtpZCI6InNpZ25pbmctMSIsInR5cCI6ImNvbnNlbnQtcmVjZWlwdCtqd3MifQ.e30.c2ln"
            ],
        ),
    ]


class OptInUnsubscribed(ResponseModel):
    status: Literal["unsubscribed"]
    mobile: Annotated[str, Field(description="Masked.", examples=["+1•••••23"])]
