"""
Erasure of a person's data on request (GDPR Article 17) or when the account is closed.

Authenticators, recovery codes, remembered devices, challenges and the timeline go at once. What is left ends by itself,
and is sealed or names nobody: counts of wrong codes and of sends for the day in which they count, and a block until it
is freed, or erasing would be a way to more guesses and messages; kept answers of retried calls for a day; messages that
wait for a webhook endpoint; the fingerprint in the audit log.
"""

from collections.abc import Callable

from otp_service.core.audit import Act
from otp_service.core.keyring import Keyring
from otp_service.services.support import Person, address_of_person
from otp_service.store.audit import Audit
from otp_service.store.erasing import Erased, Erasing


class Erasure:
    """Erases persons."""

    def __init__(self, *, keyring: Callable[[], Keyring], erasing: Erasing, audit: Audit) -> None:
        self._keyring = keyring
        self._erasing = erasing
        self._audit = audit

    async def erase(self, caller: str, person: Person, *, reason: str, by: str) -> Erased:
        """
        Erase what is kept of a person; return how much there was. Again, or for nobody: nothing, and no audit entry.

        Args:
            caller: Whose person it is.
            person: Who.
            reason: As `core.audit.checked_reason` gives it.
            by: As the audit log names who acts.

        Raises:
            DestinationRefused: no number.
            Unavailable: it may be done all the same; do it again.
        """
        address = address_of_person(self._keyring(), caller, person)
        if not await self._erasing.is_kept(address):
            # No act, and no entry: else calls for people who never were would fill the audit log.
            return Erased(factors=0, recovery_codes=0, devices=0, challenges=0)
        await self._audit.record(
            Act.SUBJECT_ERASED, by=by, caller=caller, subject=address, reason=reason
        )
        return await self._erasing.erase(address)
