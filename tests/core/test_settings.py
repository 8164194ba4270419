"""The service starts with what the operator meant, or it says which setting it can't."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Le, MaxLen

from otp_service.core import keyring
from otp_service.settings.environment import PREFIX, SettingsError, load
from otp_service.settings.table import Settings

RING = keyring.generate(created_at="2026-11-23T00:00:00Z")
REQUIRED = {
    "OTP_REDIS_URL": "redis://localhost",
    "OTP_KEYRING": RING,
    "OTP_WSMS_URL": "https://site.example",
    "OTP_WSMS_USERNAME": "otp",
    "OTP_WSMS_APPLICATION_PASSWORD": "abcd EFGH 2345 ijkl MNOP 6789",
}
DEVELOPMENT = {**REQUIRED, "OTP_ENVIRONMENT": "development"}
PRODUCTION = {**REQUIRED, "OTP_REGIONS": "DE,AT,CH"}
FIELDS = Settings.model_fields
NUMBERS = {n: f for n, f in FIELDS.items() if f.annotation in (int, float)}
EMPTY_IS_A_VALUE = {name for name, field in FIELDS.items() if field.default in ("", frozenset())}


def variable(name: str) -> str:
    return PREFIX + name.upper()


def refusals(environment: dict[str, str], **change: str) -> tuple[str, ...]:
    """Why it does not start, a line for each thing; () when it does."""
    try:
        load({**environment, **change})
    except SettingsError as refused:
        return refused.lines
    return ()


def test_the_required_settings_are_enough_in_development_and_regions_are_missing_in_production() -> (
    None
):
    assert refusals(DEVELOPMENT) == ()
    assert refusals(PRODUCTION) == ()
    assert [line.partition(":")[0] for line in refusals(REQUIRED)] == ["OTP_REGIONS"]


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_required_setting_that_is_missing_is_named(name: str) -> None:
    environment = {key: value for key, value in DEVELOPMENT.items() if key != name}

    how = "; `otp-service keys generate` makes one, for OTP_KEYRING_FILE"
    assert refusals(environment) == (f"{name}: is required{how if name == 'OTP_KEYRING' else ''}",)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "OTP_MAX_ATTEMPTS": "0",
        "OTP_PORT": "x",
        "OTP_HOST": "",
        "OTP_COOLDOWN": "-1",
        "OTP_WSMS_URL": "x",
        "OTP_NO_SETTING": "x",
        "OTP_BRAND_FILE": "/nowhere/at/all",
    }
    environment = {k: v for k, v in DEVELOPMENT.items() if k != "OTP_WSMS_USERNAME"}

    named = [line.partition(":")[0] for line in refusals(environment, **wrong)]
    assert sorted(named) == sorted([*wrong, "OTP_WSMS_USERNAME"])


# K11: misspelt, empty, out of range, of the wrong type


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_misspelt_setting_is_refused_and_the_right_one_suggested(name: str) -> None:
    """K11: a typing error must not turn a limit off."""
    misspelt = variable(name)[:-1]
    if misspelt.removeprefix(PREFIX).lower() in FIELDS:
        return
    (line,) = refusals(DEVELOPMENT, **{misspelt: "1"})

    assert line.startswith(f"{misspelt}: is no setting; did you mean {PREFIX}")


@pytest.mark.parametrize(
    "name",
    [
        "OTP_",
        "OTP_DEBUG",
        "OTP_TEST_MODE",
        "OTP_MAX_ATTEMPS",
        "OTP_max_attempts_",
        "OTP_CREDENTIALS",
    ],
)
def test_a_name_that_is_no_setting_is_refused(name: str) -> None:
    """K10, E07: there is no debug and no test mode to be left on."""
    (line,) = refusals(DEVELOPMENT, **{name: "1"})

    assert line.startswith(f"{name}: is no setting")


def test_neighbours_in_the_same_environment_are_left_alone() -> None:
    others = {"OTP_SANDBOX_PORT": "1", "OTP_CREDENTIAL": "x", "PATH": "/bin", "XOTP_PORT": "x"}

    assert refusals(DEVELOPMENT, **others) == ()


@pytest.mark.parametrize("name", sorted(set(FIELDS) - EMPTY_IS_A_VALUE))
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_setting_is_refused(name: str, value: str) -> None:
    """K11, A14: an unset variable of a deployment must not become a host of all interfaces or no limit."""
    first, *_ = refusals(DEVELOPMENT, **{variable(name): value})

    assert first.startswith(f"{variable(name)}: ")


@pytest.mark.parametrize("name", sorted(EMPTY_IS_A_VALUE))
def test_where_empty_is_the_default_it_may_be_said(name: str) -> None:
    """What compose files pass on when the operator has set nothing."""
    assert refusals(DEVELOPMENT, **{variable(name): ""}) == ()
    default = FIELDS[name].default
    assert getattr(load({**DEVELOPMENT, variable(name): ""}), name) == default


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_a_number_outside_its_range_is_refused(name: str) -> None:
    """A14: every number has a lowest and a highest value."""
    bounds = {type(bound): bound for bound in NUMBERS[name].metadata}
    lowest, highest = bounds[Ge].ge, bounds[Le].le  # type: ignore[attr-defined]
    step = 1 if NUMBERS[name].annotation is int else 0.001
    for outside in (lowest - step, highest + step):
        lines = refusals(DEVELOPMENT, **{variable(name): f"{outside:.10g}"})
        assert any(line.startswith(f"{variable(name)}: ") for line in lines), outside


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize(
    "value", ["x", "five", "nan", "inf", "-inf", "0x10", "1e999", "٥", "1,000", "5;", "--5"]
)
def test_a_number_that_is_none_is_refused(name: str, value: str) -> None:
    """A14."""
    (line,) = refusals(DEVELOPMENT, **{variable(name): value})

    assert line.startswith(f"{variable(name)}: ")


@pytest.mark.parametrize("value", ["5 ", " 5", "5.0", "1_0", "1e1", "+5", "5\n"])
def test_a_whole_number_is_written_as_one(value: str) -> None:
    """A14."""
    assert refusals(DEVELOPMENT, OTP_MAX_ATTEMPTS=value) == (
        "OTP_MAX_ATTEMPTS: must be a whole number",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTP_ENVIRONMENT", "prod"),
        ("OTP_ENVIRONMENT", "Production"),
        ("OTP_DURABILITY", "yes"),
        ("OTP_LOG_LEVEL", "TRACE"),
        ("OTP_DELIVER", "maybe"),
        ("OTP_ALLOW_SHORT_CODES", "2"),
        ("OTP_LOCKOUT_SHORT", "unlimited"),
        ("OTP_LOCKOUT_SHORT", "0/30m"),
        ("OTP_LOCKOUT_SHORT", "10/30m,20/1d"),
        ("OTP_LIMIT_RECIPIENT", "marker/10m"),
        ("OTP_LIMIT_RECIPIENT", "5/10m,"),
        ("OTP_LIMIT_RECIPIENT", "5/10m;10/1d"),
        ("OTP_LIMIT_NUMBER_RANGE", "-1/10m"),
        ("OTP_LIMIT_PROCESS", "1000001/1d"),
        ("OTP_COOLDOWN", "marker"),
        ("OTP_COOLDOWN", "30,,60"),
        ("OTP_COOLDOWN", "0"),
        ("OTP_COOLDOWN", "30,0"),
        ("OTP_COOLDOWN", "3601"),
        ("OTP_COOLDOWN", ",".join(["1"] * 11)),
        ("OTP_REGIONS", "de"),
        ("OTP_REGIONS", "UK"),
        ("OTP_REGIONS", "XX"),
        ("OTP_REGIONS", "DE;AT"),
        ("OTP_REGIONS", "*"),
        ("OTP_REGIONS", "DEU"),
        ("OTP_PURPOSES", "Login"),
        ("OTP_PURPOSES", "1login"),
        ("OTP_PURPOSES", "a-b"),
        ("OTP_PURPOSES", "é"),
        ("OTP_PURPOSES", "a" * 33),
        ("OTP_PURPOSES", "a|b"),
        ("OTP_OPEN_PURPOSES", "sign-up"),
        ("OTP_BRAND", "x" * 21),
        ("OTP_BRAND", "http://evil.example"),
        ("OTP_ORIGIN", "https://shop.example"),
        ("OTP_ORIGIN", "shop.example/path"),
        ("OTP_ORIGIN", "Shop.Example"),
        ("OTP_ANDROID_APP_HASH", "FA+9qCX9VS"),
        ("OTP_ANDROID_APP_HASH", "FA+9qCX9VSu="),
        ("OTP_ANDROID_APP_HASH", "FA-9qCX9VSu"),
        ("OTP_ANDROID_APP_HASH", "FA+1234VSux"),
        ("OTP_REGION_PAUSE", "on"),
        ("OTP_REGION_PAUSE_BELOW", "0"),
        ("OTP_REGION_PAUSE_BELOW", "1"),
        ("OTP_REGION_PAUSE_BELOW", "nan"),
        ("OTP_REGION_PAUSE_FROM", "50"),
        ("OTP_REGION_PAUSE_TRICKLE", "0/10m"),
        ("OTP_TRUSTED_PROXIES", "*"),
        ("OTP_TRUSTED_PROXIES", "0.0.0.0/0"),
        ("OTP_TRUSTED_PROXIES", "::/0"),
        ("OTP_TRUSTED_PROXIES", "proxy.example"),
        ("OTP_WSMS_URL", "site.example"),
        ("OTP_WSMS_URL", "http://site.example"),
        ("OTP_WSMS_URL", "ftp://site.example"),
        ("OTP_WSMS_URL", "https://"),
        ("OTP_WSMS_URL", "https://[::1"),
        ("OTP_WSMS_URL", "https://user:marker-pass@site.example"),
        ("OTP_WSMS_URL", "https://site.example/?x=marker"),
        ("OTP_WSMS_URL", "https://site.example:port"),
        ("OTP_REDIS_URL", "localhost:6379"),
        ("OTP_REDIS_URL", "http://localhost"),
        ("OTP_REDIS_URL", "redis://:marker/pass@host:6379"),
        ("OTP_REDIS_URL", "redis://:mark#er@host:6379"),
        ("OTP_REDIS_URL", "redis://host:port"),
        ("OTP_REDIS_URL", "redis://host:99999"),
        ("OTP_REDIS_URL", "redis://[::1"),
        ("OTP_REDIS_URL", "redis://host/marker"),
        ("OTP_REDIS_URL", "redis+sentinel://host"),
        ("OTP_REDIS_URL", "redis+sentinel://host/service/x"),
        ("OTP_REDIS_URL", "redis+cluster://host,other:x"),
        ("OTP_REDIS_URL", "unix://"),
        ("OTP_KEYRING", "marker"),
        ("OTP_KEYRING", '{"keys": 5}'),
        ("OTP_KEYRING", json.dumps({"keys": json.loads(RING)["keys"][1:]})),
    ],
)
def test_a_value_that_can_not_be_used_is_refused_and_not_repeated(name: str, value: str) -> None:
    """K11: the line names the setting and says why; what was given may be a secret."""
    lines = refusals(DEVELOPMENT, **{name: value})

    assert lines
    assert all(line.startswith(f"{name}: ") for line in lines)
    for part in ("marker", "mark", RING[60:90]):
        assert part not in value or part not in "".join(lines)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/1",
        "rediss://user:p%2Fss@redis.example",
        "unix:///run/valkey.sock?db=2",
        "redis+sentinel://a,b:26380/service",
        "redis+sentinel://a,b:26380/service/3",
        "rediss+cluster://:pass@a,b:6380",
        "redis://[::1]:6379",
    ],
)
def test_every_kind_of_redis_url_is_understood(url: str) -> None:
    assert refusals(DEVELOPMENT, OTP_REDIS_URL=url) == ()


def test_a_password_in_the_query_of_the_redis_url_is_refused() -> None:
    """redis-py would take it, and then not the one that is read anew from the file."""
    (line,) = refusals(DEVELOPMENT, OTP_REDIS_URL="redis://localhost?password=marker")
    assert line == "OTP_REDIS_URL: user and password belong before the host, as user:password@host"


# Combinations


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"OTP_CODE_DIGITS": "5"}, "OTP_CODE_DIGITS"),
        ({"OTP_DRAIN_SECONDS": "29"}, "OTP_DRAIN_SECONDS"),
        ({"OTP_CODE_TTL": "60", "OTP_MIN_LIFE_AT_SEND": "60"}, "OTP_MIN_LIFE_AT_SEND"),
        ({"OTP_HASH_MEMORY_KIB": "19455"}, "OTP_HASH_MEMORY_KIB"),
        ({"OTP_HASH_PASSES": "1"}, "OTP_HASH_MEMORY_KIB"),
        ({"OTP_HASH_PASSES": "3", "OTP_HASH_MEMORY_KIB": "12287"}, "OTP_HASH_MEMORY_KIB"),
        ({"OTP_LOCKOUT_LONG": "20/10m"}, "OTP_LOCKOUT_LONG"),
        ({"OTP_COOLDOWN": "30", "OTP_LIMIT_RECIPIENT": "5/10s"}, "OTP_COOLDOWN"),
        ({"OTP_REGION_PAUSE_FROM": "50/9m"}, "OTP_REGION_PAUSE_FROM"),
        ({"OTP_REGION_PAUSE_FROM": "50/2d"}, "OTP_REGION_PAUSE_FROM"),
        ({"OTP_REGION_PAUSE_EXEMPT": "DE,XX"}, "OTP_REGION_PAUSE_EXEMPT"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    change: dict[str, str], named: str
) -> None:
    """D-12, K11: what would loosen a limit, weaken the hash or send nothing at all."""
    (line,) = refusals(DEVELOPMENT, **change)

    assert line.startswith(f"{named}: ")


def test_short_codes_are_had_by_asking_for_them() -> None:
    """N-003."""
    short = load({**DEVELOPMENT, "OTP_CODE_DIGITS": "4", "OTP_ALLOW_SHORT_CODES": "true"})

    assert short.policy().digits == 4


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://redis.example", 2),
        ("redis://:pass@redis.example", 1),
        ("rediss://redis.example", 1),
        ("rediss://:pass@redis.example", 0),
        ("redis://127.0.0.1", 0),
        ("redis://[::1]:6379", 0),
        ("unix:///run/valkey.sock", 0),
        ("redis+sentinel://localhost,redis.example/s", 2),
        ("rediss+cluster://:pass@a,b", 0),
    ],
)
def test_redis_off_loopback_needs_tls_and_a_password_in_production(url: str, named: int) -> None:
    """N-049, D-12."""
    lines = refusals(PRODUCTION, OTP_REDIS_URL=url)

    assert [line.partition(":")[0] for line in lines] == ["OTP_REDIS_URL"] * named
    assert refusals(DEVELOPMENT, OTP_REDIS_URL=url) == ()
    assert refusals(PRODUCTION, OTP_REDIS_URL=url, OTP_REDIS_ALLOW_PLAINTEXT="true") == ()


def test_no_region_is_none_in_production_and_all_in_development() -> None:
    """D-5: an empty list must not mean everybody."""
    assert load(PRODUCTION).policy().regions == {"DE", "AT", "CH"}
    assert load(DEVELOPMENT).policy().regions is None
    assert load({**DEVELOPMENT, "OTP_REGIONS": "DE"}).policy().regions == {"DE"}


def test_the_site_over_http_is_for_loopback_only() -> None:
    for host in ("127.0.0.1:8025", "localhost", "[::1]:8025"):
        assert refusals(DEVELOPMENT, OTP_WSMS_URL=f"http://{host}") == ()


# Files and prints


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_value_may_stand_in_a_file(name: str, tmp_path: Path) -> None:
    """N-048: with or without a line break at its end."""
    for ending in ("", "\n", "\r\n"):
        file = tmp_path / "value"
        file.write_text(REQUIRED[name].rstrip("\n") + ending, newline="")
        environment = {key: value for key, value in DEVELOPMENT.items() if key != name}
        found = load({**environment, f"{name}_FILE": str(file)})
        field = name.removeprefix(PREFIX).lower()
        got: Any = getattr(found, field)
        text = got.get_secret_value() if hasattr(got, "get_secret_value") else got
        assert text == REQUIRED[name].rstrip("\n")


def test_any_setting_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "attempts").write_text("3\n")
    path = str(tmp_path / "attempts")

    assert load({**DEVELOPMENT, "OTP_MAX_ATTEMPTS_FILE": path}).max_attempts == 3


def test_a_value_and_its_file_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ring").write_text(RING)

    (line,) = refusals(DEVELOPMENT, OTP_KEYRING_FILE=str(tmp_path / "ring"))
    assert line == "OTP_KEYRING_FILE: OTP_KEYRING is set too; keep one of the two"


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"", b"\n"])
def test_a_file_that_can_not_be_read_or_is_empty_is_refused(
    content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    environment = {k: v for k, v in DEVELOPMENT.items() if k != "OTP_WSMS_APPLICATION_PASSWORD"}

    lines = refusals(environment, OTP_WSMS_APPLICATION_PASSWORD_FILE=str(tmp_path / "password"))

    assert lines
    assert lines[0].startswith("OTP_WSMS_APPLICATION_PASSWORD_FILE: ")


def test_variable_that_names_no_file_is_refused() -> None:
    environment = {k: v for k, v in DEVELOPMENT.items() if k != "OTP_KEYRING"}
    assert "OTP_KEYRING_FILE: is empty; it must name a file" in refusals(
        environment, OTP_KEYRING_FILE=""
    )


@pytest.mark.parametrize(
    ("regions", "told"),
    [
        ("DE,UK", "OTP_REGIONS: UK is not among"),
        ("UK,de", "OTP_REGIONS: UK, de are not among"),
        ("DE,correct-horse-battery", "OTP_REGIONS: something is not among"),
    ],
)
def test_unknown_region_is_named(regions: str, told: str) -> None:
    (line,) = refusals(DEVELOPMENT, OTP_REGIONS=regions)
    assert line.startswith(told)


def test_the_file_of_no_setting_is_refused(tmp_path: Path) -> None:
    (line,) = refusals(DEVELOPMENT, OTP_KEYRIN_FILE=str(tmp_path))

    assert line.startswith("OTP_KEYRIN_FILE: is no setting")


def test_settings_print_no_secret() -> None:
    """E10."""
    url = "redis://:pass-word-1@localhost"
    found = load({**DEVELOPMENT, "OTP_REDIS_URL": url})
    printed = f"{found!r} {found} {found.model_dump()!r} {found.model_dump_json()}"

    for secret in (RING, RING[60:90], "pass-word-1", REQUIRED["OTP_WSMS_APPLICATION_PASSWORD"]):
        assert secret not in printed


def test_every_setting_has_a_description_and_every_text_a_bound() -> None:
    for name, field in FIELDS.items():
        assert field.description, name
        if field.annotation in (int, float):
            assert {Ge, Le} <= {type(bound) for bound in field.metadata}, name
    assert MaxLen in {type(bound) for bound in FIELDS["wsms_sender"].metadata}


def test_the_command_line_brings_no_metrics_before_serve_has_said_where_they_are_kept() -> None:
    """Else /metrics stays empty: prometheus_client looks at PROMETHEUS_MULTIPROC_DIR once, when it is imported."""
    look = "import sys, otp_service.cli; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
