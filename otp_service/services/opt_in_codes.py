"""A double opt-in by a code of our own (mode `service`): a challenge stands for the site's activation."""

from collections.abc import Callable

from otp_service.core.challenge import OptInAddress, fingerprint
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.policy import OPT_IN, Policy
from otp_service.errors import ChallengeNotFound
from otp_service.services.code_requests import CodeRequest, IssuedCode
from otp_service.services.code_sending import CodeSending
from otp_service.services.code_verification import CodeVerification
from otp_service.store.attempts import IsTotpChallenge


class OptInCodes:
    """Codes for opt-ins, by the person and group that an address stands for."""

    def __init__(
        self,
        *,
        keyring: Callable[[], Keyring],
        sending: CodeSending,
        verification: CodeVerification,
    ) -> None:
        self._keyring = keyring
        self._sending = sending
        self._verification = verification

    async def request(
        self,
        caller: str,
        address: OptInAddress,
        *,
        to: str,
        locale: str | None,
        client_ip: str | None,
        policy: Policy,
        handle: str,
    ) -> IssuedCode:
        """Open a challenge. Raises as `CodeSending.request`."""
        ask = CodeRequest(
            to=to,
            purpose=OPT_IN,
            subject=self._subject(address),
            binding=_binding(address),
            locale=locale,
            client_ip=client_ip,
        )
        return await self._sending.request(caller, ask, policy=policy, handle=handle)

    async def verify(
        self, caller: str, address: OptInAddress, challenge_id: str, activation: str
    ) -> None:
        """
        Let the challenge decide. Raises as `CodeVerification.verify`.

        The handle is made of the code itself: when the site was away after the code had been accepted, the same code
        again goes on where it broke off, until the subscriber is there; afterwards the opt-in's record has ended.
        """
        name = self._keyring().active(Kind.NAME)
        handle = fingerprint(name, "opt-in-try/v1", challenge_id, activation)
        verified = await self._verification.verify(
            caller,
            challenge_id,
            activation,
            purpose=OPT_IN,
            binding=_binding(address),
            handle=handle,
        )
        if isinstance(verified, IsTotpChallenge):
            raise ChallengeNotFound

    def _subject(self, address: OptInAddress) -> str:
        """What the caller's events call the person: a name of the pseudonym, which itself leaves the house nowhere."""
        name = self._keyring().active(Kind.NAME)
        return f"optin:{fingerprint(name, 'opt-in-subject/v1', address.number.pseudonym)}"


def _binding(address: OptInAddress) -> str:
    """Let opt-ins of one number for several groups live side by side."""
    return f"group-{address.group_id or 0}"
