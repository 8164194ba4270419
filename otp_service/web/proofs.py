"""Proofs over HTTP: RFC 7662 introspection, and the keys that check what we sign."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from otp_service.web.models import IntrospectBody, Introspection
from otp_service.web.operations import Answer, Call
from otp_service.web.service import Service


async def introspect_proof(call: Call) -> Answer:
    sent: IntrospectBody = call.body
    proven = await call.service.proofs.redeem(call.caller.name, sent.proof)
    if proven is None:
        return Answer(Introspection(active=False))
    return Answer(
        Introspection(
            active=True,
            client_id=proven.caller,
            sub=proven.subject,
            purpose=proven.purpose,
            challenge_id=proven.challenge_id,
            method=proven.method,
            amr=list(proven.amr),
            auth_time=proven.verified_at // 1000,
            exp=proven.expires_at // 1000,
        )
    )


async def key_set(request: Request) -> Response:
    """The public halves of the signing keys. May be cached: a new key is published before it signs."""
    service: Service = request.state["service"]
    headers = {"Cache-Control": "public, max-age=300"}
    return JSONResponse(service.key_set(), headers=headers, media_type="application/json")
