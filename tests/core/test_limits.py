"""Limits as values: written and read as text, and a ceiling that no pace slips through."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core.limits import Ceiling, Window, network

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=200)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("5/10m", Window(5, 600)),
        (" 5/10m ", Window(5, 600)),
        ("1/1s", Window(1, 1)),
        ("20/24h", Window(20, 86_400)),
        ("20/1d", Window(20, 86_400)),
        ("1000000/31d", Window(1_000_000, 31 * 86_400)),
    ],
)
def test_a_limit_is_read(text: str, window: Window) -> None:
    assert Window.parse(text) == window


@pytest.mark.parametrize(
    "text",
    ["", "5", "5/", "/10m", "5/10", "5/10w", "5/10M", "5 / 10m", "-5/10m", "+5/10m", "5.0/10m",
     "0/10m", "5/0m", "1000001/1d", "5/32d", "5/9999d", "5/10m,", "5/10m/1h", "٥/10m", "5/10m\x00",
     "99999999/1d", "unlimited", "none", "inf/1d"],
)  # fmt: skip
def test_what_is_no_limit_is_refused_and_not_repeated(text: str) -> None:
    """A14, K11."""
    with pytest.raises(ValueError, match="must be") as refused:
        Window.parse(text)
    assert len(text) < 5 or text not in str(refused.value)


@fuzzed
@given(st.integers(1, 1_000_000), st.integers(1, 31 * 86_400))
def test_a_limit_that_is_written_reads_as_itself(count: int, seconds: int) -> None:
    window = Window(count, seconds)
    text = str(window)
    if len(text.partition("/")[2]) <= 5:  # what a person would write
        assert Window.parse(text) == window


@pytest.mark.parametrize(
    ("address", "of"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::FFFF:CB00:7107", "203.0.113.7/32"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("64:ff9b::203.0.113.7", "203.0.113.7/32"),
        ("64:ff9b::cb00:7107", "203.0.113.7/32"),
        ("203.0.113.7:51000", "203.0.113.7/32"),
        ("[2001:db8:1:2::1]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("[64:ff9b::203.0.113.7]:1", "203.0.113.7/32"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_end_user_is_a_network(address: str, of: str) -> None:
    """F16."""
    assert network(address) == of


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.3",
        "01.2.3.4",
        "1.2.3.4/32",
        "1.2.3.4:",
        "1.2.3.4:x",
        "[::1",
        "[1.2.3.4]:1:2",
        "::1/64",
        "x",
        "1 .2.3.4",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the library's own words
        network(text)


@fuzzed
@given(
    st.integers(1, 5),
    st.integers(1, 60),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 29.5, 30.0, 59.999, 60.0]), max_size=60),
)
def test_a_ceiling_never_admits_more_in_any_window(
    count: int, seconds: int, steps: list[float]
) -> None:
    """A20, H04; and the wait that it tells is the one that it takes."""
    ceiling, now, admitted = Ceiling(Window(count, seconds)), 1000.0, []
    for step in steps:
        now += step
        wait = ceiling.admit(now)
        if wait is None:
            admitted.append(now)
            continue
        assert wait >= 1
        if len(admitted) % 2:
            now += wait
            assert ceiling.admit(now) is None
            admitted.append(now)

    for earlier, later in zip(admitted, admitted[count:], strict=False):
        assert later - earlier >= seconds


def test_what_is_taken_back_makes_room_again() -> None:
    ceiling = Ceiling(Window(2, 60))
    assert [ceiling.admit(now) for now in (1.0, 2.0)] == [None, None]
    assert ceiling.admit(3.0) == 58
    ceiling.take_back(1.0)

    assert ceiling.admit(3.0) is None
    assert ceiling.admit(4.0) == 58
    ceiling.take_back(1.0)  # long gone: nothing happens
    assert ceiling.admit(4.0) == 58
