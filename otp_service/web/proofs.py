"""Proofs over HTTP: RFC 7662 introspection, and the keys that check what we sign."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from otp_service.core.proofs import ProofFormat, ProofOptions
from otp_service.core.signing import CACHE_SECONDS
from otp_service.web.models import VerifiesBody
from otp_service.web.operations import Answer, Call
from otp_service.web.proof_models import IntrospectBody, Introspection
from otp_service.web.service import Service

VOUCH = "proof:vouch"


def proof_options(call: Call) -> ProofOptions:
    """
    Return what the caller wants of the proof.

    Raises:
        InsufficientScope: it may not speak to others: whose subjects are its own words could name anybody there.
    """
    sent: VerifiesBody = call.body
    if sent.audience not in (None, call.caller.name):
        call.caller.require(VOUCH)
    return ProofOptions(
        audience=sent.audience,
        format=ProofFormat(sent.proof_format),
        ttl=call.caller.policy.proof_ttl,
    )


async def introspect_proof(call: Call) -> Answer:
    sent: IntrospectBody = call.body
    proven = await call.service.proofs.redeem(
        call.caller.name, sent.proof, purpose=sent.purpose, binding=sent.binding or ""
    )
    if proven is None:
        return Answer(Introspection(active=False))
    return Answer(
        Introspection(
            active=True,
            iss=proven.issuer,
            aud=proven.audience,
            jti=proven.id,
            client_id=proven.caller,
            sub=proven.subject,
            purpose=proven.purpose,
            binding=proven.binding,
            challenge_id=proven.challenge_id,
            method=proven.method,
            amr=list(proven.amr),
            auth_time=proven.verified_at // 1000,
            iat=proven.verified_at // 1000,
            exp=proven.expires_at // 1000,
        )
    )


async def key_set(request: Request) -> Response:
    """The public halves of the signing keys. May be cached: a new key is published before it signs."""
    service: Service = request.state["service"]
    headers = {"Cache-Control": f"public, max-age={CACHE_SECONDS}"}
    return JSONResponse(service.key_set(), headers=headers, media_type="application/json")
