"""What the sandbox does as WSMS 7.2.8 and not as 7.2."""

from datetime import timedelta

import httpx
import pytest
from recorded_sites import Clock

from otp_service.sandbox.faults import Fault
from otp_service.sandbox.settings import NEWEST_VERSION, SiteSettings
from otp_service.sandbox.site import Site

ANN = {"name": "Ann", "mobile": "+447700900301"}
TOO_MANY = "Too many attempts. Please try again later."
WRONG = "Activation code is wrong!"


@pytest.fixture
def opt_in(site: Site) -> Site:
    """A site with double opt-in that draws 5678."""
    site.settings.newsletter_form_verify = True
    return site


async def subscribe(client: httpx.AsyncClient, mobile: str = ANN["mobile"]) -> httpx.Response:
    return await client.post("newsletter", json={**ANN, "mobile": mobile})


async def verify(client: httpx.AsyncClient, code: str, mobile: str = ANN["mobile"]) -> str:
    """Return what the site says."""
    body = {**ANN, "mobile": mobile, "activation": code}
    answer = (await client.post("newsletter/verify", json=body)).json()
    return str(answer["error"]["message"] if answer["error"] else answer["message"])


async def guess(client: httpx.AsyncClient, count: int) -> list[str]:
    return [await verify(client, "1000") for _ in range(count)]


def test_the_sandbox_imitates_the_newest_release() -> None:
    assert SiteSettings().wsms_version == NEWEST_VERSION == "7.2.8"


async def test_ten_wrong_codes_refuse_the_right_one(
    client: httpx.AsyncClient, opt_in: Site
) -> None:
    await subscribe(client)
    await subscribe(client, "+447700900302")

    assert await guess(client, 12) == [WRONG] * 10 + [TOO_MANY] * 2
    assert await verify(client, "5678") == TOO_MANY
    await subscribe(client)
    assert await verify(client, "5678") == TOO_MANY
    assert (await verify(client, "5678", "+447700900302")).endswith("successfully subscribed.")


async def test_each_wrong_code_renews_the_quarter_hour(
    client: httpx.AsyncClient, opt_in: Site, clock: Clock
) -> None:
    await subscribe(client)
    await guess(client, 9)
    clock.time += timedelta(minutes=14)
    await guess(client, 1)
    clock.time += timedelta(minutes=14)
    assert await verify(client, "5678") == TOO_MANY
    clock.time += timedelta(minutes=1)
    assert (await verify(client, "5678")).endswith("successfully subscribed.")


async def test_a_right_code_deletes_the_count(client: httpx.AsyncClient, opt_in: Site) -> None:
    for _ in range(2):
        await subscribe(client)
        assert await guess(client, 9) == [WRONG] * 9
        await verify(client, "5678")
        await client.post("newsletter/unsubscribe", json=ANN)


async def test_codes_for_an_unknown_number_are_not_counted(
    client: httpx.AsyncClient, opt_in: Site
) -> None:
    assert await guess(client, 12) == ["Not found the number!"] * 12
    await subscribe(client)
    assert (await verify(client, "5678")).endswith("successfully subscribed.")


@pytest.mark.parametrize("typed", ["05678", "5678.0", " 5678", "+5678"])
@pytest.mark.parametrize(("version", "passes"), [("7.2", True), ("7.2.8", False)])
async def test_codes_are_compared_as_text(
    client: httpx.AsyncClient, opt_in: Site, typed: str, version: str, passes: bool
) -> None:
    opt_in.configure(wsms_version=version)
    await subscribe(client)
    assert (await verify(client, typed)).endswith("successfully subscribed.") is passes


@pytest.mark.parametrize("setting", ["newsletter_form_verify", "newsletter_form_welcome"])
async def test_a_refused_sms_undoes_the_subscription(
    client: httpx.AsyncClient, site: Site, setting: str
) -> None:
    setattr(site.settings, setting, True)
    site.subscribers.add(site.local_time(), "Ann", ANN["mobile"], active=True, group_id=1)
    site.break_with(Fault(kind="provider_error", text="no credit"))
    refused = await client.post("newsletter", json={**ANN, "group_id": 2})

    assert refused.status_code == 400
    assert "no credit" in refused.json()["error"]["message"]
    assert [row.group_id for row in site.subscribers.rows()] == [1]


async def test_the_old_release_keeps_what_was_not_sent(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.wsms_version = "7.2"
    site.settings.newsletter_form_welcome = True
    site.break_with(Fault(kind="provider_error"))

    assert (await subscribe(client)).status_code == 200
    assert [row.active for row in site.subscribers.rows()] == [True]


def test_every_setting_is_described() -> None:
    """docs/sandbox.md shows the descriptions."""
    fields = SiteSettings.model_fields
    assert [name for name, field in fields.items() if not field.description] == []
