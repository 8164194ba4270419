"""openapi.json (OpenAPI 3.1), made of the table of operations, the models and the table of problems."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from otp_service import __version__, errors
from otp_service.core.credentials import SCOPES
from otp_service.errors import OtpError
from otp_service.web import models, problems
from otp_service.web.operations import COUNTED, Operation

_REF = "#/components/schemas/{model}"
_REPLAYED = "`true` when the answer was given before."
_EVERY = (errors.BadRequest, errors.NotAcceptable, errors.Unauthorized, errors.InsufficientScope)
_WITH_BODY = (
    errors.InvalidJson,
    errors.TooLarge,
    errors.NotJson,
    errors.BodyTimeout,
    errors.InvalidRequest,
)
_WITH_KEY = (errors.InvalidRequest, errors.IdempotencyInProgress, errors.IdempotencyKeyReused)
_FAULTS = (errors.Overloaded, errors.Unavailable)

_EXAMPLES: dict[type[OtpError], OtpError] = {
    errors.InvalidRequest: errors.InvalidRequest(errors.FieldError("to", "is required")),
    errors.DestinationRefused: errors.DestinationRefused(
        "cannot_receive_sms", "numbers of this type receive no SMS, or at a price of their own"
    ),
    errors.Unauthorized: errors.Unauthorized(presented=True),
    errors.InsufficientScope: errors.InsufficientScope("otp:request"),
    errors.InvalidCode: errors.InvalidCode(4),
    errors.AlreadyIssued: errors.AlreadyIssued(models.EXAMPLE_ID),
    errors.ProofNotAccepted: errors.ProofNotAccepted("inactive"),
    errors.DeviceReused: errors.DeviceReused(models.EXAMPLE_ID, 1_795_435_200_000),
    errors.CodeNotSent: errors.CodeNotSent(2),
    errors.RateLimited: errors.RateLimited("cooldown", 30),
    errors.SubjectBlocked: errors.SubjectBlocked("failures", 1800),
    errors.QuotaExceeded: errors.QuotaExceeded("caller_budget", 3600),
    errors.IdempotencyInProgress: errors.IdempotencyInProgress(2),
    errors.Overloaded: errors.Overloaded("hashing is at capacity"),
    errors.Unavailable: errors.Unavailable("redis is away"),
}

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `type` is the same as a URI; `instance` is the request's id.",
    "required": ["type", "title", "status", "detail", "code", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
        "reason": {
            "type": "string",
            "description": "Of destination_refused, and of proof_not_accepted: inactive, subject or method.",
        },
        "limit": {"type": "string", "description": "Of rate_limited and its kin: which."},
        "attempts_remaining": {"type": "integer", "minimum": 0},
        "hint": {
            "enum": ["clock_off"],
            "description": "Of invalid_code, for callers with the scope factors:diagnose: the code is right at another "
            "time, so the person's clock is off.",
        },
        "factor_id": {"type": ["string", "null"], "description": "Of already_issued."},
        "device_id": {"type": "string", "description": "Of device_reused, and of already_issued."},
        "ended_at": {"type": "string", "format": "date-time"},
        "retry_after": {"type": "integer", "minimum": 0, "description": "Seconds; as Retry-After."},
    },
    "additionalProperties": False,
}

_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "Ju_OvQ7p40pmkYfhizqRIrL3M5RbZJzJ-fkh6fna2BI",
    "y": "kCOL3pzHuzMNFQxncE3SWucFUgV0S28xv0BwdFhy0OY",
    "use": "sig",
    "alg": "ES256",
    "kid": "signing-1a2b3c4d",
}

_HEADERS = {
    "Retry-After": "Seconds after which trying again makes sense.",
    "WWW-Authenticate": "RFC 6750.",
    "RateLimit": "The limit that refused, named as in RateLimit-Policy, if it counts only this caller's own doing.",
    "Allow": "The methods the path has.",
}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the whole contract."""
    used: list[type[BaseModel]] = [models.Alive, models.Readiness, models.KeySet, models.Noted]
    for op in operations:
        if op.request:
            used.append(op.request)
        if op.status != 204:
            used.append(op.success)
    unique = list(dict.fromkeys(used))
    _, schemas = models_json_schema(
        [
            (model, "validation" if issubclass(model, models.Sent) else "serialization")
            for model in unique
        ],
        ref_template=_REF,
    )
    components = schemas.get("$defs", {})
    for schema in components.values():
        schema.pop("title", None)
        for member in schema.get("properties", {}).values():
            member.pop("title", None)
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op)
    paths |= _open_paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "otp_service",
            "version": __version__,
            "summary": "One-time codes, sent over WSMS, accepted once.",
            "description": "JSON in and out. Unknown fields are refused. Durations are seconds and end in `_in`, "
            "times are RFC 3339 in UTC and end in `_at`. Errors are `application/problem+json` with a stable `code`.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {
                "credential": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A caller's credential, made by `otp-service callers create`. Scopes: "
                    + "; ".join(f"`{scope}`: {text}" for scope, text in SCOPES.items())
                    + ".",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A JWT of the configured issuer, whose subject is registered as a caller's; its "
                    "`scope` can narrow what that caller may do.",
                },
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A certificate registered as a caller's, presented to the proxy in front.",
                },
            },
        },
    }


def _operation(op: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": op.name,
        "summary": op.summary,
        "description": f"{op.description}\n\nScope: {' or '.join(f'`{scope}`' for scope in op.scopes)}.",
        "security": [{"credential": []}, {"token": []}, {"certificate": []}],
        "parameters": _parameters(op),
        "responses": {
            str(op.status): {
                "description": op.summary,
                "headers": _success_headers(op),
                "content": {}
                if op.status == 204
                else {
                    "application/json": {
                        "schema": _ref(op.success),
                        "example": _example(op.success),
                    }
                },
            },
            **_responses(_refusals(op), replayed=COUNTED if op.idempotent else ()),
        },
    }
    if op.request:
        found["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": _ref(op.request), "example": _example(op.request)}
            },
        }
    return {name: value for name, value in found.items() if value != []}


def _parameters(op: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for name in re.findall(r"\{([a-z_]+)\}", op.path):
        parameters.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": "As given when it was made.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
                "example": models.EXAMPLE_ID,
            }
        )
    if op.query:
        fields = op.query.model_json_schema(mode="validation")
        for name, schema in fields["properties"].items():
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "required": name in fields.get("required", ()),
                    "description": schema.pop("description"),
                    "schema": {key: value for key, value in schema.items() if key != "title"},
                }
            )
    if op.idempotent:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key and body again within 24 hours give the same answer, and nothing is "
                "sent or counted twice. 1 to 255 printable ASCII characters.",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 255,
                    "pattern": "^[ -~]+$",
                },
                "example": "0f8fad5b-d9cb-469f-a165-70867728950e",
            }
        )
    if op.waits:
        parameters.append(
            {
                "name": "Prefer",
                "in": "header",
                "description": "`wait=N`: answer when the delivery is settled, after N seconds at most, 30 being the "
                "most (RFC 7240).",
                "schema": {"type": "string"},
                "example": "wait=5",
            }
        )
    return parameters


def _success_headers(op: Operation) -> dict[str, Any]:
    texts = {"X-Request-Id": "The request's id, also in the logs.", **op.headers}
    if op.idempotent:
        texts["Idempotency-Replayed"] = _REPLAYED
    if op.waits:
        texts["Preference-Applied"] = "The `Prefer: wait` that was honoured (RFC 7240)."
    return {name: _header(text) for name, text in texts.items()}


def _refusals(op: Operation) -> list[type[OtpError]]:
    found = [*_EVERY, *op.refusals, *_FAULTS]
    if op.request:
        found += _WITH_BODY
    if op.query:
        found.append(errors.InvalidRequest)
    if op.idempotent:
        found += _WITH_KEY
    if op.shows_secret:
        found.append(errors.AlreadyIssued)
    return list(dict.fromkeys(found))


def _responses(
    refusals: Iterable[type[OtpError]], *, replayed: tuple[type[OtpError], ...] = ()
) -> dict[str, Any]:
    by_status: dict[int, list[type[OtpError]]] = {}
    for refusal in refusals:
        by_status.setdefault(problems.TABLE[refusal].status, []).append(refusal)
    by_status.setdefault(405, []).append(errors.MethodNotAllowed)
    responses = {str(status): _problems(found) for status, found in sorted(by_status.items())}
    for refusal in {*replayed} & {*refusals}:
        headers = responses[str(problems.TABLE[refusal].status)]["headers"]
        headers["Idempotency-Replayed"] = _header(_REPLAYED)
    return responses


def _problems(found: Sequence[type[OtpError]]) -> dict[str, Any]:
    examples, headers = {}, {"X-Request-Id": _header("The request's id, also in the logs.")}
    for refusal in found:
        _, members, names = problems.problem(_instance(refusal))
        members["instance"] = "0f8fad5bd9cb469fa16570867728950e"
        examples[refusal.code] = {"summary": members["title"], "value": members}
        headers |= {name: _header(_HEADERS[name]) for name in names}
    codes = ", ".join(f"`{refusal.code}`" for refusal in found)
    return {
        "description": f"Code: {codes}.",
        "headers": headers,
        "content": {
            problems.MEDIA_TYPE: {
                "schema": {"$ref": _REF.format(model="Problem")},
                "examples": examples,
            }
        },
    }


def _instance(refusal: type[OtpError]) -> OtpError:
    if refusal in _EXAMPLES:
        return _EXAMPLES[refusal]
    if issubclass(refusal, errors.MethodNotAllowed):
        return refusal("only POST is served here", "POST")
    if issubclass(refusal, errors.MalformedRequest):
        return refusal(problems.TABLE[refusal].title)
    if issubclass(refusal, errors.ChallengeEnded):
        return refusal(1_795_435_200_000)
    return refusal()


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _example(model: type[BaseModel]) -> dict[str, Any]:
    """Return the example of a model, put together from those of its fields."""
    schema = model.model_json_schema(
        mode="validation" if issubclass(model, models.Sent) else "serialization"
    )
    return dict(_example_of(schema, schema.get("$defs", {})))


def _example_of(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:  # noqa: ANN401
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _example_of(schema["anyOf"][0], definitions)
    if schema.get("type") == "object":
        members = schema.get("properties", {})
        optional = {"context"}  # only one purpose takes it
        return {
            name: _example_of(member, definitions)
            for name, member in members.items()
            if name not in optional
        }
    if schema.get("type") == "array":
        return [_example_of(schema["items"], definitions)]
    return {"boolean": True, "integer": 0, "string": "", "null": None}.get(
        schema.get("type", "null")
    )


def _open_paths() -> dict[str, Any]:
    def get(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
        return {
            "get": {"operationId": name, "summary": summary, "security": [], "responses": responses}
        }

    def answer(model: type[BaseModel], text: str, example: dict[str, Any]) -> dict[str, Any]:
        content = {"application/json": {"schema": _ref(model), "example": example}}
        return {"description": text, "content": content}

    not_allowed = _responses([])
    ready = {"status": "ready", "reasons": {}, "warnings": {}}
    not_ready = {"status": "not_ready", "reasons": {"redis": "does not answer"}, "warnings": {}}
    return {
        "/healthz": get(
            "alive",
            "The process answers",
            {"200": answer(models.Alive, "Alive.", {"status": "alive"}), **not_allowed},
        ),
        "/readyz": get(
            "ready",
            "Codes can be requested and verified now",
            {
                "200": answer(models.Readiness, "Ready.", ready),
                "503": answer(models.Readiness, "Not ready, with reasons.", not_ready),
                **not_allowed,
            },
        ),
        "/.well-known/jwks.json": get(
            "keys",
            "The keys that check what the service signs",
            {
                "200": answer(models.KeySet, "JSON Web Key Set.", {"keys": [_KEY]}),
                **not_allowed,
            },
        ),
        "/hooks/wsms/{token}": {
            "post": {
                "operationId": "takeHint",
                "summary": "Take an announcement of the WordPress site",
                "description": "For the site's own webhooks, which are unsigned: the secret in the path is all that "
                "protects them, and what they say is a hint that changes nothing by itself. Another path's answer is "
                "404. `otp-service wsms webhook subscribe --here` registers it.",
                "security": [],
                "parameters": [
                    {
                        "name": "token",
                        "in": "path",
                        "required": True,
                        "description": "Made of the key ring.",
                        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                    }
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"type": "object"}}},
                },
                "responses": {
                    "200": answer(models.Noted, "Noted.", {"status": "noted"}),
                    **_responses(
                        [
                            errors.BadRequest,
                            errors.InvalidJson,
                            errors.NoSuchResource,
                            errors.BodyTimeout,
                            errors.TooLarge,
                            errors.InvalidRequest,
                            *_FAULTS,
                        ]
                    ),
                },
            }
        },
        "/openapi.json": get(
            "contract",
            "This document",
            {
                "200": {
                    "description": "OpenAPI 3.1.",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                },
                **not_allowed,
            },
        ),
    }
