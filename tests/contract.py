"""Is an answer one that openapi.json tells of? Path, method, status, media type, schema and headers."""

import json
import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from otp_service.web.edge import HEADERS
from otp_service.web.openapi.document import document
from otp_service.web.routes import OPERATIONS

_EVERYWHERE = {name.decode() for name, _ in HEADERS} | {
    "content-type",
    "content-length",
    "keep-alive",
    "x-request-id",
}


@cache
def contract() -> dict[str, Any]:
    return document(OPERATIONS)


async def check_answer(response: httpx.Response) -> None:
    """Fail when the contract does not tell of this answer."""
    await response.aread()
    request, path = response.request, response.request.url.path
    found = _find(request.method, path)
    if found is None:
        assert response.status_code in (400, 404, 405), (
            f"{request.method} {path}: {response.status_code}"
        )
        return
    told = found["responses"].get(str(response.status_code))
    assert told is not None, (
        f"{request.method} {path}: {response.status_code} is not in openapi.json: {response.text}"
    )
    if not told["content"]:
        assert response.content == b""
        return
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in told["content"], f"{media_type} is not told of"
    schema = told["content"][media_type]["schema"]
    if not path.endswith("openapi.json"):
        _validator(json.dumps(schema)).validate(response.json())
        if media_type == "application/problem+json":
            assert response.json()["code"] in told["content"][media_type]["examples"], response.text
    told_headers = {name.lower() for name in told.get("headers", {})}
    unknown = set(response.headers) - _EVERYWHERE - told_headers
    assert not unknown, f"headers that openapi.json does not tell of: {unknown}"


def _find(method: str, path: str) -> dict[str, Any] | None:
    for template, item in contract()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path):
            return item.get(method.lower())  # type: ignore[no-any-return]
    return None


@cache
def _validator(schema: str) -> Draft202012Validator:
    resource = Resource.from_contents(contract(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:contract", resource)
    text = schema.replace('"#/', '"urn:contract#/')
    return Draft202012Validator(json.loads(text), registry=registry, format_checker=FormatChecker())
