"""What a site wrote while one call ran, told by its own clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from odd_sites import NUMBER, OddSite

from otp_service.channels.outbox import WsmsOutbox
from otp_service.wsms import WsmsClient

CALLED = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)  # by our clock
ANSWERED = CALLED + timedelta(seconds=3)
NOW = CALLED + timedelta(seconds=40)


def listing(*times: datetime) -> dict[str, object]:
    """An outbox with a row of each time."""
    rows = [
        {
            "id": number,
            "date": f"{time:%Y-%m-%d %H:%M:%S}",
            "recipient": NUMBER,
            "message": "Your activation code: 5678",
            "status": "success",
        }
        for number, time in enumerate(times, 1)
    ]
    pages = {"total": len(rows), "total_pages": 1, "current_page": 1, "per_page": 100}
    return {"message": "ok", "error": [], "data": {"items": rows, "pagination": pages}}


async def found(client: WsmsClient) -> list[int]:
    sent = await WsmsOutbox(client).find_within(NUMBER, began=CALLED, ended=ANSWERED, now=NOW)
    return [one.row for one in sent]


@pytest.mark.parametrize("ahead", [0, 7 * 60, -7 * 60, 86_400 * 3])
async def test_a_site_whose_clock_is_wrong_is_understood(
    odd: OddSite, client: WsmsClient, ahead: int
) -> None:
    skew = timedelta(seconds=ahead)
    odd.answers(
        body=listing(
            CALLED + skew - timedelta(seconds=20),
            CALLED + skew + timedelta(seconds=2),
            ANSWERED + skew + timedelta(seconds=20),
        ),
        headers={"Date": format_datetime(NOW + skew, usegmt=True)},
    )

    assert await found(client) == [2]


@pytest.mark.parametrize("told", [{}, {"Date": "yesterday"}])
async def test_a_site_that_does_not_tell_its_clock_is_not_guessed_at(
    odd: OddSite, client: WsmsClient, told: dict[str, str]
) -> None:
    odd.answers(body=listing(CALLED), headers=told)

    assert await found(client) == []
