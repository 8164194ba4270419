"""What callers send and get: field names, types, ranges and examples, from which openapi.json is made."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from otp_service.core import codes, recovery_codes
from otp_service.core.challenge import DeliveryStatus, Status
from otp_service.core.limits import network
from otp_service.core.messages import is_locale_tag

EXAMPLE_ID = "1fW2pJm7c0Qx3v9TtY5nLk8gRzA4sHdEuB"


class Sent(BaseModel):
    """A body that a caller sends: exactly typed, and nothing besides."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, frozen=True)


class Given(BaseModel):
    """A body that a caller gets."""

    model_config = ConfigDict(frozen=True)


def _code(value: str) -> str:
    code = codes.normalise(value) if len(value) <= 64 else value
    if not codes.is_code(code):
        raise ValueError("must be the 4 to 10 digits of the code, as a string")
    return code


def _address(value: str) -> str:
    try:
        network(value)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None
    return value


def _locale(value: str) -> str:
    if not is_locale_tag(value):
        raise ValueError("must be a language tag such as en or pt-BR")
    return value


def _person_name(value: str) -> str:
    if not value.strip() or value.strip() == "0" or not value.isprintable():
        raise ValueError("must be a name: not blank, not 0, no control characters")
    return value


def _not_blank(value: object) -> object:
    if isinstance(value, str) and not value.isprintable():
        raise ValueError("must have no control characters")
    return value


Purpose = Annotated[
    str,
    Field(
        pattern="^[a-z][a-z0-9_]{0,31}$",
        description="What the code is for: login, signup, verification, recovery, payment, opt_in, or one that the "
        "operator configured.",
        examples=["login"],
    ),
]
ChallengeId = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]{1,64}$",
        description="As given by /otp/request.",
        examples=[EXAMPLE_ID],
    ),
]
Binding = Annotated[
    str,
    BeforeValidator(_not_blank),
    Field(
        min_length=1,
        max_length=256,
        description="Ties the challenge to something only the right party has, such as a hash of the caller's session: "
        "what is given at the request must be given at the verification.",
        examples=["5d41402abc4b2a76b9719d911017c592"],
    ),
]
Code = Annotated[
    str,
    AfterValidator(_code),
    Field(
        min_length=1,
        max_length=64,
        description="What the person typed. Digits of any script, spaces and dashes are understood; a string, since "
        "leading zeros count.",
        examples=["042137"],
    ),
]
Moment = Annotated[str, Field(description="RFC 3339, UTC.", examples=["2026-11-23T12:00:00.000Z"])]
Seconds = Annotated[int, Field(ge=0, description="Seconds.", examples=[300])]


class VerifiesBody(Sent):
    """What every verification is asked for, beside the code."""

    purpose: Purpose
    binding: Binding | None = None
    audience: Annotated[
        str | None,
        Field(
            pattern="^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$",
            description="The caller that the proof is for; by default the one that verifies. Another needs the scope "
            "proof:vouch. Whether there is a caller of that name is not told.",
            examples=["payments"],
        ),
    ] = None
    proof_format: Annotated[
        Literal["opaque", "jwt"],
        Field(
            description="opaque: redeemed once at /proofs/introspect. jwt: signed (typ otp-proof+jwt), checked by its "
            "audience with /.well-known/jwks.json; nobody counts how often it is shown, so the audience must remember "
            "its jti until exp."
        ),
    ] = "opaque"


class CodeRequestBody(Sent):
    to: Annotated[
        Annotated[str, Field(min_length=1, max_length=40)] | None,
        Field(
            description="Where the code goes: a number in international form. Spaces, dashes, dots and parentheses are "
            "layout. Required wherever an SMS is sent.",
            examples=["+14155550123"],
        ),
    ] = None
    purpose: Purpose
    channel: Annotated[
        Literal["sms", "auto"],
        Field(
            description="How it goes there. `auto` needs `subject`, and picks by the operator's order: where the "
            "person has a confirmed authenticator app, nothing is sent, and /otp/verify takes the app's code. What has "
            "a `context` goes by SMS, which can show it."
        ),
    ] = "sms"
    subject: Annotated[
        str | None,
        Field(
            pattern="^[\\x21-\\x7e]{1,128}$",
            description="The caller's own opaque id of the person, exactly as given: wrong codes are counted for it. "
            "Without it the number stands for the person.",
            examples=["user-4711"],
        ),
    ] = None
    binding: Binding | None = None
    locale: Annotated[
        Annotated[str, Field(max_length=35), AfterValidator(_locale)] | None,
        Field(
            description="The language of the message; the nearest there is serves.",
            examples=["pt-BR"],
        ),
    ] = None
    client_ip: Annotated[
        Annotated[str, Field(max_length=45), AfterValidator(_address)] | None,
        Field(
            description="The end user's address as the caller knows it: sends are limited for it (/32, /64).",
            examples=["203.0.113.7"],
        ),
    ] = None
    client_ref: Annotated[
        str | None,
        Field(
            pattern="^[A-Za-z0-9._:-]{1,64}$",
            description="The caller's own mark, handed back by GET /otp/{challenge_id}.",
            examples=["checkout-17"],
        ),
    ] = None
    context: Annotated[
        dict[str, str] | None,
        Field(
            max_length=8,
            description="What the message shows besides: `amount` and `payee` for the purpose payment, nothing for "
            "others.",
            examples=[{"amount": "19.90 EUR", "payee": "Acme Books"}],
        ),
    ] = None


class VerifyBody(VerifiesBody):
    challenge_id: ChallengeId
    code: Code


class ChallengeBody(Sent):
    challenge_id: ChallengeId


FactorProof = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]{1,128}$",
        description="Of a verification of an authenticator or a recovery code of the same subject; spent by this call. "
        "Needed where the operator asks for it and the subject has a confirmed authenticator.",
        examples=["otpp_1f9b2c…".replace("…", "x" * 40)],
    ),
]

ProofBinding = Annotated[
    Binding, Field(description="The `binding` of that verification, if it had one.")
]


class IntrospectBody(Sent):
    proof: Annotated[
        str,
        Field(
            pattern="^[A-Za-z0-9._-]{1,4096}$",
            description="As given by a verification. One of format jwt is not recorded, so never active here.",
            examples=["otpp_1f9b2c…".replace("…", "x" * 40)],
        ),
    ]
    purpose: Annotated[
        Purpose | None, Field(description="What it must be for; anything by default.")
    ] = None
    binding: Annotated[
        Binding | None,
        Field(
            description="What it must be bound to: as given at the verification, and nothing where nothing was given."
        ),
    ] = None


class ShowsProof(Sent):
    """What a change of a person's factors may come with."""

    proof: FactorProof | None = None
    proof_binding: ProofBinding | None = None


class ProofBody(Sent):
    proof: FactorProof
    proof_binding: ProofBinding | None = None


Subject = Annotated[
    str,
    Field(
        pattern="^[\\x21-\\x7e]{1,128}$",
        description="The caller's own opaque id of the person, exactly as given.",
        examples=["user-4711"],
    ),
]
Label = Annotated[
    str,
    BeforeValidator(_not_blank),
    Field(min_length=1, max_length=64, description="What the person calls it.", examples=["Phone"]),
]


def _account(value: str) -> str:
    if ":" in value or not value.isprintable() or not value.strip():
        raise ValueError("must be printable and hold no colon")
    return value


Account = Annotated[str, AfterValidator(_account), Field(min_length=1, max_length=64)]


class TotpBody(ShowsProof):
    subject: Subject
    account_name: Annotated[
        Account, Field(description="What the app shows as account.", examples=["ann@example.com"])
    ]
    issuer: Annotated[
        Account | None,
        Field(
            description="What the app shows as service; the brand by default.", examples=["Acme"]
        ),
    ] = None
    name: Label | None = None
    algorithm: Annotated[
        Literal["SHA1", "SHA256", "SHA512"], Field(description="SHA1 is what every app knows.")
    ] = "SHA1"
    digits: Annotated[Literal[6, 8], Field(description="Of a code.")] = 6


class TotpEnrolled(Given):
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
            description="The same for a terminal, lines of half blocks, light on dark; shown once.",
            examples=["█▀▀▀█\n"],
        ),
    ]
    expires_at: Moment


class ConfirmBody(Sent):
    code: Code


class TotpConfirmed(Given):
    factor_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    status: Literal["confirmed"]
    confirmed_at: Moment


class TotpVerifyBody(VerifiesBody):
    subject: Subject
    code: Code


class FactorVerification(Given):
    verified: Literal[True]
    method: Literal["totp"]
    factor_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    purpose: Annotated[str, Field(examples=["login"])]
    subject: Annotated[str, Field(examples=["user-4711"])]
    amr: Annotated[list[str], Field(description="RFC 8176.", examples=[["otp"]])]
    verified_at: Moment
    proof: Annotated[str, Field(examples=["otpp_1f" + "x" * 43])]
    proof_expires_in: Seconds


class FactorsQuery(Sent):
    subject: Subject


class RenameBody(Sent):
    name: Label


class FactorView(Given):
    factor_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    type: Literal["totp"]
    name: Annotated[str, Field(examples=["Phone"])]
    status: Literal["pending", "confirmed"]
    algorithm: Annotated[str, Field(examples=["SHA1"])]
    digits: Annotated[int, Field(examples=[6])]
    created_at: Moment
    confirmed_at: Moment | None


class FactorList(Given):
    subject: Annotated[str, Field(examples=["user-4711"])]
    factors: list[FactorView]
    ways: Annotated[
        list[str],
        Field(
            description="How the person can show who they are, in the order in which `channel: auto` picks: `totp` "
            "with a confirmed authenticator app, `sms` if you have a number, then `recovery_code` while some are left.",
            examples=[["totp", "sms", "recovery_code"]],
        ),
    ]
    recovery_codes_remaining: Annotated[int, Field(ge=0, examples=[10])]


class RecoveryCodesBody(ShowsProof):
    subject: Subject


class RecoveryCodesIssued(Given):
    codes: Annotated[
        list[str],
        Field(
            description="Ten, shown once; older ones are void.", examples=[["7K3M-0Q9X-W2ZT-VB5N"]]
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
            description="As the person typed it: case, dashes, O for 0, I and L for 1 do not matter.",
            examples=["7k3m 0q9x w2zt vb5n"],
        ),
    ]


class RecoveryVerification(Given):
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


class NoContent(Given):
    """Nothing: status 204."""


GroupId = Annotated[
    int | None,
    Field(ge=1, le=2_147_483_647, description="One group of the site, or none.", examples=[3]),
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
        description="A number in international form, in any usual spelling.",
        examples=["+14155550123"],
    ),
]


class OptInRequestBody(Sent):
    name: PersonName
    mobile: Mobile
    group_id: GroupId = None
    custom_fields: Annotated[
        dict[str, str | int | bool] | None,
        Field(
            max_length=32,
            description="As the site's form defines them.",
            examples=[{"city": "Berlin"}],
        ),
    ] = None
    consent_text: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=4000,
            description="The text that the person agreed to; only its SHA-256 is kept, for the receipt.",
            examples=["Yes, send me the newsletter."],
        ),
    ] = None
    consent_version: Annotated[
        str | None,
        Field(
            pattern="^[\\x21-\\x7e]{1,64}$",
            description="Your name for that text, for the receipt.",
            examples=["newsletter-2026-11"],
        ),
    ] = None
    locale: Annotated[
        Annotated[str, Field(max_length=35), AfterValidator(_locale)] | None,
        Field(
            description="The language of the text and of our message.",
            examples=["en"],
        ),
    ] = None
    client_ip: Annotated[
        Annotated[str, Field(max_length=45), AfterValidator(_address)] | None,
        Field(
            description="The end user's address, to limit sends.",
            examples=["203.0.113.7"],
        ),
    ] = None


class OptInVerifyBody(Sent):
    name: PersonName
    mobile: Mobile
    activation: Annotated[
        str,
        AfterValidator(_code),
        Field(
            min_length=1,
            max_length=64,
            description="The code as the person typed it, a string: 4 digits of the site, or as many as ours has.",
            examples=["5678"],
        ),
    ]
    group_id: GroupId = None


class OptInUnsubscribeBody(Sent):
    name: PersonName
    mobile: Mobile
    group_id: GroupId = None


class OptInAsked(Given):
    status: Annotated[
        Literal["pending", "subscribed"],
        Field(
            description="`subscribed`: the site asked for no confirmation, or had the number already."
        ),
    ]
    mobile: Annotated[str, Field(description="Masked.", examples=["+1•••••23"])]
    expires_in: Annotated[
        int | None, Field(description="Seconds; null when subscribed.", examples=[1800])
    ]
    resend_in: Annotated[
        int | None,
        Field(
            description="Seconds until asking again may pass; null when it can't.", examples=[30]
        ),
    ]


class OptInSubscribed(Given):
    status: Literal["subscribed"]
    mobile: Annotated[str, Field(description="Masked.", examples=["+1•••••23"])]
    group_id: Annotated[int | None, Field(examples=[3])]
    confirmed_at: Moment
    receipt: Annotated[
        str,
        Field(
            description="Proof of consent: a JWS (ES256, typ consent-receipt+jws) to keep; its key is in "
            "/.well-known/jwks.json.",
            examples=[
                "eyJhbGciOiJFUzI1NiIsImtpZCI6InNpZ25pbmctMSIsInR5cCI6ImNvbnNlbnQtcmVjZWlwdCtqd3MifQ.e30.c2ln"
            ],
        ),
    ]


class OptInUnsubscribed(Given):
    status: Literal["unsubscribed"]
    mobile: Annotated[str, Field(description="Masked.", examples=["+1•••••23"])]


class KeySet(Given):
    keys: Annotated[list[dict[str, str]], Field(description="RFC 7517, public halves only.")]


class Delivery(Given):
    status: Annotated[
        DeliveryStatus,
        Field(
            description="`none`: an authenticator app has the code, nothing is sent. "
            "`accepted`: the site took it, which is no receipt of the phone, or the person had the code. "
            "`failed`: it provably never left, or (reason `reported_by_site`) the site says later that its gateway "
            "failed; resend. `unknown`: it may or may not have gone out; nothing is sent again by itself, and the "
            "site's outbox may still tell."
        ),
    ]
    reason: Annotated[str | None, Field(description="Why, where known.", examples=["timeout"])] = (
        None
    )


class Challenge(Given):
    challenge_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    status: Literal["pending"]
    purpose: Annotated[str, Field(examples=["login"])]
    channel: Annotated[
        str,
        Field(
            description="`sms`, or `totp`: the person reads the code off an app.", examples=["sms"]
        ),
    ]
    to: Annotated[str | None, Field(description="Masked; null for `totp`.", examples=["+1•••••23"])]
    expires_at: Moment
    expires_in: Seconds
    resend_in: Annotated[
        int | None,
        Field(
            description="Seconds until a resend may pass; null when it can't any more.",
            examples=[30],
        ),
    ]
    sends_remaining: Annotated[int, Field(ge=0, examples=[4])]
    attempts_remaining: Annotated[int, Field(ge=0, examples=[5])]
    delivery: Delivery


class Verification(Given):
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
            description="As wished by proof_format: opaque and redeemed once at /proofs/introspect, or a signed JWT.",
            examples=["otpp_1f" + "x" * 43],
        ),
    ]
    proof_expires_in: Seconds


class Canceled(Given):
    challenge_id: Annotated[str, Field(examples=[EXAMPLE_ID])]
    status: Literal["canceled"]
    ended_at: Moment


class ChallengeStanding(Given):
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


class Introspection(Given):
    @model_serializer(mode="wrap")
    def _only_what_is_known(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        """An inactive proof answers `{"active": false}` and nothing else (RFC 7662 section 2.2)."""
        return {name: value for name, value in dump(self).items() if value is not None}

    active: Annotated[
        bool,
        Field(
            description="False for unknown, spent, expired, foreign and wrongly purposed or bound proofs alike."
        ),
    ]
    iss: Annotated[
        str | None, Field(description="OTP_ISSUER.", examples=["https://otp.example.com"])
    ] = None
    aud: Annotated[
        str | None, Field(description="The caller that may redeem it.", examples=["payments"])
    ] = None
    jti: Annotated[
        str | None, Field(description="Of this proof alone.", examples=["5d41402abc4b2a76b9719d91"])
    ] = None
    client_id: Annotated[
        str | None,
        Field(
            description="The caller that verified: `sub` is its name of the person. Compare it where others may vouch.",
            examples=["shop"],
        ),
    ] = None
    sub: Annotated[
        str | None, Field(description="The subject, if one was given.", examples=["user-4711"])
    ] = None
    purpose: Annotated[str | None, Field(examples=["login"])] = None
    binding: Annotated[
        str | None,
        Field(
            description="base64url(SHA-256(binding)), if it is bound.",
            examples=["LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"],
        ),
    ] = None
    challenge_id: Annotated[str | None, Field(examples=[EXAMPLE_ID])] = None
    method: Annotated[
        str | None, Field(description="sms, totp, recovery_code or device.", examples=["sms"])
    ] = None
    amr: Annotated[list[str] | None, Field(examples=[["sms"]])] = None
    auth_time: Annotated[int | None, Field(description="Unix seconds.", examples=[1795435200])] = (
        None
    )
    iat: Annotated[int | None, Field(description="Unix seconds.", examples=[1795435200])] = None
    exp: Annotated[int | None, Field(description="Unix seconds.", examples=[1795435320])] = None


class Noted(Given):
    status: Literal["noted"]


class Alive(Given):
    status: Literal["alive"]


class Readiness(Given):
    status: Literal["ready", "not_ready"]
    reasons: Annotated[dict[str, str], Field(description="What stands in the way, by part.")]
    warnings: Annotated[
        dict[str, str], Field(description="What works and deserves a look, by part.")
    ]
