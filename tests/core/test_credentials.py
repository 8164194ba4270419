"""A credential is long, found by scanners, and known by its keyed digest alone."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core import credentials, keyring
from otp_service.core.credentials import CALLER_NAME, Presented
from otp_service.core.keyring import Keyring, Kind

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=200)
RING = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))


@fuzzed
@given(st.from_regex(CALLER_NAME, fullmatch=True))
def test_what_is_issued_is_known_again(name: str) -> None:
    text, stored = credentials.issue(RING, name, now=100, expires_in=None)
    presented = Presented.parse(text)

    assert presented is not None
    assert (presented.caller, presented.id) == (name, stored.id)
    assert credentials.check(RING, presented, stored, now=2**31)


@fuzzed
@given(st.text(max_size=120))
def test_any_other_text_is_no_credential(text: str) -> None:
    assert Presented.parse(text) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text.replace("otp_shop_", "otp_shap_"),
        lambda text: text[:9] + ("0" if text[9] != "0" else "1") + text[10:],
    ],
    ids=["its secret", "its caller", "its id"],
)
def test_a_credential_that_was_changed_is_not_known(change: object) -> None:
    """F02, F04: all of its parts are under the digest."""
    text, stored = credentials.issue(RING, "shop", now=0, expires_in=None)
    other = Presented.parse(change(text))  # type: ignore[operator]

    assert other is not None
    assert not credentials.check(RING, other, stored, now=0)
    assert not credentials.check(RING, other, replace(stored, id=other.id), now=0)


def test_a_credential_is_good_up_to_its_end_and_not_at_it() -> None:
    text, stored = credentials.issue(RING, "shop", now=1000, expires_in=60)
    presented = Presented.parse(text)
    assert presented is not None

    assert stored.expires_at == 1060
    assert credentials.check(RING, presented, stored, now=1059)
    assert not credentials.check(RING, presented, stored, now=1060)


def test_without_its_key_a_digest_is_worth_nothing() -> None:
    """K06."""
    text, stored = credentials.issue(RING, "shop", now=0, expires_in=None)
    presented = Presented.parse(text)
    assert presented is not None
    other = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))

    assert not credentials.check(other, presented, stored, now=0)
    renamed = replace(stored, kid=other.active(Kind.CREDENTIAL).kid)
    assert not credentials.check(other, presented, renamed, now=0)


def test_a_credential_has_256_random_bits_and_shows_none_of_them() -> None:
    """N-043, E10."""
    texts = [credentials.issue(RING, "shop", now=0, expires_in=None)[0] for _ in range(1000)]
    endings = {text[-43:] for text in texts}

    assert len(endings) == 1000
    assert {len(text) for text in texts} == {len("otp_shop_") + 8 + 1 + 43}
    presented = Presented.parse(texts[0])
    assert texts[0][-43:] not in repr(presented)
