"""A code is uniform, is read from what people type, and matches only where it was drawn for."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otp_service.core import codes, keyring
from otp_service.core.codes import CodeContext, HashCost
from otp_service.core.keyring import Key, Keyring, Kind

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=300)
CHEAP = HashCost(1, 64, 1)
CONTEXT = CodeContext("shop", "login", "0a" + "A" * 32, 1, "session-1")


# Drawing


def chi_square(found: Counter[str], bins: int) -> float:
    expected = found.total() / bins
    observed = [*found.values(), *([0] * (bins - len(found)))]
    return sum((count - expected) ** 2 / expected for count in observed)


def assert_uniform(drawn: list[str]) -> None:
    """Eight standard deviations: a fair draw passes for ages, a skewed one does not."""
    bounds = [(100, lambda code: code[:2]), (100, lambda code: code[-2:])]
    bounds += [(10, lambda code, i=i: code[i]) for i in range(len(drawn[0]))]
    for bins, of in bounds:
        freedom = bins - 1
        assert chi_square(Counter(map(of, drawn)), bins) < freedom + 8 * (2 * freedom) ** 0.5
    size, n = 10 ** len(drawn[0]), len(drawn)
    expected = size * (1 - (1 - 1 / size) ** n)
    assert abs(len(set(drawn)) - expected) < 0.01 * expected


def test_codes_are_uniform_over_all_digits_and_places() -> None:
    """K01, K02, N-003."""
    assert_uniform([codes.draw(6) for _ in range(100_000)])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: f"{secrets.randbelow(2**20) % 10**6:06d}",
        lambda: f"{100_000 + secrets.randbelow(900_000)}",
        lambda: "".join(str(byte % 10) for byte in secrets.token_bytes(6)),
        lambda: f"{secrets.randbelow(1000) * 1001 % 10**6:06d}",
    ],
    ids=["modulo", "no leading zero", "digits of bytes", "a thousand codes"],
)
def test_a_skewed_draw_would_be_seen(draw: Callable[[], str]) -> None:
    """K02's negative control: the ways in which codes are usually drawn badly."""
    with pytest.raises(AssertionError):
        # So many that the smallest skew, of bytes, is missed once in 10^11 runs.
        assert_uniform([draw() for _ in range(200_000)])


@pytest.mark.parametrize("digits", range(4, 11))
def test_a_code_has_its_length_leading_zeros_included(digits: int) -> None:
    """C02."""
    drawn = [codes.draw(digits) for _ in range(2000)]

    assert {len(code) for code in drawn} == {digits}
    assert all(map(codes.is_code, drawn))
    assert any(code.startswith("0") for code in drawn)


# Matching


def ring() -> Keyring:
    return Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))


def test_a_code_matches_where_it_was_drawn_for_and_nowhere_else() -> None:
    """B05, B06, B08, N-009: each part of the context is bound into the digest."""
    pepper = ring().active(Kind.PEPPER)
    digest = codes.digest(codes.message(pepper, CONTEXT, "123456"), CHEAP)
    assert codes.matches(digest, codes.message(pepper, CONTEXT, "123456"))

    others = [
        replace(CONTEXT, caller="shop2"),
        replace(CONTEXT, purpose="signup"),
        replace(CONTEXT, challenge_id="0a" + "B" * 32),
        replace(CONTEXT, generation=2),
        replace(CONTEXT, binding=""),
    ]
    assert len(others) == len(CodeContext.__slots__)
    for other in others:
        assert not codes.matches(digest, codes.message(pepper, other, "123456"))
    assert not codes.matches(digest, codes.message(pepper, CONTEXT, "123457"))
    assert not codes.matches(digest, codes.message(ring().active(Kind.PEPPER), CONTEXT, "123456"))


@fuzzed
@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
@example(["ab", "c"], ["a", "bc"])
@example(["", "a"], ["a", ""])
@example(["a"], ["a", ""])
def test_no_two_lists_of_parts_are_one_message(one: list[str], two: list[str]) -> None:
    """D-1: length-prefixed, so that what is at the end of one part can't become the beginning of the next."""
    key = Key("k", b"\1" * 32)

    assert (key.mac(*one) == key.mac(*two)) == (one == two)


def test_the_same_code_twice_has_two_digests_and_each_says_how_it_was_made() -> None:
    """N-032, N-047."""
    one, two = [codes.digest(b"x" * 32, HashCost()) for _ in range(2)]

    assert one != two
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize(
    "phc", ["", "x", "$argon2id$", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", "$2b$12$" + "a" * 53]
)
def test_a_broken_digest_matches_nothing_and_breaks_nothing(phc: str) -> None:
    assert not codes.matches(phc, b"x" * 32)


def rows() -> Iterable[tuple[HashCost, bool]]:
    for passes, floor in ((1, 47104), (2, 19456), (3, 12288), (4, 12288), (10, 12288)):
        yield HashCost(passes, floor), True
        yield HashCost(passes, floor - 1), False
    yield HashCost(0, 2**20), False


@pytest.mark.parametrize(("cost", "approved"), list(rows()))
def test_the_rows_of_owasp_are_approved_and_less_is_not(cost: HashCost, approved: bool) -> None:
    """N-040."""
    assert cost.approved is approved


def test_the_default_cost_is_approved() -> None:
    assert HashCost().approved
