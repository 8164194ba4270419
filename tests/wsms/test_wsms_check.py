"""The check tells what is missing, and neither sends, changes nor reads anything private."""

from typing import Any

import pytest
from odd_sites import INDEX, NUMBER, PASSWORD, OddSite, client_of

from otp_service.sandbox.site import Site
from otp_service.wsms import (
    Capability,
    CapabilityMissing,
    NoSuchRoute,
    NotAuthorized,
    SiteDown,
    SiteReport,
    UnexpectedResponse,
    WsmsClient,
)
from otp_service.wsms.advice import findings


def advice(report: SiteReport) -> dict[str, str]:
    return {finding.what: finding.advice for finding in findings(report) if not finding.ok}


async def test_a_site_that_is_all_right(wsms: WsmsClient, sandbox: Site) -> None:
    before = len(sandbox.outbox.rows()), len(sandbox.subscribers.rows())

    report = await wsms.check()

    assert report.ready_to_send
    assert report.index.version == "7"
    assert report.missing_routes == ()
    assert report.authorized is True
    assert set(report.capabilities.values()) == {True}
    assert advice(report) == {"https": "Only for a site on loopback."}
    assert (len(sandbox.outbox.rows()), len(sandbox.subscribers.rows())) == before
    assert sandbox.phone.messages() == []


async def test_no_message_is_read_by_the_check(wsms: WsmsClient, odd: OddSite) -> None:
    """The probe of wpsms_outbox asks for page 0, which is empty (contract 3.5)."""
    odd.answers(400, {"error": {"code": 400, "message": "no"}})
    async with client_of(odd.url) as client:
        await client.check()

    (outbox,) = [seen.target for seen in odd.seen if "/outbox" in seen.target]
    assert outbox == "/wp-json/wpsms/v1/outbox?page=0&per_page=1"


async def test_the_public_indexes_are_asked_without_the_credential(
    odd: OddSite, client: WsmsClient
) -> None:
    odd.answers(404)

    await client.check()

    public = [s for s in odd.seen if s.target.endswith("/v1") or "_fields" in s.target]
    assert len(public) == 2
    assert all("authorization" not in seen.headers for seen in public)


@pytest.mark.parametrize("capability", list(Capability))
async def test_a_missing_capability_is_named(
    wsms: WsmsClient, sandbox: Site, capability: Capability
) -> None:
    sandbox.users.all()[0].capabilities.discard(str(capability))

    report = await wsms.check()

    assert [c for c, has in report.capabilities.items() if not has] == [capability]
    assert report.authorized is True
    assert "role" in advice(report)[str(capability)]
    assert report.ready_to_send is (capability is not Capability.SEND)


async def test_a_wrong_password_is_told_from_a_missing_capability(sandbox_url: str) -> None:
    async with WsmsClient(sandbox_url, "otp", "wrong") as wsms:
        report = await wsms.check()

    assert report.authorized is False
    assert not report.ready_to_send
    assert "application password" in advice(report)["credential"]
    assert advice(report)["wpsms_sendsms"].startswith("Unknown until")


async def test_application_passwords_switched_off(wsms: WsmsClient, sandbox: Site) -> None:
    sandbox.settings.application_passwords = False

    report = await wsms.check()

    assert not report.index.application_passwords
    assert report.authorized is False
    assert "https" in advice(report)["application passwords"]


async def test_the_plugin_switched_off(wsms: WsmsClient, sandbox: Site) -> None:
    sandbox.settings.plugin_active = False

    report = await wsms.check()

    assert report.index.version is None
    assert "Install and activate" in advice(report)["plugin"]
    assert advice(report)["wpsms_sendsms"] == "Unknown until the plugin is active."
    with pytest.raises(NoSuchRoute):
        await wsms.credit.stored()


async def test_version_8_is_recognised(odd: OddSite, client: WsmsClient) -> None:
    """Contract 5: none of the seven endpoints is there."""
    odd.index = {**INDEX, "namespaces": ["wsms/v1"]}
    odd.answers(404, {"code": "rest_no_route", "message": "m", "data": {"status": 404}})

    report = await client.check()

    assert report.index.version == "8"
    assert "7.2" in advice(report)["plugin"]
    assert set(report.capabilities.values()) == {False}
    assert report.authorized is None


async def test_the_release_is_read_from_the_readme(wsms: WsmsClient, sandbox: Site) -> None:
    sandbox.settings.wsms_version = "7.2"

    report = await wsms.check()

    assert report.release == "7.2"
    assert "version" not in advice(report)


async def test_administrators_see_the_release_without_the_readme(
    wsms: WsmsClient, sandbox: Site
) -> None:
    sandbox.settings.readme_hidden = True

    hidden = await wsms.check()
    sandbox.users.all()[0].role = "administrator"
    shown = await wsms.check()

    assert (hidden.release, shown.release) == (None, "7.2.8")
    assert "WordPress > Plugins" in advice(hidden)["version"]


async def test_an_untested_release_is_warned_of(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(200, b"=== WSMS ===\nStable tag: 7.9.1\n", {"Content-Type": "text/plain"})

    report = await client.check()

    assert report.release == "7.9.1"
    assert advice(report)["version"].startswith("7.9.1 has not been tested")
    readme = next(seen for seen in odd.seen if seen.target.endswith("readme.txt"))
    assert readme.target == "/wp-content/plugins/wp-sms/readme.txt"
    assert "authorization" not in readme.headers


@pytest.mark.parametrize("text", [b"Stable tag: trunk", b"<html>Stable tag: 7.2</html>", b""])
async def test_a_readme_without_a_release_shows_none(
    odd: OddSite, client: WsmsClient, text: bytes
) -> None:
    odd.answers(200, text, {"Content-Type": "text/plain"})

    assert (await client.check()).release is None


async def test_routes_that_are_missing_are_listed(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(200, {"routes": {"/wpsms/v1/send": {}}})

    report = await client.check()

    assert "/send" not in report.missing_routes
    assert "/outbox" in report.missing_routes
    assert "/outbox" in advice(report)["plugin"]


async def test_maintenance_and_no_wordpress_at_all(odd: OddSite, client: WsmsClient) -> None:
    odd.index = {"hello": "world"}
    odd.answers(200)
    with pytest.raises(UnexpectedResponse, match="no REST index"):
        await client.check()

    async def unavailable(talk: Any, site: OddSite) -> None:
        await site.read(talk)
        await talk.answer(503)

    odd.behave = unavailable
    async with client_of(odd.url) as other:
        with pytest.raises(SiteDown, match="503"):
            await other.check()


async def test_maintenance_is_named(
    wsms: WsmsClient, sandbox: Site, odd: OddSite, client: WsmsClient
) -> None:
    sandbox.settings.maintenance = True
    with pytest.raises(SiteDown, match="maintenance"):
        await wsms.check()

    maintenance = {"code": "wp_die", "message": "Briefly", "data": {"status": 503}}
    odd.answers(503, maintenance)  # it begins after the index was read
    report = await client.check()
    assert "maintenance" in report.notes[Capability.SEND]
    assert set(report.capabilities.values()) == {None}


async def test_a_probe_that_fails_leaves_its_capability_open(
    odd: OddSite, client: WsmsClient
) -> None:
    odd.answers(500, b"<html>", {"Content-Type": "text/html"})

    report = await client.check()

    assert set(report.capabilities.values()) == {None}
    assert report.authorized is None
    assert report.notes[Capability.SEND] == "status 500 in no shape of WSMS"


async def test_a_check_works_while_the_breaker_is_open(wsms: WsmsClient) -> None:
    wsms.breaker.pause(60)

    assert (await wsms.check()).ready_to_send


async def test_a_site_that_changes_under_our_feet(wsms: WsmsClient, sandbox: Site) -> None:
    """Credential revoked, capability taken, database down: each is its own error."""
    user = sandbox.users.all()[0]
    user.capabilities.discard("wpsms_setting")
    with pytest.raises(CapabilityMissing, match="wpsms_setting"):
        await wsms.credit.stored()
    user.application_passwords = []
    with pytest.raises(NotAuthorized):
        await wsms.newsletter.subscribers()
    user.application_passwords = [PASSWORD]
    sandbox.settings.maintenance = True
    with pytest.raises(SiteDown):
        await wsms.newsletter.subscribe(name="Ann", mobile=NUMBER)
