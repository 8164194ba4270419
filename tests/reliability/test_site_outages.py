"""Faults that every call to the site meets: warned of after three in a row until a call succeeds, and logged twice."""

from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from otp_service.services.site_outages import CALLS_IN_A_ROW, SiteOutages
from otp_service.wsms.call_results import CallResult, OutageReason
from otp_service.wsms.models import Capability
from tests.conftest import Sandbox, Service
from tests.reliability.harness import number

Break = Callable[[Sandbox], object]

OUTAGES: dict[str, Break] = {
    "not_authorized": lambda sandbox: sandbox.fail(kind="status", status=401, endpoint="*"),
    "no_route": lambda sandbox: sandbox.settings(plugin_active=False),
    "no_route: the site has no": lambda sandbox: sandbox.settings(wsms_version="8"),
    "gateway_not_configured": lambda sandbox: sandbox.settings(gateway_name=""),
    "capability_missing: the WordPress user lacks wpsms_sendsms": lambda sandbox: sandbox.fail(
        kind="status", status=403
    ),
    "maintenance": lambda sandbox: sandbox.settings(maintenance=True),
    "redirected": lambda sandbox: sandbox.fail(kind="redirect", endpoint="*"),
    "not_wsms": lambda sandbox: sandbox.fail(kind="html", endpoint="*"),
}


async def warned(service: Service) -> str:
    """The warning of the site; the service stays alive and ready whatever it says."""
    assert (await service.http.get("/healthz")).status_code == 200
    ready = await service.http.get("/readyz")
    assert ready.status_code == 200
    assert REGISTRY.get_sample_value("otp_check_failed", {"check": "site"}) == float(
        "site" in ready.json()["warnings"]
    )
    return str(ready.json()["warnings"].get("site", ""))


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines about the site as a whole."""
    return [line for line in capsys.readouterr().out.splitlines() if " site." in line]


@pytest.mark.parametrize(("words", "break_site"), OUTAGES.items(), ids=OUTAGES.keys())
async def test_outage_warns_from_third_call_until_success(
    service: Service, words: str, break_site: Break, capsys: pytest.CaptureFixture[str]
) -> None:
    break_site(service.sandbox)
    await service.request(to=number(1))
    await service.request(to=number(2))
    assert await warned(service) == ""
    assert logged(capsys) == []

    await service.request(to=number(3))
    await service.request(to=number(4))

    assert (await warned(service)).startswith(words)
    [begin] = logged(capsys)
    reason = words.partition(":")[0]
    assert all(part in begin for part in ("[warning", " site.outage ", f" reason={reason}"))

    service.sandbox.reset()
    assert (await service.request(to=number(5)))["delivery"]["status"] == "accepted"
    await service.request(to=number(6))

    assert await warned(service) == ""
    [end] = logged(capsys)
    assert all(part in end for part in (" site.recovered ", f" reason={reason}", " failures=4"))


async def test_failures_of_all_kinds_of_calls_are_one_row(service: Service) -> None:
    """A send, a newsletter call and a credit look-up, each by a client of its own."""
    service.sandbox.settings(plugin_active=False)
    await service.request()
    await service.post("/optin/unsubscribe", name="Ann", mobile=number(1))
    assert await warned(service) == ""

    await service.container.credit.poll()

    assert (await warned(service)).startswith("no_route")

    service.sandbox.settings(plugin_active=True)
    await service.post("/optin/unsubscribe", name="Ann", mobile=number(2))
    assert await warned(service) == ""


async def test_credit_call_does_not_end_a_missing_gateway(service: Service) -> None:
    """GET /credit is answered with 200 on a site without a gateway, as seen on a real one."""
    service.sandbox.settings(gateway_name="")
    for i in range(3):
        await service.request(to=number(i))

    await service.container.credit.poll()

    assert (await warned(service)).startswith("gateway_not_configured")


def failed(reason: OutageReason, capability: Capability = Capability.SEND) -> CallResult:
    return CallResult(capability=capability, outage=reason)


def succeeded(capability: Capability) -> CallResult:
    return CallResult(capability=capability, succeeded=True)


def test_success_between_failures_starts_the_count_anew() -> None:
    outages = SiteOutages()
    for _ in range(CALLS_IN_A_ROW):
        outages.note(failed(OutageReason.NO_ROUTE))
        outages.note(failed(OutageReason.NOT_AUTHORIZED))
        outages.note(succeeded(Capability.OUTBOX))

    assert outages.warnings == {}


def test_answer_that_proves_nothing_changes_no_count() -> None:
    """A 500, or a 400 of WordPress, which checks parameters before it checks who calls."""
    outages = SiteOutages()
    for _ in range(CALLS_IN_A_ROW):
        outages.note(failed(OutageReason.NOT_AUTHORIZED))
        outages.note(CallResult(capability=Capability.SEND))

    assert "not_authorized" in outages.warnings["site"]


def test_missing_capability_ends_with_a_call_that_needs_it() -> None:
    outages = SiteOutages()
    for _ in range(CALLS_IN_A_ROW):
        outages.note(failed(OutageReason.NOT_AUTHORIZED))
    for _ in range(CALLS_IN_A_ROW):
        outages.note(failed(OutageReason.CAPABILITY_MISSING, Capability.OUTBOX))
    outages.note(succeeded(Capability.SEND))
    assert list(outages.warnings.values()) == [
        "capability_missing: the WordPress user lacks wpsms_outbox"
    ]

    outages.note(succeeded(Capability.OUTBOX))

    assert outages.warnings == {}


def test_missing_gateway_ends_what_is_checked_before_it() -> None:
    """The plugin answered, so the route is there, the credential accepted and the capability granted."""
    outages = SiteOutages()
    for reason in (
        OutageReason.NO_ROUTE,
        OutageReason.CAPABILITY_MISSING,
        OutageReason.GATEWAY_NOT_CONFIGURED,
    ):
        for _ in range(CALLS_IN_A_ROW):
            outages.note(failed(reason))

        assert outages.warnings["site"].partition(":")[0] == reason
        assert ";" not in outages.warnings["site"]
