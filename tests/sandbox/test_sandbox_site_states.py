"""A site changes under its callers' feet: each state an administrator or an outage can bring."""

from datetime import datetime

import httpx
import pytest
from pydantic import ValidationError

from otp_service.sandbox.app import create_app
from otp_service.sandbox.faults import Fault
from otp_service.sandbox.site import Site
from otp_service.sandbox.users import default_user

SEND = {
    "sender": "App",
    "recipients": "numbers",
    "numbers": ["+447700900001"],
    "message": "Your code is 123456",
}
CONTROL = "http://sandbox.test/sandbox/"


async def test_maintenance_is_503_as_json_only_for_those_who_ask(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.maintenance = True
    response = await client.get("credit")
    assert (response.status_code, response.json()["code"]) == (503, "wp_die")
    assert response.headers["Retry-After"] == "600"
    page = await client.get("credit", headers={"Accept": "*/*"})
    assert (page.status_code, page.headers["Content-Type"][:9]) == (503, "text/html")


async def test_a_translated_site_keeps_statuses_and_shapes(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.locale = "de_DE"
    site.settings.newsletter_form_verify = True
    response = await client.post("send", json=SEND)
    assert set(response.json()) == {"message", "error", "data"}
    assert response.json()["message"] != "Successfully send SMS!"
    await client.post("newsletter", json={"name": "Ann", "mobile": "+447700900301"})
    assert site.phone.messages()[0].message == "5678 ist Ihr Aktivierungscode"


async def test_the_outbox_writes_the_sites_own_time_without_a_zone(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.timezone = "Asia/Tehran"
    await client.post("send", json=SEND)
    item = (await client.get("outbox")).json()["data"]["items"][0]
    assert item["date"] == "2026-11-23 14:16:35"
    assert item["date_formatted"] == "November 23, 2026, 2:16 pm"
    index = await client.get("http://sandbox.test/wp-json/")
    assert (index.json()["gmt_offset"], index.json()["timezone_string"]) == (3.5, "Asia/Tehran")


async def test_rows_within_one_second_may_come_in_any_order(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.unstable_ties = True
    for i in range(30):
        await client.post("send", json={**SEND, "message": f"m{i}"})
    orders = set()
    for _ in range(5):
        data = (await client.get("outbox", params={"per_page": 30})).json()["data"]
        orders.add(tuple(item["id"] for item in data["items"]))
    assert len(orders) > 1


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        (("nobody", "x"), "invalid_username"),
        (("nobody@rig.test", "x"), "invalid_email"),
        (("admin", "x"), "incorrect_password"),
    ],
)
async def test_a_plugin_that_asks_early_shows_what_is_wrong_with_credentials(
    client: httpx.AsyncClient, site: Site, auth: tuple[str, str], code: str
) -> None:
    site.settings.early_authentication = True
    response = await client.post("send", json={}, auth=auth)
    assert (response.status_code, response.json()["code"]) == (401, code)


async def test_a_capability_can_be_taken_and_a_password_revoked(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.users.add(default_user("otp", "secret word"))
    auth = ("otp", "secretword")
    assert (await client.post("send", json=SEND, auth=auth)).status_code == 200
    await client.put(f"{CONTROL}users", json={"login": "otp", "capabilities": ["wpsms_outbox"]})
    assert (await client.post("send", json=SEND, auth=auth)).status_code == 403
    await client.put(f"{CONTROL}users", json={"login": "otp", "application_passwords": []})
    assert (await client.post("send", json=SEND, auth=auth)).status_code == 401


async def test_the_index_is_public_and_says_that_this_is_no_real_site(
    client: httpx.AsyncClient, site: Site
) -> None:
    index = await client.get("http://sandbox.test/wp-json/", headers={"Authorization": ""})
    assert "no real site" in index.json()["description"]
    assert "no SMS leaves it" in index.headers["X-OTP-Sandbox"]
    site.settings.plugin_active = False
    index = await client.get("http://sandbox.test/wp-json")
    assert "wpsms/v1" not in index.json()["namespaces"]
    assert (await client.get("http://sandbox.test/wp-json/wpsms/v1")).status_code == 404


@pytest.mark.parametrize("prefix", ["/?rest_route=", "/index.php?rest_route=", "/wp-json"])
async def test_the_rest_api_answers_with_and_without_pretty_links(
    client: httpx.AsyncClient, prefix: str
) -> None:
    response = await client.get(f"http://sandbox.test{prefix}/wpsms/v1/credit")
    assert response.json() == {"credit": None, "creditSupported": False}


async def test_options_describes_a_route_to_anybody(client: httpx.AsyncClient) -> None:
    response = await client.options("send", headers={"Authorization": ""})
    assert response.json()["methods"] == ["POST"]
    assert "Allow" not in response.headers


async def test_a_listed_route_that_is_not_imitated_says_so(client: httpx.AsyncClient) -> None:
    assert (await client.get("settings/gateways")).status_code == 501


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ("per_page=0", 500),
        ("per_page=abc", 500),
        ("per_page=", 500),
        ("per_page=101", 100),
        ("per_page=-5", 5),
        ("page=99999999999999999999999&per_page=7", 7),
    ],
)
async def test_page_sizes_are_read_as_php_reads_them(
    client: httpx.AsyncClient, query: str, outcome: int
) -> None:
    response = await client.get(f"outbox?{query}")
    if outcome == 500:
        assert (response.status_code, response.json()["code"]) == (500, "internal_server_error")
    else:
        assert response.json()["data"]["pagination"]["per_page"] == outcome


@pytest.mark.parametrize(("page", "current"), [("-1", 1), ("0", 0), ("x", 0)])
async def test_page_zero_is_an_empty_page(
    client: httpx.AsyncClient, page: str, current: int
) -> None:
    await client.post("send", json=SEND)
    data = (await client.get("outbox", params={"page": page})).json()["data"]
    assert data["pagination"]["current_page"] == current
    assert len(data["items"]) == (1 if current else 0)


async def test_two_sites_share_nothing() -> None:
    def one() -> Site:
        return Site(users=[default_user("otp", "pw")], now=lambda: datetime.now().astimezone())

    first, second = one(), one()
    transport = httpx.ASGITransport(create_app(first, hosts=["s"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://s", auth=("otp", "pw")) as c:
        await c.post("/wp-json/wpsms/v1/send", json=SEND)
    assert (len(first.phone.messages()), len(second.phone.messages())) == (1, 0)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://hooks.example.com/a?b=1", 200),
        ("http://hooks.example.com/", 400),
        ("HTTPS://hooks.example.com/", 400),
        ("hooks.example.com", 400),
        ("https://höoks.example.com/", 400),
        ("https://hooks.example.com/a b", 400),
        (["https://hooks.example.com/"], 500),
    ],
)
async def test_webhooks_must_be_plain_ascii_https(
    client: httpx.AsyncClient, url: object, status: int
) -> None:
    response = await client.post("webhook", json={"webhook_url": url, "type": "new_sms"})
    assert response.status_code == status
    if status == 400:
        data = response.json()["data"]
        assert (data["params"], data["details"]) == ({"webhook_url": "Invalid parameter."}, [])


async def test_unsubscribing_a_webhook_that_was_never_there_is_fine(
    client: httpx.AsyncClient,
) -> None:
    body = {"webhook_url": "https://hooks.example.com/", "type": "new_sms"}
    assert (await client.request("DELETE", "webhook", json=body)).status_code == 200
    assert (await client.get("webhook")).status_code == 404


async def test_wsms_8_has_its_own_namespace_and_none_of_these_routes(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.settings.wsms_version = "8"

    index = (await client.get("http://sandbox.test/wp-json/")).json()
    answers = [await client.post("send", json=SEND), await client.get("credit")]

    assert "wsms/v1" in index["namespaces"]
    assert "wpsms/v1" not in index["namespaces"]
    assert {(a.status_code, a.json()["code"]) for a in answers} == {(404, "rest_no_route")}


async def test_a_503_of_a_proxy_does_not_look_like_maintenance(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.break_with(Fault(kind="status", status=503, times=1), Fault(kind="maintenance"))

    proxy = await client.post("send", json=SEND)
    maintenance = await client.post("send", json=SEND)

    assert (proxy.status_code, "wp_die" in proxy.text) == (503, False)
    assert (maintenance.json()["code"], maintenance.headers["Retry-After"]) == ("wp_die", "600")
    with pytest.raises(ValidationError, match="nothing is sent"):
        Fault(kind="maintenance", sent=True)
