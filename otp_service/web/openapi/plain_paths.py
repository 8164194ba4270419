"""The public paths, which need no credential."""

from typing import Any

from pydantic import BaseModel

from otp_service import errors
from otp_service.web import models
from otp_service.web.openapi.refusals import FAULTS, responses
from otp_service.web.openapi.schemas import schema_ref

_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "Ju_OvQ7p40pmkYfhizqRIrL3M5RbZJzJ-fkh6fna2BI",
    "y": "kCOL3pzHuzMNFQxncE3SWucFUgV0S28xv0BwdFhy0OY",
    "use": "sig",
    "alg": "ES256",
    "kid": "signing-1a2b3c4d",
}


def plain_paths() -> dict[str, Any]:
    """Return them, by path."""

    def get(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
        return {
            "get": {"operationId": name, "summary": summary, "security": [], "responses": responses}
        }

    def answer(model: type[BaseModel], text: str, example: dict[str, Any]) -> dict[str, Any]:
        content = {"application/json": {"schema": schema_ref(model), "example": example}}
        return {"description": text, "content": content}

    not_allowed = responses([])
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
                    **responses(
                        [
                            errors.BadRequest,
                            errors.InvalidJson,
                            errors.NoSuchResource,
                            errors.BodyTimeout,
                            errors.TooLarge,
                            errors.InvalidRequest,
                            *FAULTS,
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
