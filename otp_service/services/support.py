"""
Help desk: the timeline of a person, and unblocking.

The same for an operator's command and a caller's own help desk. A caller sees its own people only, nobody sees a code,
and every look and every act is audited before it is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from otp_service.core import timeline
from otp_service.core.audit import Act, Detail
from otp_service.core.challenge import (
    ChallengeAddress,
    SubjectAddress,
    address_of,
    fingerprint,
    new_handle,
    number_address,
    person_address,
)
from otp_service.core.envelopes import About
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.policy import Policy
from otp_service.core.recipients import Recipient, RecipientRefused, parse_recipient
from otp_service.core.seal import SealBroken
from otp_service.core.timeline import TimelineEvent
from otp_service.errors import ChallengeNotFound, DestinationRefused
from otp_service.services.send_limits import recipient_limit_key
from otp_service.store import keys
from otp_service.store.audit import Audit
from otp_service.store.guards import Guards
from otp_service.store.limits import ChargedLimit, Limits
from otp_service.store.timelines import Timelines


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person: the caller's id of them, or the number that stands for one. Exactly one of the two is set."""

    subject: str | None = field(default=None, repr=False)
    to: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """
    The timeline of one person.

    Attributes:
        subject: The caller's id, or None where the number stands for the person, or the id is not known any more.
        moments: The oldest first.
        client_refs: The caller's marks, by challenge id.
        blocks: Factors blocked now, and until when in Unix milliseconds; None: until freed.
    """

    subject: str | None = field(repr=False)
    moments: Sequence[TimelineEvent]
    client_refs: dict[str, str]
    blocks: dict[str, int | None]


class Support:
    """Serves help desks."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        timelines: Timelines,
        guards: Guards,
        limits: Limits,
        audit: Audit,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._timelines = timelines
        self._guards = guards
        self._limits = limits
        self._audit = audit

    async def of_challenge(self, caller: str, challenge_id: str, *, by: str) -> list[History]:
        """
        Return what happened to a challenge.

        Raises:
            ChallengeNotFound, RateLimited, Unavailable.
        """
        address = address_of(self._keyring(), challenge_id)
        if address is None:
            raise ChallengeNotFound
        if await self._timelines.caller_of(keys.challenge(address)) != caller:
            raise ChallengeNotFound
        await self._looked(caller, address.subject, by, {Detail.CHALLENGE: challenge_id})
        found = await self._history(address.subject, only=challenge_id)
        return [found]

    async def of_person(self, caller: str, person: Person, *, by: str) -> list[History]:
        """
        Return what happened to a person; by number, to everybody to whom codes went there.

        Raises:
            DestinationRefused: no number.
            RateLimited, Unavailable.
        """
        keyring = self._keyring()
        own = address_of_person(keyring, caller, person)
        sought_by = "number" if person.subject is None else "subject"
        await self._looked(caller, own, by, {Detail.SOUGHT_BY: sought_by})
        if person.subject is not None:
            return [await self._history(own, subject=person.subject)]
        recipient = _recipient(str(person.to))
        addresses = {own: None}
        for phone in keyring.live(
            Kind.PHONE
        ):  # what was sent before a newer one came is under the older alone
            limit = recipient_limit_key(phone, caller, recipient)
            for challenge_id in await self._timelines.challenges_sent(limit):
                if address := address_of(keyring, challenge_id):
                    addresses[address.subject] = None
        found = [await self._history(address) for address in addresses]
        return [history for history in found if history.moments or history.blocks]

    async def unblock(
        self,
        caller: str,
        person: Person,
        *,
        factor: str,
        reason: str,
        by: str,
        handle: str | None = None,
    ) -> int:
        """
        Give a blocked person five more tries with one factor; return how many, 0 if there is no block.

        Nothing is forgotten: the long counts go on, and a person is freed only so often.

        Args:
            caller: Whose person it is.
            person: Who.
            factor: `sms`, `totp` or `recovery`.
            reason: As `core.audit.checked_reason` gives it.
            by: As the audit log names who acts.
            handle: Of `new_handle`: the same again is the same act. None for one that is not repeated.

        Raises:
            DestinationRefused: no number.
            RateLimited: freed too often, with limit `unblock`.
            Unavailable.
        """
        keyring = self._keyring()
        address = address_of_person(keyring, caller, person)
        if not await self._guards.is_blocked(address, factor):
            return 0
        name = keyring.active(Kind.NAME)
        digest = fingerprint(name, "limit/unblock/v1", caller, address.pseudonym)
        limit = ChargedLimit(
            key=keys.limit("unblock", digest),
            windows=[("unblock", window) for window in self._policy.unblocks],
        )
        await self._limits.charge_far([limit], handle or new_handle(keyring))
        await self._audit.record(
            Act.SUBJECT_UNBLOCKED,
            by=by,
            caller=caller,
            subject=address,
            reason=reason,
            details={Detail.FACTOR: factor},
        )
        return await self._guards.unblock(address, factor)

    async def _looked(
        self, caller: str, subject: SubjectAddress, by: str, details: dict[Detail, str | int]
    ) -> None:
        keyring = self._keyring()
        digest = fingerprint(keyring.active(Kind.NAME), "limit/timeline/v1", by)
        limit = ChargedLimit(
            key=keys.limit("timeline", digest),
            windows=[("timeline", window) for window in self._policy.timelines],
        )
        await self._limits.charge_far([limit], new_handle(keyring))
        await self._audit.record(
            Act.TIMELINE_READ, by=by, caller=caller, subject=subject, details=details
        )

    async def _history(
        self, address: SubjectAddress, *, subject: str | None = None, only: str | None = None
    ) -> History:
        told = await self._timelines.of(address)
        since = told.now - self._policy.history_ms
        moments = timeline.read(told.lines, now=told.now, since=since)
        if only is not None:
            moments = [moment for moment in moments if moment.id == only]
        client_refs = {}
        for challenge_id in dict.fromkeys(m.id for m in moments if m.id and m.of_challenge):
            about = await self._about(ChallengeAddress(challenge_id, address))
            if about is not None:
                subject = subject or about.subject
                if about.client_ref is not None:
                    client_refs[challenge_id] = about.client_ref
        return History(
            subject=subject, moments=moments, client_refs=client_refs, blocks=dict(told.blocks)
        )

    async def _about(self, address: ChallengeAddress) -> About | None:
        sealed = await self._timelines.about(keys.challenge(address))
        if sealed is None:
            return None
        try:
            return About.open(self._keyring(), sealed, address.challenge_id)
        except SealBroken:
            return None


def address_of_person(keyring: Keyring, caller: str, person: Person) -> SubjectAddress:
    """Return where what is kept of a person lies. Raises DestinationRefused."""
    if person.subject is not None:
        return person_address(keyring, caller, person.subject)
    return number_address(keyring, caller, _recipient(str(person.to)).e164)


def _recipient(typed: str) -> Recipient:
    """The number that was typed, served (any more) or not."""
    try:
        return parse_recipient(typed, regions=None, allow_fictional=True)
    except RecipientRefused as error:
        raise DestinationRefused(error.reason.value, str(error)) from None
