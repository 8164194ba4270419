"""Keys are rotated under a running service."""

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from typer.testing import CliRunner

from otp_service.cli.keys import app
from otp_service.core import proofs
from otp_service.core.keyring import Key, Keyring, KeyringError, Kind, State, generate, new_entry
from otp_service.core.proofs import Success
from otp_service.core.signing import CACHE_SECONDS, Algorithm, key_set
from otp_service.services.reloading_keyring import ReloadingKeyring
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
    return result.stdout


def active(file: Path, kind: str) -> str:
    entries = json.loads(file.read_text())["keys"]
    return next(e["kid"] for e in entries if e["kind"] == kind and e["state"] == "active")


def test_a_changed_file_is_read_again_within_five_seconds(ring_file: Path) -> None:
    clock = Clock()
    live = ReloadingKeyring(Keyring.from_json(ring_file.read_text()), ring_file, clock=clock)
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
    live = ReloadingKeyring(Keyring.from_json(ring_file.read_text()), ring_file, clock=clock)
    before = live().active(Kind.PEPPER).kid
    ring_file.write_text("{")
    clock.now = 5

    assert live().active(Kind.PEPPER).kid == before


def test_ring_with_another_name_key_is_refused_at_reload(ring_file: Path) -> None:
    """K04."""
    clock = Clock()
    own = ring_file.read_text()
    live = ReloadingKeyring(Keyring.from_json(own), ring_file, clock=clock)
    before = repr(live())
    ring_file.write_text(generate(created_at="2026-01-02T00:00:00+00:00"))
    clock.now = 5
    assert repr(live()) == before
    assert "another installation" in str(live.trouble)

    ring_file.write_text(own)
    clock.now = 10
    live()
    assert live.trouble is None


def test_a_fresh_key_is_not_promoted_before_every_process_knows_it(ring_file: Path) -> None:
    added = keys("add", "pepper", file=ring_file).split()[0]

    result = CliRunner().invoke(app, ["promote", added, "--file", str(ring_file)])

    assert result.exit_code == 1
    assert "wait until it is 30" in result.output


def test_the_key_by_which_everybody_is_found_is_not_rotated(ring_file: Path) -> None:
    result = CliRunner().invoke(app, ["add", "name", "--file", str(ring_file)])

    assert result.exit_code == 1
    assert "not rotated" in result.output


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


@pytest.mark.parametrize("kind", ["device", "name"])
def test_a_kind_that_an_older_ring_lacks_is_listed_as_nothing_and_added_at_once(
    ring_file: Path, kind: str
) -> None:
    """Nothing else can be active, so there is nothing to wait for; what others need the whole ring for is refused."""
    ring = json.loads(ring_file.read_text())
    ring["keys"] = [entry for entry in ring["keys"] if entry["kind"] != kind]
    ring_file.write_text(json.dumps(ring))
    arguments = ["promote", active(ring_file, "pepper"), "--file", str(ring_file)]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1
    assert f"keys add {kind}" in " ".join(refused.output.split())
    assert f"{kind}-" not in keys("list", file=ring_file)

    added = keys("add", kind, file=ring_file)

    assert "and active" in added
    assert active(ring_file, kind) == added.split()[0]
    Keyring.from_json(ring_file.read_text())


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
    for kind in ("pepper", "seal", "proof", "device", "credential", "signing"):
        added = keys("add", kind, file=ring_file).split()[0]
        keys("promote", added, "--now", file=ring_file)

    rotated = await start_service(OTP_KEYRING=ring_file.read_text())
    assert (await rotated.verify(first, codes[0])).status_code == 200

    keys("retire", old, "--force", file=ring_file)
    emptied = await start_service(OTP_KEYRING=ring_file.read_text())
    assert (await emptied.verify(second, codes[1])).json()["code"] == "invalid_code"


# The keys of proofs, and those who keep a copy of them


class Consumer:
    """An audience that checks with its copy of the key set for as long as that may be cached, and asks nobody."""

    def __init__(self, live: ReloadingKeyring, clock: Clock) -> None:
        self._live, self._clock = live, clock
        self._copied_at = -1e9
        self._keys: dict[str, jwt.PyJWK] = {}

    def believes(self, proof: str) -> bool:
        if self._clock.now - self._copied_at >= CACHE_SECONDS:
            self._copied_at = self._clock.now
            published = jwt.PyJWKSet.from_dict(key_set(self._live()))
            self._keys = {str(key.key_id): key for key in published.keys}
        key = self._keys.get(jwt.get_unverified_header(proof)["kid"])
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        return key is not None and bool(
            jwt.decode(proof, key, algorithms=["ES256"], audience="shop", options=options)
        )


@pytest.fixture
def load(ring_file: Path) -> Callable[[float], list[bool]]:
    """A process that signs a proof a second, and five consumers whose copies are of different ages."""
    clock = Clock()
    live = ReloadingKeyring(Keyring.from_json(ring_file.read_text()), ring_file, clock=clock)
    consumers = [Consumer(live, clock) for _ in range(5)]
    for consumer in consumers:
        clock.now += 59
        consumer.believes(signed(live()))

    def under_load(seconds: float) -> list[bool]:
        end, found = clock.now + seconds, []
        while clock.now < end:
            clock.now += 1
            proof = signed(live())
            found += [consumer.believes(proof) for consumer in consumers]
        return found

    return under_load


def signed(ring: Keyring) -> str:
    success = Success(
        caller="shop", id="0a" + "A" * 32, attempt_id="f" * 32, challenge_id=None, method="totp",
        amr=("otp",), purpose="login",
    )  # fmt: skip
    return proofs.signed(
        ring, success, issuer="otp", audience="shop", algorithm=Algorithm.ES256,
        verified_at=1_795_435_200_000, ttl=120,
    )  # fmt: skip


def aged(file: Path, kid: str, seconds: float) -> None:
    """Let the key be as old as it would be after so many seconds."""
    ring = json.loads(file.read_text())
    entry = next(e for e in ring["keys"] if e["kid"] == kid)
    then = datetime.fromisoformat(entry["created_at"]) - timedelta(seconds=seconds)
    entry["created_at"] = then.isoformat()
    file.write_text(json.dumps(ring))


def test_k07_a_rotation_under_load_is_seen_by_nobody(
    ring_file: Path, load: Callable[[float], list[bool]]
) -> None:
    """Every consumer checks with its copy of the key set alone: 0 rejects."""
    found = load(10)
    for _ in range(2):
        old = active(ring_file, "proof")
        added = keys("add", "proof", file=ring_file).split()[0]
        found += load(330)
        aged(ring_file, added, 330)
        keys("promote", added, file=ring_file)
        found += load(600)
        keys("retire", old, "--force", file=ring_file)
        found += load(310)
    assert found.count(False) == 0
    assert len(found) > 10_000


def test_k07_a_key_that_signs_before_it_was_published_is_refused_by_consumers(
    ring_file: Path, load: Callable[[float], list[bool]]
) -> None:
    """The negative control: what `promote` refuses without --now."""
    added = keys("add", "proof", file=ring_file).split()[0]
    keys("promote", added, "--now", file=ring_file)

    assert load(60).count(False) > 0


@pytest.mark.parametrize("kind", ["proof", "signing"])
def test_a_key_that_signs_waits_until_every_copy_of_the_key_set_holds_it(
    ring_file: Path, kind: str
) -> None:
    """K07."""
    added = keys("add", kind, file=ring_file).split()[0]
    aged(ring_file, added, 328)

    early = CliRunner().invoke(app, ["promote", added, "--file", str(ring_file)])
    aged(ring_file, added, 2)

    assert early.exit_code == 1
    assert "wait until it is 330" in early.output
    assert added in keys("promote", added, file=ring_file)


async def test_a_key_is_published_from_the_moment_it_is_added_until_it_is_retired(
    start_service: Starter, ring_file: Path
) -> None:
    """K07, over HTTP."""

    async def published() -> set[str]:
        service = await start_service(OTP_KEYRING=ring_file.read_text())
        answer = await service.http.get("/.well-known/jwks.json")
        return {key["kid"].partition(".")[0] for key in answer.json()["keys"]}

    first = active(ring_file, "proof")
    added = keys("add", "proof", file=ring_file).split()[0]
    assert {first, added} <= await published()
    keys("promote", added, "--now", file=ring_file)
    assert {first, added} <= await published()
    keys("retire", first, "--force", file=ring_file)
    assert first not in await published()


async def test_a_proof_made_before_a_rotation_is_redeemed_after_it(
    start_service: Starter, ring_file: Path
) -> None:
    """K04: an opaque proof is found by its digest, whatever key made it."""
    service = await start_service(OTP_KEYRING=ring_file.read_text())
    challenge = await service.request(binding="session")
    verified = (await service.verify(challenge, service.code(), binding="session")).json()
    added = keys("add", "proof", file=ring_file).split()[0]
    keys("promote", added, "--now", file=ring_file)

    rotated = await start_service(OTP_KEYRING=ring_file.read_text())
    answer = await rotated.post("/proofs/introspect", proof=verified["proof"], binding="session")

    assert answer.json()["active"] is True
