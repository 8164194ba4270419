"""What the contract says of the newsletter beyond the shared recordings."""

from typing import Any

import httpx
import pytest

from otp_service.sandbox.faults import Fault
from otp_service.sandbox.site import Site

ANN = {"name": "Ann", "mobile": "+447700900301"}


@pytest.fixture
def opt_in(site: Site) -> Site:
    site.settings.newsletter_form_verify = True
    codes = iter(range(1001, 9999))
    site.draw_code = lambda: next(codes)
    return site


def rows(site: Site) -> list[tuple[str, bool, str | None, int]]:
    return [(r.mobile, r.active, r.activate_key, r.group_id) for r in site.subscribers.rows()]


@pytest.mark.parametrize("group", [0, "", "abc", -1, "[1,2]", 99, None, {"a": 1}])
async def test_a_group_that_is_none_is_an_invalid_parameter(
    client: httpx.AsyncClient, site: Site, group: Any
) -> None:
    response = await client.post("newsletter", json={**ANN, "group_id": group})
    assert (response.status_code, response.json()["code"]) == (400, "rest_invalid_param")
    assert rows(site) == []


@pytest.mark.parametrize("group", [[1], [], [1, 2], "1,2", True, 1.5])
async def test_a_list_of_groups_crashes_the_plugin(
    client: httpx.AsyncClient, site: Site, group: Any
) -> None:
    response = await client.post("newsletter", json={**ANN, "group_id": group})
    assert (response.status_code, response.json()["code"]) == (500, "internal_server_error")
    assert rows(site) == []


async def test_asking_again_inside_a_group_keeps_the_old_code_valid(
    client: httpx.AsyncClient, opt_in: Site
) -> None:
    for _ in range(2):
        await client.post("newsletter", json={**ANN, "group_id": 1})
    assert [key for _, _, key, _ in rows(opt_in)] == ["1001", "1002"]
    new = await client.post("newsletter/verify", json={**ANN, "activation": "1002"})
    old = await client.post("newsletter/verify", json={**ANN, "activation": "1001"})
    assert (new.status_code, old.status_code) == (400, 200)


async def test_verifying_without_plus_activates_the_row_with_plus_too(
    client: httpx.AsyncClient, opt_in: Site
) -> None:
    await client.post("newsletter", json={**ANN, "mobile": "447700900301"})
    await client.post("newsletter", json=ANN)
    body = {**ANN, "mobile": "447700900301", "activation": "1001"}
    assert (await client.post("newsletter/verify", json=body)).status_code == 200
    assert [active for _, active, _, _ in rows(opt_in)] == [True, True]


async def test_a_provider_that_is_down_does_not_show(
    client: httpx.AsyncClient, opt_in: Site
) -> None:
    opt_in.settings.wsms_version = "7.2"
    opt_in.break_with(Fault(kind="provider_error"))
    response = await client.post("newsletter", json=ANN)
    assert response.json()["message"].startswith("To activate your subscription")
    assert opt_in.phone.messages() == []


async def test_without_a_gateway_people_are_subscribed_unverified(
    client: httpx.AsyncClient, opt_in: Site
) -> None:
    opt_in.settings.gateway_name = ""
    await client.post("newsletter", json=ANN)
    assert rows(opt_in) == [("+447700900301", True, None, 0)]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("+12025550123", "+4412025550123"),
        ("07700900104", "+447700900104"),
        ("+447700900104", "+447700900104"),
    ],
)
async def test_a_country_prefix_spoils_foreign_numbers(
    client: httpx.AsyncClient, site: Site, given: str, stored: str
) -> None:
    site.settings.mobile_county_code = "+44"
    await client.post("newsletter", json={**ANN, "mobile": given})
    assert rows(site)[0][0] == stored


async def test_an_international_number_gets_no_country_prefix(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.mobile_county_code = "+44"
    site.settings.international_mobile = True
    await client.post("newsletter", json={**ANN, "mobile": "+12025550123"})
    assert rows(site)[0][0] == "+12025550123"


async def test_a_number_without_plus_finds_no_row_with_plus(
    client: httpx.AsyncClient, opt_in: Site
) -> None:
    await client.post("newsletter", json=ANN)
    body = {**ANN, "mobile": "447700900301", "activation": "1001"}
    response = await client.post("newsletter/verify", json=body)
    assert response.json()["error"]["message"] == "Not found the number!"
    assert [active for _, active, _, _ in rows(opt_in)] == [False]


async def test_a_new_subscriber_without_a_code_is_welcomed(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.newsletter_form_welcome = True
    site.settings.newsletter_form_welcome_text = "Welcome to %site_name%"
    await client.post("newsletter", json=ANN)
    assert [one.message for one in site.phone.messages()] == ["Welcome to %site_name%"]


async def test_a_number_with_one_leading_zero_is_stored_as_typed(
    client: httpx.AsyncClient, site: Site
) -> None:
    await client.post("newsletter", json={**ANN, "mobile": "07700 900-104"})
    assert rows(site)[0][0] == "07700 900-104"
    other = await client.post("newsletter/unsubscribe", json={**ANN, "mobile": "07700900104"})
    same = await client.post("newsletter/unsubscribe", json={**ANN, "mobile": "07700 900-104"})
    assert (other.status_code, same.status_code) == (400, 200)


async def test_groups_can_be_required(client: httpx.AsyncClient, site: Site) -> None:
    site.settings.newsletter_form_groups = True
    response = await client.post("newsletter", json=ANN)
    assert response.json()["error"]["message"] == "Please select a specific group."


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    response = await client.head("newsletter")
    assert (response.status_code, response.content) == (200, b"")
