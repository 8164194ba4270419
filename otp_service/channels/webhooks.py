"""
Handing messages to callers' webhook endpoints, and to nothing else (OWASP on server-side request forgery).

The host is resolved once, every address it has must be public, and connections go to those very addresses, in turn
until one is reached: TLS still checks the name, but what a second resolution would say plays no part. A message that
may have been sent goes to no other address. No redirect is followed, no proxy of the environment is used, and of an
answer only the status counts.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import httpx

from otp_service.core.targets import Target, TargetRefused, is_public, parse

DEADLINE = 10.0  # seconds for one message, its host's resolution included
MAX_ANSWER_BYTES = 16_384
MAX_ADDRESSES = 8  # of one host that are tried; each gets an equal share of the time that is left

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Reply:
    """
    How one try went.

    Attributes:
        status: Of the answer; None when none came.
        reason: A stable word: `http_<status>`, `timeout`, `connection`, `refused`.
    """

    status: int | None
    reason: str

    @property
    def delivered(self) -> bool:
        """Whether the endpoint has taken the message: 2xx and nothing else."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the endpoint wants no message any more."""
        return self.status == 410


class WebhookChannel:
    """
    The way to webhook endpoints.

    Args:
        allow_private: Also http and addresses inside, for local development and tests.
        resolve: Returns the addresses of a host and port; by default the system's, in threads of its own.
        tls: By default the system's authorities.
        deadline: Seconds for one message.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self.allow_private = allow_private
        self.deadline = deadline
        # Not the event loop's own few threads: the name server of one caller's endpoint could block the WSMS site's.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="webhook-dns")
        self._resolve = resolve or self._ask_system
        self._tls = tls

    def close(self) -> None:
        """Let go of its threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def check(self, url: str) -> tuple[Target, Sequence[str]]:
        """
        Return where a URL leads and the addresses to connect to, resolved now, in the resolver's order.

        Raises:
            TargetRefused: we don't call that.
            OSError, TimeoutError: its host can't be resolved.
        """
        target = parse(url, allow_private=self.allow_private)
        async with asyncio.timeout(self.deadline):
            addresses = (
                [target.host] if target.literal else await self._resolve(target.host, target.port)
            )
        if not addresses:
            raise OSError("no address")
        if not self.allow_private and not all(is_public(address) for address in addresses):
            raise TargetRefused("the host has an address that is not public")
        return target, list(dict.fromkeys(addresses))[:MAX_ADDRESSES]

    @asynccontextmanager
    async def line(self, url: str) -> AsyncIterator["WebhookConnection"]:
        """Give a line to one endpoint while the block lasts; connects when used, to the first address that answers."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        transport = httpx.AsyncHTTPTransport(
            verify=self._tls, trust_env=False, retries=0, limits=httpx.Limits(max_connections=8)
        )
        async with httpx.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, timeout=self.deadline
        ) as client:
            client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            yield WebhookConnection(self, client, url)

    async def _ask_system(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _getaddrinfo, host, port)
        return [str(entry[4][0]) for entry in found]


class WebhookConnection:
    """A line to one endpoint."""

    def __init__(self, channel: WebhookChannel, client: httpx.AsyncClient, url: str) -> None:
        self._channel = channel
        self._client = client
        self._url = url
        self._checked: tuple[Target, Sequence[str]] | None = None
        self._lock = asyncio.Lock()

    async def post(self, body: str, headers: Mapping[str, str]) -> Reply:
        """Hand one message over. Never raises for what the other side does."""
        try:
            async with asyncio.timeout(self._channel.deadline):
                async with self._lock:  # resolved once for all messages of the line
                    if self._checked is None:
                        self._checked = await self._channel.check(self._url)
                return await self._post_to_any(*self._checked, body, headers)
        except TargetRefused:
            return Reply(None, "refused")
        except (TimeoutError, httpx.TimeoutException):
            return Reply(None, "timeout")
        except (OSError, UnicodeError, httpx.HTTPError, httpx.InvalidURL, ssl.SSLError):
            return Reply(None, "connection")

    async def _post_to_any(
        self, target: Target, addresses: Sequence[str], body: str, headers: Mapping[str, str]
    ) -> Reply:
        """Post to the first address that a connection to can be made; a failure to connect has sent nothing."""
        ends_at = time.monotonic() + self._channel.deadline
        for number, address in enumerate(addresses):
            seconds = (ends_at - time.monotonic()) / (len(addresses) - number)
            try:
                reply = await self._post(target, address, body, headers, connect=seconds)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == len(addresses) - 1:
                    raise
                continue
            self._checked = target, [address, *(a for a in addresses if a != address)]
            return reply
        raise OSError("no address")

    async def _post(
        self,
        target: Target,
        address: str,
        body: str,
        headers: Mapping[str, str],
        *,
        connect: float,
    ) -> Reply:
        host = f"[{address}]" if ":" in address else address
        async with self._client.stream(
            "POST",
            f"{target.scheme}://{host}:{target.port}{target.path}",
            content=body.encode(),
            timeout=httpx.Timeout(self._channel.deadline, connect=max(connect, 0.0)),
            headers={
                **headers,
                "host": target.authority,
                "user-agent": "otp-service",
                "accept": "*/*",
                "accept-encoding": "identity",
            },
            extensions={} if target.literal else {"sni_hostname": target.host},
        ) as answer:
            size = 0
            async for chunk in answer.aiter_raw():
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    break  # the status has said it all; leaving closes the connection
            return Reply(answer.status_code, f"http_{answer.status_code}")


def _getaddrinfo(
    host: str, port: int
) -> list[tuple[object, object, object, str, tuple[object, ...]]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
