"""One-time codes over HTTP."""

from otp_service.core.challenge import Status
from otp_service.core.messages import check_context
from otp_service.errors import ChallengeNotFound, FieldError, InvalidRequest, Unavailable
from otp_service.services.code_requests import CodeRequest, IssuedCode
from otp_service.store.refusals import ended
from otp_service.web.factors import DIAGNOSE
from otp_service.web.operations import Answer, Call
from otp_service.web.otp_models import (
    Canceled,
    Challenge,
    ChallengeBody,
    ChallengeStatus,
    CodeRequestBody,
    Delivery,
    Verification,
    VerifyBody,
)
from otp_service.web.problems import policy_name, rfc3339
from otp_service.web.proofs import proof_options


async def request_code(call: Call) -> Answer:
    sent: CodeRequestBody = call.body
    call.require_purpose(sent.purpose)
    _check_context(sent)
    ask = CodeRequest(
        to=sent.to or "",
        purpose=sent.purpose,
        subject=sent.subject,
        binding=sent.binding or "",
        locale=sent.locale,
        client_ip=sent.client_ip,
        client_ref=sent.client_ref,
        context=sent.context or {},
    )
    try:
        issued = await call.service.methods.request(
            call.caller.name,
            ask,
            auto=sent.channel == "auto",
            policy=call.caller.policy,
            handle=call.handle,
        )
        answer = await _challenge(call, issued)
    except (
        ChallengeNotFound
    ):  # the caller named none: it was opened, and its person erased before this answer
        raise Unavailable("the person was erased meanwhile") from None
    return Answer(answer.body, {**answer.headers, "Location": f"/otp/{issued.challenge_id}"})


async def resend_code(call: Call) -> Answer:
    sent: ChallengeBody = call.body
    issued = await call.service.sending.resend(
        call.caller.name, sent.challenge_id, policy=call.caller.policy, handle=call.handle
    )
    return await _challenge(call, issued)


async def verify_code(call: Call) -> Answer:
    sent: VerifyBody = call.body
    verified = await call.service.methods.verify(
        call.caller.name,
        sent.challenge_id,
        sent.code,
        purpose=sent.purpose,
        binding=sent.binding or "",
        handle=call.handle,
        proof_options=proof_options(call),
        diagnose=DIAGNOSE in call.caller.scopes,
    )
    return Answer(
        Verification(
            verified=True,
            challenge_id=verified.challenge_id,
            purpose=verified.purpose,
            subject=verified.subject,
            method=verified.method,
            amr=list(verified.amr),
            verified_at=rfc3339(verified.verified_at),
            proof=verified.proof,
            proof_expires_in=verified.proof_expires_in,
        )
    )


async def cancel_challenge(call: Call) -> Answer:
    sent: ChallengeBody = call.body
    status, ended_at = await call.service.challenge_status.cancel(
        call.caller.name, sent.challenge_id
    )
    if status is not Status.CANCELED:
        raise ended(status, ended_at)
    return Answer(
        Canceled(challenge_id=sent.challenge_id, status="canceled", ended_at=rfc3339(ended_at))
    )


async def look_at_challenge(call: Call) -> Answer:
    standing = await call.service.challenge_status.look(call.caller.name, call.path["challenge_id"])
    view = standing.view
    return Answer(
        ChallengeStatus(
            challenge_id=standing.challenge_id,
            status=view.status,
            purpose=view.purpose,
            channel=view.channel,
            client_ref=standing.client_ref,
            created_at=rfc3339(view.opened_at),
            expires_at=rfc3339(view.expires_at),
            expires_in=max(0, view.expires_at - view.now) // 1000 if view.ended_at is None else 0,
            ended_at=rfc3339(view.ended_at) if view.ended_at is not None else None,
            attempts_remaining=view.attempts_left,
            sends_remaining=view.sends_left,
            delivery=Delivery(status=view.delivery, reason=view.delivery_reason or None),
        )
    )


def _check_context(sent: CodeRequestBody) -> None:
    wrong = check_context(sent.purpose, sent.context)
    if wrong:
        raise InvalidRequest(
            *(FieldError(f"context.{name}"[:64], reason) for name, reason in wrong)
        )


async def _challenge(call: Call, issued: IssuedCode) -> Answer:
    status, reason = issued.delivery, issued.delivery_reason
    if call.wait:
        status, reason = await call.service.challenge_status.wait_for_delivery(
            call.caller.name, issued.challenge_id, call.wait
        )
    body = Challenge(
        challenge_id=issued.challenge_id,
        status="pending",
        purpose=issued.purpose,
        channel=issued.channel,
        to=issued.to,
        expires_at=rfc3339(issued.expires_at),
        expires_in=issued.expires_in,
        resend_in=issued.resend_in,
        sends_remaining=issued.sends_remaining,
        attempts_remaining=issued.attempts_remaining,
        delivery=Delivery(status=status, reason=reason or None),
    )
    headers = {}
    if issued.windows:
        names = [policy_name(w.name, w.window_ms // 1000) for w in issued.windows]
        rows = list(zip(names, issued.windows, strict=True))
        headers["RateLimit-Policy"] = ", ".join(
            f"{name};q={w.count};w={w.window_ms // 1000}" for name, w in rows
        )
        headers["RateLimit"] = ", ".join(
            f"{name};r={w.remaining};t={-(-w.reset_ms // 1000)}" for name, w in rows
        )
    return Answer(body, headers)
