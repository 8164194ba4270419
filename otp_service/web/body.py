"""
Strict parsing of request bodies.

`application/json` in UTF-8 without a byte order mark, no content coding, at most 16 KiB and 5 s on the wire; an object,
no name twice, no NaN, no number of more than 64 characters, no lone surrogate, at most 8 levels deep (RFC 8259 and
RFC 7493), and at most 256 members in all.
"""

import asyncio
import json
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request

from otp_service.core.reasons import reason
from otp_service.errors import (
    BadRequest,
    BodyTimeout,
    FieldError,
    InvalidJson,
    InvalidRequest,
    NotJson,
    TooLarge,
)

MAX_BYTES = 16 * 1024
MAX_DEPTH = 8
MAX_MEMBERS = 256  # thousands of unknown fields take 25 ms of the event loop to be told apart
MAX_ERRORS = 20
DEADLINE_SECONDS = 5.0
_MAX_NUMBER = 64

Model = TypeVar("Model", bound=BaseModel)


async def read(
    request: Request, model: type[Model], *, deadline: float = DEADLINE_SECONDS
) -> Model:
    """
    Return the body as that model.

    Args:
        deadline: Seconds for the whole body, however it trickles in.

    Raises:
        NotJson, TooLarge, BodyTimeout, InvalidJson: it could not be read.
        InvalidRequest: fields are missing, unknown, mistyped or malformed; all of them at once.
    """
    _require_json(request)
    return check(decode(await raw(request, deadline=deadline)), model)


async def raw(request: Request, *, deadline: float = DEADLINE_SECONDS) -> bytes:
    """
    Return the body's bytes, whatever they are.

    Raises:
        TooLarge, BodyTimeout, InvalidJson: more than 16 KiB, too late, broken off.
    """
    try:
        async with asyncio.timeout(deadline):
            return await _bytes(request)
    except TimeoutError:
        raise BodyTimeout(f"the body did not arrive within {deadline:g} s") from None
    except ClientDisconnect:
        raise InvalidJson("the body broke off") from None


def read_query(request: Request, model: type[Model] | None) -> Model | None:
    """
    Return the query string as that model; None when nothing may stand there.

    Raises:
        BadRequest: something stands there that may not: what is in a query ends up in logs.
        InvalidRequest: fields are missing, given twice, unknown or malformed.
    """
    query = request.scope["query_string"]
    if model is None:
        if query:
            raise BadRequest("this call takes no query string")
        return None
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=8
        )
    except ValueError:
        raise BadRequest("the query string is malformed") from None
    if len(dict(pairs)) != len(pairs):
        raise InvalidRequest(FieldError("query", "a field is given twice"))
    return check(dict(pairs), model)


def decode(data: bytes) -> dict[str, Any]:
    """
    Return the object in the bytes.

    Raises:
        InvalidJson: it is none, or could be read in two ways.
        InvalidRequest: it has too many members.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson("the body is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise InvalidJson("the body begins with a byte order mark")
    try:
        value = _JSON.decode(text)
    except InvalidJson:
        raise
    except RecursionError:
        raise InvalidJson(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise InvalidJson("the body is not JSON") from None
    if not isinstance(value, dict):
        raise InvalidJson("the body is not a JSON object")
    if _inspect(value, 1) > MAX_MEMBERS:
        raise InvalidRequest(FieldError("body", f"must have at most {MAX_MEMBERS} members in all"))
    return value


def check(value: dict[str, Any], model: type[Model]) -> Model:
    """
    Return the object as that model.

    Raises:
        InvalidRequest: it names each wrong field, up to 20, and repeats no value.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    wrong = [_field_error(detail) for detail in details[:MAX_ERRORS]]
    if len(details) > MAX_ERRORS:
        wrong.append(FieldError("body", f"has {len(details) - MAX_ERRORS} more errors"))
    raise InvalidRequest(*wrong)


def _require_json(request: Request) -> None:
    types = request.headers.getlist("content-type")
    if len(types) > 1:
        raise NotJson("there is more than one Content-Type")
    media_type, *parameters = "".join(types).split(";")
    if media_type.strip().lower() != "application/json":
        raise NotJson("the Content-Type must be application/json")
    if not all(_is_utf8_or_empty(parameter) for parameter in parameters):
        raise NotJson("application/json is in UTF-8 and takes no other parameter")
    codings = request.headers.getlist("content-encoding")
    if any(coding.strip().lower() != "identity" for coding in codings):
        raise NotJson("a Content-Encoding is not accepted")


def _is_utf8_or_empty(parameter: str) -> bool:
    """Whether it says nothing (`;` at the end, RFC 9110 section 5.6.6), or UTF-8 as clients spell it."""
    name, _, value = parameter.partition("=")
    if not parameter.strip():
        return True
    charset = value.strip().strip("\"'").replace("\\", "").replace("_", "-").lower()
    return name.strip().lower() == "charset" and charset in ("utf-8", "utf8")


async def _bytes(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:10]) > MAX_BYTES:
        raise TooLarge(f"the body may have {MAX_BYTES} bytes")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            raise TooLarge(f"the body may have {MAX_BYTES} bytes")
    return bytes(data)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidJson("a name occurs twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON")


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise InvalidJson(f"a number has more than {_MAX_NUMBER} characters")
    return int(text)


def _number(text: str) -> float:
    if len(text) > _MAX_NUMBER:
        raise InvalidJson(f"a number has more than {_MAX_NUMBER} characters")
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise InvalidJson("a number is out of range")
    return number


_JSON = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_no_constant,
    parse_int=_integer,
    parse_float=_number,
)


def _inspect(value: object, depth: int) -> int:
    """Return how many members and elements there are. Raises InvalidJson."""
    if depth > MAX_DEPTH:
        raise InvalidJson(f"the body is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidJson("a text holds half a surrogate pair")
    elif isinstance(value, dict):
        for name in value:
            _inspect(name, depth)
        return len(value) + sum(_inspect(member, depth + 1) for member in value.values())
    elif isinstance(value, list):
        return len(value) + sum(_inspect(member, depth + 1) for member in value)
    return 0


def _field_error(detail: ErrorDetails) -> FieldError:
    field = ".".join(str(part) for part in detail["loc"])[:64] or "body"
    said = {
        "missing": "is required",
        "extra_forbidden": "is not a field of this call",
        "dict_type": "must be an object",
    }.get(detail["type"], reason(detail["msg"]))
    return FieldError(field, said)
