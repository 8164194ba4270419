"""Request and response models of proofs."""

from typing import Annotated

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from otp_service.web.models import EXAMPLE_ID, Binding, Purpose, RequestModel, ResponseModel


class IntrospectBody(RequestModel):
    proof: Annotated[
        str,
        Field(
            pattern="^[A-Za-z0-9._-]{1,4096}$",
            description="Proof from a verification. A proof of format jwt is not recorded, so it is never active here.",
            examples=["otpp_1f9b2c…".replace("…", "x" * 40)],
        ),
    ]
    purpose: Annotated[Purpose | None, Field(description="Required purpose; default: any.")] = None
    binding: Annotated[
        Binding | None,
        Field(description="Required binding: that of the verification; omit it if there was none."),
    ] = None


class Introspection(ResponseModel):
    @model_serializer(mode="wrap")
    def _only_what_is_known(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        """An inactive proof answers `{"active": false}` and nothing else (RFC 7662 section 2.2)."""
        return {name: value for name, value in dump(self).items() if value is not None}

    active: Annotated[
        bool,
        Field(
            description="False if the proof is unknown, spent, expired, or for another audience, purpose or binding."
        ),
    ]
    iss: Annotated[
        str | None, Field(description="OTP_ISSUER.", examples=["https://otp.example.com"])
    ] = None
    aud: Annotated[
        str | None, Field(description="The caller that may redeem it.", examples=["payments"])
    ] = None
    jti: Annotated[
        str | None,
        Field(description="Unique id of the proof.", examples=["5d41402abc4b2a76b9719d91"]),
    ] = None
    client_id: Annotated[
        str | None,
        Field(
            description="Caller that verified; `sub` is its name of the person. Check it if several callers may vouch.",
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
            description="base64url(SHA-256(binding)), if bound.",
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
