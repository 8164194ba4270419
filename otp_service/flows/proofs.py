"""Proofs, as whoever must trust them sees them: RFC 7662 introspection that spends a one-time proof."""

from collections.abc import Callable
from dataclasses import dataclass, field

from otp_service.core.envelopes import About
from otp_service.core.keyring import Keyring
from otp_service.core.seal import SealBroken
from otp_service.store.proofs import Proofs


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """
    What a proof proves.

    Attributes:
        challenge_id: Of a code that was sent; None for other methods.
        method: `sms`, `totp` or `recovery_code`.
        subject: The caller's id of the person, if it gave one.
        amr: Method references of RFC 8176.
        verified_at: Unix milliseconds.
        expires_at: Unix milliseconds.
    """

    caller: str
    challenge_id: str | None
    method: str
    purpose: str
    subject: str | None = field(repr=False)
    amr: tuple[str, ...]
    verified_at: int
    expires_at: int


class ProofRedemption:
    """Redeems proofs, each once."""

    def __init__(self, proofs: Proofs, keyring: Callable[[], Keyring]) -> None:
        self._proofs = proofs
        self._keyring = keyring

    async def redeem(self, caller: str, proof: str) -> Proven | None:
        """
        Return what the proof proves, once, to the caller it is meant for; None for all else.

        Raises:
            Unavailable: Redis; the proof may be spent.
        """
        fields = await self._proofs.spend(proof, caller=caller)
        if fields is None:
            return None
        try:
            about = About.open(self._keyring(), fields["about"], fields["id"])
        except SealBroken:
            return None  # its key was taken away: what it proved is void
        return Proven(
            caller=fields["caller"],
            challenge_id=fields["id"] if fields["method"] == "sms" else None,
            method=fields["method"],
            purpose=fields["purpose"],
            subject=about.subject,
            amr=tuple(fields["amr"].split()),
            verified_at=int(fields["verified_at"]),
            expires_at=int(fields["expires_at"]),
        )
