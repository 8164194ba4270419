"""A person's authenticators: their seeds opened, and a code found among them."""

from collections.abc import Iterable, Iterator

import structlog

from otp_service.core.challenge import SubjectAddress
from otp_service.core.envelopes import seed_of
from otp_service.core.keyring import Keyring
from otp_service.core.seal import SealBroken, unseal
from otp_service.core.totp import Algorithm, Authenticator
from otp_service.store.factor_records import Factor

log = structlog.get_logger()

METHOD = "totp"
DEFAULT_NAME = "Authenticator app"
AMR = ("otp",)  # RFC 8176


def match(
    keyring: Keyring,
    subject: SubjectAddress,
    factors: Iterable[Factor],
    code: str,
    now: int,
    *,
    past: int,
) -> tuple[Factor, int] | None:
    """Return which authenticator the code is of, and its step, or None. `now` in Unix seconds."""
    found = None
    for factor, authenticator in _readable(keyring, subject, factors):
        step = authenticator.matching_step(code, now=now, past=past)
        if step is not None:
            found = factor, step
    return found


def clock_is_off(
    keyring: Keyring, subject: SubjectAddress, factors: Iterable[Factor], code: str, now: int
) -> bool:
    """Whether the code of one of them is right at another time. `now` in Unix seconds."""
    return any(
        authenticator.clock_is_off(code, now=now)
        for _, authenticator in _readable(keyring, subject, factors)
    )


def open_authenticator(keyring: Keyring, subject: SubjectAddress, factor: Factor) -> Authenticator:
    """Return the authenticator with its seed unsealed. Raises SealBroken."""
    seed = unseal(keyring, factor.seed, belongs_to=seed_of(subject, factor.factor_id))
    return Authenticator(seed=seed, algorithm=Algorithm(factor.algorithm), digits=factor.digits)


def _readable(
    keyring: Keyring, subject: SubjectAddress, factors: Iterable[Factor]
) -> Iterator[tuple[Factor, Authenticator]]:
    """Yield the authenticators whose seeds can be opened; one whose key was taken away accepts nothing."""
    for factor in factors:
        try:
            yield factor, open_authenticator(keyring, subject, factor)
        except SealBroken as error:
            log.warning("factor.unreadable", factor_id=factor.factor_id, reason=str(error))
