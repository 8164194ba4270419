"""The client for asyncio."""

import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import anyio
import httpx

from otp_service.client import (
    code_calls,
    device_calls,
    factor_calls,
    opt_in_calls,
    support_calls,
    wire,
)
from otp_service.client.call import Call
from otp_service.client.connecting import Connecting, bearer, method_of
from otp_service.client.errors import OtpServiceError
from otp_service.client.retrying import Retrying

P = ParamSpec("P")
T = TypeVar("T")


def _method(
    build: Callable[P, Call[T]],
) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]":
    """Return the method that sends what `build` makes: each call has its signature and words in one place."""

    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(build(*args, **kwargs))

    return method_of(build, method)


class AsyncClient:
    """
    A caller's line to an otp_service. Tasks may share it; close it, or use `async with`.

    Args:
        url: Of the service, such as `https://otp.internal`.
        credential: As `otp-service callers create` printed it, or a function asked before each call that returns
            a JWT that lives long enough, or awaits one. None: a certificate says who calls.
        timeout: Seconds for one method call, retries included; `wait` comes on top.
        transport: Of httpx, for proxies, sockets of your own; brings its own TLS.
        tls: For authorities or a client certificate of your own (`load_cert_chain`).
        retries: How often a call that can safely be repeated is sent again.

    Raises:
        ValueError: the URL or the credential can't be one.
    """

    def __init__(
        self,
        url: str,
        credential: str | Callable[[], str | Awaitable[str]] | None,
        *,
        timeout: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
        tls: ssl.SSLContext | None = None,
        retries: int = 2,
    ) -> None:
        self._connecting = Connecting.of(url, credential, timeout=timeout, retries=retries)
        self._http = httpx.AsyncClient(
            base_url=self._connecting.url,
            headers=self._connecting.headers,
            transport=transport,
            verify=True if tls is None else tls,
            timeout=None,  # noqa: S113 - the deadline is around the whole call
        )

    def __repr__(self) -> str:
        return f"AsyncClient({self._connecting.url!r})"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    request_code = _method(code_calls.request_code)
    verify_code = _method(code_calls.verify_code)
    resend_code = _method(code_calls.resend_code)
    cancel = _method(code_calls.cancel)
    challenge = _method(code_calls.challenge)
    redeem_proof = _method(code_calls.redeem_proof)
    request_opt_in = _method(opt_in_calls.request_opt_in)
    verify_opt_in = _method(opt_in_calls.verify_opt_in)
    unsubscribe = _method(opt_in_calls.unsubscribe)
    enroll_totp = _method(factor_calls.enroll_totp)
    confirm_totp = _method(factor_calls.confirm_totp)
    verify_totp = _method(factor_calls.verify_totp)
    factors = _method(factor_calls.factors)
    rename_factor = _method(factor_calls.rename_factor)
    remove_factor = _method(factor_calls.remove_factor)
    remove_factor_with_proof = _method(factor_calls.remove_factor_with_proof)
    issue_recovery_codes = _method(factor_calls.issue_recovery_codes)
    redeem_recovery_code = _method(factor_calls.redeem_recovery_code)
    remember_device = _method(device_calls.remember_device)
    verify_device = _method(device_calls.verify_device)
    devices = _method(device_calls.devices)
    forget_device = _method(device_calls.forget_device)
    forget_devices = _method(device_calls.forget_devices)
    timeline = _method(support_calls.timeline)
    unblock = _method(support_calls.unblock)
    erase_subject = _method(support_calls.erase_subject)

    async def _send(self, call: Call[T]) -> T:
        retrying = Retrying(
            call,
            retries=self._connecting.retries,
            timeout=self._connecting.timeout,
            now=anyio.current_time(),
        )
        while True:
            try:
                return wire.read(call, await self._once(call, retrying.ends_at))
            except OtpServiceError as error:
                pause = retrying.pause(error, now=anyio.current_time())
            await anyio.sleep(pause)

    async def _who(self, ends_at: float) -> Mapping[str, str]:
        credential = self._connecting.credential
        if credential is None:
            return {}
        told = credential if isinstance(credential, str) else credential()
        if isinstance(told, Awaitable):
            try:
                with anyio.fail_after(ends_at - anyio.current_time()):
                    told = await told
            except TimeoutError:
                raise wire.no_answer("no credential in time") from None
        return bearer(told)

    async def _once(self, call: Call[Any], ends_at: float) -> wire.Answer:
        request = self._http.build_request(
            call.method, call.path, json=call.body, params=call.query,
            headers={**call.headers, **await self._who(ends_at)},
        )  # fmt: skip
        try:
            with anyio.fail_after(ends_at - anyio.current_time()):
                response = await self._http.send(request, stream=True)
                try:
                    content = bytearray()
                    async for chunk in response.aiter_bytes():
                        content += chunk
                        if len(content) > wire.MAX_ANSWER_BYTES:
                            raise wire.too_long(response.status_code)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise wire.no_answer("no whole answer in time") from None
        except (httpx.HTTPError, OSError, AttributeError) as error:
            # AttributeError: anyio on uvloop, about a socket that was reset as soon as it was connected.
            raise wire.no_answer(type(error).__name__) from error
        return wire.Answer(
            status=response.status_code, headers=response.headers, content=bytes(content)
        )
