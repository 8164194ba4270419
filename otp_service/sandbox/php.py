"""How PHP and MySQL read values: the quirks of the plugin that reach its callers.

A JSON value here is what `json.loads` gives: PHP's lists and maps are `list` and `dict`.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast
from urllib.parse import unquote_plus

Value: TypeAlias = Any
"""None, bool, int, float, str, list or dict: whatever JSON or a form can carry."""


@dataclass(frozen=True)
class Obj:
    """A PHP object (stdClass), which `var_export` writes differently from an array."""

    fields: Mapping[str, Value]


INT_MAX = 2**63 - 1


class JsonError(ValueError):
    """What `json_decode` refuses, with PHP's number and words for it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class PhpError(Exception):
    """An uncaught PHP error: WordPress answers 500 with its shape E3 (contract 2.1)."""

    def __init__(self, message: str, file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


def json_decode(body: bytes) -> Value:
    """PHP's JSON: UTF-8 only, no NaN, no lone surrogates, 512 levels; big whole numbers are floats."""
    try:
        decoded = json.loads(body.decode(), parse_constant=_no_constant, parse_int=_php_int)
        json.dumps(decoded, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise JsonError(5, "Malformed UTF-8 characters, possibly incorrectly encoded") from None
    except UnicodeEncodeError:
        raise JsonError(10, "Single unpaired high surrogate in Unicode escape") from None
    except RecursionError:
        raise JsonError(1, "Maximum stack depth exceeded") from None
    except ValueError:
        raise JsonError(4, "Syntax error") from None
    return decoded


def _no_constant(name: str) -> Value:
    raise ValueError(name)


def _php_int(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 or abs(int(digits[:400])) <= INT_MAX else float(digits)


def truthy(value: Value) -> bool:
    """PHP's `if ($value)`: `"0"`, `""`, 0, None, False and the empty array are false."""
    return value not in ("", "0") and bool(value)


def text(value: Value) -> str:
    """PHP's string conversion of a scalar; an array becomes the word `Array`."""
    match value:
        case None | False:
            return ""
        case True:
            return "1"
        case float():
            return _float_text(value)
        case list() | dict():
            return "Array"
        case _:
            return str(value)


def _float_text(value: float) -> str:
    if not math.isfinite(value):
        return "NAN" if math.isnan(value) else "INF" if value > 0 else "-INF"
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    written = f"{value:.17G}" if float(f"{value:.14G}") != value else f"{value:.14G}"
    mantissa, _, exponent = written.partition("E")
    if not exponent:
        return mantissa
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent):+d}"


_NUMERIC = re.compile(r"[ \t\n\r\v\f]*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?[ \t\n\r\v\f]*", re.A)


def is_numeric(value: str) -> bool:
    """Whether PHP takes this text for a number: ASCII digits, sign, fraction, exponent, blanks around."""
    return _NUMERIC.fullmatch(value) is not None


def loosely_equal(a: str, b: str) -> bool:
    """PHP's `==` of two texts: as numbers if both are numeric, else as they are (contract 3.3)."""
    if is_numeric(a) and is_numeric(b):
        return float(a) == float(b)
    return a == b


def leading_int(value: Value) -> int:
    """`(int) $value`: the number a text begins with, else 0. An array is 1, or 0 when empty."""
    if isinstance(value, (list, dict)):
        return int(bool(value))
    return _saturated(re.match(r"[ \t\n\r\v\f]*([+-]?\d+)", text(value), re.A))


def _saturated(found: re.Match[str] | None) -> int:
    """Whole numbers end at 64 bits, however many digits are there."""
    if found is None:
        return 0
    negative, digits = found.group(1).startswith("-"), found.group(1).lstrip("+-0") or "0"
    size = min(int(digits), INT_MAX) if len(digits) < 20 else INT_MAX
    return -size if negative else size


def absint(value: Value) -> int:
    """WordPress' `absint`."""
    return abs(leading_int(value))


def mysql_number(value: str) -> int:
    """How MySQL casts a text it compares with a number: `+4477` and `4477` are one (contract 3.3)."""
    return _saturated(re.match(r"\s*([+-]?\d+)", value, re.A))


def trim(value: str) -> str:
    """PHP's `trim`: ASCII blanks and NUL."""
    return value.strip(" \t\n\r\0\x0b")


def strip_tags(value: str) -> str:
    """The part of `sanitize_text_field` that shows: markup goes, runs of blanks become one."""
    return re.sub(r"[\r\n\t ]+", " ", re.sub(r"<[^>]*>", "", value)).strip()


def parse_form(body: str) -> dict[str, Value]:
    """PHP's reading of a query string or form body: `a[]=1` is a list, `a[k]=1` a map, the last one wins."""
    found: dict[str, Value] = {}
    for pair in body.split("&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition("=")
        name, value = unquote_plus(raw_name), unquote_plus(raw_value)
        nested = re.fullmatch(r"([^\[]+)\[([^\]]*)\]", name)
        if nested is None:
            found[name] = value
            continue
        outer, key = nested.groups()
        inner = found.get(outer)
        if not isinstance(inner, dict):
            inner = found[outer] = {}
        inner[key or str(len(inner))] = value
    return {name: _list_if_counted(value) for name, value in found.items()}


def _list_if_counted(value: Value) -> Value:
    if isinstance(value, dict) and list(value) == [str(i) for i in range(len(value))]:
        return list(value.values())
    return value


def var_export(value: Value, indent: int = 0) -> str:
    """PHP's `var_export`, as the outbox keeps a provider's answer (contract 3.5)."""
    pad = " " * indent
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return text(value) if isinstance(value, int) else _exported_float(value)
        case str():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case Obj():
            return _exported("(object) array(\n", f"{pad}   ", value.fields.items(), indent, pad)
        case list() | tuple():
            return _exported(
                "array (\n", f"{pad}  ", enumerate(cast("Sequence[Value]", value)), indent, pad
            )
        case dict():
            return _exported("array (\n", f"{pad}  ", value.items(), indent, pad)
    raise TypeError(type(value))


def _exported(
    opening: str, lead: str, items: Iterable[tuple[Value, Value]], indent: int, pad: str
) -> str:
    lines = []
    for key, item in items:
        name = str(key) if isinstance(key, int) else var_export(key)
        written = var_export(item, indent + 2)
        # A nested structure begins on a line of its own, two deeper than its holder.
        gap = f"\n{pad}  " if isinstance(item, (Obj, list, tuple, dict)) else ""
        lines.append(f"{lead}{name} => {gap}{written},\n")
    return f"{opening}{''.join(lines)}{pad})"


def _exported_float(value: float) -> str:
    return f"{value!r}" if value != int(value) else f"{value:.1f}"


def serialize(value: Value) -> str:
    """PHP's `serialize` of lists, maps and scalars; lengths count UTF-8 bytes."""
    match value:
        case None:
            return "N;"
        case bool():
            return f"b:{int(value)};"
        case int():
            return f"i:{value};"
        case float():
            return f"d:{value!r};"
        case str():
            return f's:{len(value.encode())}:"{value}";'
        case list():
            value = dict(enumerate(value))
    return f"a:{len(value)}:{{{''.join(serialize(k) + serialize(v) for k, v in value.items())}}}"


def plain(value: Value) -> Value:
    """What `json_encode` sees: objects as maps."""
    match value:
        case Obj():
            return {key: plain(item) for key, item in value.fields.items()}
        case list():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
    return value
