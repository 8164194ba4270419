"""A token of a remembered device is of one caller, one person, one device and one generation, or it is nothing."""

import string

import pytest

from otp_service.core import devices, keyring
from otp_service.core.challenge import (
    ChallengeAddress,
    SubjectAddress,
    challenge_id_for,
    new_handle,
    subject_address,
)
from otp_service.core.devices import Genuine
from otp_service.core.keyring import Keyring

RING = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))
ANN = subject_address(RING, "shop", "subject:ann")
BOB = subject_address(RING, "shop", "subject:bob")


def device(subject: SubjectAddress = ANN) -> ChallengeAddress:
    return ChallengeAddress(challenge_id_for(RING, subject, new_handle(RING)), subject)


@pytest.mark.parametrize("generation", [0, 1, 255, 0xFFFFFFFF])
def test_a_token_says_what_it_was_made_of(generation: int) -> None:
    own = device()
    text = devices.token(RING, own, generation, caller="shop")

    assert len(text) == 90
    assert text == devices.token(RING, own, generation, caller="shop")
    assert devices.read(RING, text, caller="shop", subject=ANN) == Genuine(own, generation)


def test_it_is_nothing_to_another_caller_for_another_person_or_under_another_ring() -> None:
    """F17."""
    text = devices.token(RING, device(), 3, caller="shop")
    other = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))

    assert devices.read(RING, text, caller="bank", subject=ANN) is None
    assert devices.read(RING, text, caller="shop", subject=BOB) is None
    assert devices.read(other, text, caller="shop", subject=ANN) is None


def test_parts_of_two_tokens_make_no_third() -> None:
    """Device, generation and proof of making belong together."""
    own, another = device(), device()
    first, later, others = (
        devices.token(RING, own, 3, caller="shop"),
        devices.token(RING, own, 4, caller="shop"),
        devices.token(RING, another, 3, caller="shop"),
    )

    for mixed in (
        first[:47] + later[47:],
        others[:39] + first[39:],
        first[:39] + later[39:47] + first[47:],
    ):
        assert devices.read(RING, mixed, caller="shop", subject=ANN) is None


def test_no_other_spelling_of_a_token_is_one() -> None:
    """B23: base64 has bits to spare at its end, and digits have cases and scripts."""
    alphabet = string.ascii_letters + string.digits + "-_"
    text = devices.token(RING, device(), 0xABCDEF, caller="shop")
    others = {text[:-1] + last for last in alphabet} - {text}
    others |= {text + "=", text + "\n", f" {text}", text.replace("abcdef", "ABCDEF")}
    others |= {text[:47] + "é" + text[48:], text[:39] + "٠" + text[40:]}

    assert not [o for o in others if devices.read(RING, o, caller="shop", subject=ANN)]
