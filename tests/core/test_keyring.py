"""The ring refuses what would make it weak, and never shows a key."""

import base64
import json
import secrets
from typing import Any

import pytest

from otp_service.core import keyring
from otp_service.core.keyring import Keyring, KeyringError, Kind, KindMissing, State

CREATED = "2026-11-23T00:00:00Z"


def entries() -> list[dict[str, Any]]:
    return list(json.loads(keyring.generate(created_at=CREATED))["keys"])


def read(keys: Any) -> Keyring:
    return Keyring.from_json(json.dumps({"keys": keys}))


def changed(**change: Any) -> list[dict[str, Any]]:
    first, *rest = entries()
    return [{**first, **change}, *rest]


def test_a_new_ring_has_one_active_key_of_each_kind() -> None:
    ring = read(entries())

    assert all(ring.active(kind).kid.startswith(f"{kind}-") for kind in Kind)
    assert len({ring.active(kind).secret for kind in Kind}) == len(Kind)


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", "null", '{"keys": 5}', '{"keys": null}', '{"keys": "abc"}',
             '{"keys": [1]}', '{"keys": [[]]}', '{"keys": {"a": 1}}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_ring_is_refused(text: str) -> None:
    """K11: as a refusal, never as another error."""
    with pytest.raises(KeyringError):
        Keyring.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "peper"},
        {"kind": None},
        {"state": "actve"},
        {"state": ""},
        {"secret": "not base64!"},
        {"secret": ""},
        {"secret": None},
        {"secret": base64.b64encode(secrets.token_bytes(31)).decode()},
        {"secret": base64.b64encode(secrets.token_bytes(65)).decode()},
        {"secret": base64.b64encode(b"\0" * 32).decode()},
        {"secret": base64.b64encode(b"changeme" * 4).decode()},
        {"secret": base64.b64encode(b"abcdabcd" * 4).decode()},
        {"kid": "a.b"},
        {"kid": "A"},
        {"kid": ""},
        {"kid": "x" * 33},
        {"kid": ["a"]},
        {"kid": "a\n"},
    ],
)
def test_an_entry_that_is_wrong_is_refused_and_its_secret_not_repeated(
    change: dict[str, Any],
) -> None:
    """F20, K11."""
    with pytest.raises(KeyringError) as refused:
        read(changed(**change))

    if change.get("secret"):
        assert change["secret"] not in str(refused.value)


@pytest.mark.parametrize("missing", ["kid", "kind", "state", "secret"])
def test_an_entry_without_a_field_is_refused(missing: str) -> None:
    first, *rest = entries()
    del first[missing]

    with pytest.raises(KeyringError, match="number 1"):
        read([first, *rest])


def test_one_secret_under_two_kinds_is_refused() -> None:
    """K08, D-12: equal keys of two kinds."""
    first, second, *rest = entries()

    with pytest.raises(KeyringError, match="share one secret"):
        read([first, {**second, "secret": first["secret"]}, *rest])


def test_the_same_bytes_under_two_kinds_are_two_keys() -> None:
    """K08: domain separation, should they ever be the same."""
    swapped = entries()
    swapped[0]["secret"], swapped[1]["secret"] = swapped[1]["secret"], swapped[0]["secret"]
    straight, crossed = read(entries()), read(swapped)
    kinds = [Kind(entry["kind"]) for entry in swapped[:2]]

    assert crossed.active(kinds[0]).secret != crossed.active(kinds[1]).secret
    original = [{**entry} for entry in swapped]
    original[0]["secret"], original[1]["secret"] = original[1]["secret"], original[0]["secret"]
    assert read(original).active(kinds[0]).secret != crossed.active(kinds[1]).secret
    assert straight.active(kinds[0]).secret != crossed.active(kinds[0]).secret


@pytest.mark.parametrize("kind", list(Kind))
def test_a_kind_needs_exactly_one_active_key(kind: Kind) -> None:
    others = [entry for entry in entries() if entry["kind"] != kind]
    with pytest.raises(KeyringError, match=f"no active key of kind {kind}"):
        read(others)
    with pytest.raises(KeyringError, match="two active keys"):
        read([*entries(), keyring.new_entry(kind, State.ACTIVE, created_at=CREATED)])


def test_a_ring_of_an_earlier_version_says_how_to_add_what_it_lacks_and_can_be_completed() -> None:
    older = json.dumps({"keys": [e for e in entries() if e["kind"] != "device"]})
    with pytest.raises(KindMissing, match="`otp-service keys add device`") as refused:
        Keyring.from_json(older)
    assert refused.value.kinds == [Kind.DEVICE]

    whole = keyring.completed(older, created_at=CREATED)

    assert json.loads(whole)["keys"][:-1] == json.loads(older)["keys"]
    assert Keyring.from_json(whole).active(Kind.DEVICE)
    assert keyring.completed(whole, created_at=CREATED) == whole
    with pytest.raises(KeyringError):
        keyring.completed("{", created_at=CREATED)


def test_one_id_twice_in_a_kind_is_refused() -> None:
    ring = entries()
    again = keyring.new_entry(Kind(ring[0]["kind"]), State.VERIFY, created_at=CREATED)

    with pytest.raises(KeyringError, match="twice"):
        read([*ring, {**again, "kid": ring[0]["kid"]}])


def test_a_verifying_key_still_checks_and_a_retired_one_does_nothing() -> None:
    """K04, K06: an old key is found by its id until it is retired; then all that it made is refused."""
    old = keyring.new_entry(Kind.PEPPER, State.VERIFY, created_at=CREATED)
    ring = read([*entries(), old])
    found = ring.find(Kind.PEPPER, old["kid"])
    assert found is not None
    assert [key.kid for key in ring.live(Kind.PEPPER)] == [
        ring.active(Kind.PEPPER).kid,
        old["kid"],
    ]

    retired = read([*entries(), {**old, "state": "retired"}])
    assert retired.find(Kind.PEPPER, old["kid"]) is None
    assert old["kid"] not in [key.kid for key in retired.live(Kind.PEPPER)]


def test_a_key_of_another_kind_is_not_found_by_its_id() -> None:
    """K08."""
    ring = read(entries())

    assert ring.find(Kind.SEAL, ring.active(Kind.PEPPER).kid) is None


def test_a_ring_and_its_keys_print_ids_only() -> None:
    """E10."""
    made = entries()
    ring = read(made)
    printed = f"{ring!r} {ring} {[ring.active(kind) for kind in Kind]!r}"

    for entry in made:
        assert entry["kid"] in printed
        assert entry["secret"] not in printed
    for kind in Kind:
        assert ring.active(kind).secret.hex() not in printed
        assert repr(ring.active(kind).secret)[2:-1] not in printed


def test_two_rings_share_nothing() -> None:
    """K03."""
    secrets_made = [entry["secret"] for _ in range(20) for entry in entries()]

    assert len(set(secrets_made)) == len(secrets_made)
    assert all(len(base64.b64decode(secret)) == 32 for secret in secrets_made)
