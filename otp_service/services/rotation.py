"""Times of key rotation: how long a new key waits before use, and how long a replaced one is still needed."""

from otp_service.core.keyring import Kind
from otp_service.core.policy import Policy
from otp_service.core.signing import CACHE_SECONDS
from otp_service.services.delivery_lookups import TRACE_SECONDS
from otp_service.store.idempotency import MEMORY_MS

READ_SECONDS = 30  # in which every process has surely read a changed ring: it looks each 5 s
_SIGNS = (Kind.SIGNING, Kind.PROOF)


def promotable_seconds(kind: Kind) -> int:
    """Return the seconds after which a new key is known to every process and in every cached key set."""
    return READ_SECONDS + (CACHE_SECONDS if kind in _SIGNS else 0)


def needed_seconds(kind: Kind, policy: Policy) -> int | None:
    """
    Return the seconds after which nothing is alive that passes by itself; None when only a person can say.

    What does not pass by itself is found by `flows.resealing`.
    """
    lives = policy.max_sends * policy.code_ttl  # of a challenge whose code is sent again and again
    remembered = MEMORY_MS // 1000  # answers of idempotent calls, and the ids that they made
    limits = (
        *policy.per_recipient,
        *policy.per_recipient_total,
        *policy.per_client_ip,
        *policy.per_block,
        *policy.per_caller,
    )
    match kind:
        case Kind.PEPPER:
            needed = max(policy.code_ttl, TRACE_SECONDS)
        case Kind.PROOF:
            needed = policy.proof_ttl
        case Kind.DEVICE:
            needed = policy.device_ttl
        case Kind.PHONE:
            needed = max(remembered, *(window.seconds for window in limits))
        case Kind.ROUTE:
            needed = max(remembered, lives + policy.retention)
        case Kind.SEAL:
            opt_in = max(policy.optin_ttl, policy.retention) + policy.retention
            needed = max(remembered, lives + policy.retention, opt_in)
        case Kind.CREDENTIAL:
            needed = 0
        case Kind.SIGNING | Kind.NAME:
            return None
    return needed + READ_SECONDS
