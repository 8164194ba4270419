"""
Import and export of authenticators.

They come confirmed: their apps have the seed. What was typed elsewhere up to that moment is not accepted here again.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from otp_service.core.challenge import (
    ChallengeAddress,
    address_of,
    fingerprint,
    lasting_id_for,
    person_address,
)
from otp_service.core.envelopes import About, seed_of
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.seal import SealBroken, seal
from otp_service.core.seeds import Seed
from otp_service.core.totp import PERIOD
from otp_service.services.authenticators import DEFAULT_NAME, open_authenticator
from otp_service.store.factor_records import NewFactor
from otp_service.store.factors import Factors


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """An authenticator that cannot be exported, with the reason."""

    factor_id: str
    reason: str


class SeedTransfer:
    """Imports and exports authenticators."""

    def __init__(self, *, keyring: Callable[[], Keyring], factors: Factors) -> None:
        self._keyring = keyring
        self._factors = factors

    async def bring(self, caller: str, seed: Seed) -> bool:
        """
        Make it an authenticator of its subject; False if the subject has that seed from a bringing before.

        Raises:
            TooManyFactors, Unavailable.
        """
        keyring = self._keyring()
        address = person_address(keyring, caller, seed.subject)
        app = seed.authenticator
        # The same for the same subject and seed, and to nobody without the key a trace of either.
        handle = fingerprint(
            keyring.active(Kind.NAME), "brought/v1", caller, seed.subject, app.seed
        )
        factor_id = lasting_id_for(keyring, address, handle)
        return await self._factors.bring(
            ChallengeAddress(factor_id, address),
            NewFactor(
                caller=caller,
                name=seed.name or DEFAULT_NAME,
                about=About(subject=seed.subject, client_ref=None).seal(keyring, factor_id),
                seed=seal(keyring, app.seed, belongs_to=seed_of(address, factor_id)),
                algorithm=app.algorithm,
                digits=app.digits,
            ),
            step_ms=PERIOD * 1000,
        )

    async def all_of(self, caller: str) -> AsyncIterator[Seed | LeftBehind]:
        """Yield every confirmed authenticator of a caller's subjects. Raises Unavailable."""
        keyring = self._keyring()
        async for factor in self._factors.everyone():
            if factor.caller != caller or not factor.confirmed:
                continue
            address = address_of(keyring, factor.factor_id)
            if address is None or not factor.about:
                yield LeftBehind(
                    factor_id=factor.factor_id, reason="whose it is was not written when it came"
                )
                continue
            try:
                subject = About.open(keyring, factor.about, factor.factor_id).subject
                app = open_authenticator(keyring, address.subject, factor)
            except SealBroken:
                yield LeftBehind(factor_id=factor.factor_id, reason="it can't be unsealed")
                continue
            yield Seed(subject=subject or "", name=factor.name, authenticator=app)
