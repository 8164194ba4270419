"""The client for threads."""

import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

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


def _method(build: Callable[P, Call[T]]) -> "Callable[Concatenate[Client, P], T]":
    """Return the method that sends what `build` makes: each call has its signature and words in one place."""

    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(build(*args, **kwargs))

    return method_of(build, method)


class TimeLeft(dict[str, float]):
    """
    Timeouts as httpcore reads them, each worth what is left when it is asked for.

    So connecting, writing and reading together keep one deadline. Only who sends a head byte by byte can stretch it.
    """

    def __init__(self, ends_at: float) -> None:
        super().__init__(dict.fromkeys(("connect", "pool", "read", "write"), 0.0))
        self._ends_at = ends_at

    def get(self, key: str, default: Any = None) -> float:  # noqa: ANN401
        return max(0.001, self._ends_at - time.monotonic())

    __getitem__ = get


class Client:
    """
    A caller's line to an otp_service. Threads may share it; close it, or use `with`.

    Args:
        url: Of the service, such as `https://otp.internal`.
        credential: As `otp-service callers create` printed it, or a function asked before each call that returns
            a JWT that lives long enough. None: a certificate says who calls.
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
        credential: str | Callable[[], str] | None,
        *,
        timeout: float = 10.0,
        transport: httpx.BaseTransport | None = None,
        tls: ssl.SSLContext | None = None,
        retries: int = 2,
    ) -> None:
        self._connecting = Connecting.of(url, credential, timeout=timeout, retries=retries)
        self._http = httpx.Client(
            base_url=self._connecting.url,
            headers=self._connecting.headers,
            transport=transport,
            verify=True if tls is None else tls,
        )

    def __repr__(self) -> str:
        return f"Client({self._connecting.url!r})"

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.__exit__(kind, error, trace)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

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

    def _send(self, call: Call[T]) -> T:
        retrying = Retrying(
            call,
            retries=self._connecting.retries,
            timeout=self._connecting.timeout,
            now=time.monotonic(),
        )
        while True:
            try:
                return wire.read(call, self._once(call, retrying.ends_at))
            except OtpServiceError as error:
                pause = retrying.pause(error, now=time.monotonic())
            time.sleep(pause)

    def _who(self) -> Mapping[str, str]:
        credential = self._connecting.credential
        if credential is None:
            return {}
        return bearer(credential if isinstance(credential, str) else credential())

    def _once(self, call: Call[Any], ends_at: float) -> wire.Answer:
        request = self._http.build_request(
            call.method, call.path, json=call.body, params=call.query,
            headers={**call.headers, **self._who()},
            extensions={"timeout": TimeLeft(ends_at)},
        )  # fmt: skip
        try:
            response = self._http.send(request, stream=True)
            try:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > wire.MAX_ANSWER_BYTES:
                        raise wire.too_long(response.status_code)
                    if time.monotonic() >= ends_at:
                        raise wire.no_answer("no whole answer in time")
            finally:
                response.close()
        except (httpx.HTTPError, OSError) as error:
            raise wire.no_answer(type(error).__name__) from error
        return wire.Answer(
            status=response.status_code, headers=response.headers, content=bytes(content)
        )
