"""Authenticator apps and recovery codes over HTTP."""

from otp_service.core.totp import Algorithm
from otp_service.services import authenticators, recovery
from otp_service.services.factor_proofs import PresentedProof
from otp_service.store.factor_records import Factor
from otp_service.web.factor_models import (
    ConfirmBody,
    FactorList,
    FactorsQuery,
    FactorVerification,
    FactorView,
    ProofBody,
    RecoveryCodesBody,
    RecoveryCodesIssued,
    RecoveryVerification,
    RecoveryVerifyBody,
    RenameBody,
    TotpBody,
    TotpConfirmed,
    TotpEnrolled,
    TotpVerifyBody,
    WithProof,
)
from otp_service.web.models import NoContent
from otp_service.web.operations import Answer, Call
from otp_service.web.problems import rfc3339
from otp_service.web.proofs import proof_options

DIAGNOSE = "factors:diagnose"


async def enroll_totp(call: Call) -> Answer:
    sent: TotpBody = call.body
    enrolled = await call.service.apps.enroll(
        call.caller.name,
        sent.subject,
        account_name=sent.account_name,
        issuer=sent.issuer,
        name=sent.name or authenticators.DEFAULT_NAME,
        algorithm=Algorithm(sent.algorithm),
        digits=sent.digits,
        policy=call.caller.policy,
        shown=_shown(call, sent),
        handle=call.handle,
    )
    return Answer(
        TotpEnrolled(
            factor_id=enrolled.factor_id,
            status="pending",
            secret=enrolled.secret,
            provisioning_uri=enrolled.provisioning_uri,
            qr_svg=enrolled.qr_svg,
            qr_terminal=enrolled.qr_terminal,
            expires_at=rfc3339(enrolled.expires_at),
        )
    )


async def confirm_totp(call: Call) -> Answer:
    sent: ConfirmBody = call.body
    factor_id = call.path["factor_id"]
    at = await call.service.apps.confirm(
        call.caller.name,
        factor_id,
        sent.code,
        proof_required=call.caller.policy.enrollment_proof,
        handle=call.handle,
    )
    return Answer(TotpConfirmed(factor_id=factor_id, status="confirmed", confirmed_at=rfc3339(at)))


async def verify_totp(call: Call) -> Answer:
    sent: TotpVerifyBody = call.body
    call.require_purpose(sent.purpose)
    verified = await call.service.totp_verification.verify(
        call.caller.name,
        sent.subject,
        sent.code,
        purpose=sent.purpose,
        binding=sent.binding or "",
        handle=call.handle,
        proof_options=proof_options(call),
        diagnose=DIAGNOSE in call.caller.scopes,
    )
    return Answer(
        FactorVerification(
            verified=True,
            method="totp",
            factor_id=verified.factor_id,
            purpose=sent.purpose,
            subject=sent.subject,
            amr=list(authenticators.AMR),
            verified_at=rfc3339(verified.verified_at),
            proof=verified.proof,
            proof_expires_in=verified.proof_expires_in,
        )
    )


async def list_factors(call: Call) -> Answer:
    asked: FactorsQuery = call.body
    found, remaining = await call.service.apps.factors_of(call.caller.name, asked.subject)
    return Answer(
        FactorList(
            subject=asked.subject,
            factors=[_view(factor) for factor in found],
            methods=call.service.methods.of(found, remaining),
            recovery_codes_remaining=remaining,
        )
    )


async def rename_factor(call: Call) -> Answer:
    sent: RenameBody = call.body
    factor = await call.service.apps.rename(call.caller.name, call.path["factor_id"], sent.name)
    return Answer(_view(factor))


async def remove_factor(call: Call) -> Answer:
    sent: ProofBody | None = call.body
    await call.service.apps.remove(
        call.caller.name,
        call.path["factor_id"],
        shown=_shown(call, sent),
    )
    return Answer(NoContent())


async def issue_recovery_codes(call: Call) -> Answer:
    sent: RecoveryCodesBody = call.body
    codes, at = await call.service.recovery.issue(
        call.caller.name,
        sent.subject,
        shown=_shown(call, sent),
        handle=call.handle,
    )
    return Answer(RecoveryCodesIssued(codes=list(codes), created_at=rfc3339(at)))


async def redeem_recovery_code(call: Call) -> Answer:
    sent: RecoveryVerifyBody = call.body
    call.require_purpose(sent.purpose)
    redeemed = await call.service.recovery.redeem(
        call.caller.name,
        sent.subject,
        sent.code,
        purpose=sent.purpose,
        binding=sent.binding or "",
        handle=call.handle,
        proof_options=proof_options(call),
    )
    return Answer(
        RecoveryVerification(
            verified=True,
            method="recovery_code",
            purpose=sent.purpose,
            subject=sent.subject,
            amr=list(recovery.AMR),
            remaining=redeemed.remaining,
            verified_at=rfc3339(redeemed.verified_at),
            proof=redeemed.proof,
            proof_expires_in=redeemed.proof_expires_in,
        )
    )


def _shown(call: Call, sent: WithProof | ProofBody | None) -> PresentedProof:
    return PresentedProof(
        proof=sent.proof if sent else None,
        binding=sent.proof_binding or "" if sent else "",
        required=call.caller.policy.enrollment_proof,
    )


def _view(factor: Factor) -> FactorView:
    return FactorView(
        factor_id=factor.factor_id,
        type="totp",
        name=factor.name,
        status="confirmed" if factor.confirmed else "pending",
        algorithm=factor.algorithm,
        digits=factor.digits,
        created_at=rfc3339(factor.created_at),
        confirmed_at=rfc3339(factor.confirmed_at) if factor.confirmed_at is not None else None,
    )
