"""What single settings may be: lists of words and windows as an environment writes them, names, the key ring."""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr

from otp_service.core.issuer_keys import ALGORITHMS
from otp_service.core.keyring import Keyring, KeyringError
from otp_service.core.limits import Window, read_cooldown, read_windows
from otp_service.core.message_values import app_hash_problem, host_problem, name_problem
from otp_service.core.test_numbers import read_test_numbers

_PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


def _windows(value: object) -> object:
    return read_windows(value) if isinstance(value, str) else value


def _window(value: object) -> object:
    return Window.parse(value) if isinstance(value, str) else value


def _day(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a day such as 2027-01-31") from None


def _steps(value: object) -> object:
    return read_cooldown(value) if isinstance(value, str) else value


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(word for word in value.replace(" ", "").split(",") if word)


def _listed(value: Any) -> str:  # noqa: ANN401
    return ",".join(
        str(part) for part in (sorted(value) if isinstance(value, frozenset) else value)
    )


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(set(value)) < len(value):
        raise ValueError("must name totp, sms or both, each once")
    return value


def _purpose_names(value: frozenset[str]) -> frozenset[str]:
    for word in value:
        if _PURPOSE.fullmatch(word) is None:
            raise ValueError("a purpose is a-z, 0-9 and _, beginning with a letter, 32 at most")
    return value


def _public_algorithms(value: frozenset[str]) -> frozenset[str]:
    if not value or not value <= ALGORITHMS:
        raise ValueError(f"must be of {', '.join(sorted(ALGORITHMS))}")
    return value


def _brand_name(value: str) -> str:
    if value and (reason := name_problem(value)):
        raise ValueError(reason)
    return value


def _origin_host(value: str) -> str:
    if reason := host_problem(value):
        raise ValueError(reason)
    return value


def _app_hash(value: str) -> str:
    if reason := app_hash_problem(value):
        raise ValueError(reason)
    return value


def _usable_keyring(value: SecretStr) -> SecretStr:
    try:
        Keyring.from_json(value.get_secret_value())
    except KeyringError as error:
        raise ValueError(str(error)) from None
    return value


def _known_codes(value: SecretStr) -> SecretStr:
    read_test_numbers(value.get_secret_value())
    return value


_as_text = PlainSerializer(_listed, return_type=str)
Windows = Annotated[tuple[Window, ...], BeforeValidator(_windows), _as_text]
OneWindow = Annotated[Window, BeforeValidator(_window), PlainSerializer(str, return_type=str)]
Day = Annotated[date, BeforeValidator(_day)]
Steps = Annotated[tuple[int, ...], BeforeValidator(_steps), _as_text]
Words = Annotated[frozenset[str], BeforeValidator(_split), _as_text]
Ways = Annotated[
    tuple[Literal["totp", "sms"], ...],
    BeforeValidator(_split),
    AfterValidator(_each_once),
    _as_text,
]
Purposes = Annotated[Words, AfterValidator(_purpose_names)]
Algorithms = Annotated[Words, AfterValidator(_public_algorithms)]
Brand = Annotated[str, AfterValidator(_brand_name)]
Origin = Annotated[str, AfterValidator(_origin_host)]
AppHash = Annotated[str, AfterValidator(_app_hash)]
KnownCodesText = Annotated[SecretStr, AfterValidator(_known_codes)]
KeyringText = Annotated[SecretStr, AfterValidator(_usable_keyring)]
