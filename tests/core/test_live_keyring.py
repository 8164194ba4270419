"""Keys are rotated under a running service."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otp_service.cli.keys import app
from otp_service.core.keyring import Key, Keyring, KeyringError, Kind, State, generate, new_entry
from otp_service.flows.live_keyring import LiveKeyring
from tests.conftest import Starter


class Clock:
    """A steady clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ring_file(tmp_path: Path) -> Path:
    file = tmp_path / "keyring.json"
    file.write_text(generate(created_at="2026-01-01T00:00:00+00:00"))
    file.chmod(0o600)
    return file


def keys(*arguments: str, file: Path) -> str:
    result = CliRunner().invoke(app, [*arguments, "--file", str(file)])
    assert result.exit_code == 0, result.output
    return result.output


def active(file: Path, kind: str) -> str:
    entries = json.loads(file.read_text())["keys"]
    return next(e["kid"] for e in entries if e["kind"] == kind and e["state"] == "active")


def test_a_changed_file_is_read_again_within_five_seconds(ring_file: Path) -> None:
    clock = Clock()
    live = LiveKeyring(Keyring.from_json(ring_file.read_text()), ring_file, clock=clock)
    before = live().active(Kind.PEPPER).kid
    added = keys("add", "pepper", file=ring_file).split()[0]
    keys("promote", added, "--now", file=ring_file)

    clock.now = 4.9
    assert live().active(Kind.PEPPER).kid == before
    clock.now = 5.0
    assert live().active(Kind.PEPPER).kid == added
    assert live().find(Kind.PEPPER, before) is not None


def test_a_broken_file_leaves_the_last_good_ring_in_use(ring_file: Path) -> None:
    clock = Clock()
    live = LiveKeyring(Keyring.from_json(ring_file.read_text()), ring_file, clock=clock)
    before = live().active(Kind.PEPPER).kid
    ring_file.write_text("{")
    clock.now = 5

    assert live().active(Kind.PEPPER).kid == before


def test_a_fresh_key_is_not_promoted_before_every_process_knows_it(ring_file: Path) -> None:
    added = keys("add", "pepper", file=ring_file).split()[0]

    result = CliRunner().invoke(app, ["promote", added, "--file", str(ring_file)])

    assert result.exit_code == 1
    assert "wait until it is 30" in result.output


def test_the_key_by_which_everybody_is_found_is_not_rotated(ring_file: Path) -> None:
    result = CliRunner().invoke(app, ["add", "name", "--file", str(ring_file)])

    assert result.exit_code == 1
    assert "not rotated" in result.output


def test_a_kind_that_a_ring_lacks_is_added_as_active(ring_file: Path) -> None:
    """A ring of an earlier version: it says what to do, and nothing else can be done before."""
    ring = json.loads(ring_file.read_text())
    ring["keys"] = [e for e in ring["keys"] if e["kind"] not in ("name", "seal")]
    ring_file.write_text(json.dumps(ring))

    refused = CliRunner().invoke(app, ["list", "--file", str(ring_file)])
    assert refused.exit_code == 1
    assert "no active key of kind name, seal: `otp-service keys add" in refused.output
    for kind in ("name", "seal"):
        assert "active, the first of its kind" in keys("add", kind, file=ring_file)
    keys("list", file=ring_file)


def test_keys_that_ids_could_not_tell_apart_are_neither_drawn_nor_taken(ring_file: Path) -> None:
    """An id tells by a mark which route key masked it."""
    ring = json.loads(ring_file.read_text())
    [own] = [e for e in ring["keys"] if e["kind"] == "route"]
    drawn = (new_entry(Kind.ROUTE, State.VERIFY, created_at="2026-01-01") for _ in range(10_000))
    twin = next(e for e in drawn if Key(e["kid"], b"").mark == Key(own["kid"], b"").mark)
    with pytest.raises(KeyringError, match="one mark"):
        Keyring.from_json(json.dumps({"keys": [*ring["keys"], twin]}))

    kids = [own["kid"], *(keys("add", "route", file=ring_file).split()[0] for _ in range(9))]
    assert len({Key(kid, b"").mark for kid in kids}) == 10


def test_an_active_key_is_not_retired(ring_file: Path) -> None:
    result = CliRunner().invoke(
        app, ["retire", active(ring_file, "pepper"), "--file", str(ring_file)]
    )

    assert result.exit_code == 1


def test_the_file_keeps_its_mode_and_lists_no_secret(ring_file: Path) -> None:
    keys("add", "seal", file=ring_file)

    listed = keys("list", file=ring_file)

    assert os.stat(ring_file).st_mode & 0o777 == 0o600
    assert not any(e["secret"] in listed for e in json.loads(ring_file.read_text())["keys"])


async def test_codes_sent_before_a_rotation_verify_after_it(
    start_service: Starter, ring_file: Path
) -> None:
    """K04: pepper and seal rotated while a code is on its way; removing the pepper then voids it."""
    service = await start_service(OTP_KEYRING=ring_file.read_text())
    first, second = [await service.request(to=to) for to in ("+14155550123", "+14155550145")]
    codes = [service.code(to) for to in ("+14155550123", "+14155550145")]
    old = active(ring_file, "pepper")
    for kind in ("pepper", "seal", "proof", "credential", "signing"):
        added = keys("add", kind, file=ring_file).split()[0]
        keys("promote", added, "--now", file=ring_file)

    rotated = await start_service(OTP_KEYRING=ring_file.read_text())
    assert (await rotated.verify(first, codes[0])).status_code == 200

    keys("retire", old, "--force", file=ring_file)
    emptied = await start_service(OTP_KEYRING=ring_file.read_text())
    assert (await emptied.verify(second, codes[1])).json()["code"] == "invalid_code"
