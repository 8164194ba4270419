"""
Operations: the rows of `otp_service.web.routes`, and how they are run.

From the row come the route, the checks before the handler, and its part of openapi.json, so none can drift from
the others.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from otp_service.core.call_effects import begin_call
from otp_service.errors import (
    AlreadyIssued,
    BadRequest,
    ChallengeExhausted,
    FieldError,
    InvalidCode,
    InvalidRequest,
    NotAcceptable,
    OtpError,
    Refusal,
    Unauthorized,
    Unavailable,
)
from otp_service.services.authentication import Caller
from otp_service.telemetry import REFUSALS
from otp_service.web import body, problems
from otp_service.web.service import Service

log = structlog.get_logger()

MAX_WAIT_SECONDS = 30

_QUALITY_ZERO = re.compile(r"q\s*=\s*0(\.0{0,3})?")

# What was counted must not count again, what was shown is not shown again. Other refusals did nothing.
COUNTED = (InvalidCode, ChallengeExhausted, AlreadyIssued)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a handler."""

    body: BaseModel
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """
    A validated call.

    Attributes:
        body: An instance of the operation's model, or None where it has none.
        path: The path's parameters.
        handle: What makes the call repeatable (`flows.idempotency`).
        wait: Seconds of `Prefer: wait`, 0 to 30.
    """

    service: Service
    caller: Caller
    body: Any
    path: Mapping[str, str]
    handle: str
    wait: int

    def require_purpose(self, purpose: str) -> None:
        """Raise InvalidRequest for a purpose that the caller's codes and proofs can't have."""
        allowed = self.caller.policy.purposes
        if purpose not in allowed:
            known = ", ".join(sorted(allowed)) or "those that its operator allows: none is left"
            raise InvalidRequest(FieldError("purpose", f"must be one of {known}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """
    One row.

    Attributes:
        name: The operationId.
        scope: What the credential needs, or None where none is asked for.
        also: Another scope that does as well, or None.
        idempotent: Whether it takes an Idempotency-Key.
        waits: Whether it takes `Prefer: wait=N`.
        refusals: The errors this operation itself can answer with; those of every call are added.
        query: What may stand in the query string; nothing by default.
        shows_secret: Whether its answer holds what is shown once, and is therefore never kept to be given again.
        headers: Headers of its success, with what they say.
        site_calls: How many calls to the WSMS site it makes before it answers, at most.
    """

    method: str
    path: str
    name: str
    summary: str
    description: str
    handler: Callable[[Call], Awaitable[Answer]]
    scope: str | None
    request: type[BaseModel] | None
    status: int
    success: type[BaseModel]
    refusals: tuple[type[OtpError], ...] = ()
    idempotent: bool = False
    waits: bool = False
    query: type[BaseModel] | None = None
    shows_secret: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    also: str | None = None
    site_calls: int = 0

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of which one is needed."""
        return tuple(scope for scope in (self.scope, self.also) if scope is not None)

    async def __call__(self, request: Request) -> Response:
        """Answer one request: credential, scope, Accept, body, key, and then the handler."""
        effects = begin_call()
        try:
            return await self._answer(request)
        except OtpError as error:
            if isinstance(error, Unavailable):
                error.nothing_done = not effects.possible
            return refuse(error, request)

    async def _answer(self, request: Request) -> Response:
        service: Service = request.state["service"]
        certificate = service.hop.certificate(request) if service.hop is not None else None
        caller = await service.authentication.authenticate(_credential(request), certificate)
        structlog.contextvars.bind_contextvars(caller=caller.name)
        if self.scope is not None and self.also not in caller.scopes:
            caller.require(self.scope)
        _require_accept(request)
        asked = body.read_query(request, self.query)
        sent = await body.read(request, self.request) if self.request else asked
        key = _idempotency_key(request) if self.idempotent else None
        wait = _wait(request) if self.waits else 0

        shown: list[dict[str, Any]] = []

        async def work(handle: str) -> tuple[dict[str, Any], bool]:
            call = Call(service, caller, sent, request.path_params, handle, wait)
            try:
                answer = await self.handler(call)
            except Refusal as error:
                # What was counted must not count again, what was shown is not shown again. Other refusals did nothing.
                REFUSALS.labels(error.code).inc()
                status, members, headers = problems.problem(error)
                members["instance"] = request.scope["request_id"]
                kept = isinstance(error, COUNTED)
                return {"status": status, "body": members, "headers": headers}, kept
            found: dict[str, Any] = {
                "status": self.status,
                "body": answer.body.model_dump(mode="json"),
                "headers": dict(answer.headers),
            }
            if self.shows_secret and key is not None:
                # Shown once: what is kept is that it was shown. The caller gets the real answer below.
                shown.append(found)
                made = found["body"]
                issued = AlreadyIssued(made.get("factor_id"), made.get("device_id"))
                status, members, headers = problems.problem(issued)
                members["instance"] = request.scope["request_id"]
                return {"status": status, "body": members, "headers": headers}, True
            return found, True

        answer, replayed = await service.idempotent.run(
            caller=caller.name,
            call=f"{self.method} {request.scope['path']}",
            key=key,
            body=sent.model_dump(mode="json") if key is not None and sent else {},
            work=work,
            wait=wait,
            site_calls=self.site_calls,
        )
        if shown:
            answer = shown[0]
        headers = dict(answer["headers"])
        if replayed:
            headers["Idempotency-Replayed"] = "true"
        if wait and answer["status"] < 400:
            headers["Preference-Applied"] = f"wait={wait}"
        media_type = problems.MEDIA_TYPE if answer["status"] >= 400 else "application/json"
        if answer["status"] == 204:
            return Response(status_code=204, headers=headers)
        return JSONResponse(answer["body"], answer["status"], headers, media_type)


def refuse(error: OtpError, request: Request) -> Response:
    """Return the problem for an error."""
    REFUSALS.labels(error.code).inc()
    status, members, headers = problems.problem(error)
    members["instance"] = request.scope["request_id"]
    return JSONResponse(members, status, headers, problems.MEDIA_TYPE)


def _credential(request: Request) -> str | None:
    if "access_token" in request.query_params:
        # RFC 6750 section 2.3: addresses are logged along the way.
        raise BadRequest("a credential belongs in the Authorization header; revoke this one")
    headers = request.headers.getlist("authorization")
    if not headers:
        return None
    scheme, _, credential = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer":
        raise Unauthorized(presented=True)
    return credential.strip()


def _require_accept(request: Request) -> None:
    """Refuse who does not accept JSON: the range that names it best decides, and a quality of zero excludes it."""
    accept = ",".join(request.headers.getlist("accept")) or "*/*"
    accepted: dict[str, bool] = {}
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        excluded = any(_QUALITY_ZERO.fullmatch(parameter) for parameter in parameters)
        accepted[media] = accepted.get(media, False) or not excluded
    for media in ("application/json", "application/*", "*/*"):  # RFC 9110 section 12.5.1
        if media in accepted:
            if accepted[media]:
                return
            break
    raise NotAcceptable("the answer is application/json")


def _idempotency_key(request: Request) -> str | None:
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    key = keys[0]
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if len(keys) > 1 or not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise InvalidRequest(
            FieldError("Idempotency-Key", "must be 1 to 255 printable ASCII characters, once")
        )
    return key


def _wait(request: Request) -> int:
    """`Prefer: wait=N` (RFC 7240 section 4.3); a preference that can't be read is none."""
    for header in request.headers.getlist("prefer"):
        for preference in header.split(","):
            name, _, value = preference.strip().partition("=")
            if (
                name.strip().lower() == "wait"
                and value.strip().isascii()
                and value.strip().isdigit()
            ):
                return min(MAX_WAIT_SECONDS, int(value.strip()[:4]))
    return 0
