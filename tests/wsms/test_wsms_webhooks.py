"""Subscribing to the site's webhooks, and reading what they deliver."""

import json
from pathlib import Path
from typing import Any

import pytest
from odd_sites import OddSite

from otp_service.wsms import (
    InvalidParameter,
    NewSms,
    NewSubscriber,
    UnexpectedResponse,
    WebhookEvent,
    WsmsClient,
    parse_delivery,
)

RECORDED = Path(__file__).parent.parent / "wsms_recordings" / "062-webhook.json"
URL = "https://hooks.example.org/wsms/secret?k=1"


async def test_subscribe_and_unsubscribe_are_idempotent(wsms: WsmsClient) -> None:
    for _ in range(2):
        await wsms.webhooks.subscribe(URL, WebhookEvent.NEW_SMS)
    for _ in range(2):
        await wsms.webhooks.unsubscribe(URL, WebhookEvent.NEW_SMS)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "HTTPS://a.example",
        "a.example",
        "https://",
        "https://bücher.example",
        "https://a.example/a b",
        "https://[",
        "",
    ],
)
async def test_what_the_site_refuses_is_refused_here(
    odd: OddSite, client: WsmsClient, url: str
) -> None:
    with pytest.raises(InvalidParameter) as caught:
        await client.webhooks.subscribe(url, WebhookEvent.NEW_SMS)

    assert caught.value.name == "webhook_url"
    assert odd.seen == []


async def test_an_unknown_event_is_refused(client: WsmsClient) -> None:
    with pytest.raises(ValueError, match="new_thing"):
        await client.webhooks.subscribe(URL, "new_thing")  # type: ignore[arg-type]


def test_the_recorded_deliveries_are_read() -> None:
    parsed = [
        parse_delivery(delivery["headers"], json.dumps(delivery["body"]).encode())
        for delivery in json.loads(RECORDED.read_text())["deliveries"]
    ]

    assert [type(p) for p in parsed] == [NewSms, NewSubscriber, NewSubscriber, NewSms]
    assert parsed[1] == NewSubscriber(name="Ann", mobile="+447700900601")
    assert "447700900601" not in repr(parsed)


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("new_sms", b"{}"),
        ("new_sms", b"[]"),
        ("new_sms", b"<html>"),
        ("new_sms", b"\xff"),
        ("new_sms", b"[" * 60_000),
        ("new_sms", b'{"api_response": "' + b"x" * 70_000 + b'"}'),
        ("new_subscriber", b'{"name": "Ann"}'),
        ("new_subscriber", b'{"name": ["Ann"], "mobile": 1}'),
        ("new_subscriber", b'{"api_response": 1}'),
        ("other", b'{"api_response": 1}'),
        ("", b'{"api_response": 1}'),
    ],
)
def test_anything_else_is_no_delivery(event: str, body: bytes) -> None:
    with pytest.raises(UnexpectedResponse):
        parse_delivery({"x-wp-sms-webhook-event": event}, body)


@pytest.mark.parametrize("response", [None, "ok", [], {"status": "complete"}])
def test_a_gateway_may_say_anything(response: Any) -> None:
    body = json.dumps({"api_response": response}).encode()

    assert parse_delivery({"X-WP-SMS-Webhook-Event": "new_sms"}, body) == NewSms(response)
