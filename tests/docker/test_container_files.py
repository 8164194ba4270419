"""What can be said of the container files without an engine."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from otp_service.settings.table import Settings
from otp_service.store import script_sources

SCRIPTS = Path(sysconfig.get_path("scripts"))


@pytest.fixture
def compose(root: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((root / "docker/compose.yaml").read_text()))


def test_the_dockerfile_passes_its_linter(root: Path) -> None:
    """K12."""
    found = subprocess.run(
        [SCRIPTS / "hadolint", "--failure-threshold", "style", root / "docker/Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_compose_file_is_one_by_the_compose_specification(root: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         root / "docker/compose.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr


def test_every_container_is_read_only_without_capabilities_and_root(
    compose: dict[str, Any],
) -> None:
    """K12."""
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert "mem_limit" in service, name
        assert "pids_limit" in service, name
        image_has_a_user = name == "proxy"  # nginx-unprivileged runs as 101
        assert image_has_a_user or not service["user"].startswith("0"), name


def test_the_proxy_sets_the_header_of_certificates_for_every_request(root: Path) -> None:
    """F15's kin: what a client writes there itself is replaced, or dropped when it has no certificate."""
    lines = [line.strip() for line in (root / "docker/nginx.conf").read_text().splitlines()]
    assert [line for line in lines if line.startswith("proxy_pass")] == [
        "proxy_pass http://otp_service;"
    ]
    told = [line for line in lines if line.startswith("proxy_set_header Client-Cert")]
    assert [line.partition(";")[0] for line in told] == [
        "proxy_set_header Client-Cert $ssl_client_escaped_cert"
    ]
    assert not any(line.startswith("ssl_verify_client optional_no_ca") for line in lines)


def test_only_the_proxy_is_reachable_from_other_machines(
    compose: dict[str, Any], root: Path
) -> None:
    """K09: and it leads to the public port alone; that of metrics is published nowhere, and on loopback by default."""
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert name == "proxy" or port.startswith("127.0.0.1:"), f"{name}: {port}"
            assert port.rpartition(":")[2] in ("8000", "8025", "8443"), f"{name}: {port}"
    proxy = (root / "docker/nginx.conf").read_text()
    assert re.findall(r"^ +server ([^;{]+);", proxy, re.M) == ["service:8000"]
    assert re.findall(r"proxy_pass ([^;]+);", proxy) == ["http://otp_service"]
    assert Settings.model_fields["admin_host"].default == "127.0.0.1"
    assert compose["networks"]["store"]["internal"] is True
    assert compose["services"]["valkey"]["networks"] == ["store"]


def test_no_secret_is_in_an_environment_or_an_image(compose: dict[str, Any], root: Path) -> None:
    """K13."""
    secret = {n for n, f in Settings.model_fields.items() if "Secret" in str(f.annotation)}
    for name, service in compose["services"].items():
        given = {word.removeprefix("OTP_").lower() for word in service.get("environment", {})}
        assert not given & secret, name
    ignored = (root / "docker/Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert "secrets/" in (root / "docker/.gitignore").read_text().splitlines()


def test_the_names_of_settings_in_the_container_files_are_settings(
    compose: dict[str, Any], root: Path
) -> None:
    given = set(re.findall(r"^ +(OTP_[A-Z_]+)=", (root / "docker/Dockerfile").read_text(), re.M))
    for service in compose["services"].values():
        given |= set(service.get("environment", {}))
    assert given
    fields = {name.removeprefix("OTP_").removesuffix("_FILE").lower() for name in given}
    assert fields <= set(Settings.model_fields)


def test_a_container_is_given_longer_to_stop_than_a_send_may_take(compose: dict[str, Any]) -> None:
    settings = Settings.model_fields
    for name in ("service", "worker"):
        grace = int(compose["services"][name]["stop_grace_period"].removesuffix("s"))
        assert grace > settings["drain_seconds"].default > settings["wsms_deadline"].default


def test_the_user_of_valkey_may_run_every_command_of_the_scripts_and_nothing_dangerous(
    root: Path,
) -> None:
    """H10."""
    [line] = [
        line
        for line in (root / "docker/users.acl.template").read_text().splitlines()
        if line.startswith("user otp ")
    ]
    rules = line.split()
    allowed = {word[1:] for word in rules if word.startswith("+")}
    used = {
        "|".join(word.lower() for word in command if word)
        for name in script_sources.names()
        for command in re.findall(
            r"redis\.p?call\('(?:(XGROUP|XINFO)', ')?([A-Z]+)'", script_sources.source(name)
        )
    }
    assert used <= allowed
    assert "-@all" in rules
    assert [word for word in rules if word.startswith(("~", "%"))] == ["~otp:*"]
    for word in ("flushall", "flushdb", "config", "keys", "debug", "acl", "script", "shutdown"):
        assert word not in allowed


def test_the_proxy_has_deadlines_and_caps_for_slow_and_greedy_clients(root: Path) -> None:
    """C21, C22, C23, I09."""
    text = (root / "docker/nginx.conf").read_text()
    given = dict(re.findall(r"^ +([a-z0-9_]+) ([^;]+);", text, re.M))
    for directive in ("client_header_timeout", "client_body_timeout", "send_timeout"):
        assert 0 < int(given[directive].removesuffix("s")) <= 10
    assert given["client_max_body_size"] == "16k"
    assert (
        given["proxy_next_upstream"] == "error timeout"
    )  # a POST that was sent needs non_idempotent as well
    assert int(given["proxy_read_timeout"].removesuffix("s")) > 30  # Prefer: wait=30
    assert "limit_conn" in given
    assert not re.search(
        r"\$(request|uri|args)\b", text.partition("log_format")[2].partition(";")[0]
    )
