"""What callers send and get, in words that several areas share: field names, types, ranges and examples."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from otp_service.core import codes, text, typed

EXAMPLE_ID = "1fW2pJm7c0Qx3v9TtY5nLk8gRzA4sHdEuB"


class RequestModel(BaseModel):
    """A body that a caller sends: exactly typed, and nothing besides."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, frozen=True)


class ResponseModel(BaseModel):
    """A body that a caller gets."""

    model_config = ConfigDict(frozen=True)


def _code(value: str) -> str:
    code = typed.normalise(value) if len(value) <= 64 else value
    if not codes.is_code(code):
        raise ValueError("must be the 4 to 10 digits of the code, as a string")
    return code


def no_controls(value: str) -> str:
    """Return a text without control characters. Raises ValueError."""
    if text.has_controls(value):
        raise ValueError(text.NO_CONTROLS)
    return value


def visible(value: str) -> str:
    """Return a text without control characters of which something can be seen. Raises ValueError."""
    if text.is_blank(value):
        raise ValueError("must not be blank")
    return no_controls(value)


Purpose = Annotated[
    str,
    Field(
        pattern="^[a-z][a-z0-9_]{0,31}$",
        description="Purpose of the code: login, signup, verification, recovery, payment, opt_in, or one configured by "
        "the operator.",
        examples=["login"],
    ),
]
ChallengeId = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]{1,64}$",
        description="Challenge id from /otp/request.",
        examples=[EXAMPLE_ID],
    ),
]
Binding = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        description="Binds the challenge to a value that only the right party has, such as a hash of the caller's "
        "session. The value of the request must be sent again at the verification.",
        examples=["5d41402abc4b2a76b9719d911017c592"],
    ),
    AfterValidator(no_controls),
]
Code = Annotated[
    str,
    AfterValidator(_code),
    Field(
        min_length=1,
        max_length=64,
        description="Code as typed by the person: digits of any script; spaces, dashes, dots, brackets and "
        "direction marks are ignored. A string, because leading zeros count.",
        examples=["042137"],
    ),
]
Moment = Annotated[str, Field(description="RFC 3339, UTC.", examples=["2026-11-23T12:00:00.000Z"])]
Seconds = Annotated[int, Field(ge=0, description="Seconds.", examples=[300])]


class VerifiesBody(RequestModel):
    """The fields of every verification except the code."""

    purpose: Purpose
    binding: Binding | None = None
    audience: Annotated[
        str | None,
        Field(
            pattern="^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$",
            description="Caller that may redeem the proof; default: the verifying caller. Another one needs the scope "
            "proof:vouch. The response does not reveal whether that caller exists.",
            examples=["payments"],
        ),
    ] = None
    proof_format: Annotated[
        Literal["opaque", "jwt"],
        Field(
            description="opaque: redeemed once at /proofs/introspect. jwt: signed (typ otp-proof+jwt), verified by its "
            "audience with /.well-known/jwks.json; the service does not record it, so the audience must remember "
            "its jti until exp."
        ),
    ] = "opaque"


ProofBinding = Annotated[
    Binding, Field(description="`binding` of that verification, if it had one.")
]
Subject = Annotated[
    str,
    Field(
        description="The caller's opaque id of the person: printable Unicode, 1 to 255 characters after NFC, compared "
        "byte for byte. An OIDC `sub` fits.",
        examples=["user-4711"],
    ),
    AfterValidator(text.subject),
]
Label = Annotated[
    str,
    Field(
        min_length=1, max_length=64, description="Name chosen by the person.", examples=["Phone"]
    ),
    AfterValidator(visible),
]


class NoContent(ResponseModel):
    """Nothing: status 204."""


class KeySet(ResponseModel):
    keys: Annotated[list[dict[str, str]], Field(description="Public keys, RFC 7517.")]


class Noted(ResponseModel):
    status: Literal["noted"]


class Alive(ResponseModel):
    status: Literal["alive"]


class Readiness(ResponseModel):
    status: Literal["ready", "not_ready"]
    reasons: Annotated[
        dict[str, str], Field(description="Reasons why the service is not ready, by component.")
    ]
    warnings: Annotated[dict[str, str], Field(description="Warnings, by component.")]
