"""When a call goes out again; time is an argument."""

import pytest

from otp_service.client import IdempotencyInProgress, Overloaded
from otp_service.client.call import Call
from otp_service.client.retrying import Retrying
from otp_service.client.wire import no_answer


def test_pauses_grow_and_are_never_shorter_than_the_service_asks() -> None:
    """I10."""
    call = Call(method="GET", path="/", result=object)
    retrying = Retrying(call, retries=5, timeout=100, now=0)

    pauses = [retrying.pause(no_answer("dropped"), now=0) for _ in range(4)]
    asked = retrying.pause(Overloaded({"retry_after": 30}, 503), now=0)

    for pause, base in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert base <= pause <= 2 * base
    assert asked >= 30


def test_who_were_told_the_same_do_not_come_back_in_one_moment() -> None:
    """I10: a thousand clients, without an answer or with a Retry-After, come back at a thousand moments."""
    call = Call(method="GET", path="/", result=object)
    for error in (no_answer("dropped"), Overloaded({"retry_after": 30}, 503)):
        clients = [Retrying(call, retries=1, timeout=100, now=0) for _ in range(1000)]
        pauses = {client.pause(error, now=0) for client in clients}
        assert len(pauses) > 990
        assert max(pauses) - min(pauses) > 0.05


def test_a_call_in_progress_is_waited_for_only_in_time() -> None:
    call = Call(method="POST", path="/", result=object, idempotency_key="k")
    retrying = Retrying(call, retries=2, timeout=10, now=0)
    running = IdempotencyInProgress({"retry_after": 2}, 409)

    assert retrying.pause(running, now=1) >= 2
    with pytest.raises(IdempotencyInProgress):
        retrying.pause(running, now=8.5)
