"""
Checking signed proofs (`proof_format="jwt"`) without asking the service: `ProofVerifier`, `AsyncProofVerifier`.

Their `redeem_proof` is that of the clients, so a place that takes one takes the other.
"""

import inspect
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio
import httpx
from joserfc.jws import CompactSignature

from otp_service.client import signed_proofs
from otp_service.client.connecting import checked_url
from otp_service.client.errors import Unavailable
from otp_service.client.key_set import ALGORITHMS, MAX_BYTES, JwksCache
from otp_service.client.results import Proven
from otp_service.client.seen_proofs import ProofMemory
from otp_service.client.signed_proofs import Expected
from otp_service.client.sync import TimeLeft

_Transport = TypeVar("_Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)
_PATH = "/.well-known/jwks.json"
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_SEEN = "it was shown before"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Unix seconds, and any steady clock in seconds."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


_CLOCKS = Clocks()


class _Verifier(Generic[_Transport]):
    """
    Checks signed proofs that are meant for us. Close it, or use `with`.

    A signed proof is not one-time by itself: `memory` makes it so. Where several processes take proofs, give them one
    memory, or take opaque proofs.

    Args:
        url: Of the service, such as `https://otp.internal`. Its key set is fetched and kept, anew after five minutes,
            and at most once a minute for proofs whose key is not in it.
        issuer: The service's `OTP_ISSUER`.
        audience: Our name, which the verifying caller gives as `audience`.
        memory: What remembers which proofs were shown, such as `SeenProofs()`; None takes each as often as it is shown.
        algorithms: Those that may sign, of `ES256`, `EdDSA` and `Ed25519` (one algorithm by two names).
        leeway: Seconds by which our clock and the service's may differ, 300 at most.
        stale_after: Seconds for which the last good key set counts when no other can be had.
        timeout: Seconds for fetching it.
        transport: Of httpx, for certificates, proxies, sockets of your own.
        clocks: Of this process, by default.

    Raises:
        ValueError: an argument can't be right.
    """

    def __init__(
        self,
        url: str,
        *,
        issuer: str,
        audience: str,
        memory: ProofMemory | None,
        algorithms: Collection[str] = ALGORITHMS,
        leeway: int = 5,
        stale_after: float = 3600.0,
        timeout: float = 5.0,
        transport: _Transport | None = None,
        clocks: Clocks = _CLOCKS,
    ) -> None:
        self._url = checked_url(url)
        self._expected = Expected(
            issuer=issuer, audience=audience, algorithms=frozenset(algorithms), leeway=leeway
        )
        self._memory = memory
        self._timeout = timeout
        self._clocks = clocks
        self._keys = JwksCache(stale_after)
        self._open(transport)

    def _open(self, transport: _Transport | None) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r}, audience={self._expected.audience!r})"

    def _wanted(self, kid: str) -> bool:
        return self._keys.wanted(kid, now=self._clocks.steady())

    def _check(
        self, taken: CompactSignature, kid: str, *, purpose: str | None, binding: str | None
    ) -> tuple[Proven, float]:
        """Return what the proof proves, and until when it must be remembered."""
        steady = self._clocks.steady()
        if not self._keys.usable(now=steady):
            raise Unavailable({"code": "unavailable", "title": "no keys to check a proof with"})
        proven = signed_proofs.check(
            taken, self._keys.find(kid, now=steady), self._expected,
            now=self._clocks.wall(), purpose=purpose, binding=binding,
        )  # fmt: skip
        return proven, proven.exp.timestamp() + self._expected.leeway

    def _take(self, status: int, content: bytes) -> None:
        """Keep the set that came; what is none leaves the last good one."""
        if status == 200:
            try:
                self._keys.take(content, now=self._clocks.steady())
            except ValueError:
                return


class ProofVerifier(_Verifier[httpx.BaseTransport]):
    __doc__ = _Verifier.__doc__

    def _open(self, transport: httpx.BaseTransport | None) -> None:
        self._lock = threading.Lock()
        self._http = httpx.Client(headers=_HEADERS, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def redeem_proof(
        self, *, proof: str, purpose: str | None = None, binding: str | None = None
    ) -> Proven:
        """
        Return what a signed proof proves: see `redeem_proof` of the clients, which asks the service.

        Raises:
            ProofInactive: it is not good, not ours, or was shown before.
            Unavailable: there are no keys to check it with, or no memory.
        """
        taken, kid = signed_proofs.read(proof, self._expected)
        if self._wanted(kid):
            with self._lock:
                if self._wanted(kid):
                    try:
                        self._fetch()
                    finally:
                        self._keys.asked(now=self._clocks.steady())
        proven, until = self._check(taken, kid, purpose=purpose, binding=binding)
        if self._memory is not None and self._memory.first_time(proven.jti, until) is not True:
            raise signed_proofs.inactive(_SEEN)
        return proven

    def _fetch(self) -> None:
        ends_at = time.monotonic() + self._timeout
        try:
            with self._http.stream(
                "GET", self._url + _PATH, extensions={"timeout": TimeLeft(ends_at)}
            ) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > MAX_BYTES or time.monotonic() >= ends_at:
                        return
        except (httpx.HTTPError, OSError):
            return
        self._take(response.status_code, bytes(content))


class AsyncProofVerifier(_Verifier[httpx.AsyncBaseTransport]):
    __doc__ = _Verifier.__doc__

    def _open(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self._lock = anyio.Lock()
        self._http = httpx.AsyncClient(headers=_HEADERS, transport=transport, timeout=None)  # noqa: S113 - see _fetch

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def redeem_proof(
        self, *, proof: str, purpose: str | None = None, binding: str | None = None
    ) -> Proven:
        """
        Return what a signed proof proves: see `redeem_proof` of the clients, which asks the service.

        Raises:
            ProofInactive: it is not good, not ours, or was shown before.
            Unavailable: there are no keys to check it with, or no memory.
        """
        taken, kid = signed_proofs.read(proof, self._expected)
        if self._wanted(kid):
            async with self._lock:
                if self._wanted(kid):
                    try:
                        await self._fetch()
                    finally:
                        self._keys.asked(now=self._clocks.steady())
        proven, until = self._check(taken, kid, purpose=purpose, binding=binding)
        if self._memory is not None:
            first = self._memory.first_time(proven.jti, until)
            if (await first if inspect.isawaitable(first) else first) is not True:
                raise signed_proofs.inactive(_SEEN)
        return proven

    async def _fetch(self) -> None:
        content = bytearray()
        try:
            with anyio.fail_after(self._timeout):
                async with self._http.stream("GET", self._url + _PATH) as response:
                    async for chunk in response.aiter_bytes():
                        content += chunk
                        if len(content) > MAX_BYTES:
                            return
        except (TimeoutError, httpx.HTTPError, OSError, AttributeError):
            # AttributeError: anyio on uvloop, about a socket that was reset as soon as it was connected.
            return
        self._take(response.status_code, bytes(content))
