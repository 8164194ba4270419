"""What handlers work with: built once by `otp_service.rooms`, reached through the request's state."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from otp_service.flows.app_codes import AppCodes
from otp_service.flows.authentication import Authentication
from otp_service.flows.code_sending import CodeSending
from otp_service.flows.devices import RememberedDevices
from otp_service.flows.erasure import Erasure
from otp_service.flows.factors import AuthenticatorApps
from otp_service.flows.hints import Hints
from otp_service.flows.idempotency import IdempotentCalls
from otp_service.flows.opt_in import OptIn
from otp_service.flows.proofs import ProofRedemption
from otp_service.flows.recovery import Recovery
from otp_service.flows.standings import Standings
from otp_service.flows.support import Support
from otp_service.flows.ways import Ways
from otp_service.web.client_certificate import TrustedHop


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    The flows.

    Attributes:
        hop: Hands clients' certificates on; None: their header means nothing here.
        key_set: Returns the public halves of the signing keys.
        readiness: Returns what stands in the way of working now, and what is worth a warning, by part.
    """

    authentication: Authentication
    idempotent: IdempotentCalls
    ways: Ways
    sending: CodeSending
    standings: Standings
    proofs: ProofRedemption
    opt_in: OptIn
    apps: AuthenticatorApps
    app_codes: AppCodes
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
