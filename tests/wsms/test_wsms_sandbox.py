"""The client against the sandbox, end to end: each fault, what the client says, what the phone got."""

import asyncio
from typing import Any

import pytest
from odd_sites import NUMBER, PASSWORD, SHORT, client_of

from otp_service.sandbox.faults import Fault
from otp_service.sandbox.site import Site
from otp_service.wsms import Accepted, Refused, SendOutcome, Unknown, WsmsClient


def word(outcome: SendOutcome) -> str:
    match outcome:
        case Accepted():
            return "accepted"
        case Refused():
            return f"refused {outcome.reason}"
        case Unknown():
            return f"unknown {outcome.reason}"


@pytest.mark.parametrize(
    ("fault", "expected", "messages"),
    [
        # Behind the site: 400 does not mean unsent (quirk 1), 200 does not mean sent (quirk 2).
        ({"kind": "provider_error"}, "unknown gateway_error", 0),
        ({"kind": "provider_error", "status": 401}, "unknown gateway_error", 0),
        ({"kind": "provider_error_after_sending"}, "unknown gateway_error", 1),
        ({"kind": "provider_drop"}, "unknown gateway_error", 0),
        ({"kind": "provider_drop_after_sending"}, "unknown gateway_error", 1),
        ({"kind": "balance_error"}, "accepted", 1),
        ({"kind": "balance", "value": "12 EUR"}, "accepted", 1),
        ({"kind": "queued"}, "unknown background", 0),
        # At its doors.
        ({"kind": "drop_before"}, "unknown connection_lost", 0),
        ({"kind": "drop_after"}, "unknown connection_lost", 1),
        ({"kind": "hang"}, "unknown timeout", 0),
        ({"kind": "hang", "sent": True}, "unknown timeout", 1),
        ({"kind": "drip", "interval": 0.5}, "unknown timeout", 0),
        ({"kind": "html"}, "unknown not_wsms", 0),
        ({"kind": "html", "sent": True}, "unknown not_wsms", 1),
        ({"kind": "empty"}, "unknown not_wsms", 0),
        ({"kind": "truncated"}, "unknown connection_lost", 0),
        ({"kind": "huge"}, "unknown too_large", 0),
        ({"kind": "wrong_shape"}, "unknown not_wsms", 0),
        ({"kind": "redirect"}, "unknown redirected", 0),
        ({"kind": "redirect", "status": 308}, "unknown redirected", 0),
        ({"kind": "status"}, "unknown server_error", 0),
        ({"kind": "status", "status": 502, "sent": True}, "unknown server_error", 1),
        ({"kind": "status", "status": 401}, "refused not_authorized", 0),
        ({"kind": "status", "status": 429, "retry_after": "30"}, "refused rate_limited", 0),
        ({"kind": "maintenance"}, "refused maintenance", 0),
        ({"kind": "status", "status": 503, "sent": True}, "unknown server_error", 1),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else None,
)
async def test_each_fault(
    wsms: WsmsClient, sandbox: Site, fault: dict[str, Any], expected: str, messages: int
) -> None:
    sandbox.faults.replace([Fault(**fault)])
    slow = fault["kind"] in {"hang", "drip"}

    outcome = await wsms.send(
        message="Your code is 123456", numbers=NUMBER, deadline=SHORT if slow else 60
    )

    assert word(outcome) == expected
    assert len(sandbox.phone.messages(NUMBER)) == messages
    assert "123456" not in repr(outcome)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"plugin_active": False}, "refused no_route"),
        ({"capabilities_granted": False}, "accepted"),  # only administrators wait for wp-admin
        ({"application_passwords": False}, "refused not_authorized"),
        ({"maintenance": True}, "refused maintenance"),
        ({"wsms_version": "8"}, "refused no_route"),
        ({"database_down": True}, "unknown server_error"),
        ({"gateway_name": ""}, "refused gateway_not_configured"),
        ({"gateway_name": "twilio"}, "refused gateway_not_configured"),
        ({"gateway_username": ""}, "unknown gateway_error"),
        ({"sms_delivery_method": "api_queued_send"}, "unknown background"),
        ({"locale": "de_DE"}, "accepted"),
        ({"debug_display": True}, "accepted"),
        ({"gateway_name": "gatewayapi"}, "accepted"),
        ({"gateway_name": "wali"}, "accepted"),
    ],
    ids=str,
)
async def test_a_site_that_changes_under_our_feet(
    wsms: WsmsClient, sandbox: Site, change: dict[str, Any], expected: str
) -> None:
    for name, value in change.items():
        setattr(sandbox.settings, name, value)

    assert word(await wsms.send(message="hi", numbers=NUMBER)) == expected


@pytest.mark.parametrize(
    "suffix", ["", "/", "/wp-json", "/wp-json/", "/?rest_route=/", "/index.php?rest_route=/"]
)
async def test_every_spelling_of_the_address(sandbox_url: str, sandbox: Site, suffix: str) -> None:
    async with client_of(sandbox_url + suffix) as wsms:
        assert word(await wsms.send(message="hi", numbers=NUMBER)) == "accepted"
        assert (await wsms.check()).ready_to_send
        found = [row async for row in wsms.outbox.rows(search=NUMBER)]

    assert [row.message for row in found] == ["hi"]


@pytest.mark.parametrize("password", [PASSWORD, PASSWORD.replace(" ", "")])
async def test_display_blanks_of_the_password_may_stay(sandbox_url: str, password: str) -> None:
    async with WsmsClient(sandbox_url, "otp@sandbox.invalid", password) as wsms:
        assert word(await wsms.send(message="hi", numbers=NUMBER)) == "accepted"


async def test_many_at_once(wsms: WsmsClient, sandbox: Site) -> None:
    """More than the pool holds: the rest waits for its turn."""
    numbers = [f"+1415555{i:04}" for i in range(100)]

    outcomes = await asyncio.gather(
        *(wsms.send(message=f"to {number}", numbers=number) for number in numbers)
    )

    assert {word(outcome) for outcome in outcomes} == {"accepted"}
    for number in numbers:
        assert [m.message for m in sandbox.phone.messages(number)] == [f"to {number}"]


@pytest.mark.parametrize(
    "text",
    [
        "Ihr Code: 123456 – gültig 5 Minuten",
        "کد شما ۱۲۳۴۵۶",
        '👋🏽 "quoted" <b>&amp;</b> 100% \\n',
        "line one\nline two\n@example.org #123456",
        " padded ",
        "a,b c",
        "x" * 2000,
    ],
)
async def test_a_message_arrives_byte_for_byte(wsms: WsmsClient, sandbox: Site, text: str) -> None:
    """D16."""
    await wsms.send(message=text, numbers=NUMBER)

    assert sandbox.phone.messages(NUMBER)[0].message == text
