"""
The client for Python callers: `Client` for threads, `AsyncClient` for asyncio.

`ProofVerifier` and `AsyncProofVerifier` check signed proofs without asking.

    with Client("https://otp.internal", credential) as otp:
        challenge = otp.request_code(to="+14155550123", purpose="login", subject="user-1")
        ...
        otp.verify_code(challenge_id=challenge.challenge_id, code=typed, purpose="login")

A method returns when the service said yes, and raises one of `errors` otherwise: who forgets to look at the result has
still not let anybody in. Nothing here knows the rest of otp_service.
"""

from otp_service.client.aio import AsyncClient
from otp_service.client.device_results import (
    Device,
    DeviceRemembered,
    Devices,
    DeviceVerification,
)
from otp_service.client.errors import (
    AlreadyIssued,
    ChallengeCanceled,
    ChallengeEnded,
    ChallengeExhausted,
    ChallengeExpired,
    ChallengeMismatch,
    ChallengeNotFound,
    ChallengeReplaced,
    ChallengeUsed,
    ClockSkew,
    CodeNotSent,
    DestinationRefused,
    DeviceMismatch,
    DeviceNotFound,
    DeviceReused,
    DeviceRotated,
    FactorNotFound,
    FactorProofRequired,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    InsufficientScope,
    InvalidCode,
    InvalidDevice,
    InvalidRequest,
    MalformedRequest,
    NotAnOtpService,
    OtpServiceError,
    Overloaded,
    ProofInactive,
    ProofNotAccepted,
    QuotaExceeded,
    RateLimited,
    Refused,
    SiteMisconfigured,
    StoreEmptied,
    SubjectBlocked,
    TooManyFactors,
    Unauthorized,
    Unavailable,
)
from otp_service.client.factor_results import (
    Factor,
    Factors,
    RecoveryCodes,
    RecoveryVerification,
    TotpConfirmed,
    TotpEnrolled,
    TotpVerification,
)
from otp_service.client.results import (
    Canceled,
    Challenge,
    ChallengeStanding,
    Delivery,
    FieldError,
    OptInAsked,
    OptInSubscribed,
    OptInUnsubscribed,
    Proven,
    Verification,
    Verified,
)
from otp_service.client.seen_proofs import ProofMemory, SeenProofs
from otp_service.client.support_results import (
    Block,
    Erased,
    Timeline,
    TimelineEntry,
    Timelines,
    Unblocked,
)
from otp_service.client.sync import Client
from otp_service.client.verifier import AsyncProofVerifier, ProofVerifier

__all__ = [
    "AlreadyIssued", "AsyncClient", "AsyncProofVerifier", "Block", "Canceled", "Challenge", "ChallengeCanceled",
    "ChallengeEnded", "ChallengeExhausted", "ChallengeExpired", "ChallengeMismatch", "ChallengeNotFound",
    "ChallengeReplaced", "ChallengeStanding", "ChallengeUsed", "Client", "ClockSkew", "CodeNotSent",
    "Delivery", "DestinationRefused", "Device", "DeviceMismatch", "DeviceNotFound", "DeviceRemembered", "DeviceReused",
    "DeviceRotated", "DeviceVerification", "Devices", "Erased", "Factor", "FactorNotFound", "FactorProofRequired",
    "Factors", "FieldError", "IdempotencyInProgress", "IdempotencyKeyReused", "InsufficientScope",
    "InvalidCode", "InvalidDevice", "InvalidRequest", "MalformedRequest", "NotAnOtpService", "OptInAsked",
    "OptInSubscribed", "OptInUnsubscribed", "OtpServiceError", "Overloaded", "ProofInactive", "ProofMemory",
    "ProofNotAccepted", "ProofVerifier", "Proven", "QuotaExceeded", "RateLimited", "RecoveryCodes",
    "RecoveryVerification", "Refused", "SeenProofs", "SiteMisconfigured", "StoreEmptied",
    "SubjectBlocked", "Timeline", "TimelineEntry", "Timelines",
    "TooManyFactors", "TotpConfirmed", "TotpEnrolled", "TotpVerification", "Unauthorized", "Unavailable",
    "Unblocked", "Verification", "Verified",
]  # fmt: skip
