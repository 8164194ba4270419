"""The plugin's outbox: one row for each send it attempted and did not forget to write (contract 3.5)."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from otp_service.sandbox.php import Value

SENDER_BYTES = 20
MESSAGE_BYTES = 65_535
CHARACTERS = 20_000_000
"""All rows together, so that memory stays bounded; a real site keeps 90 days."""


@dataclass
class Row:
    """As stored: `recipient` is comma-joined, `response` PHP's dump, `date` local without a zone."""

    id: int
    date: datetime
    sender: str
    message: str
    recipient: str
    response: str
    status: str
    """`success` or `error`; the API shows the latter as `failed`."""
    media: list[Value]

    @property
    def size(self) -> int:
        return len(self.message) + len(self.recipient) + len(self.response)


class Outbox:
    """Rows in the order written; the oldest go beyond `capacity` and `CHARACTERS`."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._rows: deque[Row] = deque()
        self._characters = 0
        self._last_id = 0

    def write(
        self,
        date: datetime,
        *,
        sender: str,
        message: str,
        recipients: list[str],
        response: str,
        status: str,
        media: list[Value],
    ) -> Row | None:
        """None when the text does not fit into MySQL's TEXT: the message went out all the same."""
        if len(message.encode()) > MESSAGE_BYTES:
            return None
        self._last_id += 1
        short = sender.encode()[:SENDER_BYTES].decode(errors="replace")
        joined = ",".join(recipients)
        row = Row(self._last_id, date, short, message, joined, response, status, media)
        self._rows.append(row)
        self._characters += row.size
        while len(self._rows) > self._capacity or self._characters > CHARACTERS:
            self._characters -= self._rows.popleft().size
        return row

    def rows(self) -> list[Row]:
        return list(self._rows)

    def get(self, row_id: int) -> Row | None:
        return next((row for row in self._rows if row.id == row_id), None)

    def delete(self, row_id: int) -> bool:
        row = self.get(row_id)
        if row is None:
            return False
        self._rows.remove(row)
        self._characters -= row.size
        return True

    def find(
        self,
        *,
        search: str = "",
        status: str = "all",
        date_from: str = "",
        date_to: str = "",
    ) -> list[Row]:
        """Filtered as MySQL would: substrings without case, whole days, bad dates without effect."""
        low, high = _day(date_from), _day(date_to)
        needle = search.casefold()
        wanted = {"failed": "error"}.get(status, status)
        return [
            row
            for row in self._rows
            if (wanted == "all" or row.status == wanted)
            and (low is None or _midnight(row) >= low)
            and (high is None or _midnight(row) <= high)
            and any(needle in text.casefold() for text in (row.message, row.recipient, row.sender))
        ]


def ordered(rows: list[Row], orderby: str, order: str, *, unstable: bool = False) -> list[Row]:
    """By one column and nothing else: ties keep the order written, or none at all."""
    keys: dict[str, Callable[[Row], Value]] = {
        "date": lambda row: row.date,
        "sender": lambda row: row.sender.casefold(),
        "recipient": lambda row: row.recipient,
        "status": lambda row: row.status,
    }
    rows = list(rows)
    if unstable:
        random.shuffle(rows)
    return sorted(rows, key=keys[orderby], reverse=order == "desc")


def _midnight(row: Row) -> datetime:
    """The plugin compares days, so that a filter with a time of day misses that very day."""
    return row.date.replace(hour=0, minute=0, second=0)


def _day(text: str) -> datetime | None:
    """A date or date-time; None, and so no filter, for what is neither."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None
