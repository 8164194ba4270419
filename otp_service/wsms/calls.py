"""Calls to one site: the breaker before them, and the error tree for what is not a send."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from otp_service.wsms.address import SiteAddress
from otp_service.wsms.answer import Answer, Success
from otp_service.wsms.breaker import CircuitBreaker
from otp_service.wsms.call_results import CallResult, result_of
from otp_service.wsms.errors import (
    CapabilityMissing,
    InvalidParameter,
    NoSuchRoute,
    NotAuthorized,
    RateLimited,
    RowNotFound,
    SiteDown,
    SiteRefused,
    UnexpectedResponse,
    WsmsError,
)
from otp_service.wsms.models import Capability
from otp_service.wsms.outcome import Json, UnknownReason
from otp_service.wsms.scrub import scrub
from otp_service.wsms.wire import Lost, NotSent, Wire

# A site in front of which somebody says "come back in an hour" is asked again after five minutes.
_LONGEST_PAUSE = 300.0

IN_MAINTENANCE = "WordPress is in maintenance mode"


class CircuitOpen(Exception):
    """The breaker refused the call; nothing was sent."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many failures in a row; the site is left alone for a while")
        self.retry_after = retry_after


@dataclass(kw_only=True)
class Calls:
    """
    Makes calls and tells the breaker how they ended.

    Attributes:
        deadline: Seconds for a whole call, connecting and retries included.
        max_answer: Bytes read of an ordinary answer.
        max_listing: Bytes read of an answer that lists things.
        credentials: Texts that must never be in a detail.
        on_result: Called with the result of each answered call; must not wait.
    """

    wire: Wire
    address: SiteAddress
    breaker: CircuitBreaker
    deadline: float
    max_answer: int
    max_listing: int
    credentials: tuple[str, ...] = field(repr=False)
    on_result: Callable[[CallResult], None] = field(default=lambda _: None, repr=False)

    def scrub(self, text: str, secrets: Iterable[str] = ()) -> str:
        """Make a foreign text fit to keep (G07)."""
        return scrub(text, (*self.credentials, *secrets))

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        capability: Capability,
        body: Mapping[str, Json] | None = None,
        query: Mapping[str, str] | None = None,
        deadline: float | None = None,
        listing: bool = False,
    ) -> Answer:
        """
        Make one guarded call with the credential. `capability` is what it needs.

        Raises:
            CircuitOpen, NotSent: Nothing was sent.
            Lost: Something was.
        """
        permit = self.breaker.admit()
        if permit is None:
            raise CircuitOpen(self.breaker.retry_after)
        try:
            answer = await self.wire.ask(
                method,
                self.address.call(path, query),
                body=body,
                deadline=self.deadline if deadline is None else deadline,
                max_bytes=self.max_listing if listing else self.max_answer,
            )
        except (NotSent, Lost) as failure:
            if failure.inconclusive:
                permit.abandoned()
            else:
                permit.failed()
            raise
        except BaseException:
            permit.abandoned()
            raise
        self.on_result(result_of(answer, capability))
        # A 403 elsewhere says that this user may not read the credit, say; sends still work.
        is_send = capability is Capability.SEND
        if answer.status >= 500 or answer.status == 401 or (answer.status == 403 and is_send):
            permit.failed()
        elif answer.status == 429:
            permit.failed()
            if answer.retry_after:
                self.breaker.pause(min(answer.retry_after, _LONGEST_PAUSE))
        else:
            permit.succeeded()
        return answer

    async def ask(
        self,
        method: str,
        path: str,
        *,
        capability: Capability,
        body: Mapping[str, Json] | None = None,
        query: Mapping[str, str] | None = None,
        listing: bool = False,
        secrets: Iterable[str] = (),
        refused: Callable[[str, str], SiteRefused] | None = None,
    ) -> Answer:
        """
        Make one call and return an answer of status 200 or 201, whatever its shape.

        `capability` is what the call needs, for CapabilityMissing; `secrets` is what was sent,
        for scrubbing; `refused` builds the error of a 400 of the plugin from its raw and its
        scrubbed text.

        Raises:
            WsmsError: Any of the tree but WsmsConfigurationError and OutboxIncomplete.
        """
        try:
            answer = await self.exchange(
                method, path, capability=capability, body=body, query=query, listing=listing
            )
        except CircuitOpen as error:
            raise SiteDown(str(error), maybe_done=False, retry_after=error.retry_after) from None
        except NotSent as error:
            raise SiteDown(str(error), maybe_done=False) from None
        except Lost as error:
            if error.reason is UnknownReason.TOO_LARGE:
                raise UnexpectedResponse(str(error)) from None
            raise SiteDown(f"{error.reason}: {error}") from None
        if answer.status in {200, 201}:
            return answer
        text = answer.plugin_error
        if answer.status == 400 and text is not None:
            detail = self.scrub(text, secrets)
            raise SiteRefused(detail) if refused is None else refused(text, detail)
        raise error_of(answer, capability)

    async def succeed(
        self,
        method: str,
        path: str,
        *,
        capability: Capability,
        body: Mapping[str, Json] | None = None,
        query: Mapping[str, str] | None = None,
        listing: bool = False,
        secrets: Iterable[str] = (),
        refused: Callable[[str, str], SiteRefused] | None = None,
    ) -> Success:
        """Make one call as `ask` does, and require shape S1."""
        answer = await self.ask(
            method,
            path,
            capability=capability,
            body=body,
            query=query,
            listing=listing,
            secrets=secrets,
            refused=refused,
        )
        if answer.success is None:
            raise UnexpectedResponse("status 200, but not the plugin's success shape")
        return answer.success


def error_of(answer: Answer, capability: str) -> WsmsError:
    """Return the error that an answer other than 200, 201 and the plugin's own 400 means."""
    status, wordpress = answer.status, answer.wordpress_error
    if answer.is_maintenance:
        return SiteDown(IN_MAINTENANCE, maybe_done=False)
    if status >= 500:
        return SiteDown(f"the site answers {status}" + (f": {wordpress.word}" if wordpress else ""))
    if status == 401:
        return NotAuthorized("the site does not accept the user name and application password")
    if status == 429 and answer.plugin_error is None:
        return RateLimited(answer.retry_after)
    if status == 404 and answer.plugin_error is not None:
        return RowNotFound("no row has this id")
    if wordpress is None:
        kind = "a redirect" if 300 <= status < 400 else f"status {status}"
        return UnexpectedResponse(f"{kind} in no shape of WordPress or the plugin")
    if status == 403 and wordpress.code == "rest_forbidden":
        return CapabilityMissing(capability)
    if status == 404 and wordpress.code == "rest_no_route":
        return NoSuchRoute("the site has no such route: is WSMS 7 active?")
    if status == 400 and wordpress.parameters:
        return InvalidParameter(
            ", ".join(wordpress.parameters), f"refused by the site: {wordpress.word}", at_site=True
        )
    return SiteRefused(f"status {status}: {wordpress.word}")
