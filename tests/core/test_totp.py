"""Time-based codes against the vectors of the standards."""

import base64

import pytest

from otp_service.core.totp import PERIOD, Algorithm, Authenticator, new_seed

SEEDS = {
    Algorithm.SHA1: b"12345678901234567890",
    Algorithm.SHA256: b"12345678901234567890123456789012",
    Algorithm.SHA512: b"1234567890123456789012345678901234567890123456789012345678901234",
}
# RFC 6238 appendix B: Unix seconds, and the eight digits under each algorithm.
VECTORS = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]
# RFC 4226 appendix D: the first ten counters.
HOTP = [
    "755224",
    "287082",
    "359152",
    "969429",
    "338314",
    "254676",
    "287922",
    "162583",
    "399871",
    "520489",
]


def authenticator(algorithm: Algorithm = Algorithm.SHA1, digits: int = 6) -> Authenticator:
    seed = base64.b32encode(SEEDS[algorithm]).decode().rstrip("=")
    return Authenticator(seed=seed, algorithm=algorithm, digits=digits)


@pytest.mark.parametrize(("now", "sha1", "sha256", "sha512"), VECTORS)
def test_the_vectors_of_rfc_6238(now: int, sha1: str, sha256: str, sha512: str) -> None:
    expected = dict(zip(Algorithm, (sha1, sha256, sha512), strict=True))
    for algorithm, code in expected.items():
        assert authenticator(algorithm, 8).code(now // PERIOD) == code


@pytest.mark.parametrize(("step", "code"), list(enumerate(HOTP)))
def test_the_vectors_of_rfc_4226(step: int, code: str) -> None:
    assert authenticator().code(step) == code


def test_the_current_and_one_past_step_match_and_no_other() -> None:
    """B26, N-022."""
    app, now = authenticator(), 1_000_000 * PERIOD + 7
    codes = {offset: app.code(1_000_000 + offset) for offset in range(-2, 3)}

    matched = {offset: app.matching_step(code, now=now) for offset, code in codes.items()}

    assert matched == {-2: None, -1: 999_999, 0: 1_000_000, 1: None, 2: None}


def test_strictly_only_the_current_step_matches() -> None:
    app, now = authenticator(), 1_000_000 * PERIOD

    assert app.matching_step(app.code(999_999), now=now, past=0) is None
    assert app.matching_step(app.code(1_000_000), now=now, past=0) == 1_000_000


def test_a_clock_that_is_off_by_up_to_ten_steps_is_told_from_a_wrong_code() -> None:
    app, now = authenticator(), 1_000_000 * PERIOD

    assert app.clock_is_off(app.code(1_000_010), now=now)
    assert app.clock_is_off(app.code(999_990), now=now)
    assert not app.clock_is_off(app.code(1_000_011), now=now)


def test_a_seed_has_160_bits_and_differs_each_time() -> None:
    seeds = {new_seed() for _ in range(100)}

    assert len(seeds) == 100
    assert {len(base64.b32decode(seed)) for seed in seeds} == {20}
