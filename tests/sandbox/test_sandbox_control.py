"""The sandbox's own API and pages: reading phones, breaking things, starting afresh."""

import json
import re
from pathlib import Path

import httpx
import pytest

from otp_service.sandbox import pages, phone
from otp_service.sandbox.faults import PROVIDER_KINDS, Fault
from otp_service.sandbox.site import Site

ROOT = "http://sandbox.test"
SEND = {
    "sender": "App",
    "recipients": "numbers",
    "numbers": ["+14155550123"],
    "message": "Your code is 123456",
}


async def test_messages_come_newest_first_and_by_number(client: httpx.AsyncClient) -> None:
    await client.post("send", json=SEND)
    await client.post("send", json={**SEND, "numbers": ["+447700900001"]})
    await client.post("send", json={**SEND, "message": "second"})
    url = f"{ROOT}/sandbox/messages?to=%2B14155550123"
    messages = (await client.get(url)).json()["messages"]
    assert [one["message"] for one in messages] == ["second", "Your code is 123456"]
    assert messages[0] | {"to": "+14155550123", "sender": "App"} == messages[0]
    assert messages[0]["sent_at"] == "2026-11-23T10:46:35.000Z"
    assert len((await client.get(f"{url}&limit=1")).json()["messages"]) == 1
    assert len((await client.get(f"{ROOT}/sandbox/messages")).json()["messages"]) == 3


async def test_one_number_or_all_can_be_forgotten(client: httpx.AsyncClient, site: Site) -> None:
    await client.post("send", json={**SEND, "numbers": ["+14155550123", "+447700900001"]})
    url = f"{ROOT}/sandbox/messages"
    forgotten = await client.delete(f"{url}?to=%2B14155550123")
    assert forgotten.json() == {"forgotten": 1}
    assert [m.to for m in site.phone.messages()] == ["+447700900001"]
    await client.delete(url)
    assert site.phone.messages() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "nope"}, "kind"),
        ({"kind": "hang", "tims": 1}, "tims"),
        ({"kind": "hang", "times": 0}, "times"),
        ({"kind": "hang", "times": "1"}, "times"),
        ({"kind": "status", "status": 999}, "status"),
        ([{"kind": "hang"}, {"kind": "slow", "delay": -1}], "1.delay"),
        ("hang", ""),
    ],
)
async def test_a_misspelt_fault_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, site: Site, body: object, field: str
) -> None:
    site.break_with(Fault(kind="empty"))
    response = await client.put(f"{ROOT}/sandbox/faults", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field
    assert [fault.kind for fault in site.faults.all()] == ["empty"]


async def test_faults_are_shown_counted_down_and_cleared(
    client: httpx.AsyncClient, site: Site
) -> None:
    url = f"{ROOT}/sandbox/faults"
    await client.put(url, json={"kind": "provider_error", "times": 2, "text": "no"})
    response = await client.post("send", json=SEND)
    assert response.json()["error"]["message"] == "Failed to get success response, no"
    shown = (await client.get(url)).json()
    assert shown == {"faults": [{"kind": "provider_error", "times": 1, "text": "no"}]}
    assert (await client.delete(url)).json() == {"faults": []}
    assert (await client.post("send", json=SEND)).status_code == 200


async def test_a_fault_can_be_meant_for_one_number_or_one_endpoint(
    client: httpx.AsyncClient, site: Site
) -> None:
    site.break_with(
        Fault(kind="status", status=429, to="+447700900001", retry_after="7"),
        Fault(kind="status", status=503, endpoint="credit"),
    )
    assert (await client.post("send", json=SEND)).status_code == 200
    limited = await client.post("send", json={**SEND, "numbers": ["+447700900001"]})
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert (await client.get("credit")).status_code == 503


@pytest.mark.parametrize(
    ("fault", "status", "sent"),
    [
        (Fault(kind="provider_error"), 400, 0),
        (Fault(kind="provider_error_after_sending"), 400, 1),
        (Fault(kind="provider_drop"), 400, 0),
        (Fault(kind="provider_drop_after_sending"), 400, 1),
        (Fault(kind="provider_html"), 200, 1),
        (Fault(kind="provider_empty"), 200, 1),
        (Fault(kind="slow", delay=3), 200, 1),
        (Fault(kind="html"), 200, 0),
        (Fault(kind="html", sent=True), 200, 1),
        (Fault(kind="empty"), 200, 0),
        (Fault(kind="redirect", status=307, location="https://elsewhere.test/"), 307, 0),
        (Fault(kind="maintenance"), 503, 0),
        (Fault(kind="wrong_shape", sent=True), 200, 1),
        (Fault(kind="status", status=401), 401, 0),
        (Fault(kind="status", status=403), 403, 0),
        (Fault(kind="status", status=404), 404, 0),
        (Fault(kind="status", sent=True), 500, 1),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
async def test_each_fault_answers_so_and_reaches_the_phone_or_not(
    client: httpx.AsyncClient, site: Site, fault: Fault, status: int, sent: int
) -> None:
    site.break_with(fault)
    response = await client.post("send", json=SEND)
    assert (response.status_code, len(site.phone.messages())) == (status, sent)


def test_every_kind_of_fault_acts_at_the_provider_or_at_the_site() -> None:
    assert "slow" in PROVIDER_KINDS
    assert not Fault(kind="hang").at_provider


async def test_settings_change_by_name_and_unknown_ones_are_refused(
    client: httpx.AsyncClient, site: Site
) -> None:
    url = f"{ROOT}/sandbox/settings"
    changed = await client.put(url, json={"newsletter_form_verify": True})
    assert changed.json()["newsletter_form_verify"] is True
    assert site.settings.gateway_name == "mobilemessage"
    refused = await client.put(url, json={"newsletter_verify": True})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "newsletter_verify"


async def test_reset_brings_back_the_site_as_it_was_made(
    client: httpx.AsyncClient, site: Site
) -> None:
    await client.post("send", json=SEND)
    site.settings.maintenance = True
    site.break_with(Fault(kind="hang"))
    assert (await client.post(f"{ROOT}/sandbox/reset")).status_code == 204
    assert (site.phone.messages(), site.outbox.rows(), site.faults.all()) == ([], [], [])
    assert site.settings.maintenance is False
    assert site.subscribers.groups == {1: "Staff", 2: "Ops"}


async def test_another_sites_page_may_not_change_anything(client: httpx.AsyncClient) -> None:
    elsewhere = {"Origin": "https://elsewhere.test"}
    response = await client.post(f"{ROOT}/sandbox/reset", headers=elsewhere)
    assert response.status_code == 403
    own = await client.post(f"{ROOT}/sandbox/reset", headers={"Origin": ROOT})
    assert own.status_code == 204


async def test_state_shows_outbox_and_subscribers(client: httpx.AsyncClient) -> None:
    await client.post("send", json=SEND)
    await client.post("newsletter", json={"name": "Ann", "mobile": "+447700900101", "group_id": 1})
    state = (await client.get(f"{ROOT}/sandbox/state")).json()
    assert state["outbox"][0]["message"] == SEND["message"]
    assert state["subscribers"][0]["group"] == "Staff"
    assert (state["credit"], state["queued"], state["faults"]) == (4711, 0, [])


async def test_accounts_are_listed_without_their_passwords(client: httpx.AsyncClient) -> None:
    shown = (await client.get(f"{ROOT}/sandbox/users")).text
    assert "admin" in shown
    assert "AbCd" not in shown


@pytest.mark.parametrize("path", ["/", "/outbox"])
async def test_pages_warn_run_no_inline_script_and_ask_nobody_else(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.get(f"{ROOT}{path}")
    assert "This is no real site." in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", response.text)
    linked = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert all(link.startswith("/") for link in linked)
    for link in linked:
        assert (await client.get(f"{ROOT}{link}")).status_code == 200, link


def test_scripts_never_write_markup() -> None:
    for script in Path(pages.STATIC).glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script.read_text()
        )


async def test_the_stream_begins_with_what_there_is_and_goes_on(site: Site) -> None:
    site.phone.receive("+14155550123", "one\n\ntwo", "App")
    stream = pages.events(site)
    assert "event: forget" in await anext(stream)
    first = await anext(stream)
    assert json.loads(first.partition("data: ")[2])["message"] == "one\n\ntwo"
    site.phone.receive("+14155550123", "three", "App")
    second = await anext(stream)
    assert second.startswith(f"id: {site.phone.token}-2\n")
    site.phone.forget()
    assert "event: forget" in await anext(stream)
    site.close()
    assert [one async for one in stream] == []


async def test_a_cut_stream_goes_on_where_it_was(site: Site) -> None:
    for text in ("one", "two"):
        site.phone.receive("+14155550123", text, "App")
    stream = pages.events(site, f"{site.phone.token}-1")
    assert "two" in await anext(stream)
    await stream.aclose()


async def test_a_stream_of_an_earlier_process_starts_afresh(site: Site) -> None:
    for text in ("one", "two"):
        site.phone.receive("+14155550123", text, "App")
    stream = pages.events(site, "0badcafe-1")
    assert "event: forget" in await anext(stream)
    assert "one" in await anext(stream)
    await stream.aclose()


def test_memory_is_bounded(site: Site) -> None:
    small = phone.Phone(site.now, capacity=3)
    for i in range(5):
        small.receive("+1", f"m{i}", None)
    assert [m.message for m in small.messages()] == ["m4", "m3", "m2"]
    small = phone.Phone(site.now, characters=10)
    for text in ("one", "two", "x" * 9):
        small.receive("+1", text, None)
    assert [m.message for m in small.messages()] == ["x" * 9]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8025", 200),
        ("[::1]:8025", 200),
        ("localhost:8025", 200),
        ("shop.localhost", 200),
        ("192.0.2.7", 200),
        ("sandbox.test", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8025", 421),
    ],
)
async def test_foreign_host_names_are_refused(
    client: httpx.AsyncClient, host: str, status: int
) -> None:
    """E14: a page of another site whose name points to 127.0.0.1 reads no code (DNS rebinding)."""
    for path in ("/sandbox/messages", "/wp-json/", "/"):
        answer = await client.get(ROOT + path, headers={"Host": host})
        assert answer.status_code == status
