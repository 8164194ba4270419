"""The client of one WordPress site's WSMS API: an async context manager, and `send`."""

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType

import httpx

from otp_service.wsms.address import SiteAddress
from otp_service.wsms.breaker import CircuitBreaker
from otp_service.wsms.call_results import CallResult
from otp_service.wsms.calls import Calls, CircuitOpen
from otp_service.wsms.credit import CreditCalls
from otp_service.wsms.errors import WsmsConfigurationError
from otp_service.wsms.models import Capability
from otp_service.wsms.newsletter import Newsletter
from otp_service.wsms.outbox import Outbox
from otp_service.wsms.outcome import SendOutcome
from otp_service.wsms.sending import (
    Handler,
    Recipients,
    Repeat,
    Timing,
    message_fields,
    recipient_fields,
    require_timing,
    secrets_of,
)
from otp_service.wsms.site import Site, SiteReport
from otp_service.wsms.verdict import outcome_of_answer, outcome_of_failure
from otp_service.wsms.webhooks import Webhooks
from otp_service.wsms.wire import Lost, NotSent, Wire


class WsmsClient:
    """
    Everything WSMS 7.2 offers, typed. Use it as `async with WsmsClient(...) as wsms:`.

    One client holds one connection pool and one breaker; share it between tasks of one event
    loop. Redirects are not followed, the environment (proxies, netrc) is not read, and the
    site's certificate is always verified.

    Attributes:
        newsletter: Subscribe, verify, unsubscribe, list.
        outbox: Pages, all rows, one row, delete, resend.
        credit: What the gateway says is left.
        webhooks: The site's own announcements.
        site: Its public index, zone, and `check`.
    """

    def __init__(
        self,
        url: str,
        username: str,
        application_password: str,
        *,
        connect_timeout: float = 5.0,
        deadline: float = 30.0,
        max_response_bytes: int = 65536,
        max_listing_bytes: int = 16 * 1024 * 1024,
        pool_size: int = 32,
        breaker: CircuitBreaker | None = None,
        connect_backoff: Sequence[float] = (0.1, 0.4),
        ca_file: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        on_result: Callable[[CallResult], None] = lambda _: None,
    ) -> None:
        """
        Check the address and credential; nothing is sent before `async with`.

        Args:
            url: The site, with or without /wp-json, or `https://site/?rest_route=/`. https,
                unless the host is loopback.
            username: Login name or e-mail of the WordPress user.
            application_password: With or without its display blanks. Not the login password.
            connect_timeout: Seconds for one try to connect, TLS included.
            deadline: Seconds for a whole call. Below 30 a call may be cut off whose message
                goes out all the same (contract 3.1, quirk 7).
            max_response_bytes: What is read of an answer; a longer one is `too_large`.
            max_listing_bytes: The same for outbox pages and the list of subscribers.
            pool_size: Connections at once; further calls wait within their deadline.
            breaker: Shared with other clients of the same site, or with tests.
            connect_backoff: Seconds before each retry of a connection that never came about;
                its length is the number of retries.
            ca_file: PEM file of a private certificate authority, instead of the public ones.
            transport: Replaces the network. Then nothing can be proven unsent but httpx's own
                connect errors.
            on_result: Called with the result of each answered call; must not wait.

        Raises:
            WsmsConfigurationError: Naming what is wrong, without repeating it.
        """
        address = SiteAddress(url)
        token = _basic(username, application_password)
        wire = Wire(
            authorization=f"Basic {token}",
            connect_timeout=connect_timeout,
            connect_backoff=connect_backoff,
            pool_size=pool_size,
            ca_file=ca_file,
            transport=transport,
        )
        self._calls = Calls(
            wire=wire,
            address=address,
            breaker=CircuitBreaker() if breaker is None else breaker,
            deadline=deadline,
            max_answer=max_response_bytes,
            max_listing=max_listing_bytes,
            credentials=(
                username,
                application_password,
                application_password.replace(" ", ""),
                token,
            ),
            on_result=on_result,
        )
        self.site = Site(self._calls)
        self.newsletter = Newsletter(self._calls)
        self.outbox = Outbox(self._calls, self.site)
        self.credit = CreditCalls(self._calls)
        self.webhooks = Webhooks(self._calls)

    def __repr__(self) -> str:
        return f"<WsmsClient {self._calls.address}>"

    async def __aenter__(self) -> "WsmsClient":
        await self._calls.wire.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._calls.wire.__aexit__(kind, error, traceback)

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker before this site."""
        return self._calls.breaker

    async def send(
        self,
        *,
        message: str,
        numbers: str | Sequence[str] | None = None,
        recipients: Recipients | None = None,
        sender: str = "",
        flash: bool = False,
        media_urls: Sequence[str] = (),
        schedule: datetime | None = None,
        repeat: Repeat | None = None,
        handler: Handler | None = None,
        handler_id: int | None = None,
        deadline: float | None = None,
    ) -> SendOutcome:
        """
        Send one message and say what is certain about it (POST /send, contract 3.1).

        Whatever the site or the network does becomes an outcome, never an exception. A call is
        never repeated once a byte of it was written: one call is at most one SMS a number.

        Args:
            message: Passed on as it is, except that the site expands %site_name%, %site_url%
                and %site_version%. Over 64 KiB it goes out but is not in the outbox.
            numbers: One E.164 number or up to 19 of them. Send codes one a call: there is no
                result by number, and some gateways send to the first only.
            recipients: Instead of numbers: Subscribers, Users, Roles, WooCommerceCustomers or
                BuddyPressUsers.
            sender: "" is the gateway's default.
            flash: Show at once, do not store; gateways may ignore it.
            media_urls: MMS; gateways without it ignore them and send the text.
            schedule: Aware; sent in the site's zone. Needs the Pro add-on, else refused. An
                `Accepted` then means taken into the schedule.
            repeat: Only with a schedule.
            handler: Whose variables the message uses.
            handler_id: Of which object; handler and handler_id go together.
            deadline: Seconds for this call instead of the client's.

        Raises:
            InvalidParameter: A mistake of the caller; nothing was sent.
            SiteDown, UnexpectedResponse: Only with a schedule, when the site's zone cannot be
                learnt; nothing was sent.
        """
        require_timing(schedule, repeat)
        body = message_fields(
            message=message,
            sender=sender,
            flash=flash,
            media_urls=media_urls,
            handler=handler,
            handler_id=handler_id,
        ) | recipient_fields(numbers, recipients)
        if schedule is not None:
            zone = await self.site.zone()
            body |= Timing(schedule=schedule, repeat=repeat, zone=zone).fields()
        secrets = secrets_of(body)
        try:
            answer = await self._calls.exchange(
                "POST", "/send", capability=Capability.SEND, body=body, deadline=deadline
            )
        except (CircuitOpen, NotSent, Lost) as failure:
            return outcome_of_failure(failure)
        return outcome_of_answer(answer, body, lambda text: self._calls.scrub(text, secrets))

    async def check(self) -> SiteReport:
        """Report what the site offers and what the credential may do; see `Site.check`."""
        return await self.site.check()


def _basic(username: str, application_password: str) -> str:
    if not username or ":" in username or not username.isprintable():
        raise WsmsConfigurationError("the WSMS user name is empty, or holds a colon or worse")
    if not application_password.strip() or not application_password.isprintable():
        raise WsmsConfigurationError("the WSMS application password is empty or malformed")
    return base64.b64encode(f"{username}:{application_password}".encode()).decode()
