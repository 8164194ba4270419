"""What became of deliveries that ended `unknown`, as the site's outbox tells."""

import pytest

from tests.conftest import TO, Sandbox, Service
from tests.reconciliation.conftest import Traced, cron, faults, look, outbox, traces
from tests.reliability.harness import eventually


async def test_a_message_whose_answer_was_lost_turns_out_accepted_and_is_never_sent_again(
    traced: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    sandbox.fail(kind="drop_after", times=1)
    challenge = await traced.request()
    assert challenge["delivery"]["status"] == "unknown"

    await look(traced)

    assert (await traced.look(challenge))["delivery"] == {"status": "accepted", "reason": None}
    assert len(sandbox.messages()) == 1
    assert traces(valkey_url) == []
    assert len(outbox(sandbox)) == 1, "without scrubbing the row stays"
    assert (await traced.verify(challenge, traced.code())).status_code == 200


async def test_a_failure_that_the_site_reports_is_failed_and_its_code_still_works(
    traced: Service, sandbox: Sandbox
) -> None:
    sandbox.fail(kind="provider_error_after_sending", times=1)
    challenge = await traced.request()
    assert challenge["delivery"]["status"] == "unknown"

    await look(traced)

    assert (await traced.look(challenge))["delivery"] == {
        "status": "failed",
        "reason": "reported_by_site",
    }
    assert (await traced.verify(challenge, traced.code())).status_code == 200
    assert len(sandbox.messages()) == 1


async def test_the_sites_clock_is_compared_with_a_clock_that_no_test_moves(
    traced: Service, sandbox: Sandbox
) -> None:
    traced.advance(3 * 3600)
    sandbox.fail(kind="drop_after", times=1)
    challenge = await traced.request()

    await look(traced)

    assert (await traced.look(challenge))["delivery"]["status"] == "accepted"


async def test_a_row_that_appears_late_is_found(traced: Service, sandbox: Sandbox) -> None:
    sandbox.fail(kind="queued", times=1)
    challenge = await traced.request()
    for _ in range(3):
        await look(traced, after=10)
    assert (await traced.look(challenge))["delivery"]["status"] == "unknown"

    cron(sandbox)
    await look(traced, after=60)

    assert (await traced.look(challenge))["delivery"]["status"] == "accepted"


async def test_a_send_that_is_cut_off_and_goes_on_without_us_is_found(
    start_traced: Traced, sandbox: Sandbox
) -> None:
    traced = await start_traced(OTP_WSMS_DEADLINE="2")
    sandbox.fail(kind="slow", delay=4, times=1)
    challenge = await traced.request()
    assert challenge["delivery"] == {"status": "unknown", "reason": "timeout"}

    await look(traced, after=10)
    await eventually(lambda: outbox(sandbox), "the message that went out without us")
    await look(traced, after=400)

    assert (await traced.look(challenge))["delivery"]["status"] == "accepted"
    assert len(sandbox.messages()) == 1


async def test_without_a_row_it_stays_unknown_and_the_number_is_gone_after_half_an_hour(
    traced: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    sandbox.settings(store_outbox_messages=False)
    sandbox.fail(kind="drop_after", times=1)
    challenge = await traced.request()

    for _ in range(4):
        await look(traced, after=400)
    assert len(traces(valkey_url)) == 1
    await look(traced, after=400)

    assert (await traced.look(challenge))["delivery"]["status"] == "unknown"
    assert traces(valkey_url) == []


async def test_looking_gets_rarer(traced: Service, sandbox: Sandbox) -> None:
    sandbox.settings(store_outbox_messages=False)
    sandbox.fail(kind="drop_after", times=1)
    await traced.request()
    sandbox.fail(kind="html", endpoint="outbox", times=100)

    for _ in range(100):
        await look(traced, after=1)

    assert 4 <= 100 - faults(sandbox)[0]["times"] <= 10


async def test_the_person_who_has_the_code_proves_the_delivery(
    traced: Service, sandbox: Sandbox
) -> None:
    sandbox.fail(kind="drop_after", times=1)
    challenge = await traced.request()
    assert (await traced.verify(challenge, traced.code())).status_code == 200

    assert (await traced.look(challenge))["delivery"] == {"status": "accepted", "reason": None}


async def test_each_of_two_codes_to_one_number_finds_its_own_row(
    traced: Service, sandbox: Sandbox
) -> None:
    sandbox.settings(unstable_ties=True)
    first = await traced.request(subject="a", binding="one")
    traced.advance(30)
    sandbox.fail(kind="provider_error_after_sending", times=1)
    second = await traced.request(subject="b")
    traced.advance(60)
    sandbox.fail(kind="drop_after", times=1)
    third = await traced.request(subject="c")
    assert first["delivery"]["status"] == "accepted"

    await look(traced)

    assert (await traced.look(second))["delivery"]["status"] == "failed"
    assert (await traced.look(third))["delivery"]["status"] == "accepted"


async def test_a_newer_code_of_the_challenge_is_not_touched_by_the_older_ones_row(
    traced: Service, sandbox: Sandbox
) -> None:
    sandbox.fail(kind="provider_error_after_sending", times=1)
    challenge = await traced.request()
    traced.advance(30)
    sandbox.settings(store_outbox_messages=False)
    sandbox.fail(kind="drop_after", times=1)
    await traced.post(
        "/otp/resend", headers={"Prefer": "wait=30"}, challenge_id=challenge["challenge_id"]
    )

    await look(traced, after=30)

    assert (await traced.look(challenge))["delivery"]["status"] == "unknown"


async def test_rows_to_others_and_to_several_do_not_count(
    traced: Service, sandbox: Sandbox
) -> None:
    """The same text to another number, or to a list with ours in it, is not our message."""
    sandbox.settings(store_outbox_messages=False)
    sandbox.fail(kind="drop_after", times=1)
    challenge = await traced.request()
    text = sandbox.messages()[0]["message"]
    sandbox.settings(store_outbox_messages=True)
    for numbers in (["+14155550199"], [TO, "+14155550199"], [TO + "0"]):
        await _send(sandbox, text, numbers)
    await look(traced)
    assert (await traced.look(challenge))["delivery"]["status"] == "unknown"

    await _send(sandbox, "Sale! 4711 items, call 555123", [TO])
    await look(traced, after=10)
    assert (await traced.look(challenge))["delivery"]["status"] == "unknown"

    await _send(sandbox, text, [TO])
    await look(traced, after=30)
    assert (await traced.look(challenge))["delivery"]["status"] == "accepted"


@pytest.mark.parametrize("gateway", ["smsbox", "gatewayapi", "wali"])
async def test_gateways_that_spell_numbers_their_own_way(
    traced: Service, sandbox: Sandbox, gateway: str
) -> None:
    sandbox.settings(gateway_name=gateway)
    sandbox.fail(kind="drop_after", times=1)
    challenge = await traced.request()

    await look(traced)

    assert (await traced.look(challenge))["delivery"]["status"] == "accepted"


@pytest.mark.parametrize(
    "zone", ["Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu", "Europe/Berlin"]
)
async def test_a_site_in_another_zone(traced: Service, sandbox: Sandbox, zone: str) -> None:
    sandbox.settings(timezone=zone)
    sandbox.fail(kind="drop_after", times=1)
    challenge = await traced.request()

    await look(traced)

    assert (await traced.look(challenge))["delivery"]["status"] == "accepted"


async def test_the_outbox_is_not_asked_when_it_is_switched_off(
    start_traced: Traced, sandbox: Sandbox, valkey_url: str
) -> None:
    service = await start_traced(OTP_WSMS_RECONCILE="false")
    sandbox.fail(kind="drop_after", times=1)
    challenge = await service.request()

    assert traces(valkey_url) == []
    await look(service)
    assert (await service.look(challenge))["delivery"]["status"] == "unknown"


async def test_neither_number_nor_code_is_in_redis_in_clear(
    start_traced: Traced, sandbox: Sandbox, valkey_url: str
) -> None:
    import redis

    traced = await start_traced(OTP_CODE_DIGITS="10")  # too long to be found by chance
    sandbox.fail(kind="drop_after", times=1)
    await traced.request()
    [name] = traces(valkey_url)
    with redis.Redis.from_url(valkey_url) as client:
        kept = str(client.hgetall(name)) + name

    assert TO.lstrip("+") not in kept
    assert traced.code() not in kept


async def _send(sandbox: Sandbox, text: str, numbers: list[str]) -> None:
    from otp_service.wsms import WsmsClient
    from tests.conftest import PASSWORD

    async with WsmsClient(sandbox.url, "otp", PASSWORD) as wsms:
        await wsms.send(message=text, numbers=numbers)
