"""What a process knows of Redis' clock: bounds that hold, narrow, and are given up when the clock was set."""

import pytest

from otp_service.store.server_clock import STALE_SECONDS, TOLERANCE_MS, ServerClock

NOW = 1_790_000_000_000  # what the server's clock reads at 100.0 here


def known(*, sent: float = 99.99, received: float = 100.01) -> ServerClock:
    clock = ServerClock()
    clock.learn(NOW, sent=sent, received=received)
    return clock


def test_nothing_is_known_before_the_first_answer() -> None:
    assert not ServerClock().is_known(0.0)
    assert not ServerClock().is_known(1e9)


def test_deadline_is_early_by_the_way_back_and_never_late() -> None:
    window = known().window(100.01, 101.01)
    assert window.deadline == NOW + 1000
    assert window.not_before == NOW - TOLERANCE_MS


def test_faster_answer_narrows_the_bounds() -> None:
    clock = known(sent=99.5, received=100.5)
    assert clock.window(100.5, 101.5).deadline == NOW + 1000
    clock.learn(NOW + 600, sent=100.599, received=100.601)
    assert NOW + 1498 <= clock.window(100.601, 101.5).deadline <= NOW + 1500


def test_slower_answer_changes_nothing() -> None:
    clock = known()
    before = clock.window(100.01, 101.0)
    clock.learn(NOW + 500, sent=100.1, received=101.0)
    assert clock.window(100.01, 101.0) == before


@pytest.mark.parametrize("step_ms", [-172_800_000, -1000, 1000, 172_800_000])
def test_answer_after_a_clock_step_holds_alone(step_ms: int) -> None:
    clock = known()
    clock.learn(NOW + step_ms + 1000, sent=100.99, received=101.01)
    assert clock.window(101.01, 102.01).deadline == NOW + step_ms + 2000


def test_bounds_are_stale_after_a_while() -> None:
    clock = known()
    assert clock.is_known(100.01 + STALE_SECONDS - 0.1)
    assert not clock.is_known(100.01 + STALE_SECONDS + 0.1)
