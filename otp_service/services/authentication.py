"""
Authentication of callers: by credential, by issuer token, or by a client certificate that a trusted proxy forwards.

Whatever is presented leads to one registered caller, whose record says what it may do; a token can only narrow that.
One answer for all that is refused; why is in the log.
"""

import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from otp_service.core import credentials
from otp_service.core.caller_tokens import TokenClaims, TokenRefused, is_token
from otp_service.core.certificates import Certificate
from otp_service.core.credentials import Presented
from otp_service.core.identities import Identity, IdentityKind, of_certificate
from otp_service.core.keyring import Keyring
from otp_service.core.policy import Policy
from otp_service.errors import InsufficientScope, OtpError, StoreEmptied, Unauthorized
from otp_service.log_sampling import SampledLines
from otp_service.services.caller_tokens import CallerTokens
from otp_service.services.known_callers import KnownCaller, KnownCallers

_REFUSED = SampledLines()


@dataclass(frozen=True, slots=True)
class Caller:
    """
    An authenticated application.

    Attributes:
        policy: The rules that hold for it: the service's, tightened by its own.
    """

    name: str
    scopes: frozenset[str]
    policy: Policy = field(repr=False)

    def require(self, scope: str) -> None:
        """Raise InsufficientScope without that scope."""
        if scope not in self.scopes:
            raise InsufficientScope(scope)


async def _never_emptied() -> bool:
    return False


class Authentication:
    """
    Authenticates callers.

    Args:
        tokens: Checks the issuer's tokens; None: there is no issuer, and tokens are refused.
        is_emptied: Whether Redis came back empty: it lost the callers' records too, so an unknown caller is no proof
            that the credential is wrong.
        clock: Unix seconds.
    """

    def __init__(
        self,
        callers: KnownCallers,
        keyring: Callable[[], Keyring],
        *,
        tokens: CallerTokens | None = None,
        is_emptied: Callable[[], Awaitable[bool]] = _never_emptied,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._callers = callers
        self._keyring = keyring
        self._tokens = tokens
        self._is_emptied = is_emptied
        self._clock = clock

    async def authenticate(
        self, bearer: str | None, certificate: Certificate | None = None
    ) -> Caller:
        """
        Return who it is.

        Args:
            bearer: A credential or token, or None.
            certificate: The client's, from a proxy that we trust, or None. Without a bearer it says who calls; beside
                one it must not say somebody else.

        Raises:
            Unauthorized: nothing came, or it is malformed, unknown, revoked or past its end: one answer.
            StoreEmptied: the caller is unknown, and Redis came back empty.
            Unavailable: Redis, or the issuer's keys.
        """
        if bearer is None and certificate is None:
            raise Unauthorized(presented=False)
        held = await self._holder(certificate) if certificate is not None else None
        if bearer is None:
            if held is None:
                raise await self._unknown("unknown_certificate")
            return _caller(held)
        caller = await self._bearer(bearer, certificate)
        if held is not None and held.record.name != caller.name:
            raise _refused("another_callers_certificate")
        return caller

    async def _bearer(self, bearer: str, certificate: Certificate | None) -> Caller:
        if presented := Presented.parse(bearer):
            for anew in (False, True):
                known = await self._callers.named(presented.caller, anew=anew)
                if known is not None and self._knows(known, presented):
                    return _caller(known)
            if known is None:
                raise await self._unknown("unknown_credential")
            raise _refused("unknown_credential")
        if self._tokens is None or not is_token(bearer):
            raise _refused("malformed")
        try:
            claims = await self._tokens.read(bearer)
        except TokenRefused as error:
            raise _refused(f"token_{error.reason}") from None
        if claims.thumbprint is not None and not _holds(certificate, claims.thumbprint):
            raise _refused("token_of_another_certificate")
        return await self._subject(claims)

    async def _subject(self, claims: TokenClaims) -> Caller:
        given = Identity(IdentityKind.JWT_SUBJECT, claims.subject)
        found = await self._callers.identified(self._keyring(), [given])
        if not found:
            raise await self._unknown("unknown_subject")
        return _caller(found[0], at_most=claims.scopes)

    async def _holder(self, certificate: Certificate) -> KnownCaller | None:
        found = await self._callers.identified(self._keyring(), of_certificate(certificate))
        if len(found) > 1:
            raise _refused("certificate_of_several_callers")
        return found[0] if found else None

    async def _unknown(self, why: str) -> OtpError:
        """Return the refusal of a caller without a record. Raises Unavailable."""
        if not await self._is_emptied():
            return _refused(why)
        _REFUSED.info("caller.refused", why="store_emptied")
        return StoreEmptied("redis: the store came back empty, without this caller")

    def _knows(self, known: KnownCaller, presented: Presented) -> bool:
        now, keyring = int(self._clock()), self._keyring()
        return any(
            credentials.check(keyring, presented, stored, now=now)
            for stored in known.record.credentials
        )


def _caller(known: KnownCaller, *, at_most: frozenset[str] | None = None) -> Caller:
    scopes = known.record.scopes if at_most is None else known.record.scopes & at_most
    return Caller(known.record.name, scopes, known.policy)


def _holds(certificate: Certificate | None, thumbprint: str) -> bool:
    shown = certificate.thumbprint if certificate is not None else ""
    return hmac.compare_digest(shown.encode(), thumbprint.encode())


def _refused(why: str) -> Unauthorized:
    _REFUSED.info("caller.refused", why=why)
    return Unauthorized(presented=True)
