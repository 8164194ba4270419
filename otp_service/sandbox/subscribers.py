"""Newsletter subscribers and their groups, as rows of the plugin's two tables (contract 3.2)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from otp_service.sandbox.php import Value, mysql_number

CAPACITY = 10_000
NAME_LENGTH = 250


@dataclass
class Subscriber:
    id: int
    date: datetime
    name: str
    mobile: str
    active: bool
    activate_key: str | None
    group_id: int
    """0: in no group."""
    custom_fields: Value = field(default_factory=list)


class Subscribers:
    """Rows in the order added, and groups numbered from 1."""

    def __init__(self, groups: Iterable[str] = ()) -> None:
        self._rows: dict[int, Subscriber] = {}
        self._last_id = 0
        self.groups: dict[int, str] = {}
        self._last_group = 0
        for name in groups:
            self.add_group(name)

    def add_group(self, name: str) -> int:
        self._last_group += 1
        self.groups[self._last_group] = name
        return self._last_group

    def add(
        self,
        date: datetime,
        name: str,
        mobile: str,
        *,
        active: bool,
        activate_key: str | None = None,
        group_id: int = 0,
        custom_fields: Value = None,
    ) -> Subscriber | None:
        """None when the database refuses the row: a name over 250 characters, or a full table."""
        if len(name) > NAME_LENGTH or len(self._rows) >= CAPACITY:
            return None
        self._last_id += 1
        row = Subscriber(
            self._last_id,
            date,
            name,
            mobile,
            active,
            activate_key,
            group_id,
            [] if custom_fields is None else custom_fields,
        )
        self._rows[row.id] = row
        return row

    def rows(self) -> list[Subscriber]:
        return list(self._rows.values())

    def get(self, row_id: int) -> Subscriber | None:
        return self._rows.get(row_id)

    def delete(self, row_id: int) -> bool:
        return self._rows.pop(row_id, None) is not None

    def of(self, mobile: str, group_id: int = 0) -> list[Subscriber]:
        """Rows of exactly this text; of one group, or of all when 0."""
        return [
            row
            for row in self._rows.values()
            if row.mobile == mobile and group_id in (0, row.group_id)
        ]

    def like(self, mobile: str, group_id: int = 0) -> list[Subscriber]:
        """As `verify` updates: without a plus the number is compared as a number, so that `4477...`
        finds `+4477...` too (contract 3.3).
        """
        if "+" in mobile:
            return self.of(mobile, group_id)
        wanted = mysql_number(mobile)
        return [
            row
            for row in self._rows.values()
            if mysql_number(row.mobile) == wanted and group_id in (0, row.group_id)
        ]

    def active_numbers(self, group_ids: list[int] | None = None) -> list[str]:
        """Numbers of verified rows, of these groups or of all."""
        return [
            row.mobile
            for row in self._rows.values()
            if row.active and (not group_ids or row.group_id in group_ids)
        ]
