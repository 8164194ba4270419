"""WordPress' checks of declared parameters, which come before the caller's rights (contract 2.2).

First what is missing, then the arguments' own checks, then types: each step answers for all its
parameters at once, and later steps are not reached.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from otp_service.sandbox.answers import Answer, wordpress_error
from otp_service.sandbox.call import Call
from otp_service.sandbox.php import Value, is_numeric, text

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

Arg: TypeAlias = Mapping[str, Value]
"""As the namespace index shows it (`type`, `required`, `enum`, `format`, `default` ...), and two
callables that it does not show: `validate(site, value)`, which says True, False or why not, and
`sanitize(value)`, which takes the place of the check of its type."""
Args: TypeAlias = Mapping[str, Arg]


class Invalid(Exception):
    """A value that its argument refuses, with WordPress' code for the reason."""

    def __init__(self, code: str, message: str, data: Value = None) -> None:
        super().__init__(message)
        self.detail = {"code": code, "message": message, "data": data}


def check(site: "Site", call: Call, args: Args) -> Answer | None:
    """The refusal, or None with `call.params` filled."""
    missing = [name for name, arg in args.items() if arg.get("required") and call.raw(name) is None]
    if missing:
        return wordpress_error(
            "rest_missing_callback_param",
            f"Missing parameter(s): {', '.join(missing)}",
            400,
            params=missing,
        )
    refused: dict[str, Invalid | bool] = {}
    for name, arg in args.items():
        validate = arg.get("validate")
        value = call.raw(name)
        if validate is not None and value is not None:
            verdict = validate(site, value)
            if verdict is not True:
                refused[name] = verdict
    if not refused:
        refused.update(_sanitise(call, args))
    return _refusal(refused) if refused else None


def _sanitise(call: Call, args: Args) -> dict[str, Invalid | bool]:
    refused: dict[str, Invalid | bool] = {}
    defaults = {name: arg["default"] for name, arg in args.items() if "default" in arg}
    for source in [*call.sources, defaults]:
        for name, value in source.items():
            if name in call.params:
                continue
            try:
                clean = _sanitised(name, value, args.get(name, {}))
            except Invalid as invalid:
                refused[name] = invalid
            else:
                if clean is not None:
                    call.params[name] = clean
    return refused


def _sanitised(name: str, value: Value, arg: Arg) -> Value:
    sanitize = arg.get("sanitize")
    if sanitize is not None:
        return sanitize(value)
    kind = arg.get("type")
    if kind is None:
        return value
    if isinstance(kind, list):
        kind = next((one for one in kind if _fits(value, one)), None)
        if kind is None:
            raise _wrong_type(name, ",".join(arg["type"]))
    elif kind in _KINDS and not _fits(value, kind):
        raise _wrong_type(name, kind)
    if "enum" in arg and value not in arg["enum"]:
        message = f"{name} is not one of {_listed(arg['enum'])}."
        raise Invalid("rest_not_in_enum", message)
    if arg.get("format") == "date-time" and date_time(value) is None:
        raise Invalid("rest_invalid_date", "Invalid date.")
    return _converted(value, kind)


_KINDS = ("string", "boolean", "array", "object", "integer")
_DATE_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}(?::\d{2})?)?", re.A
)


def date_time(written: str) -> datetime | None:
    """A date with a time part, and a zone if it names one; None for anything else."""
    if not _DATE_TIME.fullmatch(written):
        return None
    try:
        return datetime.fromisoformat(written.upper())
    except ValueError:
        return None


def _fits(value: Value, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            if isinstance(value, str):
                return value.lower() in ("true", "false", "0", "1")
            return value in (0, 1) and isinstance(value, (bool, int))
        case "array":
            return isinstance(value, list) or (value is not None and not isinstance(value, dict))
        case "object":
            return isinstance(value, (dict, list)) or value == ""
        case "integer":
            return _is_integer(value)
    return True


def _is_integer(value: Value) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    if isinstance(value, str) and not is_numeric(value):
        return False
    try:
        return float(value) == int(float(value))
    except (ValueError, OverflowError):
        return False


def _converted(value: Value, kind: str | None) -> Value:
    match kind:
        case "boolean":
            return value.lower() in ("true", "1") if isinstance(value, str) else bool(value)
        case "array" if not isinstance(value, list):
            # Texts are lists too for WordPress: cut at commas and blanks.
            return [part for part in re.split(r"[\s,]+", text(value)) if part]
        case "integer":
            return int(float(value))
        case "object":
            return value or {}
    return value


def _wrong_type(name: str, kind: str) -> Invalid:
    return Invalid("rest_invalid_type", f"{name} is not of type {kind}.", {"param": name})


def _listed(choices: list[str]) -> str:
    """English enumeration, as WordPress writes it: `a and b`, `a, b, and c`."""
    if len(choices) < 3:
        return " and ".join(choices)
    return f"{', '.join(choices[:-1])}, and {choices[-1]}"


def _refusal(refused: Mapping[str, Invalid | bool]) -> Answer:
    """PHP's empty map is a list, so `details` is `[]` when a check only said no."""
    params = {
        name: str(why) if isinstance(why, Invalid) else "Invalid parameter."
        for name, why in refused.items()
    }
    details = {name: why.detail for name, why in refused.items() if isinstance(why, Invalid)}
    return wordpress_error(
        "rest_invalid_param",
        f"Invalid parameter(s): {', '.join(refused)}",
        400,
        params=params,
        details=details or [],
    )
