"""Strict validation of the sandbox's own API: a misspelled field is an error."""

import json
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from otp_service.sandbox.php import Value

T = TypeVar("T")


class Refused(Exception):
    """A request this API does not understand: 422 with the reasons, each naming its field."""

    def __init__(self, *errors: dict[str, str]) -> None:
        super().__init__(str(errors))
        self.errors = list(errors)


async def json_body(request: Request) -> Value:
    try:
        return json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused({"field": "", "reason": f"not JSON: {error}"}) from None


def _no_constant(name: str) -> Value:
    raise ValueError(name)


def checked(adapter: TypeAdapter[T], given: Value) -> T:
    """Strictly, and with JSON's types: whole numbers do for fractions, lists for sets."""
    try:
        return adapter.validate_json(json.dumps(given))
    except ValidationError as error:
        raise Refused(
            *(
                {"field": ".".join(map(str, one["loc"])), "reason": one["msg"]}
                for one in error.errors(include_url=False, include_input=False)
            )
        ) from None


def whole_number(request: Request, name: str) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit()):
        raise Refused({"field": name, "reason": "must be a whole number"})
    return int(given)
