"""What an endpoint gets from us can be told from what anybody else sends it (Standard Webhooks 1.0)."""

import base64
from collections.abc import Callable

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from otp_service.core.events import new_secret
from tests.events.conftest import Desk, Receivers

Headers = dict[str, str]
Forgery = Callable[[Headers, str], tuple[Headers, str]]

FORGERIES: dict[str, Forgery] = {
    "another body": lambda h, b: (h, b.replace("challenge.created", "challenge.approved")),
    "a byte more": lambda h, b: (h, b + " "),
    "another id": lambda h, b: ({**h, "webhook-id": h["webhook-id"][:-1] + "x"}, b),
    "a second later": lambda h, b: (
        {**h, "webhook-timestamp": str(int(h["webhook-timestamp"]) + 1)},
        b,
    ),
    "ten minutes old": lambda h, b: (
        {**h, "webhook-timestamp": str(int(h["webhook-timestamp"]) - 600)},
        b,
    ),
    "no signature": lambda h, b: ({k: v for k, v in h.items() if k != "webhook-signature"}, b),
    "an empty signature": lambda h, b: ({**h, "webhook-signature": "v1,"}, b),
    "another version": lambda h, b: (
        {**h, "webhook-signature": h["webhook-signature"].replace("v1,", "v0,")},
        b,
    ),
    "half a signature": lambda h, b: ({**h, "webhook-signature": h["webhook-signature"][:-8]}, b),
}


async def received(desk: Desk, receivers: Receivers) -> tuple[str, Headers, str]:
    """A secret, and the headers and body that came under it."""
    receiver = await receivers()
    endpoint = await desk.endpoint(receiver.url)
    await desk.queue(endpoint)
    await desk.worker.run_due()
    (message,) = receiver.received
    return endpoint.secrets[0], dict(message.headers), str(message.body)


@pytest.mark.parametrize("how", FORGERIES)
async def test_what_was_changed_on_its_way_does_not_verify(
    how: str, desk: Desk, receivers: Receivers
) -> None:
    """G10: also what was whole and is sent again under another id or time; unchanged is the negative control."""
    secret, headers, body = await received(desk, receivers)
    assert Webhook(secret).verify(body, headers)["type"] == "challenge.created"

    headers, body = FORGERIES[how](headers, body)
    with pytest.raises((WebhookVerificationError, KeyError)):
        Webhook(secret).verify(body, headers)


async def test_a_message_for_one_endpoint_is_none_for_another(
    desk: Desk, receivers: Receivers
) -> None:
    """G10: each has a secret of its own, of 192 random bits and more."""
    secret, headers, body = await received(desk, receivers)
    other = new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(body, headers)
    assert secret != other
    assert all(len(base64.b64decode(s.removeprefix("whsec_"))) >= 24 for s in (secret, other))
