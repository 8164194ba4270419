"""Authenticators in files: CSV, JSON, one JSON object a line, one `otpauth://` URI a line."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from otp_service.core.seeds import COLUMNS, Seed, SeedRefused, read

ISSUER = "otp_service"
_BY_ENDING = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Format(StrEnum):
    """How a file holds them."""

    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    OTPAUTH = "otpauth"


def format_of(path: Path) -> Format:
    """Return what the ending says; without one that is known, a URI a line."""
    return Format(_BY_ENDING.get(path.suffix.lower(), Format.OTPAUTH))


def read_file(text: str, format: Format) -> Iterator[tuple[int, Seed | SeedRefused]]:
    """
    Yield each row by its number in the file: of the line, or of the element from 1 in JSON.

    Raises:
        SeedRefused: the file itself is of another format.
    """
    for number, row in _rows(text, format):
        try:
            yield number, _read_row(row)
        except SeedRefused as refused:
            yield number, refused


def write_file(seeds: Sequence[Seed], format: Format, *, issuer: str) -> str:
    """Return what `read_file` reads again. With `otpauth` names are lost: the URI has no place for them."""
    if format is Format.OTPAUTH:
        return "".join(
            seed.authenticator.provisioning_uri(account_name=seed.subject, issuer=issuer) + "\n"
            for seed in seeds
        )
    rows = [_row(seed) for seed in seeds]
    if format is Format.JSON:
        return json.dumps(rows, indent=2) + "\n"
    if format is Format.JSONL:
        return "".join(json.dumps(row) + "\n" for row in rows)
    text = io.StringIO()
    table = csv.DictWriter(text, ["subject", "name", "secret", "algorithm", "digits", "period"])
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _rows(text: str, format: Format) -> Iterator[tuple[int, object]]:
    match format:
        case Format.CSV:
            yield from _csv_rows(text)
        case Format.JSON:
            try:
                found = _parse_json(text)
            except (ValueError, RecursionError):
                raise SeedRefused("file", "is no JSON") from None
            if not isinstance(found, list):
                raise SeedRefused("file", "must be a JSON array of objects")
            yield from enumerate(found, 1)
        case Format.JSONL | Format.OTPAUTH:
            for number, line in enumerate(text.split("\n"), 1):
                if line.strip():
                    yield (
                        number,
                        {"uri": line.strip()} if format is Format.OTPAUTH else _object(line),
                    )


def _csv_rows(text: str) -> Iterator[tuple[int, object]]:
    table = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
    try:
        columns = [(name or "").strip().lower() for name in table.fieldnames or ()]
        if not {"secret", "uri"} & {*columns} or not {"subject", "uri"} & {*columns}:
            raise SeedRefused("file", "needs a first line with subject, and secret or uri")
        if len(set(columns)) < len(columns):
            raise SeedRefused("file", "has a column twice")
        for row in table:
            yield table.line_num, {name.strip().lower(): value for name, value in row.items()}
    except csv.Error:
        raise SeedRefused("file", f"is no CSV at line {table.line_num}") from None


def _object(line: str) -> object:
    try:
        return _parse_json(line)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class _Repeated:
    """A JSON object that has a name twice; `json.loads` would keep the last value."""

    name: str


def _parse_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_json_object)


def _json_object(pairs: list[tuple[str, object]]) -> dict[str, object] | _Repeated:
    row: dict[str, object] = {}
    for name, value in pairs:
        if name in row:
            return _Repeated(name if name in COLUMNS else "row")
        row[name] = value
    return row


def _read_row(row: object) -> Seed:
    match row:
        case dict():
            return read(row)
        case _Repeated(name):
            raise SeedRefused(name, "is given twice")
        case _:
            raise SeedRefused("row", "is no JSON object")


def _row(seed: Seed) -> dict[str, object]:
    app = seed.authenticator
    return {
        "subject": seed.subject,
        "name": seed.name,
        "secret": app.seed,
        "algorithm": app.algorithm.value,
        "digits": app.digits,
        "period": 30,
    }
