"""Every row of the outbox once, though the site sorts by second only (contract 3.5).

The site orders rows of one second anew for each query, so a page border inside such a tie can
show a row twice and another never. Which date stands at which position is the same in every
order, though, and pages may have any size up to 100. So across each border a second window is
read, of a size whose own borders lie well away from the tie: it holds the whole tie, and also
any row that slipped over the border because one before it was deleted meanwhile. Rows already
seen are dropped by id. When the total shrinks, the sweep steps back by as many rows.

    page 1            page 2
    . . . . . a a | a a b . . . .        a: one second
        [ . . a a | a a b . ]            window
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime

from otp_service.wsms.errors import OutboxIncomplete
from otp_service.wsms.models import OutboxPage, OutboxRow

LARGEST_PAGE = 100
# For a tie that no window can hold: sizes that share no border within it.
_OTHER_SIZES = (100, 97, 89, 83)

ReadPage = Callable[[int, int], Awaitable[OutboxPage]]
Progress = Callable[[int, int], None]


class Sweep:
    """
    One pass over all pages.

    Args:
        read: Reads page `number` of `size` rows, always with the same filters.
        newest_first: The order that `read` asks for.
        size: Rows a page, 1 to 100.
        progress: Told after each page how many rows are known, and of how many.
    """

    def __init__(
        self, read: ReadPage, *, newest_first: bool, size: int, progress: Progress | None = None
    ) -> None:
        self._read = read
        self._newest_first = newest_first
        self._size = size
        self._progress = progress
        self._seen: set[int] = set()
        self._pending: dict[int, OutboxRow] = {}
        # The run of equal dates that ends the last page: since which position.
        self._run: datetime | None = None
        self._run_start = 0
        self._in_run: set[int] = set()

    async def rows(self) -> AsyncGenerator[OutboxRow, None]:
        """
        Yield the rows in order, ties by id.

        Raises:
            OutboxIncomplete: A tie is wider than a page and its rows did not all show up.
        """
        number, total = 1, 0
        while True:
            page = await self._read(number, self._size)
            if page.total < total:
                total, number = page.total, self._step_back(number, total - page.total)
                continue
            total = page.total
            if self._run is not None and page.rows:
                await self._close_run(page, (number - 1) * self._size)
            self._take(page)
            self._follow_run(page, (number - 1) * self._size)
            if self._progress:
                self._progress(len(self._seen), total)
            last = not page.rows or number * self._size >= page.total
            for row in self._ripe(everything=last):
                yield row
            if last:
                return
            number += 1

    def _step_back(self, number: int, deleted: int) -> int:
        self._run = None
        return max(1, number - 1 - -(-deleted // self._size))

    def _take(self, page: OutboxPage) -> None:
        for row in page.rows:
            if row.sent_at == self._run:
                self._in_run.add(row.id)
            if row.id not in self._seen:
                self._seen.add(row.id)
                self._pending[row.id] = row

    def _follow_run(self, page: OutboxPage, offset: int) -> None:
        for position, row in enumerate(page.rows, start=offset):
            if row.sent_at != self._run:
                self._run, self._run_start, self._in_run = row.sent_at, position, set()
            self._in_run.add(row.id)

    async def _close_run(self, page: OutboxPage, border: int) -> None:
        """Read across the border before `page`, unless the tie goes on beyond it."""
        ties = next(
            (i for i, row in enumerate(page.rows) if row.sent_at != self._run), len(page.rows)
        )
        if ties == len(page.rows) and (border + ties) < page.total:
            return
        start = self._run_start if ties else border - 1
        end = border + max(ties, 1)
        window = window_over(start, end)
        if window is not None:
            self._take(await self._read(*window))
            return
        self._take(page)
        for size in _OTHER_SIZES:
            for number in range(start // size + 1, (end - 1) // size + 2):
                self._take(await self._read(number, size))
        if len(self._in_run) < end - start:
            raise OutboxIncomplete(
                f"{end - start} rows share one second and the site shuffles them"
            )

    def _ripe(self, *, everything: bool) -> list[OutboxRow]:
        """Take out the rows before the run that may go on over the next border."""
        ripe = [
            row
            for row in self._pending.values()
            if everything or self._run is None or self._before(row.sent_at, self._run)
        ]
        for row in ripe:
            del self._pending[row.id]
        return sorted(ripe, key=lambda r: (r.sent_at, r.id), reverse=self._newest_first)

    def _before(self, one: datetime, other: datetime) -> bool:
        return one > other if self._newest_first else one < other


def window_over(start: int, end: int) -> tuple[int, int] | None:
    """
    Return (page number, page size) that holds positions start to end - 1 with most room around.

    None if no page of 100 rows or fewer does.
    """
    best: tuple[int, tuple[int, int]] | None = None
    for size in range(LARGEST_PAGE, max(1, end - start) - 1, -1):
        number = start // size + 1
        before = start - (number - 1) * size if number > 1 else size
        after = number * size - end
        if after >= 0 and (best is None or min(before, after) > best[0]):
            best = min(before, after), (number, size)
    return None if best is None else best[1]
