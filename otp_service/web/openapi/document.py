"""The contract as a whole, and what it says of each operation."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from otp_service import __version__, errors
from otp_service.core.credentials import SCOPES
from otp_service.errors import OtpError
from otp_service.web import models
from otp_service.web.openapi.plain_paths import plain_paths
from otp_service.web.openapi.refusals import FAULTS, PROBLEM, REPLAYED, header, responses
from otp_service.web.openapi.schemas import REF, example, schema_ref
from otp_service.web.operations import COUNTED, Operation

_EVERY = (errors.BadRequest, errors.NotAcceptable, errors.Unauthorized, errors.InsufficientScope)
_WITH_BODY = (
    errors.InvalidJson,
    errors.TooLarge,
    errors.NotJson,
    errors.BodyTimeout,
    errors.InvalidRequest,
)
_WITH_KEY = (errors.InvalidRequest, errors.IdempotencyInProgress, errors.IdempotencyKeyReused)


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
            (model, "validation" if issubclass(model, models.RequestModel) else "serialization")
            for model in unique
        ],
        ref_template=REF,
    )
    components = schemas.get("$defs", {})
    for schema in components.values():
        schema.pop("title", None)
        for member in schema.get("properties", {}).values():
            member.pop("title", None)
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op)
    paths |= plain_paths()
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
            "schemas": {**components, "Problem": PROBLEM},
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
                        "schema": schema_ref(op.success),
                        "example": example(op.success),
                    }
                },
            },
            **responses(_refusals(op), replayed=COUNTED if op.idempotent else ()),
        },
    }
    if op.request:
        found["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": schema_ref(op.request),
                    "example": example(op.request),
                }
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
        texts["Idempotency-Replayed"] = REPLAYED
    if op.waits:
        texts["Preference-Applied"] = "The `Prefer: wait` that was honoured (RFC 7240)."
    return {name: header(text) for name, text in texts.items()}


def _refusals(op: Operation) -> list[type[OtpError]]:
    found = [*_EVERY, *op.refusals, *FAULTS]
    if op.request:
        found += _WITH_BODY
    if op.query:
        found.append(errors.InvalidRequest)
    if op.idempotent:
        found += _WITH_KEY
    if op.shows_secret:
        found.append(errors.AlreadyIssued)
    return list(dict.fromkeys(found))
