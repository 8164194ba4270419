"""Others may not read the file of a secret; the settings' declaration says which settings are secret."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otp_service.core import keyring
from otp_service.doctor.secret_files import inspect_secret_files
from otp_service.doctor.start import check
from otp_service.settings.environment import SettingsError, load
from otp_service.settings.table import Settings, secret_names
from tests.conftest import base_environment

CONTENTS = {
    "keyring": keyring.generate(created_at="2026-11-24T00:00:00Z"),
    "redis_url": "redis://127.0.0.1:1",
    "test_numbers": "shop/+14155550177=246801",
    "wsms_application_password": "x",
}


def in_files(directory: Path, mode: int, **change: str) -> Settings:
    """The settings of a production that has each secret, and the brand, in a file of this mode."""
    environment = base_environment("", "http://127.0.0.1:1", "") | {
        "OTP_ENVIRONMENT": "production",
        "OTP_REGIONS": "US",
        "OTP_TEST_NUMBERS_UNTIL": str(datetime.now(UTC).date() + timedelta(days=2)),
    }
    for name, text in (CONTENTS | {"brand": "Acme"}).items():
        file = directory / name
        file.write_text(text)
        file.chmod(mode)
        environment.pop(f"OTP_{name.upper()}", None)
        environment[f"OTP_{name.upper()}_FILE"] = str(file)
    return load(environment | change)


def test_each_setting_that_sounds_secret_is_declared_so() -> None:
    """`CONTENTS` covers every secret, so a new one is tested with the others."""
    harmless = {"allow_readable_secrets", "keyring_reload", "webhooks_allow_private"}
    sounds = re.compile(r"password|secret|keyring|private|credential|_key$")

    assert {name for name in Settings.model_fields if sounds.search(name)} - harmless <= set(
        CONTENTS
    )
    assert secret_names() == set(CONTENTS)


@pytest.mark.parametrize(
    ("mode", "level"),
    [
        (0o600, "ok"),
        (0o400, "ok"),
        (0o440, "ok"),
        (0o640, "ok"),
        (0o644, "refuse"),
        (0o444, "refuse"),
        (0o660, "refuse"),
        (0o602, "refuse"),
    ],
)
def test_secret_file_that_others_may_read_is_refused(mode: int, level: str, tmp_path: Path) -> None:
    found = inspect_secret_files(in_files(tmp_path, mode))

    assert [(f.level, f.what) for f in found] == [
        (level, f"OTP_{name.upper()}_FILE") for name in sorted(CONTENTS)
    ]
    assert all(f"{mode:04o}" in f.message for f in found)


@pytest.mark.parametrize(
    ("mode", "level"), [(0o400, "ok"), (0o444, "note"), (0o446, "refuse"), (0o464, "refuse")]
)
def test_containers_may_allow_reading_and_not_writing(
    mode: int, level: str, tmp_path: Path
) -> None:
    found = inspect_secret_files(in_files(tmp_path, mode, OTP_ALLOW_READABLE_SECRETS="true"))

    assert {f.level for f in found} == {level}


def test_development_only_warns_of_readable_secrets(tmp_path: Path) -> None:
    found = inspect_secret_files(in_files(tmp_path, 0o644, OTP_ENVIRONMENT="development"))

    assert {f.level for f in found} == {"warn"}


def test_key_of_redis_client_certificate_is_a_secret(tmp_path: Path) -> None:
    key = tmp_path / "client.pem"
    key.write_text("a key")
    key.chmod(0o644)
    url = f"rediss://:word@redis.example?ssl_keyfile={key}"
    environment = base_environment(url, "http://127.0.0.1:1", CONTENTS["keyring"])
    production = {"OTP_ENVIRONMENT": "production", "OTP_REGIONS": "US"}

    [found] = inspect_secret_files(load(environment | production))

    assert (found.level, found.what) == ("refuse", "OTP_REDIS_URL ssl_keyfile")


async def test_start_names_each_secret_file_that_others_may_read(
    valkey_url: str, tmp_path: Path
) -> None:
    redis = tmp_path / "where-redis-is"
    redis.write_text(valkey_url)
    redis.chmod(0o644)
    settings = in_files(tmp_path, 0o644, OTP_REDIS_URL_FILE=str(redis))

    with pytest.raises(SettingsError) as refused:
        await check(settings)

    named = {line.partition(":")[0] for line in refused.value.lines if "its mode" in line}
    assert named == {f"OTP_{name.upper()}_FILE" for name in CONTENTS}
