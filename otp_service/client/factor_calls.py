"""The calls for authenticator apps and recovery codes."""

from otp_service.client.call import Call, given, key, segment
from otp_service.client.factor_results import (
    Factor,
    Factors,
    RecoveryCodes,
    RecoveryVerification,
    TotpConfirmed,
    TotpEnrolled,
    TotpVerification,
)


def enroll_totp(
    *,
    subject: str,
    account_name: str,
    issuer: str | None = None,
    name: str | None = None,
    algorithm: str | None = None,
    digits: int | None = None,
    proof: str | None = None,
    proof_binding: str | None = None,
    idempotency_key: str | None = None,
) -> Call[TotpEnrolled]:
    """
    Make a seed for an authenticator app; it counts for nothing until `confirm_totp`, within 15 minutes.

    Args:
        account_name: What the app shows as account; no colon.
        issuer: What the app shows as service; the brand by default.
        name: What the person calls the factor.
        algorithm: `SHA1` (the default, which every app knows), `SHA256` or `SHA512`.
        digits: 6 (the default) or 8.
        proof: Of `verify_totp` or `redeem_recovery_code` for the same subject; spent by this call.
        proof_binding: The `binding` of that verification, if it had one.

    Raises:
        FactorProofRequired: the subject has a confirmed authenticator, and nobody has shown it.
        TooManyFactors: the subject has as many as it may.
        AlreadyIssued: the first answer got lost, and secrets are shown once: remove `factor_id` and enrol anew.
    """
    body = given(
        subject=subject,
        account_name=account_name,
        issuer=issuer,
        name=name,
        algorithm=algorithm,
        digits=digits,
        proof=proof,
        proof_binding=proof_binding,
    )
    return Call(
        method="POST",
        path="/factors/totp",
        result=TotpEnrolled,
        body=body,
        idempotency_key=key(idempotency_key),
    )


def confirm_totp(
    *, factor_id: str, code: str, idempotency_key: str | None = None
) -> Call[TotpConfirmed]:
    """
    Confirm an authenticator by its first code; after five wrong ones it is gone.

    Raises:
        InvalidCode: wrong; `attempts_remaining` tries are left.
        FactorNotFound: no such factor, or gone.
        FactorProofRequired: it was enrolled without a proof, and the subject has confirmed another since.
        SubjectBlocked: too many wrong codes of this subject.
        ClockSkew: the service can judge no code of an authenticator now.
    """
    return Call(
        method="POST",
        path=f"/factors/totp/{segment(factor_id)}/confirm",
        result=TotpConfirmed,
        body={"code": code},
        idempotency_key=key(idempotency_key),
    )


def verify_totp(
    *,
    subject: str,
    code: str,
    purpose: str,
    binding: str | None = None,
    audience: str | None = None,
    proof_format: str | None = None,
    idempotency_key: str | None = None,
) -> Call[TotpVerification]:
    """
    Check an authenticator's code against all confirmed ones of the subject; each code is accepted once.

    Args:
        audience: The caller that the proof is for; yourself by default, others with the scope `proof:vouch`.
        proof_format: `opaque` (the default), or `jwt` for a `ProofVerifier`.

    Raises:
        InvalidCode: wrong; `clock_off` if the person's clock is, for callers that may know.
        FactorNotFound: the subject has none.
        SubjectBlocked: too many wrong codes.
        ClockSkew: the service can judge no code of an authenticator now.
    """
    return Call(
        method="POST",
        path="/factors/totp/verify",
        result=TotpVerification,
        body=given(
            subject=subject,
            code=code,
            purpose=purpose,
            binding=binding,
            audience=audience,
            proof_format=proof_format,
        ),
        idempotency_key=key(idempotency_key),
    )


def factors(*, subject: str) -> Call[Factors]:
    """Return which factors a subject has, without secrets."""
    return Call(method="GET", path="/factors", result=Factors, query={"subject": subject})


def rename_factor(*, factor_id: str, name: str) -> Call[Factor]:
    """
    Give a factor another name.

    Raises:
        FactorNotFound: no such factor.
    """
    path = f"/factors/{segment(factor_id)}"
    return Call(method="PATCH", path=path, result=Factor, body={"name": name})


def remove_factor(*, factor_id: str) -> Call[None]:
    """
    Remove a factor; its codes are refused from this moment.

    Raises:
        FactorNotFound: no such factor, or removed before.
        FactorProofRequired: use `remove_factor_with_proof`.
    """
    path = f"/factors/{segment(factor_id)}"
    return Call(method="DELETE", path=path, result=type(None))


def remove_factor_with_proof(
    *, factor_id: str, proof: str, proof_binding: str | None = None
) -> Call[None]:
    """
    Remove a factor where that needs a proof by one of the subject's factors, which may be the very same.

    Args:
        proof: Of `verify_totp` or `redeem_recovery_code` for the same subject; spent by this call.
        proof_binding: The `binding` of that verification, if it had one.

    Raises:
        FactorNotFound: no such factor, or removed before.
        FactorProofRequired: the proof is spent, expired, or of something else.
    """
    path = f"/factors/{segment(factor_id)}/remove"
    body = given(proof=proof, proof_binding=proof_binding)
    return Call(method="POST", path=path, result=type(None), body=body)


def issue_recovery_codes(
    *,
    subject: str,
    proof: str | None = None,
    proof_binding: str | None = None,
    idempotency_key: str | None = None,
) -> Call[RecoveryCodes]:
    """
    Issue ten recovery codes, shown once; every older one of the subject is void.

    Args:
        proof: As for `enroll_totp`.
        proof_binding: As for `enroll_totp`.

    Raises:
        FactorProofRequired: the subject has a confirmed authenticator, and nobody has shown it.
        AlreadyIssued: the first answer got lost, and codes are shown once: issue anew.
        RateLimited: too many sets of this subject within an hour.
    """
    return Call(
        method="POST",
        path="/recovery-codes",
        result=RecoveryCodes,
        body=given(subject=subject, proof=proof, proof_binding=proof_binding),
        idempotency_key=key(idempotency_key),
    )


def redeem_recovery_code(
    *,
    subject: str,
    code: str,
    purpose: str,
    binding: str | None = None,
    audience: str | None = None,
    proof_format: str | None = None,
    idempotency_key: str | None = None,
) -> Call[RecoveryVerification]:
    """
    Redeem a recovery code, once.

    Args:
        code: As typed: case, dashes, O for 0, I and L for 1 do not matter.
        audience: The caller that the proof is for; yourself by default, others with the scope `proof:vouch`.
        proof_format: `opaque` (the default), or `jwt` for a `ProofVerifier`.

    Raises:
        InvalidCode: wrong, or redeemed before.
        FactorNotFound: the subject has no codes.
        SubjectBlocked: too many wrong codes.
    """
    return Call(
        method="POST",
        path="/recovery-codes/verify",
        result=RecoveryVerification,
        body=given(
            subject=subject,
            code=code,
            purpose=purpose,
            binding=binding,
            audience=audience,
            proof_format=proof_format,
        ),
        idempotency_key=key(idempotency_key),
    )
