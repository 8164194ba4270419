"""
The site's outbox: messages to one number, found by time, and their deletion.

The site's outbox is a hint (contract 3.5): rows may be absent, times are local and repeat an hour in autumn, rows of
one second come in any order, and a number may stand there without its plus.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from otp_service.core.challenge import DeliveryStatus
from otp_service.wsms.client import WsmsClient
from otp_service.wsms.errors import (
    CapabilityMissing,
    NoSuchRoute,
    NotAuthorized,
    RowNotFound,
    WsmsError,
)
from otp_service.wsms.models import OutboxRow, OutboxStatus

CLOCK_SKEW = timedelta(minutes=10)  # between the site's clock and ours
LONGEST_LISTING = 100  # rows of one number that are looked at
TOLERANCE = timedelta(
    seconds=5
)  # between the clock that a site answers by and the one it writes rows by


@dataclass(frozen=True, slots=True)
class Sent:
    """
    One message that the site tried to send.

    Attributes:
        status: `accepted`, `failed` (so the site; it may have arrived all the same), or None for any other word.
        dropped: The row has no recipient: the site dropped the number (`send_only_local_numbers`), whatever its status.
    """

    row: int
    status: DeliveryStatus | None
    text: str = field(repr=False)
    dropped: bool = False


OUTBOX_FAULTS = ("capability_missing", "not_authorized", "no_route", "site_down", "still_there")


class OutboxUnavailable(Exception):
    """
    The outbox could not be read or changed.

    Attributes:
        why: One of OUTBOX_FAULTS.
        forbidden: Whether somebody must do something about it: capability, credential, plugin.
    """

    def __init__(self, why: str, *, forbidden: bool) -> None:
        super().__init__(why)
        self.why = why
        self.forbidden = forbidden


class WsmsOutbox:
    """
    The outbox of one site.

    Args:
        client: One of its own, so that a sick outbox opens no circuit before sends and takes none of their connections.
    """

    def __init__(self, client: WsmsClient) -> None:
        self._client = client

    async def find(self, to: str, *, since: datetime, until: datetime) -> Sequence[Sent]:
        """
        Return the messages to this number alone, from `since` to `until`, those nearest to `since` first.

        Without any, those to nobody: a number that the site drops leaves a row without a recipient.

        Args:
            to: E.164.
            since: Aware; ten minutes of difference between the clocks are allowed for.
            until: Aware, likewise.

        Raises:
            OutboxUnavailable: see there.
        """
        earliest, latest = since - CLOCK_SKEW, until + CLOCK_SKEW
        # Whole days in the site's zone, whichever that is: one more is enough for all of them.
        day = (earliest.astimezone(UTC) - timedelta(days=1)).date()
        found: list[tuple[timedelta, Sent]] = []
        try:
            for search, recipients in _searches(to):
                async for row in self._newest(search, day):
                    times = [t for t in _readings(row.sent_at) if earliest <= t <= latest]
                    if times and [one.lstrip("+") for one in row.recipients] == recipients:
                        found.append((min(abs(t - since) for t in times), _sent(row)))
                if found:
                    break
        except WsmsError as error:
            raise _unavailable(error) from None
        return [sent for _, sent in sorted(found, key=lambda one: one[0])]

    async def _newest(self, search: str, day: date) -> AsyncIterator[OutboxRow]:
        """Yield at most LONGEST_LISTING rows since a day, the newest first."""
        seen = 0
        async with aclosing(self._client.outbox.rows(search=search, since=day)) as rows:
            async for row in rows:
                yield row
                seen += 1
                if seen >= LONGEST_LISTING:
                    return

    async def find_within(
        self, to: str, *, began: datetime, ended: datetime, now: datetime
    ) -> Sequence[Sent]:
        """
        Return the messages to this number alone that were written while a call ran, to the second.

        Without any, those to nobody, as in `find`.

        The site tells its clock with each answer, so that the two clocks are compared instead of allowed for. Where it
        does not, nothing is found: who finds by time alone must be sure of the time.

        Args:
            to: E.164.
            began: Aware; when the call began.
            ended: Aware; when it was answered.
            now: Aware; what the clock says that told the two.

        Raises:
            OutboxUnavailable: see there.
        """
        started = time.monotonic()
        for search, recipients in _searches(to):
            try:
                page = await self._client.outbox.page(
                    search=search,
                    since=(began - CLOCK_SKEW - timedelta(days=1)).date(),
                    per_page=LONGEST_LISTING,
                )
            except WsmsError as error:
                raise _unavailable(error) from None
            if page.site_time is None:
                return []
            took = timedelta(seconds=time.monotonic() - started)
            # The answer was made between `now` and `now + took`; its clock is cut to whole seconds as the rows' are.
            earliest = began + (page.site_time - now - took) - timedelta(seconds=1) - TOLERANCE
            latest = ended + (page.site_time - now) + timedelta(seconds=1) + TOLERANCE
            found = [
                _sent(row)
                for row in page.rows
                if [one.lstrip("+") for one in row.recipients] == recipients
                and any(earliest <= t <= latest for t in _readings(row.sent_at))
            ]
            if found:
                return found
        return []

    async def delete(self, row: int) -> None:
        """
        Delete a row, and see that it is gone; one that is not there is fine.

        Raises:
            OutboxUnavailable: also when the site says that it is deleted and shows it all the same.
        """
        try:
            try:
                await self._client.outbox.delete(row)
                await self._client.outbox.row(row)
            except RowNotFound:
                return
        except WsmsError as error:
            raise _unavailable(error) from None
        raise OutboxUnavailable("still_there", forbidden=False)


def _searches(to: str) -> Sequence[tuple[str, list[str]]]:
    """Return what to search the outbox for, in order, and the recipients (without `+`) that its rows must have."""
    digits = to.lstrip("+")
    return (digits, [digits]), ("", [])


def _readings(sent_at: datetime) -> set[datetime]:
    """Both moments that a local time may mean: in the hour that autumn repeats the site does not say which."""
    return {sent_at.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}


def _sent(row: OutboxRow) -> Sent:
    words: dict[str, DeliveryStatus] = {
        OutboxStatus.SUCCESS: DeliveryStatus.ACCEPTED,
        OutboxStatus.FAILED: DeliveryStatus.FAILED,
    }
    return Sent(row.id, words.get(row.status), row.message, dropped=not row.recipients)


def _unavailable(error: WsmsError) -> OutboxUnavailable:
    match error:
        case CapabilityMissing():
            return OutboxUnavailable("capability_missing", forbidden=True)
        case NotAuthorized():
            return OutboxUnavailable("not_authorized", forbidden=True)
        case NoSuchRoute():
            return OutboxUnavailable("no_route", forbidden=True)
        case _:
            return OutboxUnavailable("site_down", forbidden=False)
