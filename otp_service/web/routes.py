"""The table of contents: every operation the service has."""

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from otp_service import errors
from otp_service.web import health, models, optin, otp, proofs
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
        request=models.CodeRequestBody,
        status=202,
        success=models.Challenge,
        refusals=(errors.DestinationRefused, *LIMITS),
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
        request=models.VerifyBody,
        status=200,
        success=models.Verification,
        refusals=(
            errors.InvalidCode,
            errors.ChallengeNotFound,
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
        request=models.ChallengeBody,
        status=202,
        success=models.Challenge,
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
        request=models.ChallengeBody,
        status=200,
        success=models.Canceled,
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
        success=models.ChallengeStanding,
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
        request=models.OptInRequestBody,
        status=202,
        success=models.OptInAsked,
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
        request=models.OptInVerifyBody,
        status=200,
        success=models.OptInSubscribed,
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
        request=models.OptInUnsubscribeBody,
        status=200,
        success=models.OptInUnsubscribed,
        refusals=(errors.DestinationRefused,),
    ),
    Operation(
        method="POST",
        path="/proofs/introspect",
        name="introspectProof",
        summary="Redeem a proof",
        description="Tells what a proof proves, once, to the caller it is meant for (RFC 7662). Unknown, spent, "
        "expired and foreign proofs are one answer: `active` is false.",
        handler=proofs.introspect_proof,
        scope="proof:redeem",
        request=models.IntrospectBody,
        status=200,
        success=models.Introspection,
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
    return [
        *(_route(operation) for operation in OPERATIONS),
        Route("/healthz", health.alive, methods=["GET"], name="alive"),
        Route("/readyz", health.ready, methods=["GET"], name="ready"),
        Route("/.well-known/jwks.json", proofs.key_set, methods=["GET"], name="keys"),
        Route("/openapi.json", contract, methods=["GET"], name="contract"),
        Nothing(),
    ]


def _route(operation: Operation) -> Route:
    kind = Pattern if "{" in operation.path else Route
    return kind(operation.path, operation.__call__, methods=[operation.method], name=operation.name)
