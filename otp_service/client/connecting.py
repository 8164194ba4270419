"""What both clients are made of: whom to call, as whom, and how their methods look to `help` and editors."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ParamSpec, Self, TypeVar, get_args

import httpx

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """
    Whom to call, as whom.

    Attributes:
        url: Without the last slash; may have a path, behind a proxy.
        headers: Of every call, but for who calls.
        credential: What says so; None when a certificate does.
        timeout: Seconds for one call, retries included.
    """

    url: str
    headers: Mapping[str, str]
    credential: str | Callable[[], Any] | None = field(repr=False)
    timeout: float
    retries: int

    @classmethod
    def of(
        cls,
        url: str,
        credential: str | Callable[[], Any] | None,
        *,
        timeout: float,
        retries: int,
    ) -> Self:
        """
        Return it checked, so that nothing malformed is noticed only at the first login.

        Raises:
            ValueError: what can't be one; never says a credential.
        """
        url = checked_url(url)
        if isinstance(credential, str):
            bearer(credential)
        if timeout <= 0 or retries < 0:
            raise ValueError("timeout must be more than 0 seconds, retries not less than 0")
        headers = {
            "Accept": "application/json, application/problem+json",
            "Accept-Encoding": "identity",
            "User-Agent": f"otp-service-client/{version('otp-service')}",
        }
        return cls(
            url=url,
            headers=headers,
            credential=credential,
            timeout=timeout,
            retries=retries,
        )


def checked_url(url: str) -> str:
    """Return the service's URL without its last slash. Raises ValueError where it can be none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ValueError("the URL must be http:// or https:// with a host and no user name")
    if parsed.query or parsed.fragment:
        raise ValueError("the URL must have no query and no fragment")
    return url.rstrip("/")


def bearer(credential: str) -> Mapping[str, str]:
    """Return the header that says who calls. Raises ValueError for what can be no credential, without saying it."""
    credential = credential.strip()  # the line break of a file
    if not credential.isascii() or not credential.isprintable() or " " in credential:
        raise ValueError("the credential must be printable ASCII without spaces")
    if not credential:
        raise ValueError("the credential is empty")
    return {"Authorization": f"Bearer {credential}"}


def method_of(build: Callable[..., Any], method: Callable[P, T]) -> Callable[P, T]:
    """Return the method with the name, words and signature of `build`, but for `self` and the result."""
    told = inspect.signature(build)
    (result,) = get_args(told.return_annotation)
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__name__ = method.__qualname__ = build.__name__
    method.__doc__ = build.__doc__
    method.__annotations__ = {**build.__annotations__, "return": result}
    method.__signature__ = told.replace(  # type: ignore[attr-defined]
        parameters=[me, *told.parameters.values()], return_annotation=result
    )
    return method
