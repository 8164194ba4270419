"""The outbox: every row once however the site shuffles ties, and times that mean a moment."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from odd_sites import NUMBER, OddSite

from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.site import Site
from otp_service.wsms import (
    Accepted,
    InvalidParameter,
    OutboxIncomplete,
    OutboxPage,
    OutboxRow,
    OutboxStatus,
    Refused,
    RefusedReason,
    RowNotFound,
    UnexpectedResponse,
    Unknown,
    WsmsClient,
)
from otp_service.wsms.sweep import Sweep, window_over

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class Shuffling:
    """A table that sorts by second only, and orders ties anew for each query."""

    def __init__(self, seconds: list[int], seed: int, *, newest_first: bool = True) -> None:
        self.rows = [_row(i, second) for i, second in enumerate(seconds, start=1)]
        self.newest_first = newest_first
        self.chance = random.Random(seed)
        self.reads = 0

    async def read(self, number: int, size: int) -> OutboxPage:
        self.reads += 1
        rows = list(self.rows)
        self.chance.shuffle(rows)
        rows.sort(key=lambda r: r.sent_at, reverse=self.newest_first)
        return OutboxPage(
            rows=tuple(rows[(number - 1) * size : number * size]),
            page=number,
            per_page=size,
            total=len(rows),
            total_pages=-(-len(rows) // size),
            success=len(rows),
            failed=0,
        )

    async def sweep(
        self, size: int, meanwhile: Callable[[OutboxRow], None] = lambda _: None
    ) -> list[OutboxRow]:
        found = []
        async for row in Sweep(self.read, newest_first=self.newest_first, size=size).rows():
            found.append(row)
            meanwhile(row)
        return found

    def delete(self, row: OutboxRow) -> None:
        self.rows = [r for r in self.rows if r.id != row.id]

    def add(self, second: int) -> None:
        self.rows.append(_row(max(r.id for r in self.rows) + 1, second))


def _row(row_id: int, second: int) -> OutboxRow:
    return OutboxRow(
        id=row_id,
        sent_at=START + timedelta(seconds=second),
        sender="",
        recipients=(),
        message="",
        status="success",
        response="",
        media=(),
    )


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("seed", range(15))
async def test_no_row_is_repeated_or_missed(seed: int, newest_first: bool) -> None:
    """Ties of up to 40 rows, pages of 1 to 100, several hundred rows."""
    chance = random.Random(seed)
    seconds = [
        second for second in range(chance.randint(0, 60)) for _ in range(chance.randint(1, 40))
    ]
    table = Shuffling(seconds, seed, newest_first=newest_first)

    found = await table.sweep(size=chance.choice([1, 2, 7, 20, 50, 99, 100]))

    expected = sorted(table.rows, key=lambda r: (r.sent_at, r.id), reverse=newest_first)
    assert [r.id for r in found] == [r.id for r in expected]


async def test_control_plain_paging_repeats_and_misses_rows() -> None:
    """Negative control: the table above does shuffle."""
    table = Shuffling([0] * 50, seed=1)

    pages = [await table.read(number, 10) for number in range(1, 6)]
    ids = [row.id for page in pages for row in page.rows]

    assert len(ids) == 50
    assert len(set(ids)) < 50


async def test_a_small_outbox_costs_one_call() -> None:
    table = Shuffling([0] * 100, seed=1)

    assert len(await table.sweep(size=100)) == 100
    assert table.reads == 1


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("seed", range(5))
async def test_each_row_may_be_deleted_as_it_comes(seed: int, newest_first: bool) -> None:
    """As the service does with the rows of its codes."""
    table = Shuffling([i // 7 for i in range(450)], seed, newest_first=newest_first)

    found = await table.sweep(size=100, meanwhile=table.delete)

    assert sorted(r.id for r in found) == list(range(1, 451))
    assert table.rows == []


@pytest.mark.parametrize("seed", range(5))
async def test_messages_sent_meanwhile_disturb_nothing(seed: int) -> None:
    table = Shuffling([i // 7 for i in range(450)], seed)
    before = {r.id for r in table.rows}

    found = await table.sweep(size=50, meanwhile=lambda _: table.add(1000))

    assert before <= {r.id for r in found}
    assert len(found) == len({r.id for r in found})


@pytest.mark.parametrize("seed", range(10))
async def test_rows_deleted_by_others_take_no_other_with_them(seed: int) -> None:
    table = Shuffling([i // 3 for i in range(400)], seed, newest_first=bool(seed % 2))
    chance = random.Random(seed)
    deleted: set[int] = set()

    def somebody_deletes(_: OutboxRow) -> None:
        row = chance.choice(table.rows)
        deleted.add(row.id)
        table.delete(row)

    found = {r.id for r in await table.sweep(size=40, meanwhile=somebody_deletes)}

    assert set(range(1, 401)) - deleted <= found


async def test_a_tie_wider_than_any_page_is_listed_if_the_site_does_not_shuffle_it() -> None:
    table = Shuffling([0] * 20 + [1] * 350 + [2] * 20, seed=1)
    table.chance.shuffle = lambda _: None  # type: ignore[method-assign,misc,assignment]

    assert len(await table.sweep(size=100)) == 390


async def test_a_tie_wider_than_any_page_is_never_listed_with_silent_gaps() -> None:
    table = Shuffling([0] * 20 + [1] * 350 + [2] * 20, seed=1)

    try:
        found = await table.sweep(size=100)
    except OutboxIncomplete:
        return
    assert len({r.id for r in found}) == 390


def test_a_window_holds_what_it_is_asked_for() -> None:
    for start in range(400):
        for width in (1, 2, 17, 50):
            window = window_over(start, start + width)
            assert window is not None
            number, size = window
            assert 1 <= size <= 100
            assert (number - 1) * size <= start
            assert start + width <= number * size
    assert window_over(0, 101) is None


# Against the sandbox, which can shuffle ties as MySQL may.


@pytest.fixture
def sandbox_settings() -> SiteSettings:
    return SiteSettings(unstable_ties=True)


def fill(sandbox: Site, count: int, *, status: str = "success") -> None:
    for i in range(count):
        sandbox.outbox.write(
            datetime(2026, 1, 16, 0, 0, i // 30),
            sender="RigApp",
            message=f"Msg {i} code {100000 + i}",
            recipients=[f"+4477009005{i % 10:02}", "+447700900599"],
            response="NULL",
            status=status,
            media=[],
        )


async def test_all_rows_of_a_shuffling_site(wsms: WsmsClient, sandbox: Site) -> None:
    fill(sandbox, 230)
    told: list[tuple[int, int]] = []

    found = [row async for row in wsms.outbox.rows(progress=lambda k, n: told.append((k, n)))]

    assert [row.id for row in found] == list(range(230, 0, -1))
    assert told[-1] == (230, 230)
    oldest = [row async for row in wsms.outbox.rows(order="asc")]
    assert [row.id for row in oldest] == list(range(1, 231))


async def test_filters(wsms: WsmsClient, sandbox: Site) -> None:
    fill(sandbox, 30)
    fill(sandbox, 3, status="error")

    by_number = [r async for r in wsms.outbox.rows(search="+447700900501")]
    failed = [r async for r in wsms.outbox.rows(status=OutboxStatus.FAILED)]
    none = [r async for r in wsms.outbox.rows(since=date(2026, 1, 17))]
    day = [r async for r in wsms.outbox.rows(since=date(2026, 1, 16), until=date(2026, 1, 16))]

    assert len(by_number) == 4
    assert by_number[0].recipients == ("+447700900501", "+447700900599")
    assert [r.status for r in failed] == ["failed"] * 3
    assert none == []
    assert len(day) == 33
    page = await wsms.outbox.page(2, per_page=10, orderby="recipient", order="asc")
    assert (page.total, page.total_pages, page.page, len(page.rows)) == (33, 4, 2, 10)
    assert (page.success, page.failed) == (30, 3)


async def test_one_row_delete_and_resend(wsms: WsmsClient, sandbox: Site) -> None:
    sent = await wsms.send(message="hello", numbers=NUMBER, sender="Shop")
    assert isinstance(sent, Accepted)

    row = await wsms.outbox.row(1)
    again = await wsms.outbox.resend(1)

    assert (row.message, row.sender, row.recipients) == ("hello", "Shop", (NUMBER,))
    assert isinstance(again, Accepted)
    assert [m.message for m in sandbox.phone.messages(NUMBER)] == ["hello", "hello"]
    await wsms.outbox.delete(1)
    with pytest.raises(RowNotFound):
        await wsms.outbox.row(1)
    with pytest.raises(RowNotFound):
        await wsms.outbox.delete(1)
    gone = await wsms.outbox.resend(1)
    assert isinstance(gone, Refused)
    assert gone.reason is RefusedReason.ROW_NOT_FOUND


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        (
            {"timezone_string": "Europe/Berlin", "gmt_offset": 1},
            datetime(2026, 7, 1, 10, 0, tzinfo=UTC),
        ),
        ({"gmt_offset": -3.5}, datetime(2026, 7, 1, 15, 30, tzinfo=UTC)),
        ({"timezone_string": "UTC"}, datetime(2026, 7, 1, 12, 0, tzinfo=UTC)),
        ({"gmt_offset": "90"}, datetime(2026, 7, 1, 12, 0, tzinfo=UTC)),
        ({"gmt_offset": "nan"}, datetime(2026, 7, 1, 12, 0, tzinfo=UTC)),
    ],
)
async def test_times_carry_the_sites_zone(
    odd: OddSite, client: WsmsClient, zone: dict[str, Any], moment: datetime
) -> None:
    odd.index = {"namespaces": ["wpsms/v1"], **zone}
    odd.answers(200, _listing(_item(date="2026-07-01 12:00:00")))

    (row,) = [r async for r in client.outbox.rows()]

    assert row.sent_at == moment
    assert row.sent_at.astimezone(timezone.utc) == moment  # noqa: UP017


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"items": [], "pagination": {}},
        {"items": "x", "pagination": {}},
        {"items": [1], "pagination": None},
    ],
)
async def test_a_page_of_another_shape_is_no_wsms_answer(
    odd: OddSite, client: WsmsClient, data: dict[str, Any]
) -> None:
    odd.answers(200, {"message": "m", "error": [], "data": data})

    with pytest.raises(UnexpectedResponse):
        await client.outbox.page()


@pytest.mark.parametrize(
    "item", [None, {}, {"id": "1"}, "row", {"id": 1, "date": "0000-00-00 00:00:00"}]
)
async def test_a_row_of_another_shape_is_no_wsms_answer(
    odd: OddSite, client: WsmsClient, item: Any
) -> None:
    odd.answers(200, _listing(_item(**item) if item and isinstance(item, dict) else item))

    with pytest.raises(UnexpectedResponse):
        await client.outbox.page()


async def test_odd_extras_of_a_row_do_no_harm(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(200, _listing(_item(sender=None, response=None, media="x", recipient="")))

    page = await client.outbox.page()

    assert page.rows[0].recipients == ()
    assert page.rows[0].media == ()


async def test_a_page_may_be_larger_than_an_answer_to_a_send(
    odd: OddSite, client: WsmsClient
) -> None:
    odd.answers(200, _listing(*(_item(id=i, response="x" * 5000) for i in range(1, 51))))

    assert len((await client.outbox.page()).rows) == 50


@pytest.mark.parametrize(
    "asked",
    [
        {"page": 0},
        {"per_page": 0},
        {"per_page": 101},
        {"since": datetime(2026, 1, 1, tzinfo=UTC)},
        {"until": datetime(2026, 1, 1, tzinfo=UTC)},
        {"search": "\ud83d"},
    ],
)
async def test_values_that_the_site_misreads_are_refused_here(
    odd: OddSite, client: WsmsClient, asked: dict[str, Any]
) -> None:
    """`per_page=0` divides by zero there, bad dates filter nothing (contract 3.5)."""
    with pytest.raises(InvalidParameter):
        await client.outbox.page(**asked)
    assert odd.seen == []


@pytest.mark.parametrize("row_id", [0, -1, True, "1/../2"])
async def test_a_row_id_is_a_positive_number(client: WsmsClient, row_id: Any) -> None:
    for call in (client.outbox.row, client.outbox.delete, client.outbox.resend):
        with pytest.raises(InvalidParameter):
            await call(row_id)


async def test_a_resend_without_a_proper_answer_is_unknown(
    odd: OddSite, client: WsmsClient
) -> None:
    odd.answers(200, {"message": "Message resent successfully", "error": [], "data": []})

    assert isinstance(await client.outbox.resend(1), Unknown)


async def test_messages_and_provider_answers_are_not_in_a_repr(
    odd: OddSite, client: WsmsClient
) -> None:
    odd.answers(200, _listing(_item(message="code 123456", response="secret")))

    shown = repr(await client.outbox.page())

    assert "123456" not in shown
    assert "secret" not in shown


def _item(**fields: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "date": "2026-07-01 12:00:00",
        "sender": "S",
        "recipient": NUMBER,
        "message": "m",
        "status": "success",
        "response": "NULL",
        "media": [],
        **fields,
    }


def _listing(*items: Any) -> dict[str, Any]:
    return {
        "message": "Outbox retrieved successfully",
        "error": [],
        "data": {
            "items": list(items),
            "pagination": {
                "total": len(items),
                "total_pages": 1,
                "current_page": 1,
                "per_page": 100,
            },
            "stats": {"total": 1, "success": 1, "failed": 0},
        },
    }
