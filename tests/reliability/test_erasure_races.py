"""A person is erased while the service requests a code for it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.conftest import Sandbox
from tests.reliability.harness import Gate, script
from tests.reliability.keyed_calls import Flow, flow_through


@pytest.fixture
async def flow(
    gate: tuple[Gate, dict[str, str]], sandbox: Sandbox, valkey_url: str
) -> AsyncIterator[Flow]:
    async with flow_through(gate, sandbox, valkey_url) as found:
        yield found


async def erase(flow: Flow, subject: str) -> None:
    answer = await flow.near.post("/subjects/erase", subject=subject, reason="asked by letter")
    assert answer.status_code == 200, answer.text


async def test_request_succeeds_when_the_replaced_challenge_is_erased(flow: Flow) -> None:
    subject, to = flow.person()
    await flow.near.request(to=to, subject=subject)
    flow.near.advance(31)
    flow.far.advance(31)
    held = flow.gate.add(script("end_challenge"), "hold_before")
    asking = asyncio.create_task(
        flow.far.post("/otp/request", to=to, subject=subject, purpose="login")
    )
    await held.is_reached()
    await erase(flow, subject)
    flow.gate.release()
    assert (await asking).status_code == 202


async def test_request_succeeds_when_the_answer_of_tidying_is_lost(flow: Flow) -> None:
    subject, to = flow.person()
    await flow.near.request(to=to, subject=subject)
    flow.near.advance(31)
    flow.far.advance(31)
    lost = flow.gate.add(script("end_challenge"), "reset_after")
    answer = await flow.far.post("/otp/request", to=to, subject=subject, purpose="login")
    await lost.is_reached()
    assert answer.status_code == 202


async def test_request_erased_while_it_waits_is_503_and_can_be_repeated(flow: Flow) -> None:
    subject, to = flow.person()
    body = {"to": to, "subject": subject, "purpose": "login"}
    headers = {"Prefer": "wait=5", "Idempotency-Key": "key"}
    held = flow.gate.add(script("view_challenge"), "hold_before")
    asking = asyncio.create_task(flow.far.post("/otp/request", headers=headers, **body))
    await held.is_reached()
    await erase(flow, subject)
    flow.gate.release()
    answer = await asking
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    flow.near.advance(31)
    flow.far.advance(31)
    assert (await flow.far.post("/otp/request", headers=headers, **body)).status_code == 202
