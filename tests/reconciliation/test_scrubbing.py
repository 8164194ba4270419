"""No code stays readable in WordPress: its row is deleted, whatever dies or changes in between."""

import pytest

from otp_service.services.delivery_lookups import LEASE_SECONDS, TRACE_SECONDS
from tests.conftest import PASSWORD, TO, Sandbox, Service
from tests.reconciliation.conftest import (
    Traced,
    faults,
    look,
    may,
    metric,
    outbox,
    passwords,
    traces,
)
from tests.reliability.harness import age_jobs, eventually, gate_before, script, work


@pytest.fixture
def frozen_at_ms() -> None:
    """The killed processes share the Redis, and their clock goes on."""


LONG_ENOUGH = LEASE_SECONDS + 1
STOPS = [
    ("settle_send", "hold_before"),
    ("settle_send", "hold_after"),
    ("open_trace", "hold_after"),
    ("settle_trace", "hold_before"),
    ("settle_trace", "hold_after"),
    ("leave_trace", "hold_before"),
    ("leave_trace", "hold_after"),
]


async def test_the_row_of_an_accepted_code_is_deleted(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    """E14."""
    challenge = await scrubbing.request()
    assert len(outbox(sandbox)) == 1

    await look(scrubbing, after=0)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []
    assert (await scrubbing.verify(challenge, scrubbing.code())).status_code == 200


async def test_it_is_deleted_after_the_code_was_used_replaced_or_canceled_too(
    scrubbing: Service, sandbox: Sandbox
) -> None:
    used = await scrubbing.request(subject="a")
    await scrubbing.verify(used, scrubbing.code())
    scrubbing.advance(31)
    canceled = await scrubbing.request(subject="b")
    await scrubbing.post("/otp/cancel", challenge_id=canceled["challenge_id"])
    scrubbing.advance(61)
    resent = await scrubbing.request(subject="c")
    scrubbing.advance(121)
    await scrubbing.post(
        "/otp/resend", headers={"Prefer": "wait=30"}, challenge_id=resent["challenge_id"]
    )
    assert len(outbox(sandbox)) == 4

    await look(scrubbing, after=0)

    assert outbox(sandbox) == []


async def test_failed_rows_and_those_of_unknown_deliveries_are_deleted(
    scrubbing: Service, sandbox: Sandbox
) -> None:
    sandbox.fail(kind="provider_error", times=1)
    failed = await scrubbing.request(subject="a")
    scrubbing.advance(31)
    sandbox.fail(kind="drop_after", times=1)
    unknown = await scrubbing.request(subject="b")
    assert [row["status"] for row in outbox(sandbox)] == ["success", "failed"]

    await look(scrubbing)

    assert outbox(sandbox) == []
    assert (await scrubbing.look(failed))["delivery"]["status"] == "failed"
    assert (await scrubbing.look(unknown))["delivery"]["status"] == "accepted"


async def test_a_failed_row_does_not_unsay_what_the_person_has_proven(
    scrubbing: Service, sandbox: Sandbox
) -> None:
    sandbox.fail(kind="provider_error_after_sending", times=1)
    challenge = await scrubbing.request()
    await scrubbing.verify(challenge, scrubbing.code())

    await look(scrubbing)

    assert outbox(sandbox) == []
    assert (await scrubbing.look(challenge))["delivery"]["status"] == "accepted"


async def test_the_row_of_an_older_code_says_nothing_of_the_newer_one(
    scrubbing: Service, sandbox: Sandbox
) -> None:
    sandbox.fail(kind="provider_error_after_sending", times=1)
    challenge = await scrubbing.request()
    scrubbing.advance(30)
    sandbox.fail(kind="queued", times=1)
    await scrubbing.post(
        "/otp/resend", headers={"Prefer": "wait=30"}, challenge_id=challenge["challenge_id"]
    )

    await look(scrubbing, after=30)

    assert outbox(sandbox) == []
    assert (await scrubbing.look(challenge))["delivery"]["status"] == "unknown"


async def test_what_else_the_site_sends_to_the_number_stays(
    scrubbing: Service, sandbox: Sandbox
) -> None:
    from otp_service.wsms import WsmsClient

    async with WsmsClient(sandbox.url, "otp", PASSWORD) as wsms:
        await wsms.send(message="Your parcel 123456 is on its way, ref 99887766", numbers=TO)
    await scrubbing.request()

    await look(scrubbing, after=0)

    assert [row["message"][:11] for row in outbox(sandbox)] == ["Your parcel"]


async def test_a_code_that_never_left_leaves_nothing_to_look_for(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    sandbox.settings(gateway_name="")
    challenge = await scrubbing.request()

    assert challenge["delivery"]["status"] == "failed"
    assert traces(valkey_url) == []


@pytest.mark.parametrize(("name", "action"), STOPS)
async def test_a_killed_worker_leaves_nothing_behind(
    start_traced: Traced,
    environment: dict[str, str],
    sandbox: Sandbox,
    valkey_url: str,
    name: str,
    action: str,
) -> None:
    """SIGKILL between any two steps; whoever comes next finishes the scrub, and no second SMS goes out."""
    service = await start_traced(deliver=False, OTP_WSMS_SCRUB_OUTBOX="true")
    async with gate_before(valkey_url) as (gate, url):
        rule = gate.add(script(name), action)
        process = work({**environment, "OTP_REDIS_URL": url, "OTP_WSMS_SCRUB_OUTBOX": "true"})
        try:
            answer = await service.post("/otp/request", to=TO, purpose="login")
            await rule.is_reached()
        finally:
            process.kill()
    challenge = answer.json()

    await finish(service, valkey_url)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []
    assert (await service.look(challenge))["delivery"]["status"] == "accepted"
    assert len(sandbox.messages()) == 1


@pytest.mark.parametrize("done", [False, True])
async def test_a_worker_killed_while_the_site_deletes(
    start_traced: Traced,
    environment: dict[str, str],
    sandbox: Sandbox,
    valkey_url: str,
    done: bool,
) -> None:
    service = await start_traced(deliver=False, OTP_WSMS_SCRUB_OUTBOX="true")
    sandbox.fail(kind="hang", endpoint="outbox/1", sent=done, times=1)
    process = work({**environment, "OTP_WSMS_SCRUB_OUTBOX": "true"})
    try:
        await service.post("/otp/request", to=TO, purpose="login")
        await eventually(lambda: not faults(sandbox), "the deletion")
        await eventually(lambda: len(outbox(sandbox)) == (0 if done else 1), "its effect")
    finally:
        process.kill()

    await finish(service, valkey_url)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []


async def test_a_capability_that_is_taken_is_said_loudly_and_waited_for(
    scrubbing: Service,
    sandbox: Sandbox,
    capable: None,
    valkey_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await scrubbing.request()
    may(sandbox, "wpsms_sendsms")
    before = metric("otp_outbox_unavailable_total", why="capability_missing")

    await look(scrubbing, after=0)
    await look(scrubbing, after=120)
    await look(scrubbing, after=300)

    assert metric("otp_outbox_unavailable_total", why="capability_missing") == before + 3
    assert capsys.readouterr().out.count("outbox.unavailable") == 1
    assert len(outbox(sandbox)) == 1

    may(sandbox, "wpsms_sendsms", "wpsms_outbox")
    await look(scrubbing, after=600)
    assert outbox(sandbox) == []
    assert traces(valkey_url) == []


async def test_a_capability_that_never_comes_ends_with_a_warning_and_without_the_number(
    scrubbing: Service,
    sandbox: Sandbox,
    capable: None,
    valkey_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await scrubbing.request()
    may(sandbox, "wpsms_sendsms")
    before = metric("otp_outbox_scrubbed_total", outcome="given_up")

    for _ in range(8):
        await look(scrubbing, after=TRACE_SECONDS / 6)

    assert traces(valkey_url) == []
    assert metric("otp_outbox_scrubbed_total", outcome="given_up") == before + 1
    assert "outbox.not_scrubbed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "trouble",
    [{"plugin_active": False}, {"maintenance": True}, {"database_down": True}],
)
async def test_a_site_that_is_off_meanwhile(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str, trouble: dict[str, bool]
) -> None:
    await scrubbing.request()
    sandbox.settings(**trouble)
    await look(scrubbing, after=0)
    await look(scrubbing, after=120)

    sandbox.settings(**dict.fromkeys(trouble, not next(iter(trouble.values()))))
    assert len(outbox(sandbox)) == 1
    await look(scrubbing, after=600)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []


async def test_a_credential_that_is_revoked_and_given_back(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    await scrubbing.request()
    before = metric("otp_outbox_unavailable_total", why="not_authorized")
    try:
        passwords(sandbox, "another one entirely")
        await look(scrubbing, after=0)
        assert metric("otp_outbox_unavailable_total", why="not_authorized") == before + 1
    finally:
        passwords(sandbox, PASSWORD)
    await look(scrubbing, after=120)

    assert outbox(sandbox) == []
    assert traces(valkey_url) == []


async def test_a_sick_outbox_opens_no_circuit_before_sends(
    scrubbing: Service, sandbox: Sandbox
) -> None:
    await scrubbing.request()
    sandbox.fail(kind="status", status=500, endpoint="outbox")
    before = metric("otp_outbox_unavailable_total", why="site_down")
    for _ in range(5):
        await look(scrubbing, after=301)
    assert metric("otp_outbox_unavailable_total", why="site_down") == before + 5

    challenge = await scrubbing.request(subject="b")

    assert challenge["delivery"]["status"] == "accepted"


async def test_a_deletion_that_fails_is_tried_again(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    await scrubbing.request()
    sandbox.fail(kind="html", endpoint="outbox/1", times=1)
    await look(scrubbing, after=0)
    assert len(outbox(sandbox)) == 1
    assert len(traces(valkey_url)) == 1

    await look(scrubbing, after=120)
    assert outbox(sandbox) == []


async def test_once_the_row_is_found_the_trace_holds_no_number_and_no_digest(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    import redis

    await scrubbing.request()
    sandbox.fail(kind="status", status=500, endpoint="outbox/1")
    await look(scrubbing, after=0)

    [name] = traces(valkey_url)
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        assert set(client.hgetall(name)) == {"rows", "began_at", "ends_at"}


async def test_a_site_that_stores_nothing_is_not_asked_for_half_an_hour(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    sandbox.settings(store_outbox_messages=False)
    await scrubbing.request()

    for _ in range(5):
        await look(scrubbing, after=200)

    assert traces(valkey_url) == []


async def finish(service: Service, valkey_url: str) -> None:
    """What any other worker does in time."""
    service.advance(LONG_ENOUGH)
    age_jobs(valkey_url)
    await service.container.worker.start()
    for _ in range(40):
        await look(service, after=5)
        if not traces(valkey_url):
            break
