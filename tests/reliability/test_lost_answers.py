"""
The answer of any script of a call is lost, and the call is repeated with its Idempotency-Key: the same success, once.

Redis has run the script each time, and the process can't know it.
"""

from collections.abc import AsyncIterator

import httpx
import pytest

from otp_service.web.routes import OPERATIONS
from tests.conftest import Sandbox
from tests.reliability.harness import Gate, eventually, script
from tests.reliability.keyed_calls import (
    KEYED,
    Flow,
    Ready,
    flow_through,
    scripts_of_calls,
    verify_totp,
)


@pytest.fixture
async def flow(
    gate: tuple[Gate, dict[str, str]], sandbox: Sandbox, valkey_url: str
) -> AsyncIterator[Flow]:
    async with flow_through(gate, sandbox, valkey_url) as found:
        yield found


def test_every_keyed_operation_is_tried() -> None:
    assert {operation.name for operation in OPERATIONS if operation.idempotent} == set(KEYED)


@pytest.mark.parametrize("name", KEYED)
async def test_repeated_call_succeeds_once_after_a_lost_answer(name: str, flow: Flow) -> None:
    """Each script of the call in turn loses its answer."""
    stage = 0
    while True:
        ready = await KEYED[name](flow)
        lost = flow.gate.add(scripts_of_calls, "reset_after", skip=stage)
        first = await ready.call(flow.far, f"key-{stage}")
        flow.gate.release()
        answer = first
        if first.status_code == 503:
            answer = await ready.call(flow.far, f"key-{stage}")
        assert succeeded(ready, answer), (stage, answer.status_code, answer.text)
        again = await ready.call(flow.far, f"key-{stage}")
        assert succeeded(ready, again), (stage, again.status_code, again.text)
        if not ready.issued:
            assert again.json() == answer.json()
        if ready.once is not None:
            await eventually(is_once(ready), f"{name} {stage}: {ready.after}", seconds=10)
        if not lost.reached.is_set():
            break
        stage += 1
    assert stage >= 2


def is_once(ready: Ready):  # type: ignore[no-untyped-def]
    async def found() -> bool:
        assert ready.once is not None
        return bool(await ready.once() == ready.after)

    return found


def succeeded(ready: Ready, answer: httpx.Response) -> bool:
    """Whether it was carried out. What is shown once may have been shown to nobody: the caller issues it anew."""
    if ready.issued and answer.status_code == 409:
        return bool(answer.json()["code"] == "already_issued")
    return answer.status_code < 300


@pytest.mark.parametrize("name", ["verifyTotp", "redeemRecoveryCode", "confirmTotp"])
async def test_repeated_call_counts_a_wrong_code_once(name: str, flow: Flow) -> None:
    """The answer of the reservation is lost twice; the try is spent once."""
    ready = await KEYED[name](flow)
    right = ready.body["code"]
    ready.body["code"] = other_than(right)
    reserving = script(
        "reserve_recovery_code" if name == "redeemRecoveryCode" else "reserve_factor"
    )
    lost = flow.gate.add(reserving, "reset_after", times=2)
    for _ in range(2):
        assert (await ready.call(flow.far, "wrong")).status_code == 503
    flow.gate.release()
    assert lost.seen == 2
    first = await ready.call(flow.far, "wrong")
    assert first.json()["code"] == "invalid_code"
    second = await ready.call(flow.far, "another")
    left = first.json()["attempts_remaining"]
    assert second.json()["attempts_remaining"] == left - 1
    assert left == (4 if name == "confirmTotp" else 9)


async def test_repeated_totp_call_counts_anew_in_another_step(flow: Flow) -> None:
    """The codes are others by then, so the same digits are another guess."""
    ready = await verify_totp(flow)
    ready.body["code"] = other_than(ready.body["code"])
    flow.gate.add(script("reserve_factor"), "reset_after")
    assert (await ready.call(flow.far, "wrong")).status_code == 503
    flow.gate.release()
    flow.far.advance(30)
    again = await ready.call(flow.far, "wrong")
    assert again.json()["attempts_remaining"] == 8


def other_than(code: str) -> str:
    """A code of the same shape that is wrong now and in the next steps."""
    return ("1" if code[0] == "0" else "0") + code[1:]
