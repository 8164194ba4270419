"""The table of contents: every operation the service has."""

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from otp_service import errors
from otp_service.web import (
    device_models,
    devices,
    factor_models,
    factors,
    health,
    hooks,
    models,
    optin,
    optin_models,
    otp,
    otp_models,
    proof_models,
    proofs,
    support,
    support_models,
)
from otp_service.web.openapi import document
from otp_service.web.operations import Operation

ENDED = (
    errors.ChallengeUsed,
    errors.ChallengeExpired,
    errors.ChallengeExhausted,
    errors.ChallengeCanceled,
    errors.ChallengeReplaced,
)
LIMITS = (errors.RateLimited, errors.SubjectBlocked, errors.QuotaExceeded)
_LIMIT_HEADERS = {
    "RateLimit-Policy": "The caller's own sliding limits on this recipient "
    "(draft-ietf-httpapi-ratelimit-headers).",
    "RateLimit": "What is left of them, and in how many seconds the oldest send leaves the window.",
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        method="POST",
        path="/otp/request",
        name="requestCode",
        summary="Send a one-time code",
        description="Opens a challenge and queues its code. A newer request of the same caller, purpose, "
        "subject and binding replaces an older one. The answer does not wait for the provider unless `Prefer: wait=N` "
        "asks for it.",
        handler=otp.request_code,
        scope="otp:request",
        request=otp_models.CodeRequestBody,
        status=202,
        success=otp_models.Challenge,
        refusals=(errors.DestinationRefused, errors.FactorNotFound, *LIMITS),
        idempotent=True,
        waits=True,
        headers={"Location": "Where the challenge can be looked at.", **_LIMIT_HEADERS},
    ),
    Operation(
        method="POST",
        path="/otp/verify",
        name="verifyCode",
        summary="Check a code",
        description="Accepts the right code once. A wrong one spends a try of the challenge and of its subject; what "
        "is malformed, for another purpose or another binding spends none.",
        handler=otp.verify_code,
        scope="otp:verify",
        request=otp_models.VerifyBody,
        status=200,
        success=otp_models.Verification,
        refusals=(
            errors.InvalidCode,
            errors.ChallengeNotFound,
            errors.FactorNotFound,
            errors.ChallengeMismatch,
            errors.CodeNotSent,
            *ENDED,
            errors.SubjectBlocked,
        ),
        idempotent=True,
    ),
    Operation(
        method="POST",
        path="/otp/resend",
        name="resendCode",
        summary="Send a new code for a challenge",
        description="The old code is dead. Neither the tries nor the limits start anew.",
        handler=otp.resend_code,
        scope="otp:request",
        request=otp_models.ChallengeBody,
        status=202,
        success=otp_models.Challenge,
        refusals=(
            errors.ChallengeNotFound,
            *ENDED,
            *LIMITS,
            errors.DestinationRefused,
        ),
        idempotent=True,
        waits=True,
        headers=_LIMIT_HEADERS,
    ),
    Operation(
        method="POST",
        path="/otp/cancel",
        name="cancelChallenge",
        summary="End a challenge",
        description="Its code is not accepted any more, and not sent if it has not left. Again: the same answer.",
        handler=otp.cancel_challenge,
        scope="otp:request",
        request=otp_models.ChallengeBody,
        status=200,
        success=otp_models.Canceled,
        refusals=(
            errors.ChallengeNotFound,
            errors.ChallengeUsed,
            errors.ChallengeExpired,
            errors.ChallengeExhausted,
            errors.ChallengeReplaced,
        ),
    ),
    Operation(
        method="GET",
        path="/otp/{challenge_id}",
        name="getChallenge",
        summary="See how a challenge stands or ended",
        description="For 24 hours after its end. Never a code, a number or a proof.",
        handler=otp.look_at_challenge,
        scope="otp:request",
        request=None,
        status=200,
        success=otp_models.ChallengeStanding,
        refusals=(errors.ChallengeNotFound,),
    ),
    Operation(
        method="POST",
        path="/optin/request",
        name="requestOptIn",
        summary="Ask a person to confirm a subscription",
        description="Double opt-in with the words of WSMS' newsletter, and what it lacks: expiry, tries, limits, one "
        "spelling of a number. Asking again replaces the code.",
        handler=optin.request_opt_in,
        scope="optin",
        request=optin_models.OptInRequestBody,
        status=202,
        success=optin_models.OptInAsked,
        refusals=(errors.DestinationRefused, *LIMITS),
        idempotent=True,
    ),
    Operation(
        method="POST",
        path="/optin/verify",
        name="verifyOptIn",
        summary="Confirm a subscription",
        description="Confirms with the code that the person got. The answer holds the receipt of the consent.",
        handler=optin.verify_opt_in,
        scope="optin",
        request=optin_models.OptInVerifyBody,
        status=200,
        success=optin_models.OptInSubscribed,
        refusals=(
            errors.InvalidCode,
            errors.ChallengeNotFound,
            errors.ChallengeMismatch,
            errors.CodeNotSent,
            *ENDED,
            errors.SubjectBlocked,
            errors.DestinationRefused,
        ),
        idempotent=True,
    ),
    Operation(
        method="POST",
        path="/optin/unsubscribe",
        name="unsubscribe",
        summary="End a subscription",
        description="In one group, or in all when none is given. Again: the same answer.",
        handler=optin.unsubscribe,
        scope="optin",
        request=optin_models.OptInUnsubscribeBody,
        status=200,
        success=optin_models.OptInUnsubscribed,
        refusals=(errors.DestinationRefused,),
    ),
    Operation(
        method="POST",
        path="/factors/totp",
        name="enrollTotp",
        summary="Enrol an authenticator app",
        description="Makes a seed and shows it once, as text, URI and QR code. It counts for nothing until one code "
        "has confirmed it, within 15 minutes.",
        handler=factors.enroll_totp,
        scope="factors:manage",
        request=factor_models.TotpBody,
        status=201,
        success=factor_models.TotpEnrolled,
        refusals=(errors.FactorProofRequired, errors.TooManyFactors),
        idempotent=True,
        shows_secret=True,
    ),
    Operation(
        method="POST",
        path="/factors/totp/verify",
        name="verifyTotp",
        summary="Check an authenticator's code",
        description="Accepts the code of the current or the past step of any confirmed authenticator of the subject, "
        "each step once.",
        handler=factors.verify_totp,
        scope="factors:verify",
        request=factor_models.TotpVerifyBody,
        status=200,
        success=factor_models.FactorVerification,
        refusals=(errors.InvalidCode, errors.FactorNotFound, errors.SubjectBlocked),
        idempotent=True,
    ),
    Operation(
        method="POST",
        path="/factors/totp/{factor_id}/confirm",
        name="confirmTotp",
        summary="Confirm an authenticator by its first code",
        description="After five wrong codes the pending authenticator is gone.",
        handler=factors.confirm_totp,
        scope="factors:manage",
        request=factor_models.ConfirmBody,
        status=200,
        success=factor_models.TotpConfirmed,
        refusals=(errors.InvalidCode, errors.FactorNotFound, errors.FactorProofRequired),
        idempotent=True,
    ),
    Operation(
        method="GET",
        path="/factors",
        name="listFactors",
        summary="See which factors a subject has",
        description="Without secrets. For a login flow, `ways` says what to ask the person for.",
        handler=factors.list_factors,
        scope="factors:manage",
        also="factors:verify",
        request=None,
        query=factor_models.FactorsQuery,
        status=200,
        success=factor_models.FactorList,
    ),
    Operation(
        method="PATCH",
        path="/factors/{factor_id}",
        name="renameFactor",
        summary="Give a factor another name",
        description="Only the name can be changed.",
        handler=factors.rename_factor,
        scope="factors:manage",
        request=factor_models.RenameBody,
        status=200,
        success=factor_models.FactorView,
        refusals=(errors.FactorNotFound,),
    ),
    Operation(
        method="DELETE",
        path="/factors/{factor_id}",
        name="removeFactor",
        summary="Remove a factor",
        description="Its codes are refused from this moment. With a confirmed one every remembered device of the "
        "subject is forgotten.",
        handler=factors.remove_factor,
        scope="factors:manage",
        request=None,
        status=204,
        success=models.NoContent,
        refusals=(errors.FactorNotFound, errors.FactorProofRequired),
    ),
    Operation(
        method="POST",
        path="/factors/{factor_id}/remove",
        name="removeFactorWithProof",
        summary="Remove a factor, with a proof",
        description="As DELETE, with the proof that it needs where the operator asks for one. A DELETE has no body, "
        "and what is in a URL ends up in logs.",
        handler=factors.remove_factor,
        scope="factors:manage",
        request=factor_models.ProofBody,
        status=204,
        success=models.NoContent,
        refusals=(errors.FactorNotFound, errors.FactorProofRequired),
    ),
    Operation(
        method="POST",
        path="/recovery-codes",
        name="issueRecoveryCodes",
        summary="Issue a set of recovery codes",
        description="Ten codes of 80 bits, shown once. Every older code of the subject is void.",
        handler=factors.issue_recovery_codes,
        scope="factors:manage",
        request=factor_models.RecoveryCodesBody,
        status=201,
        success=factor_models.RecoveryCodesIssued,
        refusals=(errors.FactorProofRequired,),
        idempotent=True,
        shows_secret=True,
    ),
    Operation(
        method="POST",
        path="/recovery-codes/verify",
        name="redeemRecoveryCode",
        summary="Redeem a recovery code",
        description="Accepts each code once. It is reported as its own method and never as more than one factor.",
        handler=factors.redeem_recovery_code,
        scope="factors:verify",
        request=factor_models.RecoveryVerifyBody,
        status=200,
        success=factor_models.RecoveryVerification,
        refusals=(errors.InvalidCode, errors.FactorNotFound, errors.SubjectBlocked),
        idempotent=True,
    ),
    Operation(
        method="POST",
        path="/devices",
        name="rememberDevice",
        summary="Remember a device",
        description="After a proof, which is spent: gives a token that stands in for the factor shown, for the same "
        "purpose, until it expires; using it does not prolong that. Of more than ten devices of a subject the one "
        "longest not used is forgotten.",
        handler=devices.remember_device,
        scope="devices:manage",
        request=device_models.RememberBody,
        status=201,
        success=device_models.DeviceRemembered,
        refusals=(errors.ProofNotAccepted,),
        idempotent=True,
        shows_secret=True,
    ),
    Operation(
        method="POST",
        path="/devices/verify",
        name="verifyDevice",
        summary="Check a remembered device",
        description="Accepts the newest token of a device once, and gives the next. A token that was used before says "
        "that there is a copy, and the device is forgotten; only the one before the newest is forgiven for a few "
        "seconds (OTP_DEVICE_LEEWAY), for calls side by side.",
        handler=devices.verify_device,
        scope="devices:verify",
        request=device_models.DeviceVerifyBody,
        status=200,
        success=device_models.DeviceVerification,
        refusals=(
            errors.InvalidDevice,
            errors.DeviceMismatch,
            errors.DeviceRotated,
            errors.DeviceReused,
        ),
        idempotent=True,
    ),
    Operation(
        method="GET",
        path="/devices",
        name="listDevices",
        summary="See which devices of a subject are remembered",
        description="Without tokens.",
        handler=devices.list_devices,
        scope="devices:manage",
        request=None,
        query=device_models.DevicesQuery,
        status=200,
        success=device_models.DeviceList,
    ),
    Operation(
        method="DELETE",
        path="/devices",
        name="forgetDevices",
        summary="Forget all devices of a subject",
        description="Their tokens are refused from this moment. Again, or when there are none: the same answer.",
        handler=devices.forget_devices,
        scope="devices:manage",
        request=None,
        query=device_models.DevicesQuery,
        status=204,
        success=models.NoContent,
    ),
    Operation(
        method="DELETE",
        path="/devices/{device_id}",
        name="forgetDevice",
        summary="Forget a device",
        description="Its token is refused from this moment.",
        handler=devices.forget_device,
        scope="devices:manage",
        request=None,
        status=204,
        success=models.NoContent,
        refusals=(errors.DeviceNotFound,),
    ),
    Operation(
        method="POST",
        path="/proofs/introspect",
        name="introspectProof",
        summary="Redeem a proof",
        description="Tells what a proof proves, once, to the caller it is meant for (RFC 7662). Unknown, spent, "
        "expired and foreign proofs are one answer: `active` is false. So is one that was made for another purpose or "
        "binding than asked for, and the question spends it: whoever shows it elsewhere took it from somebody. Nobody "
        "but its audience can spend a proof.",
        handler=proofs.introspect_proof,
        scope="proof:redeem",
        request=proof_models.IntrospectBody,
        status=200,
        success=proof_models.Introspection,
    ),
    Operation(
        method="POST",
        path="/timeline",
        name="readTimeline",
        summary="See what happened to a person or a challenge",
        description="For a help desk, by subject, number or challenge: what was requested, sent, tried and blocked in "
        "the last day, and what is blocked now. Never a code. Every look is audited.",
        handler=support.read_timeline,
        scope="support:read",
        request=support_models.TimelineBody,
        status=200,
        success=support_models.Timelines,
        refusals=(errors.ChallengeNotFound, errors.DestinationRefused, errors.RateLimited),
    ),
    Operation(
        method="POST",
        path="/subjects/unblock",
        name="unblockSubject",
        summary="Free a blocked person",
        description="Five more tries with one factor. The long counts go on, a person is freed three times a day at "
        "most, and it is audited with its reason.",
        handler=support.unblock_subject,
        scope="support:unblock",
        request=support_models.UnblockBody,
        status=200,
        success=support_models.Unblocked,
        refusals=(errors.DestinationRefused, errors.RateLimited),
        idempotent=True,
    ),
    Operation(
        method="POST",
        path="/subjects/erase",
        name="eraseSubject",
        summary="Erase what is kept of a person",
        description="For a closed account, or on the person's request: authenticators, recovery codes, remembered "
        "devices, challenges and the timeline, at once, and without a proof whatever the policy of factors says. "
        "Counts of wrong codes and of sends go on for the day in which they count. It is audited before it is done. "
        "Again: the same, with nothing left to count.",
        handler=support.erase_subject,
        scope="subjects:erase",
        request=support_models.EraseBody,
        status=200,
        success=support_models.Erased,
        refusals=(errors.DestinationRefused,),
        idempotent=True,
    ),
)


class Pattern(Route):
    """A path with a parameter, for which no path stands that has a row of its own: GET /otp/request is no challenge."""

    _rows = frozenset(operation.path for operation in OPERATIONS)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope.get("path") in self._rows:
            return Match.NONE, {}
        return super().matches(scope)


class Nothing(BaseRoute):
    """The last row, for every other path: 404, and never Starlette's redirect to what a caller may have meant."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Match.PARTIAL, {}  # so that a path above without this method still is a 405

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(404)


def routes() -> list[BaseRoute]:
    """Return Starlette's routes."""
    contract = health.contract(document(OPERATIONS))
    by_path: dict[str, list[Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, []).append(operation)
    return [
        *(_route(path, operations) for path, operations in by_path.items()),
        Route("/healthz", health.alive, methods=["GET"], name="alive"),
        Route("/readyz", health.ready, methods=["GET"], name="ready"),
        Route("/.well-known/jwks.json", proofs.key_set, methods=["GET"], name="keys"),
        Route(hooks.PATH, hooks.take_hint, methods=["POST"], name="takeHint"),
        Route("/openapi.json", contract, methods=["GET"], name="contract"),
        Nothing(),
    ]


def _route(path: str, operations: Sequence[Operation]) -> Route:
    """One route for a path, so that a 405 tells of all its methods."""
    by_method = {operation.method: operation for operation in operations}

    async def answer(request: Request) -> Response:
        return await by_method["GET" if request.method == "HEAD" else request.method](request)

    kind = Pattern if "{" in path else Route
    return kind(path, answer, methods=list(by_method), name=operations[0].name)
