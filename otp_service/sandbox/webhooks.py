"""The plugin's own webhooks: unsigned, in line, and silent about failure (contract 3.7)."""

import asyncio
import contextlib
import ipaddress
import json
import re
import socket
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import IO, TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from otp_service.sandbox.answers import Answer, success
from otp_service.sandbox.call import Call
from otp_service.sandbox.php import PhpError, Value, plain, text
from otp_service.sandbox.validation import Args, Invalid

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site


@dataclass(frozen=True)
class Delivery:
    """One call to a receiver."""

    url: str
    headers: dict[str, str]
    body: bytes
    limit: float
    """Seconds."""
    allow_private: bool


Deliver: TypeAlias = Callable[[Delivery], Awaitable[None]]
"""Makes the call. Its errors are ignored, as in the plugin."""

CAPACITY = 1_000
"""Receivers of one event; more are answered alike and not kept."""
ALLOWED_PORTS = (None, 80, 443, 8080)


async def announce(site: "Site", event: str, payload: Value) -> None:
    """Call every receiver of the event, one after the other, before the caller's answer goes out."""
    settings = site.settings
    body = json.dumps(plain(payload), separators=(",", ":")).encode()
    headers = {
        "User-Agent": f"WordPress/{settings.wordpress_version}; {settings.url}",
        "Content-Type": "application/json",
        "X-WP-SMS-Webhook-Event": event,
        "X-WP-SMS-Version": settings.wsms_version,
    }
    private = settings.allow_private_webhooks
    for url in list(site.webhooks[event]):
        delivery = Delivery(url, headers, body, settings.webhook_timeout, private)
        # The plugin only logs what goes wrong here, so the caller never learns of it.
        with contextlib.suppress(Exception):
            await site.deliver(delivery)


async def _refuse_private(url: str) -> None:
    """WordPress' own rule for safe requests: odd ports, loopback and private addresses are never called."""
    parts = urlsplit(url)
    if parts.port not in ALLOWED_PORTS:
        raise PermissionError(url)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    if any(not ipaddress.ip_address(address[4][0]).is_global for address in found):
        raise PermissionError(url)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


async def deliver_over_http(delivery: Delivery) -> None:
    """POST in a thread: no redirects, no proxies, and the answer is not read."""

    def post() -> None:
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
        request = urllib.request.Request(  # noqa: S310  https, checked when it was subscribed
            delivery.url, delivery.body, delivery.headers, method="POST"
        )
        opener.open(request, timeout=delivery.limit).close()

    async with asyncio.timeout(delivery.limit):
        if not delivery.allow_private:
            await _refuse_private(delivery.url)
        await asyncio.to_thread(post)


def checked_url(site: "Site", value: Value) -> Invalid | bool:
    """Check the argument `webhook_url`: https in lower case, ASCII host, no blanks."""
    if isinstance(value, (list, dict)):
        raise PhpError("parse_url(): Argument #1 ($url) must be of type string, array given")
    schemes = "https?" if site.settings.allow_private_webhooks else "https"
    return re.fullmatch(rf"{schemes}://[!-~]*[A-Za-z0-9][!-~]*", text(value)) is not None


ARGS: Args = {
    "webhook_url": {"type": "string", "required": True, "validate": checked_url},
    "type": {"enum": ["new_sms", "new_subscriber"], "type": "string", "required": True},
}


async def subscribe(site: "Site", call: Call) -> Answer:
    urls = site.webhooks[call.get("type")]
    if call.get("webhook_url") not in urls and len(urls) < CAPACITY:
        urls.append(call.get("webhook_url"))
    return success("Webhook subscribed successfully")


async def unsubscribe(site: "Site", call: Call) -> Answer:
    urls = site.webhooks[call.get("type")]
    if call.get("webhook_url") in urls:
        urls.remove(call.get("webhook_url"))
    return success("Webhook unsubscribed successfully")
