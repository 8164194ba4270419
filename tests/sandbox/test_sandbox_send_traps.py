"""What the contract says of /send beyond the shared recordings, one sentence each."""

from typing import Any

import httpx
import pytest

from otp_service.sandbox.faults import Fault
from otp_service.sandbox.site import Site

NUMBER = "+447700900001"


def body(**changes: Any) -> dict[str, Any]:
    return {
        "sender": "App",
        "recipients": "numbers",
        "numbers": [NUMBER],
        "message": "Your code is 123456",
        **changes,
    }


def reached(site: Site) -> list[str]:
    return [message.to for message in reversed(site.phone.messages())]


async def test_a_text_of_numbers_is_cut_at_commas_and_blanks(
    client: httpx.AsyncClient, site: Site
) -> None:
    await client.post("send", json=body(numbers="+447700900001, +447700900002 +447700900001"))
    assert reached(site) == ["+447700900001", "+447700900002"]


@pytest.mark.parametrize(
    ("given", "handed_over"),
    [
        ("not a number", ""),
        ("+44 (7700) 900-001", "+447700900001"),
        ("00447700900001", "00447700900001"),
        ("۰۷۷", ""),
    ],
)
async def test_numbers_are_cleaned_but_never_checked(
    client: httpx.AsyncClient, site: Site, given: str, handed_over: str
) -> None:
    response = await client.post("send", json=body(numbers=[given]))
    assert response.status_code == 200
    assert reached(site) == [handed_over]


@pytest.mark.parametrize("numbers", [[""], ["0"], ["  "]])
async def test_blank_numbers_alone_are_refused(
    client: httpx.AsyncClient, numbers: list[str]
) -> None:
    response = await client.post("send", json=body(numbers=numbers))
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("Mobile number not found")


@pytest.mark.parametrize(
    ("handler", "sent"),
    [
        (None, "Sandbox Site %user_login% %subscriber_name%"),
        ("WordPressUserNotification", "%site_name% admin %subscriber_name%"),
        ("SubscriberNotification", "%site_name% %user_login% Ann"),
    ],
)
async def test_a_handler_fills_its_own_variables_only(
    client: httpx.AsyncClient, site: Site, handler: str | None, sent: str
) -> None:
    site.subscribers.add(site.local_time(), "Ann", NUMBER, active=True)
    chosen = {"notification_handler": handler, "handler_id": 1} if handler else {}
    message = "%site_name% %user_login% %subscriber_name%"
    await client.post("send", json=body(message=message, **chosen))
    assert [one.message for one in site.phone.messages()] == [sent]


async def test_nested_numbers_end_in_phps_own_words(client: httpx.AsyncClient, site: Site) -> None:
    response = await client.post("send", json=body(numbers=[[NUMBER]]))
    assert (response.status_code, reached(site)) == (400, [])
    assert "array given" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("given", "handed_over"),
    [
        ("07700900001", "+447700900001"),
        ("+12025550123", "+12025550123"),
        ("00447700900001", "+44447700900001"),
    ],
)
async def test_a_country_code_prefixes_national_numbers_and_spoils_00(
    client: httpx.AsyncClient, site: Site, given: str, handed_over: str
) -> None:
    site.settings.mobile_county_code = "+44"
    await client.post("send", json=body(numbers=[given]))
    assert reached(site) == [handed_over]


async def test_numbers_filtered_out_as_not_local_are_a_success(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.send_only_local_numbers = ["+49"]
    response = await client.post("send", json=body())
    assert response.json()["message"] == "Successfully send SMS!"
    assert reached(site) == []


async def test_the_async_method_loses_the_message_and_says_success(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.sms_delivery_method = "api_async_send"
    response = await client.post("send", json=body())
    assert response.json()["message"] == "Successfully send SMS!"
    assert (reached(site), site.queue) == ([], type(site.queue)())


@pytest.mark.parametrize("how", ["setting", "fault", "twenty numbers"])
async def test_queued_messages_wait_until_cron_runs(
    client: httpx.AsyncClient, site: Site, how: str
) -> None:
    numbers = [NUMBER]
    if how == "setting":
        site.settings.sms_delivery_method = "api_queued_send"
    elif how == "fault":
        site.break_with(Fault(kind="queued", times=1))
    else:
        numbers = [f"+4477009000{i:02}" for i in range(20)]
    response = await client.post("send", json=body(numbers=numbers))
    assert "background task" in response.json()["message"]
    assert response.json()["data"] == {"balance": 4711}
    assert reached(site) == []
    ran = await client.post("http://sandbox.test/sandbox/cron")
    assert ran.json() == {"sent": len(numbers), "failed": 0}
    assert reached(site) == numbers


async def test_the_outbox_cuts_senders_at_twenty_bytes(
    client: httpx.AsyncClient, site: Site
) -> None:
    await client.post("send", json=body(sender="éééééééééééé"))
    assert site.phone.messages()[0].sender == "éééééééééééé"
    assert site.outbox.rows()[0].sender == "éééééééééé"


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "2030-01-01T10:00:00"},
        {"schedule": "2030-01-01T10:00:00Z", "repeat": {"interval": {"value": 1, "unit": "day"}}},
        {"schedule": "2020-01-01T10:00:00"},
        {"schedule": "2030-01-02 10:00:00", "repeat": {"endDate": "2030-01-01 10:00:00"}},
    ],
)
async def test_schedules_are_always_refused_and_send_nothing(
    client: httpx.AsyncClient, site: Site, changes: dict[str, Any]
) -> None:
    response = await client.post("send", json=body(**changes))
    assert (response.status_code, reached(site)) == (400, [])
    assert set(response.json()) == {"error"}


async def test_repeat_without_schedule_sends_at_once(client: httpx.AsyncClient, site: Site) -> None:
    response = await client.post(
        "send", json=body(repeat={"interval": {"value": 1, "unit": "day"}})
    )
    assert (response.status_code, reached(site)) == (200, [NUMBER])


@pytest.mark.parametrize("schedule", ["2030-01-01", "10:00:00", "2030-13-45T10:00:00", None, ""])
async def test_a_schedule_needs_date_and_time(
    client: httpx.AsyncClient, schedule: str | None
) -> None:
    response = await client.post("send", json=body(schedule=schedule))
    assert response.json()["code"] == "rest_invalid_param"


async def test_form_bodies_and_query_parameters_work_but_text_plain_is_not_read(
    client: httpx.AsyncClient, site: Site
) -> None:
    query = {"sender": "A", "recipients": "numbers", "numbers[]": NUMBER, "message": "m"}
    assert (await client.post("send", params=query)).status_code == 200
    assert (await client.post("send/", data=query)).status_code == 200
    plain = await client.post(
        "send",
        content=httpx.Request("POST", "http://x", json=body()).content,
        headers={"Content-Type": "text/plain"},
    )
    assert plain.json()["code"] == "rest_missing_callback_param"
    assert len(reached(site)) == 2


@pytest.mark.parametrize(
    "raw",
    [b"{", b"\xff", b'{"a": NaN}', b'{"message": "\\ud800"}', b"[" * 5000, b'\xef\xbb\xbf{"a":1}'],
)
async def test_what_php_cannot_decode_is_invalid_json(
    client: httpx.AsyncClient, raw: bytes
) -> None:
    response = await client.post("send", content=raw, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "rest_invalid_json")


@pytest.mark.parametrize("raw", [b"[]", b"5", b'"x"', b"null", b'{"message": 1e999}', b"{}"])
async def test_odd_json_is_missing_or_invalid_parameters_never_a_crash(
    client: httpx.AsyncClient, raw: bytes
) -> None:
    response = await client.post("send", content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("gateway", "balance", "shown", "credit"),
    [
        ("mobilemessage", 4711, 4711, "4711"),
        ("mobilemessage", 12.5, 12.5, "12.5"),
        ("mobilemessage", 1e20, 1e20, "1.0E+20"),
        ("mobilemessage", "Unable to check balance!", "Unable to check balance!", None),
        ("mobilemessage", [], [], []),
        ("mobilemessage", None, None, None),
        ("gatewayapi", 4711, "4711 EUR", "4711 EUR"),
        ("wali", 4711, True, "1"),
    ],
)
async def test_the_balance_is_whatever_the_gateway_says_and_credit_shows_it_as_text(
    client: httpx.AsyncClient, site: Site, gateway: str, balance: Any, shown: Any, credit: Any
) -> None:
    site.settings.gateway_name = gateway
    site.settings.balance = balance
    response = await client.post("send", json=body())
    assert response.json()["data"] == {"balance": shown}
    answer = (await client.get("credit")).json()
    if balance == "Unable to check balance!":
        credit = balance
    assert answer == {"credit": credit, "creditSupported": credit is not None}


async def test_a_failed_balance_query_looks_like_an_empty_account(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.break_with(Fault(kind="balance_error"))
    assert (await client.post("send", json=body())).json()["data"] == {"balance": 0}
    assert (await client.get("credit")).json() == {"credit": "0", "creditSupported": True}


async def test_the_gateway_test_refreshes_the_credit(client: httpx.AsyncClient, site: Site) -> None:
    assert (await client.get("credit")).json() == {"credit": None, "creditSupported": False}
    site.settings.balance = 99
    response = await client.post("settings/test-gateway")
    assert response.json()["data"] == {"credit": 99}
    assert (await client.get("credit")).json()["credit"] == "99"
    site.break_with(Fault(kind="balance_error"))
    assert (await client.post("settings/test-gateway")).status_code == 400


async def test_the_plugin_gives_up_on_its_provider_after_ten_seconds(
    client: httpx.AsyncClient, site: Site
) -> None:
    before = site.now()
    site.break_with(Fault(kind="slow", delay=60))
    response = await client.post("send", json=body())
    assert response.json()["error"]["message"].startswith("cURL error 28")
    assert (site.now() - before).total_seconds() == 10
    assert reached(site) == []


async def test_an_unknown_group_is_answered_with_the_word_array(client: httpx.AsyncClient) -> None:
    response = await client.post("send", json=body(recipients="subscribers", group_ids=[99]))
    assert response.json() == {"error": {"code": 400, "message": "Array"}}
