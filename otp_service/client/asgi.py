"""
For services that ask for a proof before they act: a middleware, and a dependency for Starlette and FastAPI.

The proof comes in a header, is redeemed once, and must be for the purpose, the person and the method that the place
asks for. Everything else is an answer 401 (showing a factor again may help), 403 (it won't) or 503. Opaque proofs are
redeemed by an `AsyncClient`, signed ones by an `AsyncProofVerifier`: a place takes the kind that it was given one for.
"""

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from otp_service.client.errors import InvalidRequest, ProofInactive, Unavailable
from otp_service.client.results import Proven

HEADER = "X-OTP-Proof"
Who = Callable[[HTTPConnection], str | None]


class Redeems(Protocol):
    """An `AsyncClient` or an `AsyncProofVerifier`."""

    async def redeem_proof(
        self, *, proof: str, purpose: str | None = None, binding: str | None = None
    ) -> Proven:
        """Return what a proof proves, once."""


class ProofRefused(HTTPException):
    """
    The proof is missing, or not the one that is asked for.

    Attributes:
        code: `proof_missing`, `proof_inactive`, `proof_too_old` (401), `proof_mismatch` (403) or `unavailable` (503).
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code

    def response(self) -> Response:
        """Return it as a problem document (RFC 9457)."""
        members = {
            "type": f"urn:otp-service:problem:{self.code}",
            "title": self.detail,
            "status": self.status_code,
            "code": self.code,
        }
        headers = {**(self.headers or {}), "Cache-Control": "no-store"}
        return JSONResponse(members, self.status_code, headers, "application/problem+json")


async def answer_proof_refused(request: Request, error: Exception) -> Response:
    """Answer a problem: `app.add_exception_handler(ProofRefused, answer_proof_refused)`."""
    if not isinstance(error, ProofRefused):
        raise error
    return error.response()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gate:
    """Looks at the proof of one request; the arguments are those of `require_proof`."""

    client: Redeems
    purpose: str
    subject: Who | None
    binding: Who | None
    callers: Collection[str] | None
    methods: Collection[str] | None
    max_age: float | None
    header: str
    clock: Callable[[], float]

    async def proven(self, request: HTTPConnection) -> Proven:
        sent = request.headers.getlist(self.header)
        if len(sent) != 1:
            raise self._ask_again("proof_missing", f"This needs a proof in {self.header}")
        binding = None
        if self.binding is not None and not (binding := self.binding(request)):
            raise ProofRefused(
                403, "proof_mismatch", "There is nothing here to which a proof is bound"
            )
        try:
            proven = await self.client.redeem_proof(proof=sent[0], binding=binding)
        except (ProofInactive, InvalidRequest):
            raise self._ask_again("proof_inactive", "The proof proves nothing") from None
        except Unavailable as error:
            wait = {"Retry-After": str(error.retry_after or 1)}
            told = "The proof can't be checked now"
            raise ProofRefused(503, "unavailable", told, wait) from error
        if (
            proven.purpose != self.purpose
            or not self._is_by_a_method_that_does(proven)
            or proven.client_id not in ((proven.aud,) if self.callers is None else self.callers)
            or not self._is_of_the_person(proven, request)
        ):
            raise ProofRefused(403, "proof_mismatch", "The proof is for something else")
        if self.max_age is not None and self.clock() - proven.auth_time.timestamp() > self.max_age:
            raise self._ask_again("proof_too_old", "The proof is too old")
        return proven

    def _is_by_a_method_that_does(self, proven: Proven) -> bool:
        if self.methods is None:
            return proven.method != "device"  # nobody showed anything just now
        return proven.method in self.methods

    def _is_of_the_person(self, proven: Proven, request: HTTPConnection) -> bool:
        if self.subject is None:
            return True
        person = self.subject(request)
        return person is not None and person == proven.sub

    def _ask_again(self, code: str, told: str) -> ProofRefused:
        challenge = {"WWW-Authenticate": f'OTP-Proof purpose="{self.purpose}"'}
        return ProofRefused(401, code, told, challenge)


def require_proof(
    client: Redeems,
    *,
    purpose: str,
    subject: Who | None,
    binding: Who | None = None,
    callers: Collection[str] | None = None,
    methods: Collection[str] | None = None,
    max_age: float | None = None,
    header: str = HEADER,
    clock: Callable[[], float] = time.time,
) -> Callable[[Request], Awaitable[Proven]]:
    """
    Return a dependency: `Depends(it)` in FastAPI, `await it(request)` in Starlette.

    It gives what the proof proves, and leaves it in `request.state.otp_proof` too. It raises ProofRefused; register
    `answer_proof_refused`.

    Args:
        purpose: What the code must have been for.
        subject: Tells who is logged in, as the `subject` of the verification; None takes anybody's proof: only where
            the proof itself is the login.
        methods: Of `sms`, `totp`, `recovery_code` and `device` those that do here; all but `device` by default, for
            behind a remembered device nobody has shown a factor just now.
        binding: Tells what the proof must be bound to, as the `binding` of the verification, such as a hash of the
            session; without it no bound proof does.
        callers: Who may have verified, where others vouch to us: then `subject` is a name of theirs. Only ourselves by
            default.
        max_age: Seconds since the person showed the factor.
        header: Where the proof comes in.
        clock: Unix seconds.
    """
    gate = _Gate(
        client=client, purpose=purpose, subject=subject, binding=binding, callers=callers,
        methods=methods, max_age=max_age, header=header, clock=clock,
    )  # fmt: skip

    async def proof(request: Request) -> Proven:
        request.state.otp_proof = await gate.proven(request)
        return request.state.otp_proof  # type: ignore[no-any-return]

    return proof


class ProofMiddleware:
    """
    Lets nothing through to `app` without a proof, WebSockets included; for a whole application or one route.

    What the proof proves is in `request.state.otp_proof`. The arguments are those of `require_proof`.
    """

    def __init__(
        self,
        app: ASGIApp,
        client: Redeems,
        *,
        purpose: str,
        subject: Who | None,
        binding: Who | None = None,
        callers: Collection[str] | None = None,
        methods: Collection[str] | None = None,
        max_age: float | None = None,
        header: str = HEADER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._gate = _Gate(
            client=client, purpose=purpose, subject=subject, binding=binding, callers=callers,
            methods=methods, max_age=max_age, header=header, clock=clock,
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            proven = await self._gate.proven(HTTPConnection(scope))
        except ProofRefused as refused:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": refused.code})
            else:
                await refused.response()(scope, receive, send)
            return
        state = {**scope.get("state", {}), "otp_proof": proven}
        await self._app({**scope, "state": state}, receive, send)
