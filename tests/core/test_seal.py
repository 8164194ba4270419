"""What is sealed opens with its key, for what it was sealed for, and unchanged; or not at all."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core import keyring
from otp_service.core.envelopes import About, Destination
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.seal import SealBroken, seal, unseal

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=200)
RING = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))


@fuzzed
@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_what_is_sealed_opens_again(text: str, belongs_to: str) -> None:
    sealed = seal(RING, text, belongs_to=belongs_to)

    assert unseal(RING, sealed, belongs_to=belongs_to) == text
    assert sealed.isascii()
    assert len(text) < 4 or text not in sealed


def test_it_opens_only_for_what_it_was_sealed_for() -> None:
    """N-045: what belongs to one challenge can't be laid beside another."""
    sealed = seal(RING, "+14155550123", belongs_to="destination:one")

    for other in ("destination:two", "about:one", "", "destination:one "):
        with pytest.raises(SealBroken):
            unseal(RING, sealed, belongs_to=other)


def test_one_changed_bit_anywhere_breaks_it() -> None:
    sealed = seal(RING, "+14155550123", belongs_to="x")
    kid, _, body = sealed.partition(".")
    box = base64.urlsafe_b64decode(body)
    for place in range(len(box)):
        changed = bytearray(box)
        changed[place] ^= 1
        with pytest.raises(SealBroken):
            unseal(RING, f"{kid}.{base64.urlsafe_b64encode(changed).decode()}", belongs_to="x")


@fuzzed
@given(st.text(max_size=80))
def test_anything_else_is_a_broken_seal_and_nothing_worse(text: str) -> None:
    for sealed in (text, f"{RING.active(Kind.SEAL).kid}.{text}"):
        with pytest.raises(SealBroken):
            unseal(RING, sealed, belongs_to="x")


def test_another_ring_opens_nothing() -> None:
    """K06."""
    other = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))
    sealed = seal(RING, "text", belongs_to="x")
    renamed = f"{other.active(Kind.SEAL).kid}.{sealed.partition('.')[2]}"

    for one in (sealed, renamed):
        with pytest.raises(SealBroken):
            unseal(other, one, belongs_to="x")


def test_the_same_text_is_sealed_otherwise_every_time() -> None:
    """N-045: unique nonces."""
    made = {seal(RING, "text", belongs_to="x").partition(".")[2][:16] for _ in range(2000)}

    assert len(made) == 2000


def test_envelopes_are_of_one_challenge_and_one_kind() -> None:
    about = About(subject="u-1", client_ref="ref")
    destination = Destination(to="+14155550123", context={"amount": "1"}, client_ip="::1")

    assert About.open(RING, about.seal(RING, "one"), "one") == about
    assert Destination.open(RING, destination.seal(RING, "one"), "one") == destination
    with pytest.raises(SealBroken):
        About.open(RING, about.seal(RING, "one"), "two")
    with pytest.raises(SealBroken):
        About.open(RING, destination.seal(RING, "one"), "one")
