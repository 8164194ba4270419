"""
`channel: auto`: an authenticator app if the person has one, else SMS.

With `channel: auto` a login page has one flow for both: request, then verify what the person typed. What must be shown
beside the code (an amount, a payee) goes by SMS, since an app can't show it.
"""

from collections.abc import Callable

from otp_service.core.challenge import SubjectAddress, person_address
from otp_service.core.keyring import Keyring
from otp_service.core.policy import Policy
from otp_service.core.proofs import ProofOptions
from otp_service.errors import FactorNotFound, FieldError, InvalidRequest
from otp_service.services.authenticators import METHOD
from otp_service.services.challenge_ids import address_behind
from otp_service.services.code_requests import CodeRequest, IssuedCode
from otp_service.services.code_sending import CodeSending
from otp_service.services.code_verification import CodeVerification, Verified
from otp_service.services.totp_challenges import TotpAttempt, TotpChallenges
from otp_service.store.attempts import IsTotpChallenge
from otp_service.store.factor_records import Factor
from otp_service.store.factors import Factors

SMS, APP = "sms", METHOD


class MethodSelector:
    """Requests and verifies codes by the method that fits the person."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        sending: CodeSending,
        verification: CodeVerification,
        by_app: TotpChallenges,
        factors: Factors,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._sending = sending
        self._verification = verification
        self._by_app = by_app
        self._factors = factors

    async def request(
        self, caller: str, ask: CodeRequest, *, auto: bool, policy: Policy, handle: str
    ) -> IssuedCode:
        """
        Open a challenge: of a code that is sent, or, if `auto` picks it, of the person's authenticator app.

        Args:
            caller: Who asks.
            ask: What for.
            auto: Whether the way is ours to pick.
            policy: The caller's.
            handle: 32 hex digits; the same again opens nothing new.

        Raises:
            InvalidRequest: `auto` without a subject, or an SMS without a number.
            FactorNotFound: `auto`, and the operator's ways leave none for this person.
            Else as `CodeSending.request`.
        """
        if not auto:
            if not ask.to:
                raise InvalidRequest(FieldError("to", "is required"))
            return await self._sending.request(caller, ask, policy=policy, handle=handle)
        if ask.subject is None:
            raise InvalidRequest(FieldError("subject", "is required with channel auto"))
        address = person_address(self._keyring(), caller, ask.subject)
        for way in self._policy.auto_channels:
            if way == APP and not ask.context and await self._has_app(address, caller):
                return await self._by_app.request(caller, ask, address, policy, handle)
            if way == SMS and ask.to:
                return await self._sending.request(caller, ask, policy=policy, handle=handle)
        if SMS in self._policy.auto_channels:
            raise InvalidRequest(FieldError("to", "is required: this goes by SMS"))
        raise FactorNotFound

    async def verify(
        self,
        caller: str,
        challenge_id: str,
        code: str,
        *,
        purpose: str,
        binding: str,
        handle: str,
        proof_options: ProofOptions,
        diagnose: bool,
    ) -> Verified:
        """
        Accept the right code, once, whichever way it came.

        Args:
            proof_options: Format, lifetime and audience of the proof.
            diagnose: Whether a refusal may say that the person's clock is off.

        Raises:
            FactorNotFound: the last authenticator was removed since; no try was spent.
            Else as `CodeVerification.verify`.
        """
        verified = await self._verification.verify(
            caller,
            challenge_id,
            code,
            purpose=purpose,
            binding=binding,
            handle=handle,
            proof_options=proof_options,
        )
        if not isinstance(verified, IsTotpChallenge):
            return verified
        return await self._by_app.verify(
            TotpAttempt(
                address=address_behind(self._keyring(), challenge_id),
                caller=caller,
                code=code,
                purpose=purpose,
                binding=binding,
                handle=handle,
                proof_options=proof_options,
                diagnose=diagnose,
            )
        )

    def of(self, factors: list[Factor], recovery_codes: int) -> list[str]:
        """Return how a subject can show who it is, in the order in which `auto` picks, recovery codes last."""
        app = any(factor.confirmed for factor in factors)
        order = [*self._policy.auto_channels]
        order += [way for way in (APP, SMS) if way not in order]
        found = [way for way in order if way != APP or app]
        return [*found, "recovery_code"] if recovery_codes else found

    async def _has_app(self, subject: SubjectAddress, caller: str) -> bool:
        found = await self._factors.all(subject)
        return any(factor.confirmed and factor.caller == caller for factor in found)
