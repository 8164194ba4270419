"""
Reading settings from the environment: `OTP_<NAME>`, or `OTP_<NAME>_FILE` naming a file that holds the value (its last
line break is dropped).

A name that is no setting, a value out of range and an unsafe combination refuse to start, and the message names the
setting.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from otp_service.core.reasons import reason
from otp_service.settings.cross_checks import cross_check
from otp_service.settings.table import Settings

PREFIX = "OTP_"
# Of the sandbox and of scripts, not of the service: allowed to stand in the same environment.
_NEIGHBOURS = re.compile(r"OTP_SANDBOX_.*|OTP_CREDENTIAL")
_HOW = {"OTP_KEYRING": "; `otp-service keys generate` makes one, for OTP_KEYRING_FILE"}


class SettingsError(ValueError):
    """The configuration can't be used. Each line names a setting and says why, never its value."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def load(environ: Mapping[str, str]) -> Settings:
    """
    Return the settings of an environment.

    Raises:
        SettingsError: every setting that is missing, unknown, out of range or unsafe, one a line.
    """
    values: dict[str, str] = {}
    wrong: dict[str, str] = {}  # by variable
    files: dict[str, Path] = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or _NEIGHBOURS.fullmatch(name):
            continue
        field, in_file = _field_of(name)
        if field is None:
            near = difflib.get_close_matches(
                name[len(PREFIX) :].lower(), Settings.model_fields, n=1
            )
            hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
            wrong[name] = f"is no setting{hint}"
            continue
        if in_file:
            if f"{PREFIX}{field.upper()}" in environ:
                wrong[name] = f"{PREFIX}{field.upper()} is set too; keep one of the two"
                continue
            if not value:
                wrong[name] = "is empty; it must name a file"
                continue
            files[field] = Path(value)
            try:
                value = files[field].read_text("utf-8").removesuffix("\n")
            except (OSError, UnicodeDecodeError) as error:
                wrong[name] = f"the file can't be read ({type(error).__name__})"
                continue
        if why := _unreadable(field, value):
            wrong[name] = f"the file {why}" if in_file else why
            continue
        values[field] = value
    told = {field for field, _ in map(_field_of, wrong) if field}
    lines = [f"{name}: {why}" for name, why in wrong.items()]
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_input=False):
            if not told & set(detail["loc"]):
                lines.append(_line(detail))
    else:
        lines += cross_check(settings)
    if lines:
        raise SettingsError(*lines)
    settings.keep_files(files)
    return settings


def _field_of(name: str) -> tuple[str | None, bool]:
    """Return the setting that a variable sets, or None, and whether it names a file that holds the value."""
    field = name.removeprefix(PREFIX).lower()
    if name != name.upper():
        return None, False
    if field in Settings.model_fields:
        return field, False
    field = field.removesuffix("_file")
    return (
        (field, True)
        if name.endswith("_FILE") and field in Settings.model_fields
        else (None, False)
    )


def _unreadable(field: str, value: str) -> str | None:
    """Why a text can be no value of that setting, or None: what is empty or loosely written is not guessed at."""
    setting = Settings.model_fields[field]
    if not value.strip() and setting.default not in ("", frozenset()):
        return "is empty"
    if setting.annotation is int and re.fullmatch(r"-?[0-9]{1,9}", value, re.ASCII) is None:
        return "must be a whole number"
    return None


def _line(detail: Any) -> str:  # noqa: ANN401
    name = PREFIX + str(detail["loc"][0]).upper()
    if detail["type"] == "missing":
        return f"{name}: is required{_HOW.get(name, '')}"
    return f"{name}: {reason(detail['msg'])}"
