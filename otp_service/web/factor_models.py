"""Request and response models of authenticator apps and recovery codes."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from otp_service.core import recovery_codes
from otp_service.web.models import (
    EXAMPLE_ID,
    Code,
    Label,
    Moment,
    ProofBinding,
    RequestModel,
    ResponseModel,
    Seconds,
    Subject,
    VerifiesBody,
    visible,
)

FactorProof = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]{1,128}$",
        description="Proof of an authenticator or a recovery code of the same subject; spent by this call. Required if "
        "the operator configured it and the subject has a confirmed authenticator.",
        examples=["otpp_1f9b2c…".replace("…", "x" * 40)],
    ),
]


class WithProof(RequestModel):
    """What a change of a person's factors may come with."""

    proof: FactorProof | None = None
    proof_binding: ProofBinding | None = None


class ProofBody(RequestModel):
    proof: FactorProof
    proof_binding: ProofBinding | None = None


def _account(value: str) -> str:
    if ":" in value:
        raise ValueError("must have no colon")
    return visible(value)


Account = Annotated[str, AfterValidator(_account), Field(min_length=1, max_length=64)]


class TotpBody(WithProof):
    subject: Subject
    account_name: Annotated[
        Account, Field(description="Account name shown in the app.", examples=["ann@example.com"])
    ]
    issuer: Annotated[
        Account | None,
        Field(description="Service name shown in the app; default: the brand.", examples=["Acme"]),
    ] = None
    name: Label | None = None
    algorithm: Annotated[
        Literal["SHA1", "SHA256", "SHA512"], Field(description="SHA1 works in every app.")
    ] = "SHA1"
    digits: Annotated[Literal[6, 8], Field(description="Digits of a code.")] = 6


class TotpEnrolled(ResponseModel):
    factor_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    status: Literal["pending"]
    secret: Annotated[
        str, Field(description="base32, shown once.", examples=["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"])
    ]
    provisioning_uri: Annotated[
        str,
        Field(
            description="Shown once.",
            examples=[
                "otpauth://totp/Acme:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme"
            ],
        ),
    ]
    qr_svg: Annotated[
        str, Field(description="The URI as an SVG image, shown once.", examples=["<svg/>"])
    ]
    qr_terminal: Annotated[
        str,
        Field(
            description="QR code for a terminal, lines of half blocks, light on dark; shown once.",
            examples=["█▀▀▀█\n"],
        ),
    ]
    expires_at: Moment


class ConfirmBody(RequestModel):
    code: Code


class TotpConfirmed(ResponseModel):
    factor_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    status: Literal["confirmed"]
    confirmed_at: Moment


class TotpVerifyBody(VerifiesBody):
    subject: Subject
    code: Code


class FactorVerification(ResponseModel):
    verified: Literal[True]
    method: Literal["totp"]
    factor_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    purpose: Annotated[str, Field(examples=["login"])]
    subject: Annotated[str, Field(examples=["user-4711"])]
    amr: Annotated[list[str], Field(description="RFC 8176.", examples=[["otp"]])]
    verified_at: Moment
    proof: Annotated[str, Field(examples=["otpp_1f" + "x" * 43])]
    proof_expires_in: Seconds


class FactorsQuery(RequestModel):
    subject: Subject


class RenameBody(RequestModel):
    name: Label


class FactorView(ResponseModel):
    factor_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    type: Literal["totp"]
    name: Annotated[str, Field(examples=["Phone"])]
    status: Literal["pending", "confirmed"]
    algorithm: Annotated[str, Field(examples=["SHA1"])]
    digits: Annotated[int, Field(examples=[6])]
    created_at: Moment
    confirmed_at: Moment | None


class FactorList(ResponseModel):
    subject: Annotated[str, Field(examples=["user-4711"])]
    factors: list[FactorView]
    methods: Annotated[
        list[str],
        Field(
            description="Methods available to the person, in the order of `channel: auto`: `totp` with a confirmed "
            "authenticator app, `sms` if you have a number, then `recovery_code` while some are left.",
            examples=[["totp", "sms", "recovery_code"]],
        ),
    ]
    recovery_codes_remaining: Annotated[int, Field(ge=0, examples=[10])]


class RecoveryCodesBody(WithProof):
    subject: Subject


class RecoveryCodesIssued(ResponseModel):
    codes: Annotated[
        list[str],
        Field(
            description="Ten codes, shown once; older ones are invalid.",
            examples=[["7K3M-0Q9X-W2ZT-VB5N"]],
        ),
    ]
    created_at: Moment


def _recovery_code(value: str) -> str:
    code = recovery_codes.normalise(value) if len(value) <= 64 else None
    if code is None:
        raise ValueError("must be the 16 characters of a recovery code")
    return code


class RecoveryVerifyBody(VerifiesBody):
    subject: Subject
    code: Annotated[
        str,
        AfterValidator(_recovery_code),
        Field(
            min_length=1,
            max_length=64,
            description="Code as typed by the person; case, spaces, dashes, dots and brackets are ignored, O is "
            "read as 0, I and L as 1.",
            examples=["7k3m 0q9x w2zt vb5n"],
        ),
    ]


class RecoveryVerification(ResponseModel):
    verified: Literal[True]
    method: Literal["recovery_code"]
    purpose: Annotated[str, Field(examples=["recovery"])]
    subject: Annotated[str, Field(examples=["user-4711"])]
    amr: Annotated[
        list[str], Field(description="Empty: RFC 8176 has no value for it.", examples=[[]])
    ]
    remaining: Annotated[int, Field(ge=0, examples=[9])]
    verified_at: Moment
    proof: Annotated[str, Field(examples=["otpp_1f" + "x" * 43])]
    proof_expires_in: Seconds
