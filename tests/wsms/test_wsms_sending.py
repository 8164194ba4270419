"""What POST /send is asked, and what is refused before the site could misread it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from odd_sites import NUMBER, SUCCESS, OddSite

from otp_service.wsms import (
    Accepted,
    BuddyPressUsers,
    Handler,
    InvalidParameter,
    Refused,
    RefusedReason,
    Repeat,
    Roles,
    Subscribers,
    Unknown,
    UnknownReason,
    Users,
    WooCommerceCustomers,
    WsmsClient,
)

SOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
SCHEDULED = {"message": "SMS Scheduled Successfully!", "error": [], "data": []}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"numbers": NUMBER}, {"recipients": "numbers", "numbers": [NUMBER]}),
        (
            {"numbers": (NUMBER, "+447700900001")},
            {"recipients": "numbers", "numbers": [NUMBER, "+447700900001"]},
        ),
        (
            {"recipients": Subscribers((1, 2))},
            {"recipients": "subscribers", "group_ids": [1, 2]},
        ),
        ({"recipients": Subscribers()}, {"recipients": "subscribers"}),
        ({"recipients": Users([7])}, {"recipients": "users", "users": [7]}),
        ({"recipients": Roles(["editor"])}, {"recipients": "roles", "role_ids": ["editor"]}),
        ({"recipients": WooCommerceCustomers()}, {"recipients": "wc-customers"}),
        ({"recipients": BuddyPressUsers()}, {"recipients": "bp-users"}),
    ],
)
async def test_every_kind_of_recipient(
    odd: OddSite, client: WsmsClient, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    odd.answers(200, SUCCESS)

    assert isinstance(await client.send(message="hi", **asked), Accepted)
    assert odd.seen[0].json == {"sender": "", "message": "hi", **sent}


async def test_optional_fields_are_sent_only_when_they_say_something(
    odd: OddSite, client: WsmsClient
) -> None:
    """`null` is refused by the site (contract 2.3)."""
    odd.answers(200, SUCCESS)

    await client.send(
        message="سلام 👋\n",
        numbers=NUMBER,
        sender="Shop",
        flash=True,
        media_urls=["https://example.org/a.png"],
        handler=Handler.WORDPRESS_USER,
        handler_id=3,
    )

    assert odd.seen[0].json == {
        "sender": "Shop",
        "recipients": "numbers",
        "numbers": [NUMBER],
        "message": "سلام 👋\n",
        "flash": True,
        "media_urls": ["https://example.org/a.png"],
        "notification_handler": "WordPressUserNotification",
        "handler_id": 3,
    }


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ({"timezone_string": "Europe/Berlin", "gmt_offset": 1}, "2026-07-01T14:00:00"),
        ({"timezone_string": "", "gmt_offset": 5.5}, "2026-07-01T17:30:00"),
        ({"timezone_string": "", "gmt_offset": "-3.5"}, "2026-07-01T08:30:00"),
        ({"timezone_string": "No/Where", "gmt_offset": "2"}, "2026-07-01T14:00:00"),
        ({}, "2026-07-01T12:00:00"),
    ],
)
async def test_a_schedule_is_sent_in_the_sites_zone(
    odd: OddSite, client: WsmsClient, zone: dict[str, Any], local: str
) -> None:
    odd.index = {"namespaces": ["wpsms/v1"], **zone}
    odd.answers(200, SCHEDULED)

    outcome = await client.send(
        message="hi",
        numbers=NUMBER,
        schedule=SOON.astimezone(timezone(timedelta(hours=9))),
        repeat=Repeat(every=2, unit="week", until=SOON),
    )

    assert outcome == Accepted(balance=None)
    asked = odd.seen[-1].json
    assert asked["schedule"] == local
    assert asked["repeat"] == {"interval": {"value": 2, "unit": "week"}, "endDate": local}


async def test_the_answer_to_a_schedule_proves_nothing_about_a_send_now(
    odd: OddSite, client: WsmsClient
) -> None:
    odd.answers(200, SCHEDULED)

    outcome = await client.send(message="hi", numbers=NUMBER)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.NOT_WSMS


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({}, "recipients"),
        ({"numbers": NUMBER, "recipients": Users([1])}, "recipients"),
        ({"numbers": []}, "numbers"),
        ({"numbers": [""]}, "numbers"),
        ({"numbers": "14155550123"}, "numbers"),
        ({"numbers": "+0441234567"}, "numbers"),
        ({"numbers": "+1 415 555 0123"}, "numbers"),
        ({"numbers": "+14155550123,+14155550124"}, "numbers"),
        ({"numbers": "+۱۴۱۵۵۵۵۰۱۲۳"}, "numbers"),
        ({"numbers": "+14155550123\n"}, "numbers"),
        ({"numbers": [["+14155550123"]]}, "numbers"),
        ({"numbers": "+1234567890123456"}, "numbers"),
        ({"numbers": [NUMBER] * 20}, "numbers"),
        ({"recipients": Users([])}, "users"),
        ({"recipients": Users([0])}, "users"),
        ({"recipients": Users([True])}, "users"),
        ({"recipients": Roles([])}, "role_ids"),
        ({"recipients": Roles([""])}, "role_ids"),
        ({"recipients": Roles("editor")}, "role_ids"),
        ({"recipients": Subscribers([-1])}, "group_ids"),
        ({"numbers": NUMBER, "message": ""}, "message"),
        ({"numbers": NUMBER, "message": " \n"}, "message"),
        ({"numbers": NUMBER, "message": "0"}, "message"),
        ({"numbers": NUMBER, "message": "\ud83d"}, "message"),
        ({"numbers": NUMBER, "sender": "\udc00"}, "sender"),
        ({"numbers": NUMBER, "media_urls": "https://example.org/a.png"}, "media_urls"),
        ({"numbers": NUMBER, "handler": Handler.SUBSCRIBER}, "handler_id"),
        ({"numbers": NUMBER, "handler_id": 1}, "handler_id"),
        ({"numbers": NUMBER, "repeat": Repeat(every=1, unit="day")}, "repeat"),
        ({"numbers": NUMBER, "schedule": datetime(2026, 7, 1)}, "schedule"),
        ({"numbers": NUMBER, "schedule": SOON, "repeat": Repeat(every=0, unit="day")}, "repeat"),
        (
            {
                "numbers": NUMBER,
                "schedule": SOON,
                "repeat": Repeat(every=1, unit="day", until=SOON - timedelta(days=1)),
            },
            "repeat",
        ),
        (
            {
                "numbers": NUMBER,
                "schedule": SOON,
                "repeat": Repeat(every=1, unit="day", until=datetime(2027, 1, 1)),
            },
            "repeat",
        ),
    ],
)
async def test_what_the_site_would_misread_is_refused_here(
    odd: OddSite, client: WsmsClient, asked: dict[str, Any], name: str
) -> None:
    odd.answers(200, SUCCESS)

    with pytest.raises(InvalidParameter) as caught:
        await client.send(**{"message": "hi", **asked})

    assert caught.value.name == name
    assert not caught.value.at_site
    assert odd.seen == []


async def test_a_translated_success_is_accepted_but_says_so(
    odd: OddSite, client: WsmsClient
) -> None:
    """Statuses and shapes decide; a queued message cannot be told apart there."""
    odd.answers(200, {"message": "SMS gesendet!", "error": [], "data": {"balance": 1}})

    assert await client.send(message="hi", numbers=NUMBER) == Accepted(balance=1, text_known=False)


async def test_a_translated_error_is_never_called_refused(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(400, {"error": {"code": 400, "message": "Das Gateway ist nicht eingerichtet."}})

    outcome = await client.send(message="hi", numbers=NUMBER)

    assert isinstance(outcome, Unknown)
    assert outcome.reason is UnknownReason.GATEWAY_ERROR


async def test_an_unknown_group_is_told_by_one_odd_word(odd: OddSite, client: WsmsClient) -> None:
    """[014]: literally "Array"; from a send to numbers the same word could be a gateway's."""
    odd.answers(400, {"error": {"code": 400, "message": "Array"}})

    to_group = await client.send(message="hi", recipients=Subscribers([99]))
    to_number = await client.send(message="hi", numbers=NUMBER)

    assert isinstance(to_group, Refused)
    assert to_group.reason is RefusedReason.UNKNOWN_GROUP
    assert to_group.by_text
    assert isinstance(to_number, Unknown)


async def test_which_parameter_the_site_refused_is_in_the_detail(
    odd: OddSite, client: WsmsClient
) -> None:
    odd.answers(
        400,
        {
            "code": "rest_invalid_param",
            "message": "Invalid parameter(s): schedule",
            "data": {"status": 400, "params": {"schedule": "123456 is no date"}, "details": []},
        },
    )

    assert await client.send(message="hi", numbers=NUMBER) == Refused(
        reason=RefusedReason.INVALID_PARAMETER, detail="schedule"
    )
