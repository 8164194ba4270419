"""
Proof with an existing factor, before what a person gets in with is changed.

Who has taken over a session must not bind an authenticator of their own to it, nor draw recovery codes, nor remove the
authenticator that stands in the way of both (NIST SP 800-63B-4 section 4.1.2; Kratos asks for a privileged session).
Authenticators and recovery codes prove. A code by SMS does not: its number is named by the caller with each request, so
nobody here can tell the number of old from one that was set a minute ago.
"""

from collections.abc import Callable

from otp_service.core import proofs
from otp_service.core.challenge import SubjectAddress, address_of
from otp_service.core.keyring import Keyring
from otp_service.errors import FactorProofRequired
from otp_service.store import keys
from otp_service.store.proofs import FactorProof, Proofs

PROVING = frozenset({"totp", "recovery_code"})


class FactorProofs:
    """Finds what a shown proof is worth for a change of factors; the change itself spends it."""

    def __init__(self, proofs: Proofs, keyring: Callable[[], Keyring]) -> None:
        self._proofs = proofs
        self._keyring = keyring

    async def of(
        self, caller: str, subject: SubjectAddress, shown: str | None, *, required: bool
    ) -> FactorProof:
        """
        Return what the change comes with; whether a proof is still good is decided by the script that spends it.

        Raises:
            FactorProofRequired: it proves something else.
            Unavailable.
        """
        if shown is None:
            return FactorProof(required=required)
        found = await self._proofs.look(shown, caller=caller)
        if found is not None:
            of = address_of(self._keyring(), found["id"])
            own = of is not None and of.subject == subject and found["caller"] == caller
            if not own or found["method"] not in PROVING:
                raise FactorProofRequired
        return FactorProof(required=required, key=keys.proof(subject.bucket, proofs.digest(shown)))
