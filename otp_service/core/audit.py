"""
The audit log: who did what to whom, as a chain in which nothing can be changed or taken out unseen.

Each entry carries an HMAC, under a key that Redis never has, over itself and over the entry before. An entry that was
changed, removed or made by somebody without the key breaks the chain; entries that retention has taken from its
beginning do not, since the oldest one left says how old the one before it was.

People are in it as a keyed fingerprint of its own (`person`), which no rotation changes and no name of a key in Redis
leads to; never by number or name.
"""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from otp_service.core.challenge import SubjectAddress, fingerprint
from otp_service.core.keyring import Key, Keyring, Kind
from otp_service.core.text import has_controls, is_blank

MAX_REASON = 200

_DOMAIN = "audit/v1"
# A number as people write it: nine digits and more with what usually stands between. Ticket numbers are shorter.
_NUMBER = re.compile(r"(?:\d[\s().\-/]*){9}")


class Act(StrEnum):
    """What is audited."""

    CALLER_CREATED = "caller.created"
    CALLER_ROTATED = "caller.rotated"
    CALLER_REVOKED = "caller.revoked"
    CALLER_IDENTIFIED = "caller.identified"
    CALLER_IDENTITY_REMOVED = "caller.identity_removed"
    CALLER_POLICY_CHANGED = "caller.policy_changed"
    CALLER_SCOPES_CHANGED = "caller.scopes_changed"
    KEY_ADDED = "key.added"
    KEY_PROMOTED = "key.promoted"
    KEY_RETIRED = "key.retired"
    ORPHANS_ERASED = "orphans.erased"
    FACTORS_REMOVED = "factors.removed"
    SEEDS_EXPORTED = "seeds.exported"
    SEEDS_IMPORTED = "seeds.imported"
    REGION_RESUMED = "region.resumed"
    STORE_EMPTY_ACCEPTED = "store.empty_accepted"
    STORE_RESTORE_DONE = "store.restore_done"
    SUBJECT_ERASED = "subject.erased"
    SUBJECT_UNBLOCKED = "subject.unblocked"
    TIMELINE_READ = "timeline.read"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_ROTATED = "webhook.rotated"
    WEBHOOK_RETIRED = "webhook.retired"
    WEBHOOK_ENABLED = "webhook.enabled"
    WEBHOOK_REMOVED = "webhook.removed"
    WEBHOOK_RETRIED = "webhook.retried"


class Detail(StrEnum):
    """What an entry may say besides: ids, names, counts and settings, of us and of callers; never of a person."""

    SCOPES = "scopes"
    CREDENTIAL = "credential"
    IDENTITIES = "identities"
    SET = "set"
    UNSET = "unset"
    KEY = "key"
    KIND = "kind"
    ENDPOINT = "endpoint"
    EVENTS = "events"
    FACTOR = "factor"
    CHALLENGE = "challenge"
    SOUGHT_BY = "sought_by"
    COUNT = "count"
    REGION = "region"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    One act.

    Attributes:
        id: `<Unix ms>-<n>`, as Redis names entries of a stream; ascending.
        number: 1 for the first ever written.
        by: `operator:<user>@<host>` or `caller:<name>`.
        caller: Whom it concerns, or "".
        subject: The fingerprint of the person it concerns, or "".
        reason: In the words of who did it, or "".
        after: Id and HMAC of the entry before, separated by a space; "" for the first.
        kid: Of the key that made `mac`.
        mac: 64 hex digits.
    """

    id: str
    number: int
    act: str
    by: str
    caller: str
    subject: str
    reason: str
    details: Mapping[str, str] = field(default_factory=dict)
    after: str
    kid: str
    mac: str

    @property
    def at(self) -> int:
        """When, in Unix milliseconds."""
        return moment(self.id)

    def signed(self, key: Key) -> str:
        """Return what `mac` has to be under that key."""
        details = json.dumps(dict(self.details), sort_keys=True)
        parts = (self.id, str(self.number), self.act, self.by, self.caller, self.subject)
        return key.mac(_DOMAIN, self.after, *parts, self.reason, details).hex()

    def fields(self) -> dict[str, str]:
        """Return it as it is written, without its id."""
        return {
            "number": str(self.number),
            "act": self.act,
            "by": self.by,
            "caller": self.caller,
            "subject": self.subject,
            "reason": self.reason,
            "details": json.dumps(dict(self.details), sort_keys=True),
            "after": self.after,
            "kid": self.kid,
            "mac": self.mac,
        }

    @classmethod
    def read(cls, entry_id: str, fields: Mapping[str, str]) -> Self:
        """Return what was written. Raises ValueError when it is no entry of ours."""
        try:
            given = dict(fields)
            number, details = int(given.pop("number")), json.loads(given.pop("details"))
            return cls(id=entry_id, number=number, details=dict(details), **given)
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{entry_id} is no entry of the audit log") from None


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest entry of the log: where the next one goes. All of the empty log is 0 and ""."""

    id: str = ""
    number: int = 0
    mac: str = ""


def next_entry(
    keyring: Keyring,
    tip: Tip,
    *,
    now: int,
    act: Act,
    by: str,
    caller: str,
    subject: str,
    reason: str,
    details: Mapping[Detail, str],
) -> Entry:
    """Return the entry that follows the tip. `now` in Unix milliseconds; a clock that went back is waited for."""
    key = keyring.active(
        Kind.NAME
    )  # the one kind that is never retired: old entries stay checkable
    last, _, sequence = tip.id.partition("-")
    behind = bool(tip.id) and int(last) >= now
    entry = Entry(
        id=f"{last}-{int(sequence) + 1}" if behind else f"{now}-0",
        number=tip.number + 1,
        act=act,
        by=by,
        caller=caller,
        subject=subject,
        reason=reason,
        details={str(name): value for name, value in details.items()},
        after=f"{tip.id} {tip.mac}" if tip.id else "",
        kid=key.kid,
        mac="",
    )
    return replace(entry, mac=entry.signed(key))


class Chain:
    """
    Checks entries, the oldest first.

    Args:
        since: Unix milliseconds before which entries may be gone.
    """

    def __init__(self, keyring: Keyring, *, since: int) -> None:
        self._keyring = keyring
        self._since = since
        self.count = 0
        self.first: Entry | None = None
        self.last: Entry | None = None

    def add(self, entry: Entry) -> list[str]:
        """Take the next entry; return what is wrong with it or before it, a sentence each."""
        found = []
        if self.last is None:
            self.first = entry
            if entry.number > 1 and moment(entry.after.partition(" ")[0]) >= self._since:
                found.append(f"what was before number {entry.number} is gone, too young for that")
        elif entry.after != f"{self.last.id} {self.last.mac}":
            found.append(f"number {entry.number} does not follow number {self.last.number}")
        key = self._keyring.find(Kind.NAME, entry.kid)
        if key is None:
            found.append(f"number {entry.number} was made under a key that the ring does not have")
        elif not hmac.compare_digest(entry.signed(key), entry.mac):
            found.append(f"number {entry.number} was changed, or not written by this service")
        self.count += 1
        self.last = entry
        return found

    def end(self, newest: str | None) -> list[str]:
        """Return what is wrong at the end. `newest` is the id that Redis gave out last, or None for no log."""
        ours = self.last.id if self.last else None
        return [] if ours == newest else ["the newest entries are gone"]


def moment(entry_id: str) -> int:
    """Return the Unix milliseconds in an entry's id; 0 where there is none."""
    ms = entry_id.partition("-")[0]
    return int(ms) if ms.isascii() and ms.isdigit() else 0


def person(keyring: Keyring, subject: SubjectAddress) -> str:
    """Return 32 hex digits by which the log knows a person, also after every rotation."""
    return fingerprint(keyring.active(Kind.NAME), "audit-person/v1", subject.pseudonym)


def checked_reason(text: str, *, not_naming: str | None = None) -> str:
    """
    Return the reason as it may be kept for years.

    Args:
        text: In the words of who acts.
        not_naming: The person's id, which must not be in it.

    Raises:
        ValueError: empty, too long, not printable, or it names a person.
    """
    reason = text.strip()
    if len(reason) > MAX_REASON or is_blank(reason) or has_controls(reason):
        raise ValueError(f"must be 1 to {MAX_REASON} printable characters")
    if _NUMBER.search(reason) or (not_naming and not_naming.casefold() in reason.casefold()):
        raise ValueError("must not name the person or a number: it is kept; name a ticket")
    return reason
