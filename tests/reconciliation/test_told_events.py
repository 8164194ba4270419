"""What becomes of deliveries, credit and hints reaches the callers who asked for it."""

from collections.abc import Awaitable, Callable

import pytest
import redis

from otp_service.connections import open_redis
from otp_service.core.events import new_secret
from otp_service.settings.environment import load
from otp_service.store.webhooks import Endpoint, Webhooks
from tests.conftest import Sandbox
from tests.reconciliation.conftest import Traced, look
from tests.reconciliation.test_hooks import hook

Register = Callable[..., Awaitable[Endpoint]]


@pytest.fixture
def register(environment: dict[str, str]) -> Register:
    """Register an endpoint of the caller `shop` for these types."""

    async def put(*types: str) -> Endpoint:
        settings = load(environment)
        connection = open_redis(settings)
        endpoint = Endpoint(
            id="ep_0000000000000001",
            caller="shop",
            url="https://shop.example/hook",
            types=frozenset(types),
            secrets=(new_secret(),),
            created_at=1,
        )
        try:
            await Webhooks(connection).put(settings.ring(), endpoint)
        finally:
            await connection.aclose()
        return endpoint

    return put


def told(valkey_url: str) -> list[tuple[str, str]]:
    """Type and reason of each entry in the streams of events, in order."""
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        return [
            (fields["type"], fields.get("reason", ""))
            for stream in client.scan_iter("otp:*:events")
            for _, fields in client.xrange(stream)
        ]


@pytest.mark.parametrize(
    ("fault", "events"),
    [
        ("drop_after", [("delivery.unknown", "connection_lost"), ("delivery.accepted", "")]),
        (
            "provider_error",
            [("delivery.unknown", "gateway_error"), ("delivery.failed", "reported_by_site")],
        ),
    ],
)
async def test_a_reconciled_delivery_is_told_of(
    start_traced: Traced,
    register: Register,
    sandbox: Sandbox,
    valkey_url: str,
    fault: str,
    events: list[tuple[str, str]],
) -> None:
    await register()
    service = await start_traced()
    sandbox.fail(kind=fault, times=1)
    await service.request()

    await look(service)
    await look(service, after=60)

    assert [one for one in told(valkey_url) if one[0].startswith("delivery")] == events


async def test_the_person_who_proves_the_delivery_is_told_of_once(
    start_traced: Traced, register: Register, sandbox: Sandbox, valkey_url: str
) -> None:
    await register()
    service = await start_traced()
    sandbox.fail(kind="drop_after", times=1)
    challenge = await service.request()
    await service.verify(challenge, service.code())

    await look(service)

    assert [kind for kind, _ in told(valkey_url)][-3:] == [
        "delivery.unknown",
        "delivery.accepted",
        "challenge.approved",
    ]


async def test_low_credit_and_hints_are_queued_for_endpoints_that_name_them(
    start_traced: Traced, register: Register, valkey_url: str
) -> None:
    await register("credit.low", "wsms.sms")
    service = await start_traced(deliver=False, OTP_WSMS_CREDIT_WARNING="100")

    service.container.credit.seen(50)
    await service.container.credit.report()
    assert (await hook(service, {"api_response": ""})).status_code == 200
    subscriber = {"name": "Ann", "mobile": "+14155550123"}
    assert (await hook(service, subscriber, event="new_subscriber")).status_code == 200

    with redis.Redis.from_url(valkey_url) as client:
        [waiting] = client.scan_iter("otp:{outgoing}:waiting:*")
        assert client.zcard(waiting) == 2
