"""
Proof of an existing factor before a change of factors.

Who has taken over a session must not bind an authenticator of their own to it, nor draw recovery codes, nor remove the
authenticator that stands in the way of both (NIST SP 800-63B-4 section 4.1.2; Kratos asks for a privileged session).
Authenticators and recovery codes prove. A code by SMS does not: its number is named by the caller with each request, so
nobody here can tell the number of old from one that was set a minute ago.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from otp_service.core import proofs
from otp_service.core.challenge import SubjectAddress, address_of
from otp_service.core.keyring import Keyring
from otp_service.errors import FactorProofRequired
from otp_service.store import keys
from otp_service.store.proofs import FactorProof, Proofs

PROVING = frozenset({"totp", "recovery_code"})
_NONE = "none"  # in the place of a digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedProof:
    """
    The proof that comes with a change of a person's factors.

    Attributes:
        proof: Of a factor that the person has, spent by the change; None for none.
        binding: What its verification was bound to, or "".
        required: Whether there must be one if the person has a confirmed authenticator.
    """

    proof: str | None = field(repr=False)
    binding: str = ""
    required: bool


class FactorProofs:
    """Checks a proof for a change of factors; the change itself spends it."""

    def __init__(self, proofs: Proofs, keyring: Callable[[], Keyring]) -> None:
        self._proofs = proofs
        self._keyring = keyring

    async def of(self, caller: str, subject: SubjectAddress, shown: PresentedProof) -> FactorProof:
        """
        Return what the change comes with; whether a proof is still good is decided by the script that spends it.

        Raises:
            FactorProofRequired: it proves something else.
            Unavailable.
        """
        if shown.proof is None:
            return FactorProof(required=shown.required)
        keyring = self._keyring()
        found = await self._proofs.look(shown.proof, caller=caller)
        if found is None:
            # Dead, or not ours to look at. The script is told of a record that is not there: so a call that is repeated
            # still hears what it did, and any other that nothing is proven, whatever that proof may be worth elsewhere.
            return FactorProof(required=shown.required, key=keys.proof(subject.bucket, _NONE))
        of = address_of(keyring, found["id"])
        own = (
            of is not None
            and of.subject.pseudonym == subject.pseudonym
            and found["caller"] == caller
        )
        bound = found["binding"] == proofs.bound(keyring, shown.proof, shown.binding)
        if not own or not bound or found["method"] not in PROVING:
            raise FactorProofRequired
        key = keys.proof(subject.bucket, proofs.digest(shown.proof))
        return FactorProof(required=shown.required, key=key)
