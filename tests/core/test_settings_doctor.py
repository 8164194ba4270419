"""The doctor looks at the server itself, and says what makes it unsafe to start."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from otp_service.cli import valkey
from otp_service.cli.messages import app as messages
from otp_service.connections import load_catalogue, open_redis
from otp_service.doctor.everything import look
from otp_service.doctor.finding import Finding
from otp_service.doctor.process import (
    inspect_messages,
    inspect_region_pause,
    inspect_state_dir,
    inspect_test_numbers,
)
from otp_service.doctor.redis import inspect_redis, judge
from otp_service.doctor.start import check
from otp_service.settings.environment import SettingsError, load
from otp_service.settings.table import Settings
from otp_service.store.facts import RedisFacts, ask
from tests.conftest import base_environment

FACTS = RedisFacts(
    server="valkey",
    version=(9, 0, 0),
    policy="noeviction",
    append_only=True,
    replicas=1,
    needs_replica=False,
    skew_seconds=0.1,
    all_powerful=False,
    writable=True,
)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[valkey.Valkey]:
    """A server whose configuration a test may spoil."""
    server = valkey.start(tmp_path_factory.mktemp("doctor"))
    yield server
    server.kill()  # one that was told to append anew can't be asked to end until it has written its first file


@pytest.fixture
def server(own_server: valkey.Valkey) -> Iterator[valkey.Valkey]:
    yield own_server
    with Redis.from_url(own_server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")
        client.replicaof("NO", "ONE")


def settings_for(server: valkey.Valkey, ring: str, **change: str) -> Settings:
    environment = base_environment(server.url, "http://127.0.0.1:1", ring)
    production = {
        "OTP_ENVIRONMENT": "production",
        "OTP_REGIONS": "DE",
        "OTP_REDIS_ALLOW_ADMIN": "true",  # the tests' server has one user
    }
    return load({**environment, **production, **change})


async def looked(settings: Settings) -> list[Finding]:
    connection = open_redis(settings)
    try:
        return await inspect_redis(connection, settings)
    finally:
        await connection.aclose()


def levels(findings: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in findings:
        found.setdefault(finding.level, set()).add(finding.what)
    return found


async def test_a_server_as_it_should_be_is_not_refused(server: valkey.Valkey, ring: str) -> None:
    findings = await looked(settings_for(server, ring))

    assert "refuse" not in levels(findings)
    assert "redis" in levels(findings)["ok"]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("maxmemory-policy", "volatile-ttl", "noeviction"),
        ("appendonly", "no", "append-only"),
    ],
)
async def test_a_server_that_forgets_is_refused(
    server: valkey.Valkey, ring: str, option: str, value: str, told: str
) -> None:
    """H03, H05: evicted counters and a restart loosen limits."""
    with Redis.from_url(server.url) as client:
        client.config_set(option, value)
    settings = settings_for(server, ring)
    refused = [f for f in await looked(settings) if f.level == "refuse"]

    assert [finding.what for finding in refused] == ["redis"]
    assert told in refused[0].message
    with pytest.raises(SettingsError, match=told):
        await check(settings)


async def test_forgetting_can_be_allowed_and_eviction_can_not(
    server: valkey.Valkey, ring: str
) -> None:
    with Redis.from_url(server.url) as client:
        client.config_set("appendonly", "no")
        allowed = settings_for(server, ring, OTP_ALLOW_NO_PERSISTENCE="true")
        assert "refuse" not in levels(await looked(allowed))
        client.config_set("maxmemory-policy", "allkeys-random")
        development = settings_for(server, ring, OTP_ENVIRONMENT="development")
        assert levels(await looked(development))["refuse"] == {"redis"}


async def test_a_user_that_may_administer_the_server_is_refused(
    server: valkey.Valkey, ring: str
) -> None:
    """D-12: whoever gets hold of it could drop every limit."""
    settings = settings_for(server, ring, OTP_REDIS_ALLOW_ADMIN="false")

    assert levels(await looked(settings))["refuse"] == {"OTP_REDIS_URL"}
    with pytest.raises(SettingsError, match=r"docker/users\.acl\.template"):
        await check(settings)


async def test_a_replica_is_refused(server: valkey.Valkey, ring: str) -> None:
    """H06."""
    with Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", "1")
    found = levels(await looked(settings_for(server, ring)))

    assert "OTP_REDIS_URL" in found["refuse"]


async def test_waiting_for_a_replica_that_is_not_there_is_refused(
    server: valkey.Valkey, ring: str
) -> None:
    found = levels(await looked(settings_for(server, ring, OTP_DURABILITY="replica")))

    assert "OTP_DURABILITY" in found["refuse"]


async def test_a_server_that_does_not_answer_is_refused_without_its_password(
    server: valkey.Valkey, ring: str
) -> None:
    for url in ("redis://:secret-word@127.0.0.1:1", server.url.replace(server.password, "wrong-1")):
        settings = settings_for(server, ring, OTP_REDIS_URL=url)
        (finding,) = await looked(settings)
        assert (finding.level, finding.what) == ("refuse", "OTP_REDIS_URL")
        assert "secret-word" not in finding.message
        assert "wrong-1" not in finding.message


@pytest.mark.parametrize(
    ("change", "level", "what"),
    [
        ({}, None, ""),
        ({"skew_seconds": 5.1}, "refuse", "clock"),
        ({"skew_seconds": -5.1}, "refuse", "clock"),
        ({"skew_seconds": -4.9}, None, ""),
        ({"server": "redis", "version": (8, 2, 1)}, "refuse", "redis"),
        ({"server": "redis", "version": (8, 2, 2)}, None, ""),
        ({"server": "redis", "version": (7, 4, 5)}, "refuse", "redis"),
        ({"server": "redis", "version": (7, 4, 6)}, None, ""),
        ({"server": "redis", "version": (7, 0, 99)}, "refuse", "redis"),
        ({"server": "redis", "version": (7, 0, 15), "lua_fixed": True}, None, ""),
        ({"version": (8, 1, 3)}, "refuse", "redis"),
        ({"version": (8, 1, 4)}, None, ""),
        ({"version": (8, 0, 6)}, None, ""),
        ({"version": (7, 2, 10)}, "refuse", "redis"),
        ({"all_powerful": True}, "warn", "OTP_REDIS_URL"),
        ({"missing_commands": ("XADD",)}, "refuse", "OTP_REDIS_URL"),
        ({"replicas": 0}, "warn", "redis"),
        ({"policy": None, "append_only": None, "replicas": None}, "warn", "redis"),
    ],
)
def test_what_a_server_says_of_itself_is_judged(
    server: valkey.Valkey, ring: str, change: dict[str, Any], level: str | None, what: str
) -> None:
    """X20, X21, H10, H11."""
    findings = judge(replace(FACTS, **change), settings_for(server, ring))

    unusual = [(f.level, f.what) for f in findings if f.level != "ok"]
    assert unusual == ([] if level is None else [(level, what)])


@pytest.mark.parametrize(
    ("needs_replica", "environment", "level"),
    [
        (False, "production", "refuse"),
        (False, "development", "warn"),
        (True, "production", None),
        (None, "production", None),
    ],
)
def test_sentinel_needs_min_replicas_to_write(
    needs_replica: bool | None, environment: str, level: str | None, ring: str
) -> None:
    """X11: a primary that is cut off with us must refuse writes by itself."""
    changes = {"OTP_ENVIRONMENT": environment, "OTP_REGIONS": "US"}
    url = "redis+sentinel://:x@127.0.0.1:1,127.0.0.1:2/otp"
    settings = load({**base_environment(url, "http://127.0.0.1:1", ring), **changes})
    found = judge(replace(FACTS, needs_replica=needs_replica), settings)

    told = [f.level for f in found if "min-replicas-to-write" in f.message]
    assert told == ([] if level is None else [level])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lone_primaries": 2, "full_coverage": False}, [("warn", "2 primaries")]),
        ({"full_coverage": True}, [("warn", "cluster-require-full-coverage is yes")]),
        ({"full_coverage": None}, [("note", "CONFIG GET")]),
        ({"full_coverage": False}, []),
    ],
)
def test_cluster_needs_replicas_and_serves_what_is_left(
    change: dict[str, Any], told: list[tuple[str, str]], ring: str
) -> None:
    """X15."""
    url = "redis+cluster://:x@127.0.0.1:1"
    settings = load(base_environment(url, "http://127.0.0.1:1", ring))
    unusual = [f for f in judge(replace(FACTS, **change), settings) if f.level != "ok"]

    assert [f.level for f in unusual] == [level for level, _ in told]
    for finding, (_, words) in zip(unusual, told, strict=True):
        assert words in finding.message


async def test_min_replicas_to_write_is_read_from_info(
    own_server: valkey.Valkey, ring: str
) -> None:
    connection = open_redis(settings_for(own_server, ring))
    with Redis.from_url(own_server.url) as client:
        for value in (0, 1, 0):
            client.config_set("min-replicas-to-write", value)
            assert (await ask(connection)).needs_replica is (value > 0)
    await connection.aclose()


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({"OTP_REGION_PAUSE": "off"}, "note"),
        ({"OTP_REGION_PAUSE": "record"}, "ok"),
        ({"OTP_REGION_PAUSE": "enforce"}, "warn"),
        ({"OTP_REGION_PAUSE": "enforce", "OTP_REGION_PAUSE_EXEMPT": "DE"}, "ok"),
    ],
)
def test_pauses_that_could_meet_ones_own_users_are_warned_of(
    change: dict[str, str], level: str, ring: str
) -> None:
    environment = base_environment("redis://127.0.0.1:1", "http://127.0.0.1:1", ring)
    assert inspect_region_pause(load({**environment, **change})).level == level


@pytest.mark.parametrize(("days", "told"), [(2, "can log in"), (-2, "remove them")])
def test_numbers_whose_codes_are_known_are_warned_of_as_long_as_they_stand_there(
    days: int, told: str, ring: str
) -> None:
    environment = base_environment("redis://127.0.0.1:1", "http://127.0.0.1:1", ring)
    until = datetime.now(UTC).date() + timedelta(days=days)
    known = {"OTP_TEST_NUMBERS": "shop/+14155550177=246801", "OTP_TEST_NUMBERS_UNTIL": str(until)}

    [found] = inspect_test_numbers(load({**environment, **known}))

    assert (found.level, found.what) == ("warn", "OTP_TEST_NUMBERS")
    assert told in found.message
    assert inspect_test_numbers(load(environment)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"OTP_REGIONS": "US,DE", "OTP_CODE_DIGITS": "6"}, []),
        ({"OTP_REGIONS": "DE"}, ["some are in US, which is not in OTP_REGIONS"]),
        ({"OTP_CODE_DIGITS": "8"}, ["some codes have other than 8 digits"]),
    ],
)
def test_a_number_with_which_nobody_would_get_in_is_told(
    change: dict[str, str], told: list[str], ring: str
) -> None:
    environment = base_environment("redis://127.0.0.1:1", "http://127.0.0.1:1", ring)
    known = {
        "OTP_TEST_NUMBERS": "shop/+14155550177=246801",
        "OTP_TEST_NUMBERS_UNTIL": str(datetime.now(UTC).date() + timedelta(days=2)),
    }
    _, *found = inspect_test_numbers(load({**environment, **known, **change}))

    assert len(found) == len(told)
    assert all(one.message.startswith(start) for one, start in zip(found, told, strict=True))


@pytest.mark.parametrize(
    ("environment", "directory", "level"),
    [
        ("production", None, "warn"),
        ("development", None, None),
        ("production", "state", "ok"),  # not there yet: a start makes it
        ("production", ".", "ok"),
        ("production", "a-file", "refuse"),
    ],
)
def test_missing_state_dir_is_warned_of_in_production(
    environment: str, directory: str | None, level: str | None, ring: str, tmp_path: Path
) -> None:
    (tmp_path / "a-file").write_text("")
    given = base_environment("redis://127.0.0.1:1", "http://127.0.0.1:1", ring)
    given |= {"OTP_ENVIRONMENT": environment, "OTP_REGIONS": "US"}
    if directory is not None:
        given["OTP_STATE_DIR"] = str(tmp_path / directory)

    found = inspect_state_dir(load(given))

    assert [f.level for f in found] == ([level] if level else [])
    assert all(f.what == "OTP_STATE_DIR" for f in found)


async def test_doctor_and_start_look_at_the_state_dir(
    server: valkey.Valkey, ring: str, tmp_path: Path
) -> None:
    file = tmp_path / "a-file"
    file.write_text("")
    settings = settings_for(server, ring, OTP_STATE_DIR=str(file))

    assert ("refuse", "OTP_STATE_DIR") in [
        (found.level, found.what) for found in await look(settings, site=False)
    ]
    with pytest.raises(SettingsError, match="OTP_STATE_DIR"):
        await check(settings)


def test_many_texts_that_do_not_fit_are_one_line_with_the_command_that_shows_them_all(
    ring: str, tmp_path: Path
) -> None:
    (tmp_path / "en.toml").write_text('[texts]\nparking = "Code: $code"', encoding="utf-8")
    settings = load(
        {
            **base_environment("redis://127.0.0.1:1", "http://127.0.0.1:1", ring),
            "OTP_BRAND": "Acme & Co",
            "OTP_ORIGIN": "login.shop.example.com",
            "OTP_ANDROID_APP_HASH": "FA+9qCX9VSu",
            "OTP_MESSAGES_DIR": str(tmp_path),
            "OTP_PURPOSES": "parking",
        }
    )
    [found] = inspect_messages(load_catalogue(settings), settings)

    many, command = re.findall(r"^(\d+) findings: `otp-service messages (.*?)` ", found.message)[0]
    listed = CliRunner().invoke(messages, shlex.split(command), env={"COLUMNS": "400"})
    assert listed.exit_code == 1
    assert listed.output.count(".toml") == int(many) > 3
