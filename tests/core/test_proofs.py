"""A proof is derived from what it proves, and can be neither guessed nor read out of Redis."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core import keyring, proofs
from otp_service.core.keyring import Keyring

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=200)
RING = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))
PROVEN = {"caller": "shop", "challenge_id": "0a" + "A" * 32, "attempt_id": "f" * 32}


def test_the_same_success_has_the_same_proof() -> None:
    """X35: a retried call is answered with what Redis has only the digest of."""
    assert proofs.derive(RING, **PROVEN) == proofs.derive(RING, **PROVEN)


@pytest.mark.parametrize(
    "other",
    [{"caller": "shop2"}, {"challenge_id": "0a" + "B" * 32}, {"attempt_id": "e" * 32}],
    ids=lambda other: next(iter(other)),
)
def test_another_success_has_another_proof(other: dict[str, str]) -> None:
    """B13."""
    assert proofs.derive(RING, **{**PROVEN, **other}) != proofs.derive(RING, **PROVEN)


def test_another_key_makes_another_proof() -> None:
    other = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))

    assert proofs.derive(other, **PROVEN) != proofs.derive(RING, **PROVEN)


def test_a_proof_tells_its_bucket_and_nothing_else() -> None:
    proof = proofs.derive(RING, **PROVEN)

    assert proofs.bucket_of(proof) == 0x0A
    assert proof.startswith("otpp_0a")
    assert len(proof) == len("otpp_0a") + 43
    assert proofs.digest(proof) not in proof
    assert len(proofs.digest(proof)) == 64


@fuzzed
@given(st.text(max_size=60))
def test_what_can_be_no_proof_has_no_bucket(text: str) -> None:
    """F18."""
    assert proofs.bucket_of(text) is None


@pytest.mark.parametrize("change", ["\n", "A", "="])
def test_a_proof_with_something_behind_it_is_none(change: str) -> None:
    assert proofs.bucket_of(proofs.derive(RING, **PROVEN) + change) is None
