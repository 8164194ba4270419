"""What handlers work with: built once by `otp_service.container`, reached through the request's state."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from otp_service.services.authentication import Authentication
from otp_service.services.challenge_status import ChallengeStatusReader
from otp_service.services.code_sending import CodeSending
from otp_service.services.devices import RememberedDevices
from otp_service.services.erasure import Erasure
from otp_service.services.factors import AuthenticatorApps
from otp_service.services.hints import Hints
from otp_service.services.idempotency import IdempotentCalls
from otp_service.services.method_selector import MethodSelector
from otp_service.services.opt_in import OptIn
from otp_service.services.proofs import ProofRedemption
from otp_service.services.recovery import Recovery
from otp_service.services.support import Support
from otp_service.services.totp_verification import TotpVerificationService
from otp_service.web.client_certificate import TrustedHop


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    The services that handlers call.

    Attributes:
        hop: Hands clients' certificates on; None: their header means nothing here.
        key_set: Returns the public halves of the signing keys.
        readiness: Returns what stands in the way of working now, and what is worth a warning, by part.
    """

    authentication: Authentication
    idempotent: IdempotentCalls
    methods: MethodSelector
    sending: CodeSending
    challenge_status: ChallengeStatusReader
    proofs: ProofRedemption
    opt_in: OptIn
    apps: AuthenticatorApps
    totp_verification: TotpVerificationService
    recovery: Recovery
    devices: RememberedDevices
    support: Support
    erasure: Erasure
    key_set: Callable[[], dict[str, Any]]
    hop: TrustedHop | None
    hints: Hints
    is_hook_token: Callable[[str], bool]
    readiness: Callable[[], Awaitable[tuple[Mapping[str, str], Mapping[str, str]]]]


class State(TypedDict):
    """The typed lifespan state."""

    service: Service
