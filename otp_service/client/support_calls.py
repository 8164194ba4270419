"""The calls of a help desk, and forgetting a person."""

from otp_service.client.call import Call, given, key
from otp_service.client.support_results import Erased, Timelines, Unblocked


def timeline(
    *, subject: str | None = None, to: str | None = None, challenge_id: str | None = None
) -> Call[Timelines]:
    """
    Return what happened to a person or a challenge in the last day; never a code. Every look is audited.

    Args:
        subject: Your id of the person; or
        to: the number, in any usual spelling; or
        challenge_id: one challenge. Exactly one of the three.

    Raises:
        ChallengeNotFound: never existed, another caller's, or too old.
        DestinationRefused: `to` is no number.
        RateLimited: too many looks; wait `retry_after` seconds.
    """
    return Call(
        method="POST",
        path="/timeline",
        result=Timelines,
        body=given(subject=subject, to=to, challenge_id=challenge_id),
    )


def unblock(
    *,
    reason: str,
    subject: str | None = None,
    to: str | None = None,
    factor: str | None = None,
    idempotency_key: str | None = None,
) -> Call[Unblocked]:
    """
    Give a person whom wrong codes have blocked five more tries; the long counts go on.

    Args:
        reason: For the audit log: a ticket, never the person or a number.
        subject: Your id of the person; or
        to: the number, where you give no subject.
        factor: `sms` (the default), `totp` or `recovery`.

    Raises:
        DestinationRefused: `to` is no number.
        RateLimited: the person was freed too often; wait `retry_after` seconds.
    """
    return Call(
        method="POST",
        path="/subjects/unblock",
        result=Unblocked,
        body=given(subject=subject, to=to, factor=factor, reason=reason),
        idempotency_key=key(idempotency_key),
    )


def erase_subject(
    *,
    reason: str,
    subject: str | None = None,
    to: str | None = None,
    idempotency_key: str | None = None,
) -> Call[Erased]:
    """
    Erase what is kept of a person: authenticators, recovery codes, devices, challenges, timeline. It asks for no proof.

    Args:
        reason: For the audit log: a ticket, never the person or a number.
        subject: Your id of the person; or
        to: the number, where you give no subject.

    Raises:
        DestinationRefused: `to` is no number.
    """
    return Call(
        method="POST",
        path="/subjects/erase",
        result=Erased,
        body=given(subject=subject, to=to, reason=reason),
        idempotency_key=key(idempotency_key),
    )
