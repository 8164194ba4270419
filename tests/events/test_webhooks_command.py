"""`otp-service webhooks`: what an operator does with endpoints."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from anyio import to_thread
from click.testing import Result
from standardwebhooks import Webhook
from typer.testing import CliRunner

from otp_service.cli.webhooks import app
from otp_service.core import credentials
from otp_service.store.callers import CallerRecord, Callers
from tests.events.conftest import Desk, Receivers

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def run(environment: dict[str, str], desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in {**environment, "COLUMNS": "220"}.items():
        monkeypatch.setenv(name, value)
    _, stored = credentials.issue(desk.ring, "shop", now=0, expires_in=None)
    record = CallerRecord("shop", frozenset(), 0, (stored,))
    await Callers(desk.scripts.connection).create(record)

    async def invoke(*arguments: str) -> Result:
        return await to_thread.run_sync(partial(CliRunner().invoke, app, list(arguments)))

    return invoke


async def test_an_endpoint_from_its_creation_to_its_removal(
    run: Run, desk: Desk, receivers: Receivers
) -> None:
    receiver = await receivers()

    created = await run("create", "shop", receiver.url, "--event", "delivery.failed")
    endpoint_id, secret = created.stdout.split()
    listed = await run("list")
    tested = await run("test", endpoint_id)

    assert secret.startswith("whsec_")
    assert endpoint_id in listed.stdout
    assert "delivery.failed" in listed.stdout
    assert secret[6:] not in listed.stdout
    assert "key=1" not in listed.stdout, "an address may hold a key"
    assert tested.exit_code == 0
    assert receiver.received[0].verify(secret)["type"] == "ping"

    rotated = (await run("rotate", endpoint_id)).stdout.strip()
    again = await run("rotate", endpoint_id)
    await run("test", endpoint_id)
    assert rotated != secret
    assert again.exit_code == 1
    for each in (secret, rotated):
        Webhook(each).verify(receiver.received[1].body, receiver.received[1].headers)
    assert (await run("rotate", endpoint_id, "--retire")).exit_code == 0
    assert (await run("rotate", endpoint_id, "--retire")).exit_code == 1
    (kept,) = await desk.webhooks.all(desk.ring)
    assert kept.secrets == (rotated,)

    assert (await run("remove", endpoint_id)).exit_code == 0
    assert await desk.webhooks.all(desk.ring) == []
    assert (await run("test", endpoint_id)).exit_code == 1


async def test_dead_letters_are_listed_and_sent_again(
    run: Run, desk: Desk, receivers: Receivers
) -> None:
    receiver = await receivers(statuses=[410, 204])
    endpoint = await desk.endpoint(receiver.url)
    first = await desk.queue(endpoint, name="1")
    await desk.queue(endpoint, name="2")
    await desk.worker.run_due()
    await desk.worker.run_due()

    listed = await run("dead")
    assert first in listed.stdout
    assert "http_410" in listed.stdout
    assert (await run("dead", "--retry", "all")).exit_code == 1, "it is switched off"
    assert "off: http_410" in (await run("list")).stdout
    assert (await run("enable", endpoint.id)).exit_code == 0
    assert (await run("dead", "--retry", first)).exit_code == 0
    assert "1 queued again" in (await run("dead", "--retry", "all")).stdout
    assert (await run("dead", "--retry", first)).exit_code == 1
    desk.advance(3600)  # the commands' clock does not stand still
    await desk.worker.run_due()

    assert len(receiver.received) == 3
    assert await desk.outgoing.dead_letters(endpoint.name) == []


async def test_what_can_not_be_registered_is_refused(
    run: Run, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTP_WEBHOOKS_ALLOW_PRIVATE", "false")
    refused = [
        await run("create", "nobody", "https://hooks.example.com/"),
        await run("create", "shop", "https://hooks.example.com/", "--event", "all"),
        await run("create", "shop", "http://hooks.example.com/"),
        await run("create", "shop", "https://127.0.0.1/"),
        await run("create", "shop", "https://hooks.invalid/"),
        await run("rotate", "ep_0"),
        await run("enable", "ep_0"),
        await run("dead", "--retry", "msg_0"),
    ]
    assert [result.exit_code for result in refused] == [1] * len(refused)
    assert all("otp-service refuses" in result.stderr for result in refused)
    assert await desk.webhooks.all(desk.ring) == []


async def test_an_endpoint_whose_key_is_gone_is_shown_and_can_be_removed(
    run: Run, desk: Desk, receivers: Receivers
) -> None:
    endpoint = await desk.endpoint((await receivers()).url)
    client = desk.scripts.connection.client
    sealed = (await client.hget("otp:webhooks:shop", endpoint.id)).replace("seal-", "lost-")
    await client.hset("otp:webhooks:shop", endpoint.id, sealed)

    assert "off: unreadable" in (await run("list")).stdout
    assert (await run("rotate", endpoint.id)).exit_code == 1
    assert (await run("test", endpoint.id)).exit_code == 1
    assert (await run("remove", endpoint.id)).exit_code == 0
