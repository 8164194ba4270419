"""Leases of idempotency keys: longer than any run, released by their owner only, and never in the way of an answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from otp_service.errors import Unavailable
from otp_service.services.idempotency import IdempotentCalls
from otp_service.store.idempotency import Idempotency, Run
from tests.conftest import Sandbox, Service
from tests.reliability.harness import Gate, script
from tests.reliability.keyed_calls import Flow, flow_through, request_code


@pytest.fixture
async def flow(
    gate: tuple[Gate, dict[str, str]], sandbox: Sandbox, valkey_url: str
) -> AsyncIterator[Flow]:
    async with flow_through(gate, sandbox, valkey_url) as found:
        yield found


async def test_call_ends_before_its_lease_does(service: Service) -> None:
    """Whatever the work waits for: the site, Redis, a hash."""

    calls = IdempotentCalls(
        Idempotency(service.container.scripts),
        service.settings.ring,
        redis_seconds=0.04,
        site_seconds=0.1,
    )

    async def forever(handle: str) -> tuple[dict[str, object], bool]:
        await asyncio.Event().wait()
        return {}, True

    with pytest.raises(Unavailable):
        async with asyncio.timeout(30):
            await calls.run(caller="a", call="b", key="k", body={}, work=forever, site_calls=1)


async def test_only_the_owner_releases_a_lease(service: Service) -> None:
    store = Idempotency(service.container.scripts)

    async def begin(owner: str) -> object:
        return await store.begin(
            "digest", fingerprints=["f"], handle=owner, owner=owner, lease_seconds=60
        )

    assert await begin("first") == Run("first")
    service.advance(61)
    assert await begin("second") == Run("first")  # the first is taken to have died
    await store.abandon("digest", "first")
    await store.forget("digest", "first")
    with pytest.raises(Exception, match="in progress"):
        await begin("third")
    await store.abandon("digest", "second")
    assert await begin("third") == Run("first")


async def test_lost_release_does_not_hide_the_answer(flow: Flow) -> None:
    ready = await request_code(flow)
    lost = flow.gate.add(script("finish_idempotent"), "reset_after")
    answer = await ready.call(flow.far, "key")
    await lost.is_reached()
    assert answer.status_code == 202


async def test_lost_release_does_not_hide_the_error(flow: Flow) -> None:
    flow.gate.add(script("finish_idempotent"), "reset_after")
    answer = await flow.far.post(
        "/otp/resend", challenge_id="0" * 34, headers={"Idempotency-Key": "key"}
    )
    assert answer.json()["code"] == "challenge_not_found"
