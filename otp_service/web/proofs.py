"""Proofs over HTTP: RFC 7662 introspection."""

from otp_service.web.models import IntrospectBody, Introspection
from otp_service.web.operations import Answer, Call


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
            amr=list(proven.amr),
            auth_time=proven.verified_at // 1000,
            exp=proven.expires_at // 1000,
        )
    )
