"""Messages that the site accepted and dropped, or may have dropped: what its outbox shows of them."""

import pytest

from otp_service.core.challenge import DeliveryStatus
from otp_service.doctor.site import inspect_outbox_rows
from otp_service.services.delivery_lookups import PATIENCE_MS, SAMPLE_SECONDS, LookupPolicy
from otp_service.store.delivery_lookups import DeliveryLookups
from tests.conftest import Sandbox, Service
from tests.reconciliation.conftest import Traced, look, outbox, traces

LONG_ENOUGH = PATIENCE_MS / 1000 + 1


async def test_a_row_without_recipient_is_a_failed_send(
    scrubbing: Service, sandbox: Sandbox, valkey_url: str
) -> None:
    """E14: the site sends to other countries only: 200, no SMS, and a row with the code and no recipient."""
    sandbox.settings(send_only_local_numbers=["+49"])
    challenge = await scrubbing.request()
    assert challenge["delivery"]["status"] == "accepted"
    assert [(row["recipient"], row["status"]) for row in outbox(sandbox)] == [("", "success")]

    await look(scrubbing, after=0)

    delivery = (await scrubbing.look(challenge))["delivery"]
    assert delivery == {"status": "failed", "reason": "dropped_by_site"}
    assert outbox(sandbox) == []
    assert traces(valkey_url) == []


async def test_another_code_without_recipient_is_left_alone(
    start_traced: Traced, sandbox: Sandbox
) -> None:
    """Only a row whose text holds this very code is taken for the message."""
    sandbox.settings(send_only_local_numbers=["+49"])
    other = await start_traced()
    await other.request(to="+14155550125")
    sandbox.settings(send_only_local_numbers=[], store_outbox_messages=False)
    scrubbing = await start_traced(OTP_WSMS_SCRUB_OUTBOX="true")
    challenge = await scrubbing.request(subject="another")

    await look(scrubbing, after=0)

    assert (await scrubbing.look(challenge))["delivery"]["status"] == "accepted"
    assert len(outbox(sandbox)) == 1


@pytest.mark.parametrize("scrub", ["true", "false"])
async def test_accepted_messages_without_rows_are_warned_of(
    start_traced: Traced, sandbox: Sandbox, scrub: str
) -> None:
    service = await start_traced(OTP_WSMS_RECONCILE="true", OTP_WSMS_SCRUB_OUTBOX=scrub)
    stored = DeliveryLookups(service.container.scripts)
    sandbox.settings(sms_delivery_method="api_async_send")
    assert (await service.request())["delivery"]["status"] == "accepted"
    await look(service)
    assert "outbox" not in (await service.http.get("/readyz")).json()["warnings"]

    await look(service, after=LONG_ENOUGH)

    warnings = (await service.http.get("/readyz")).json()["warnings"]
    assert "api_async_send" in warnings["outbox"]
    [finding] = await inspect_outbox_rows(stored)
    assert (finding.level, "store_outbox_messages" in finding.message) == ("warn", True)


async def test_a_row_ends_the_warning(scrubbing: Service, sandbox: Sandbox) -> None:
    sandbox.settings(store_outbox_messages=False)
    await scrubbing.request()
    await look(scrubbing, after=0)
    await look(scrubbing, after=LONG_ENOUGH)
    assert "outbox" in (await scrubbing.http.get("/readyz")).json()["warnings"]

    sandbox.settings(store_outbox_messages=True)
    await scrubbing.request(to="+14155551123")
    await look(scrubbing, after=0)

    assert "outbox" not in (await scrubbing.http.get("/readyz")).json()["warnings"]


def test_without_scrubbing_few_accepted_messages_are_looked_for() -> None:
    tracing = LookupPolicy(reconcile=True, scrub=False)

    looked = [tracing.look_ms(DeliveryStatus.ACCEPTED) for _ in range(20)]

    assert looked[0] == 2000
    assert looked[1:] == [None] * 19
    assert SAMPLE_SECONDS >= 60
    assert LookupPolicy(reconcile=False, scrub=False).look_ms(DeliveryStatus.ACCEPTED) is None
