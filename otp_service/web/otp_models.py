"""Request and response models of one-time codes."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from otp_service.core.challenge import DeliveryStatus, Status
from otp_service.core.limits import network
from otp_service.core.locale_tags import is_locale_text, language_tag
from otp_service.web.models import (
    EXAMPLE_ID,
    Binding,
    ChallengeId,
    Code,
    Moment,
    Purpose,
    RequestModel,
    ResponseModel,
    Seconds,
    Subject,
    VerifiesBody,
)


def _address(value: str) -> str:
    try:
        network(value)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None
    return value


def _locale(value: str) -> str | None:
    if not is_locale_text(value):
        raise ValueError("must be a language tag such as en or pt-BR")
    return language_tag(value)


class CodeRequestBody(RequestModel):
    to: Annotated[
        Annotated[str, Field(min_length=1, max_length=40)] | None,
        Field(
            description="Recipient: a number in international form. Spaces, dashes, dots, brackets and `tel:` are "
            "ignored. Required if an SMS is sent.",
            examples=["+14155550123"],
        ),
    ] = None
    purpose: Purpose
    channel: Annotated[
        Literal["sms", "auto"],
        Field(
            description="Channel. `auto` needs `subject` and chooses by OTP_AUTO_CHANNELS: for a person with a "
            "confirmed authenticator app nothing is sent, and /otp/verify accepts the app's code. A request with a "
            "`context` is sent by SMS, which can show it."
        ),
    ] = "sms"
    subject: Annotated[
        Subject | None,
        Field(
            description="The caller's opaque id of the person. Wrong codes are counted per subject. Without it, the "
            "number identifies the person.",
            examples=["user-4711"],
        ),
    ] = None
    binding: Binding | None = None
    locale: Annotated[
        Annotated[str, Field(max_length=64), AfterValidator(_locale)] | None,
        Field(
            description="Language of the message; the nearest available one is used. A locale that names no language "
            "gets the default; of a list as in Accept-Language the first counts.",
            examples=["pt-BR"],
        ),
    ] = None
    client_ip: Annotated[
        Annotated[str, Field(max_length=64), AfterValidator(_address)] | None,
        Field(
            description="IP address of the end user; sends are limited per network (/32, /64).",
            examples=["203.0.113.7"],
        ),
    ] = None
    client_ref: Annotated[
        str | None,
        Field(
            pattern="^[A-Za-z0-9._:-]{1,64}$",
            description="The caller's reference, returned by GET /otp/{challenge_id}.",
            examples=["checkout-17"],
        ),
    ] = None
    context: Annotated[
        dict[str, str] | None,
        Field(
            max_length=8,
            description="Additional content of the message: `amount` and `payee` for the purpose payment; not allowed "
            "for others.",
            examples=[{"amount": "19.90 EUR", "payee": "Acme Books"}],
        ),
    ] = None


class VerifyBody(VerifiesBody):
    challenge_id: ChallengeId
    code: Code


class ChallengeBody(RequestModel):
    challenge_id: ChallengeId


class Delivery(ResponseModel):
    status: Annotated[
        DeliveryStatus,
        Field(
            description="`none`: the code is in an authenticator app, nothing is sent. "
            "`accepted`: the site accepted the message (which does not prove that the phone received it), the person "
            "entered the code, or (reason `test_number`) nothing is sent. "
            "`failed`: it was certainly not sent; resend it. Only with the reasons `reported_by_site` and "
            "`refused_by_site` it may have arrived, because the site's gateway reported an error. After "
            "`reported_by_site` the code stays valid: offer both, the code field and a resend. After `refused_by_site` "
            "(opt-in only) no code is valid: ask again. "
            "`unknown`: it may or may not have been sent; it is not sent again automatically, and the site's "
            "outbox may still resolve it."
        ),
    ]
    reason: Annotated[str | None, Field(description="Reason, if known.", examples=["timeout"])] = (
        None
    )


class Challenge(ResponseModel):
    challenge_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    status: Literal["pending"]
    purpose: Annotated[str, Field(examples=["login"])]
    channel: Annotated[
        str,
        Field(description="`sms`, or `totp`: the code is in the person's app.", examples=["sms"]),
    ]
    to: Annotated[str | None, Field(description="Masked; null for `totp`.", examples=["+1•••••23"])]
    expires_at: Moment
    expires_in: Seconds
    resend_in: Annotated[
        int | None,
        Field(
            description="Seconds until a resend is allowed; null if none is.",
            examples=[30],
        ),
    ]
    sends_remaining: Annotated[int, Field(ge=0, examples=[4])]
    attempts_remaining: Annotated[int, Field(ge=0, examples=[5])]
    delivery: Delivery


class Verification(ResponseModel):
    verified: Literal[True]
    challenge_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    purpose: Annotated[str, Field(examples=["login"])]
    subject: Annotated[str | None, Field(examples=["user-4711"])]
    method: Annotated[str, Field(description="`sms` or `totp`.", examples=["sms"])]
    amr: Annotated[
        list[str],
        Field(
            description="RFC 8176: `sms`, or `otp` for an authenticator app.", examples=[["sms"]]
        ),
    ]
    verified_at: Moment
    proof: Annotated[
        str,
        Field(
            description="In the requested proof_format: opaque, redeemed once at /proofs/introspect, or a signed JWT.",
            examples=["otpp_1f" + "x" * 43],
        ),
    ]
    proof_expires_in: Seconds


class Canceled(ResponseModel):
    challenge_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    status: Literal["canceled"]
    ended_at: Moment


class ChallengeStatus(ResponseModel):
    challenge_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    status: Status
    purpose: Annotated[str, Field(examples=["login"])]
    channel: Annotated[str, Field(examples=["sms"])]
    client_ref: Annotated[str | None, Field(examples=["checkout-17"])]
    created_at: Moment
    expires_at: Moment
    expires_in: Seconds
    ended_at: Moment | None
    attempts_remaining: Annotated[int, Field(ge=0, examples=[5])]
    sends_remaining: Annotated[int, Field(ge=0, examples=[4])]
    delivery: Delivery
