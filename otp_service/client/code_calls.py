"""The calls for one-time codes and proofs."""

from collections.abc import Mapping

from otp_service.client.call import Call, given, key, segment
from otp_service.client.results import Canceled, Challenge, ChallengeStatus, Proven, Verification


def request_code(
    *,
    to: str | None = None,
    purpose: str,
    subject: str | None = None,
    binding: str | None = None,
    channel: str | None = None,
    locale: str | None = None,
    client_ip: str | None = None,
    client_ref: str | None = None,
    context: Mapping[str, str] | None = None,
    wait: int | None = None,
    idempotency_key: str | None = None,
) -> Call[Challenge]:
    """
    Send a one-time code.

    Args:
        to: A number in international form; layout characters are fine. Required wherever an SMS is sent.
        purpose: `login`, `signup`, `verification`, `recovery`, `payment`, `opt_in`, or one of the operator's.
        subject: Your own opaque id of the person, for whom wrong codes are counted; give it whenever you know it.
        binding: Such as a hash of your session: what is given here must be given at the verification.
        channel: `sms` (the default), or `auto`: where the subject has an authenticator app nothing is sent, and
            `verify_code` takes the app's code.
        locale: Language of the message, such as `pt-BR`.
        client_ip: The end user's address; sends are limited for it.
        client_ref: Your own mark, handed back by `challenge`.
        context: What the message shows besides: `amount` and `payee` for the purpose `payment`.
        wait: Seconds, at most 30, to wait for what becomes of the delivery; they come on top of the timeout.
        idempotency_key: One of your own, when you may have to repeat the call later.

    Raises:
        DestinationRefused: no code goes to this number.
        FactorNotFound: `auto`, and the service's ways leave none for this person.
        RateLimited, SubjectBlocked, QuotaExceeded: wait `retry_after` seconds.
        ClockSkew: `auto`, and the service can judge no code of an authenticator now; ask with `sms`, or later.
    """
    body = given(
        to=to,
        purpose=purpose,
        channel=channel,
        subject=subject,
        binding=binding,
        locale=locale,
        client_ip=client_ip,
        client_ref=client_ref,
        context=dict(context) if context is not None else None,
    )
    return Call(
        method="POST",
        path="/otp/request",
        result=Challenge,
        body=body,
        wait=wait,
        idempotency_key=key(idempotency_key),
    )


def verify_code(
    *,
    challenge_id: str,
    code: str,
    purpose: str,
    binding: str | None = None,
    audience: str | None = None,
    proof_format: str | None = None,
    idempotency_key: str | None = None,
) -> Call[Verification]:
    """
    Check what the person typed; a right code is accepted once.

    Args:
        code: As typed: digits of any script; spaces, dashes, dots and brackets are ignored.
        binding: As at the request.
        audience: The caller that the proof is for; yourself by default, others with the scope `proof:vouch`.
        proof_format: `opaque` (the default), or `jwt` for a `ProofVerifier`.

    Raises:
        InvalidCode: wrong; `attempts_remaining` tries are left.
        ChallengeEnded: used, expired, exhausted, canceled or replaced: request a new code.
        ChallengeNotFound, ChallengeMismatch: not this caller's, or opened for something else.
        CodeNotSent: the message has not left yet.
        FactorNotFound: the authenticator app was removed since the request.
        SubjectBlocked: too many wrong codes.
        ClockSkew: the service can judge no code of an authenticator now.
        InvalidRequest: the code is none at all, such as three letters.
    """
    return Call(
        method="POST",
        path="/otp/verify",
        result=Verification,
        body=given(
            challenge_id=challenge_id,
            code=code,
            purpose=purpose,
            binding=binding,
            audience=audience,
            proof_format=proof_format,
        ),
        idempotency_key=key(idempotency_key),
    )


def resend_code(
    *, challenge_id: str, wait: int | None = None, idempotency_key: str | None = None
) -> Call[Challenge]:
    """
    Send a new code for a challenge; the old one is dead, and no limit starts anew.

    Args:
        wait: As for `request_code`.

    Raises:
        ChallengeNotFound, ChallengeEnded: request a new code.
        RateLimited, SubjectBlocked, QuotaExceeded: wait `retry_after` seconds.
        DestinationRefused: no code goes to this number any more.
    """
    return Call(
        method="POST",
        path="/otp/resend",
        result=Challenge,
        body={"challenge_id": challenge_id},
        wait=wait,
        idempotency_key=key(idempotency_key),
    )


def cancel(*, challenge_id: str) -> Call[Canceled]:
    """
    End a challenge: its code is not accepted any more. Again: the same answer.

    Raises:
        ChallengeNotFound, ChallengeEnded: there is nothing to cancel.
    """
    body = {"challenge_id": challenge_id}
    return Call(method="POST", path="/otp/cancel", result=Canceled, body=body)


def challenge(*, challenge_id: str) -> Call[ChallengeStatus]:
    """
    Return how a challenge stands, or ended in the last 24 hours.

    Raises:
        ChallengeNotFound: never existed, another caller's, or too long ago.
    """
    path = f"/otp/{segment(challenge_id)}"
    return Call(method="GET", path=path, result=ChallengeStatus)


def redeem_proof(
    *, proof: str, purpose: str | None = None, binding: str | None = None
) -> Call[Proven]:
    """
    Return what an opaque proof proves, once (RFC 7662).

    Compare `purpose` (or give it) and `sub` with what you expect, and `client_id` where others may vouch to you: `sub`
    is that caller's name of the person. Never sent twice by itself: after `Unavailable` the proof may be spent.

    Args:
        purpose: What it must be for; a proof for something else is spent by asking.
        binding: What was given at the verification; a proof that is bound to something else, or to something where
            nothing is given here, is spent by asking.

    Raises:
        ProofInactive: unknown, spent, expired, for another purpose or binding, or meant for another caller: one answer
            for all; also for a signed one, see `ProofVerifier`.
        InvalidRequest: it does not even look like a proof.
    """
    return Call(
        method="POST",
        path="/proofs/introspect",
        result=Proven,
        body=given(proof=proof, purpose=purpose, binding=binding),
    )
