"""The site's own webhooks: subscribe, unsubscribe, and reading what they deliver (contract 3.7).

Deliveries carry no signature, id or time, and come at most once. They are hints: look up what
they claim. Put a secret into the path of the URL that receives them.
"""

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from otp_service.wsms.calls import Calls
from otp_service.wsms.errors import InvalidParameter, UnexpectedResponse
from otp_service.wsms.models import Capability, NewSms, NewSubscriber, WebhookEvent

_LARGEST = 65536


class Webhooks:
    """POST and DELETE /webhook. Both need wpsms_setting; there is no listing."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def subscribe(self, url: str, event: WebhookEvent) -> None:
        """
        Have the site call this URL; again is fine.

        The site calls it before it answers a send, up to 5 s each, and never calls private or
        loopback addresses and odd ports, though it takes them here.

        Raises:
            InvalidParameter: Not https in lower case with an ASCII host, or the site thinks so.
            WsmsError: See `errors`.
        """
        await self._tell("POST", url, event)

    async def unsubscribe(self, url: str, event: WebhookEvent) -> None:
        """Stop it; a URL that was never subscribed is fine too. Raises as `subscribe` does."""
        await self._tell("DELETE", url, event)

    async def _tell(self, method: str, url: str, event: WebhookEvent) -> None:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            host = None
        if not url.startswith("https://") or not host or not url.isascii() or " " in url:
            raise InvalidParameter("webhook_url", "must be https:// with an ASCII host")
        await self._calls.succeed(
            method,
            "/webhook",
            capability=Capability.SETTING,
            body={"webhook_url": url, "type": str(WebhookEvent(event))},
            secrets=(url,),
        )


def parse_delivery(headers: Mapping[str, str], body: bytes) -> NewSms | NewSubscriber:
    """
    Read one delivery, of which nothing is proven.

    Args:
        headers: Of the request; names in any case.
        body: At most 64 KiB.

    Raises:
        UnexpectedResponse: It is no delivery of WSMS.
    """
    event = next((v for k, v in headers.items() if k.lower() == "x-wp-sms-webhook-event"), "")
    if len(body) > _LARGEST:
        raise UnexpectedResponse("a delivery larger than 64 KiB")
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise UnexpectedResponse("a delivery that is no JSON") from None
    match event, parsed:
        case WebhookEvent.NEW_SMS, {"api_response": response}:
            return NewSms(api_response=response)
        case WebhookEvent.NEW_SUBSCRIBER, {"name": str(name), "mobile": str(mobile)}:
            return NewSubscriber(name=name, mobile=mobile)
    raise UnexpectedResponse("no delivery that WSMS is known to make")
