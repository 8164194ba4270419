"""One HTTP exchange with the site: pooled, verified, capped, within one deadline.

Rules of this file:
- Only here does the room speak HTTP, and straight to a transport of httpx: what a client adds to it
  (redirects, cookies, the environment's proxies and netrc) would hand the credential to somebody
  else, and costs more than the call.
- A request is repeated only if no byte of it was written; the connection's own trace says so.
- Nothing is logged here, and httpx and httpcore are silenced below WARNING in `__init__`.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from types import TracebackType
from typing import cast

import httpx

from otp_service.wsms.answer import Answer
from otp_service.wsms.connections import Connections
from otp_service.wsms.outcome import Json, UnknownReason


class CallFailed(Exception):
    """
    No usable answer came.

    Attributes:
        inconclusive: The time ran out after a wait for a connection of our own pool, so the failure says nothing about
            the site.
    """

    def __init__(self, why: str, *, inconclusive: bool = False) -> None:
        super().__init__(why)
        self.inconclusive = inconclusive


class NotSent(CallFailed):
    """No byte of the request was written: sure, and safe to try again."""

    def __init__(self, why: str, *, untrusted: bool = False, inconclusive: bool = False) -> None:
        super().__init__(why, inconclusive=inconclusive)
        self.untrusted = untrusted


class Lost(CallFailed):
    """The request, or a part of it, was written and no usable answer came back."""

    def __init__(self, reason: UnknownReason, why: str, *, inconclusive: bool = False) -> None:
        super().__init__(why, inconclusive=inconclusive)
        self.reason = reason


class Wire:
    """The connection pool to one site. `ask` never raises httpx's own exceptions."""

    def __init__(
        self,
        *,
        authorization: str,
        connect_timeout: float,
        connect_backoff: Sequence[float],
        pool_size: int,
        ca_file: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connect_backoff = tuple(connect_backoff)
        # A foreign transport reports no trace, so that nothing can be proven about it.
        self._traces = transport is None
        if transport is None:
            # A kept connection that the server closes as we write to it is ambiguous, so give it up before servers do:
            # Apache keeps them 5 s by default.
            transport = Connections(tls=_trust(ca_file), at_most=pool_size, kept=3.0)
        self._transport = transport
        # Only connecting has a time of its own; all else counts against the deadline.
        self._timeout = {"connect": connect_timeout}
        self._headers = httpx.Headers(
            {
                "Authorization": authorization,
                "Accept": "application/json",  # else errors come as HTML (contract 2.3)
                "Accept-Encoding": "identity",  # so that the cap counts what is parsed
                "Connection": "keep-alive",
                "User-Agent": "otp-service",
            }
        )

    async def __aenter__(self) -> "Wire":
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(kind, error, traceback)

    async def ask(
        self,
        method: str,
        url: str,
        *,
        body: Mapping[str, Json] | None,
        deadline: float,
        max_bytes: int,
        anonymous: bool = False,
    ) -> Answer:
        """
        Make one call and read its answer to the end.

        Raises:
            NotSent: The connection never came about, retries included.
            Lost: Anything after the first written byte.
        """
        trace = _Trace()
        request = httpx.Request(
            method,
            url if body is None else _parsed(url),
            headers=self._headers,
            content=None if body is None else _encode(body),
            extensions={"timeout": self._timeout, "trace": trace},
        )
        if body is not None:
            request.headers["Content-Type"] = "application/json"
        if anonymous:
            del request.headers["Authorization"]
        try:
            async with asyncio.timeout(deadline):
                return await self._persist(request, trace, max_bytes)
        except TimeoutError:
            waited = trace.waited
            if trace.waiting:
                why = "all our connections to the site were busy until the deadline"
                raise NotSent(why, inconclusive=waited) from None
            if self._traces and not trace.written:
                raise NotSent("no connection within the deadline", inconclusive=waited) from None
            raise Lost(
                UnknownReason.TIMEOUT, "no complete answer within the deadline", inconclusive=waited
            ) from None

    async def _persist(self, request: httpx.Request, trace: "_Trace", max_bytes: int) -> Answer:
        for pause in (*self._connect_backoff, None):
            try:
                return await self._exchange(request, trace, max_bytes)
            except NotSent as error:
                if pause is None or error.untrusted:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError  # pragma: no cover

    async def _exchange(self, request: httpx.Request, trace: "_Trace", max_bytes: int) -> Answer:
        try:
            response = await self._transport.handle_async_request(request)
            try:
                return Answer(
                    status=response.status_code,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=await _read(response, max_bytes),
                )
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # httpx raises these before it writes; the trace is asked all the same.
            if trace.written:  # pragma: no cover
                raise Lost(UnknownReason.CONNECTION_LOST, _name(error)) from None
            raise _not_sent(error) from None
        except AttributeError as error:
            # A peer that resets at once leaves uvloop's transport without a socket, and anyio asks that None for its
            # addresses as httpcore takes the new connection over: nothing can have been written yet.
            if not (self._traces and error.obj is None) or trace.written:
                raise
            raise NotSent("no connection to the site: reset at once") from None
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError, OSError) as error:
            # Also a kept-alive connection which the server had closed: some of the request
            # may have been read before, so this is never tried again.
            raise Lost(UnknownReason.CONNECTION_LOST, _name(error)) from None


class _Trace:
    """Watches the pool's events for a wait for a connection, and for the first byte written of a request."""

    def __init__(self) -> None:
        self.waited = False
        self.waiting = False
        self.written = False

    async def __call__(self, event: str, info: Mapping[str, object]) -> None:
        if event == "pool.wait":
            self.waited = self.waiting = True
        elif event == "pool.connection":
            self.waiting = False
        elif event.endswith("send_request_headers.started"):
            self.written = True


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in cast(httpx.AsyncByteStream, response.stream):
        body += chunk
        if len(body) > max_bytes:
            raise Lost(UnknownReason.TOO_LARGE, f"the answer is larger than {max_bytes} bytes")
    return bytes(body)


@lru_cache(maxsize=8)  # of the few URLs that are posted to; others hold what need not be kept
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


def _encode(body: Mapping[str, Json]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _not_sent(error: httpx.TransportError) -> NotSent:
    if isinstance(error, httpx.PoolTimeout):
        return NotSent("all our connections to the site were busy", inconclusive=True)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NotSent("the site's certificate is not trusted", untrusted=True)
        cause = cause.__cause__ or cause.__context__
    return NotSent(f"no connection to the site: {_name(error)}")


def _name(error: Exception) -> str:
    # The class only: texts of network errors may hold addresses and URLs.
    return type(error).__name__


@cache  # reading the public authorities takes longer than a call
def _trust(ca_file: str | None) -> ssl.SSLContext:
    context = (
        httpx.create_ssl_context(trust_env=False)
        if ca_file is None
        else ssl.create_default_context(cafile=ca_file)
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # ASVS 12.1.1
    return context
