"""E14: no code that the site itself drew stays readable in WordPress; and nothing else of its outbox is touched."""

import asyncio
import json

import httpx
import pytest
import redis

from otp_service.services.delivery_lookups import LEASE_SECONDS, TRACE_SECONDS
from otp_service.wsms import WsmsClient
from tests.conftest import PASSWORD, TO, Sandbox, Service, running_service
from tests.reconciliation.conftest import (
    Traced,
    at_time_zone,
    look,
    may,
    metric,
    outbox,
    traces,
)
from tests.reliability.harness import credential, gate_before, script, serve


@pytest.fixture
def frozen_at_ms() -> None:
    """The killed processes share the Redis, and their clock goes on."""


OTHER = "+14155550199"
PERSON = {"name": "Ann Lee", "mobile": TO}
PATIENCE = 601


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "OTP_OPTIN_MODE": "wsms"}


@pytest.fixture(autouse=True)
def verifying(sandbox: Sandbox) -> None:
    """The site asks for a code of its own."""
    sandbox.settings(newsletter_form_verify=True)


async def ask(service: Service, **more: object) -> None:
    answer = await service.post("/optin/request", **{**PERSON, **more})
    assert answer.status_code == 202, answer.text


async def send(sandbox: Sandbox, text: str, *to: str) -> None:
    """Something else that the site sends."""
    async with WsmsClient(sandbox.url, "otp", PASSWORD) as wsms:
        await wsms.send(message=text, numbers=to or (TO,))


def texts(sandbox: Sandbox) -> list[str]:
    return [row["message"] for row in outbox(sandbox)]


async def test_the_row_of_an_activation_is_deleted_and_its_code_still_confirms(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    await ask(scrubbing)
    assert len(outbox(sandbox)) == 1

    await look(scrubbing, after=0)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []
    confirmed = await scrubbing.post("/optin/verify", **PERSON, activation=scrubbing.code())
    assert confirmed.status_code == 200


async def test_without_scrubbing_the_row_stays_and_no_trace_is_written(
    traced: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    await ask(traced)

    assert traces(valkey_url) == []
    await look(traced, after=0)
    assert len(outbox(sandbox)) == 1


async def test_in_a_translated_text_the_code_is_found_too(
    scrubbing: Service, sandbox: Sandbox
) -> None:
    sandbox.settings(locale="de_DE")
    await ask(scrubbing)
    assert "Your" not in texts(sandbox)[0]

    await look(scrubbing, after=0)

    assert outbox(sandbox) == []


@pytest.mark.parametrize("version", ["7.2", "7.2.8"])
async def test_a_message_that_the_provider_refused_is_deleted_too(
    scrubbing: Service, sandbox: Sandbox, version: str
) -> None:
    sandbox.settings(wsms_version=version)
    sandbox.fail(kind="provider_error", times=1)
    await ask(scrubbing)
    assert [row["status"] for row in outbox(sandbox)] == ["failed"]

    await look(scrubbing, after=0)

    assert outbox(sandbox) == []


@pytest.mark.parametrize(
    ("text", "to"),
    [
        ("Your activation code: 4711", [OTHER]),
        ("Your activation code: 4711", [TO, OTHER]),
        (f"Ring {TO} and say 4711", [OTHER]),
    ],
)
async def test_what_goes_to_another_number_at_the_same_time_stays(
    scrubbing: Service, sandbox: Sandbox, text: str, to: list[str]
) -> None:
    await send(sandbox, text, *to)
    await ask(scrubbing)

    await look(scrubbing, after=0)

    assert texts(sandbox) == [text]


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
async def test_what_the_site_sent_the_number_at_another_time_stays(
    scrubbing: Service, sandbox: Sandbox, zone: str
) -> None:
    with at_time_zone(sandbox, zone):
        await send(sandbox, "Your activation code: 4711")
    await ask(scrubbing)

    await look(scrubbing, after=0)

    assert texts(sandbox) == ["Your activation code: 4711"]


@pytest.mark.parametrize(
    "text",
    [
        "Welcome Ann Lee!",
        "Your parcel 123456 is on its way",
        "Your table for 12 is booked, call 415-5550-0123 or 1234",
    ],
)
async def test_a_text_without_one_run_of_four_digits_stays(
    scrubbing: Service, sandbox: Sandbox, text: str
) -> None:
    await send(sandbox, text)
    await ask(scrubbing)

    await look(scrubbing, after=0)

    assert texts(sandbox) == [text]


async def test_row_of_a_dropped_activation_is_deleted(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The site sends to other countries only: 200, no SMS, and a row with the code and no recipient."""
    sandbox.settings(send_only_local_numbers=["+49"])
    await ask(scrubbing)
    assert [row["recipient"] for row in outbox(sandbox)] == [""]

    await look(scrubbing, after=0)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []
    assert "activation.dropped_by_site" in capsys.readouterr().out


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
async def test_other_rows_without_recipient_stay(
    scrubbing: Service, sandbox: Sandbox, zone: str
) -> None:
    """One of the same seconds holds no code, one of another time does; ours is not stored."""
    text = "Your order is ready" if zone == "UTC" else "Your activation code: 4711"
    sandbox.settings(send_only_local_numbers=["+49"])
    with at_time_zone(sandbox, zone):
        await send(sandbox, text, OTHER)
    sandbox.settings(store_outbox_messages=False)
    await ask(scrubbing)

    await look(scrubbing, after=0)

    assert texts(sandbox) == [text]


async def test_dropped_activations_at_the_same_time_stay(
    scrubbing: Service, sandbox: Sandbox
) -> None:
    """Whose code is whose is in doubt."""
    sandbox.settings(send_only_local_numbers=["+49"])
    await ask(scrubbing)
    await ask(scrubbing, mobile=OTHER)

    await look(scrubbing, after=0)

    assert len(outbox(sandbox)) == 2


async def test_the_welcome_stays(scrubbing: Service, sandbox: Sandbox) -> None:
    sandbox.settings(newsletter_form_welcome=True, newsletter_form_welcome_text="Welcome!")
    await ask(scrubbing)
    await scrubbing.post("/optin/verify", **PERSON, activation=scrubbing.code())
    assert len(outbox(sandbox)) == 2

    await look(scrubbing, after=0)

    assert texts(sandbox) == ["Welcome!"]


async def test_two_rows_that_both_fit_are_left_alone_and_counted(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await send(sandbox, "Your pickup code: 4711")
    await ask(scrubbing)
    before = metric("otp_outbox_scrubbed_total", outcome="in_doubt")

    await look(scrubbing, after=0)
    await look(scrubbing, after=PATIENCE)

    assert len(outbox(sandbox)) == 2
    assert metric("otp_outbox_scrubbed_total", outcome="in_doubt") == before + 1
    assert "outbox.not_scrubbed" in capsys.readouterr().out
    assert traces(valkey_url) == []


async def test_a_doubt_that_clears_up_is_none(scrubbing: Service, sandbox: Sandbox) -> None:
    await send(sandbox, "Your pickup code: 4711")
    await ask(scrubbing)
    await look(scrubbing, after=0)
    async with WsmsClient(sandbox.url, "otp", PASSWORD) as wsms:
        await wsms.outbox.delete(1)

    await look(scrubbing, after=10)

    assert outbox(sandbox) == []


async def test_an_activation_whose_answer_was_lost_is_found(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    sandbox.fail(kind="drop_after", endpoint="newsletter", times=1)
    assert (await scrubbing.post("/optin/request", **PERSON)).status_code == 503
    assert len(traces(valkey_url)) == 1

    await look(scrubbing, after=61)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []


async def test_a_site_that_sent_nothing_leaves_nothing_to_look_for(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    await ask(scrubbing)
    await scrubbing.post("/optin/verify", **PERSON, activation=scrubbing.code())
    await look(scrubbing, after=61)
    await ask(scrubbing)  # the site refuses: subscribed already

    assert traces(valkey_url) == []


async def test_a_site_that_stores_nothing_is_not_asked_for_half_an_hour(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    sandbox.settings(store_outbox_messages=False)
    await ask(scrubbing)
    before = metric("otp_outbox_scrubbed_total", outcome="not_found")

    for _ in range(5):
        await look(scrubbing, after=200)

    assert traces(valkey_url) == []
    assert metric("otp_outbox_scrubbed_total", outcome="not_found") == before + 1


async def test_a_capability_that_comes_later_is_waited_for(
    scrubbing: Service, sandbox: Sandbox, capable: None, valkey_url: str
) -> None:
    await ask(scrubbing)
    may(sandbox, "wpsms_sendsms", "wpsms_subscribers")
    await look(scrubbing, after=0)
    assert len(outbox(sandbox)) == 1

    may(sandbox, "wpsms_sendsms", "wpsms_subscribers", "wpsms_outbox")
    await look(scrubbing, after=120)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []


async def test_a_capability_that_never_comes_ends_without_the_number(
    scrubbing: Service, sandbox: Sandbox, capable: None, valkey_url: str
) -> None:
    await ask(scrubbing)
    may(sandbox, "wpsms_sendsms", "wpsms_subscribers")
    before = metric("otp_outbox_scrubbed_total", outcome="given_up")

    for _ in range(8):
        await look(scrubbing, after=TRACE_SECONDS / 6)

    assert traces(valkey_url) == []
    assert metric("otp_outbox_scrubbed_total", outcome="given_up") == before + 1


async def test_a_trace_holds_no_number_and_no_code_and_later_only_the_row(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    """E11: what Redis holds of an activation is sealed."""
    await ask(scrubbing)
    [name] = traces(valkey_url)
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        before = client.hgetall(name)
        sandbox.fail(kind="status", status=500, endpoint="outbox/1")
        await look(scrubbing, after=0)
        after = client.hgetall(name)

    assert TO.lstrip("+") not in json.dumps(before)
    assert not any(scrubbing.code() == value for value in before.values())
    assert set(after) == {"rows", "began_at", "ends_at"}


async def test_another_process_finishes_after_a_restart(
    start_traced: Traced,
    environment: dict[str, str],
    sandbox: Sandbox,
    valkey_url: str,
    frozen_at_ms: int | None,
) -> None:
    scrub = {"OTP_WSMS_SCRUB_OUTBOX": "true"}
    own = {**environment, **scrub, "OTP_DELIVER": "false"}
    async with running_service(own, sandbox, frozen_at_ms=frozen_at_ms) as first:
        await ask(first)

    second = await start_traced(**scrub)
    await look(second, after=0)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("end_activation", "hold_before"),
        ("open_activation", "hold_after"),
        ("settle_activation", "hold_before"),
        ("settle_activation", "hold_after"),
        ("leave_trace", "hold_before"),
    ],
)
async def test_a_killed_process_leaves_nothing_behind(
    start_traced: Traced,
    environment: dict[str, str],
    sandbox: Sandbox,
    valkey_url: str,
    name: str,
    action: str,
) -> None:
    """SIGKILL between any two steps; whoever comes next finishes the scrub."""
    own = {**environment, "OTP_WSMS_SCRUB_OUTBOX": "true"}
    async with gate_before(valkey_url) as (gate, url):
        headers = await credential(environment)
        rule = gate.add(script(name), action)
        process = serve({**own, "OTP_REDIS_URL": url})
        try:
            async with httpx.AsyncClient(
                base_url=process.url, headers=headers, timeout=120
            ) as http:
                call = asyncio.create_task(http.post("/optin/request", json=PERSON))
                await rule.is_reached()
                process.kill()
                await asyncio.gather(call, return_exceptions=True)
        finally:
            process.close()

    service = await start_traced(OTP_WSMS_SCRUB_OUTBOX="true")
    service.advance(LEASE_SECONDS + 1)
    for _ in range(10):
        await look(service, after=5)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []
    assert len(sandbox.messages()) == 1
