"""An id leads to its challenge, and tells nobody else anything."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otp_service.core import keyring
from otp_service.core.challenge import (
    BUCKETS,
    address_of,
    challenge_id_for,
    fingerprint,
    new_handle,
    subject_address,
)
from otp_service.core.keyring import Keyring, Kind

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=200)
RING = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))
OTHER_RING = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))


@fuzzed
@given(st.text(max_size=40), st.text(max_size=40))
def test_an_id_leads_back_to_its_subject(caller: str, subject: str) -> None:
    where = subject_address(RING, caller, subject)
    challenge_id = challenge_id_for(RING, where, new_handle(RING))
    found = address_of(RING, challenge_id)

    assert found is not None
    assert (found.challenge_id, found.subject) == (challenge_id, where)
    assert 0 <= where.bucket < BUCKETS
    assert len(challenge_id) == 34


@fuzzed
@given(st.text(max_size=60))
@example("")
@example("00" + "A" * 31)
@example("00" + "A" * 33)
@example("00" + "A" * 31 + "=")
@example("g0" + "A" * 32)
@example("0g" + "A" * 32)
@example("0A" + "A" * 32)
@example("00" + "A" * 31 + "\n")
@example("٠٠" + "A" * 32)
@example("00" + "A" * 31 + "/")
def test_what_can_be_no_id_leads_nowhere(text: str) -> None:
    """H01."""
    assert address_of(RING, text) is None


def test_the_same_handle_opens_the_same_challenge_and_another_one_another() -> None:
    where, handle = subject_address(RING, "shop", "u-1"), new_handle(RING)

    assert challenge_id_for(RING, where, handle) == challenge_id_for(RING, where, handle)
    assert challenge_id_for(RING, where, handle) != challenge_id_for(RING, where, new_handle(RING))


def test_ids_hold_128_random_bits_and_no_order() -> None:
    """K03, N-043: the first half of each is drawn; none comes twice, none shows when it was made."""
    where = subject_address(RING, "shop", "u-1")
    made = [challenge_id_for(RING, where, new_handle(RING)) for _ in range(20_000)]

    assert len(set(made)) == len(made)
    assert len(new_handle(RING)) == 33
    for place in range(2, 34):
        found = Counter(one[place] for one in made)
        assert len(found) == 64
        assert max(found.values()) < 2 * len(made) / 64
    ascending = sum(one < two for one, two in pairwise(made))
    assert 0.45 < ascending / len(made) < 0.55


def test_ids_of_one_subject_are_not_alike() -> None:
    """Guarantee 6: but for the bucket, which 1 in 64 strangers shares, they look like those of any two subjects."""
    one = subject_address(RING, "shop", "u-1")
    other = next(
        found
        for n in range(10_000)
        if (found := subject_address(RING, "shop", f"n-{n}")).bucket == one.bucket
    )

    def alike(first: str, second: str) -> int:
        return sum(a == b for a, b in zip(first[2:], second[2:], strict=True))

    same = [
        alike(*(challenge_id_for(RING, one, new_handle(RING)) for _ in range(2)))
        for _ in range(3000)
    ]
    different = [
        alike(
            challenge_id_for(RING, one, new_handle(RING)),
            challenge_id_for(RING, other, new_handle(RING)),
        )
        for _ in range(3000)
    ]
    assert abs(sum(same) - sum(different)) / 3000 < 0.15


def test_without_the_route_key_an_id_leads_to_nobody() -> None:
    """K08, E17: another ring reads another subject out of it, or none, and the same person lies elsewhere."""
    where = subject_address(RING, "shop", "u-1")
    read = address_of(OTHER_RING, challenge_id_for(RING, where, new_handle(RING)))

    assert read is None or read.subject.tag != where.tag
    assert subject_address(OTHER_RING, "shop", "u-1").tag != where.tag


def test_a_changed_id_leads_to_another_subject() -> None:
    """E05: one can't be turned into that of a neighbour."""
    where = subject_address(RING, "shop", "u-1")
    challenge_id = challenge_id_for(RING, where, new_handle(RING))
    for place in (2, 10, 20):
        letter = "A" if challenge_id[place] != "A" else "B"
        found = address_of(RING, challenge_id[:place] + letter + challenge_id[place + 1 :])
        assert found is not None
        assert found.subject.tag != where.tag


@pytest.mark.parametrize(
    "other", [("shop", "u-2"), ("shop2", "u-1"), ("shopu", "-1"), ("", "shopu-1"), ("Shop", "u-1")]
)
def test_every_caller_and_subject_lies_elsewhere(other: tuple[str, str]) -> None:
    """A18, A19."""
    assert subject_address(RING, *other).tag != subject_address(RING, "shop", "u-1").tag


def test_subjects_are_spread_over_all_buckets() -> None:
    """H02: nobody without the key can aim at one."""
    found = Counter(subject_address(RING, "shop", f"u-{n}").bucket for n in range(20_000))

    assert set(found) == set(range(BUCKETS))
    assert max(found.values()) < 2 * 20_000 / BUCKETS


def test_a_fingerprint_is_keyed_and_of_one_domain() -> None:
    """E17, N-105."""
    key = RING.active(Kind.PHONE)
    mark = fingerprint(key, "limit/recipient/v1", "shop", "+14155550123")

    assert len(mark) == 32
    assert mark == fingerprint(key, "limit/recipient/v1", "shop", "+14155550123")
    assert mark != fingerprint(key, "limit/block/v1", "shop", "+14155550123")
    assert mark != fingerprint(key, "limit/recipient/v1", "shop+", "14155550123")
    other = OTHER_RING.active(Kind.PHONE)
    assert mark != fingerprint(other, "limit/recipient/v1", "shop", "+14155550123")
