"""The credential, the number and the code reach the site, and nobody else (G01, G02, G03, G04, G07)."""

import base64
import logging
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from odd_sites import NUMBER, PASSWORD, SHORT, SUCCESS, OddSite, Talk, client_of, odd_site

from otp_service.wsms import (
    Accepted,
    Refused,
    RefusedReason,
    SendOutcome,
    Unknown,
    UnknownReason,
    WsmsClient,
)
from otp_service.wsms.scrub import scrub

MESSAGE = "Your sign-in code for Example is 123456"
TOKEN = base64.b64encode(f"otp:{PASSWORD}".encode()).decode()


async def send(client: WsmsClient) -> SendOutcome:
    return await client.send(message=MESSAGE, numbers=NUMBER)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(odd: OddSite, status: int) -> None:
    """G01: neither the credential nor the code goes where the site points."""
    async with odd_site() as inside:
        inside.answers(200, SUCCESS)
        odd.answers(status, b"", {"Location": inside.url + "/latest/meta-data"})
        async with client_of(odd.url) as client:
            outcome = await send(client)

        assert isinstance(outcome, Unknown)
        assert outcome.reason is UnknownReason.REDIRECTED
        assert inside.seen == []


async def test_control_a_client_that_follows_redirects_gives_the_code_away(odd: OddSite) -> None:
    """Negative control for G01: the test above can fail."""
    async with odd_site() as inside:
        inside.answers(200, SUCCESS)
        odd.answers(307, b"", {"Location": inside.url + "/latest/meta-data"})
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as naive:
            await naive.post(odd.url, json={"message": MESSAGE}, auth=("otp", PASSWORD))

        assert b"123456" in inside.seen[0].body


async def test_proxies_and_netrc_of_the_environment_are_ignored(
    odd: OddSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """G02."""
    odd.answers(200, SUCCESS)
    async with odd_site() as proxy:
        proxy.answers(200, SUCCESS)
        _point_environment_at(proxy, monkeypatch, tmp_path)
        async with client_of(odd.url) as client:
            outcome = await send(client)

        assert isinstance(outcome, Accepted)
        assert proxy.seen == []
        assert odd.seen[0].headers["authorization"] == f"Basic {TOKEN}"


async def test_control_a_client_that_trusts_the_environment_talks_to_the_proxy(
    odd: OddSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Negative control for G02."""
    async with odd_site() as proxy:
        proxy.answers(200, SUCCESS)
        _point_environment_at(proxy, monkeypatch, tmp_path)
        async with httpx.AsyncClient() as naive:
            await naive.post(odd.url, json={"message": MESSAGE}, auth=("otp", PASSWORD))

        assert b"123456" in proxy.seen[0].body


async def test_a_certificate_is_verified(tmp_path: Path) -> None:
    """G03: a site nobody vouches for gets no byte of the request."""
    tls, _ = _certificate(tmp_path, address="127.0.0.1")
    async with odd_site(tls) as site:
        site.answers(200, SUCCESS)
        async with client_of(site.url) as client:
            outcome = await send(client)

        assert isinstance(outcome, Refused)
        assert outcome.reason is RefusedReason.UNTRUSTED_CERTIFICATE
        assert site.seen == []


async def test_an_untrusted_certificate_is_not_asked_for_again() -> None:
    """Unlike a connection that fails, it will be the same a moment later."""
    tries = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal tries
        tries += 1
        raise httpx.ConnectError("no") from ssl.SSLCertVerificationError()

    async with client_of("https://a.example", transport=httpx.MockTransport(answer)) as client:
        outcome = await send(client)

    assert isinstance(outcome, Refused)
    assert outcome.reason is RefusedReason.UNTRUSTED_CERTIFICATE
    assert tries == 1


async def test_a_private_authority_can_be_trusted(tmp_path: Path) -> None:
    """Control for the refusals around it: the very same server, once it is vouched for."""
    tls, ca_file = _certificate(tmp_path, address="127.0.0.1")
    async with odd_site(tls) as site:
        site.answers(200, SUCCESS)
        async with client_of(site.url, ca_file=str(ca_file)) as client:
            assert isinstance(await send(client), Accepted)


@pytest.mark.parametrize(
    ("address", "days_left"), [("127.0.0.2", 1), ("127.0.0.1", -1)], ids=["wrong host", "expired"]
)
async def test_a_wrong_or_expired_certificate_is_refused(
    tmp_path: Path, address: str, days_left: int
) -> None:
    tls, ca_file = _certificate(tmp_path, address=address, days_left=days_left)
    async with odd_site(tls) as site:
        site.answers(200, SUCCESS)
        async with client_of(site.url, ca_file=str(ca_file)) as client:
            outcome = await send(client)

        assert isinstance(outcome, Refused)
        assert outcome.reason is RefusedReason.UNTRUSTED_CERTIFICATE
        assert site.seen == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
async def test_old_tls_is_refused(tmp_path: Path) -> None:
    tls, ca_file = _certificate(tmp_path, address="127.0.0.1")
    tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    tls.maximum_version = ssl.TLSVersion.TLSv1_1
    async with odd_site(tls) as site:
        site.answers(200, SUCCESS)
        async with client_of(site.url, ca_file=str(ca_file)) as client:
            outcome = await send(client)

        assert isinstance(outcome, Refused)
        assert outcome.reason is RefusedReason.CONNECT_FAILED
        assert site.seen == []


async def test_a_message_that_went_out_before_the_timeout_goes_out_once(
    odd: OddSite, client: WsmsClient
) -> None:
    """G04."""
    odd.behave = _send_then_hang

    outcome = await client.send(message=MESSAGE, numbers=NUMBER, deadline=SHORT)

    assert isinstance(outcome, Unknown)
    assert len(odd.seen) == 1


async def test_control_a_client_that_retries_timeouts_sends_twice(odd: OddSite) -> None:
    """Negative control for G04: the counting above sees a second SMS."""
    odd.behave = _send_then_hang
    async with httpx.AsyncClient(timeout=SHORT, trust_env=False) as naive:
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                await naive.post(odd.url, json={"message": MESSAGE})

    assert len(odd.seen) == 2


@pytest.mark.parametrize(
    "echo",
    [
        f"Could not send '{MESSAGE}' to {NUMBER}",
        f"{MESSAGE}",
        "Your sign-in code for Example was not sent",
        "code 123456 refused",
        "code 1 2 3 4 5 6 refused",
        "code 123-456 refused",
        "code ۱۲۳۴۵۶ refused",
        f"no route to {NUMBER}",
        "no route to 0041 (415) 555-0123",
        f"login otp/{PASSWORD} failed",
        f"login {PASSWORD.replace(' ', '')} failed",
        f"bad header Basic {TOKEN}",
        "<b>Your sign-in&#032;code for Example</b>",
        "SELECT * FROM wp_sms WHERE code=123456",
    ],
)
async def test_a_detail_never_repeats_what_was_sent(
    odd: OddSite, client: WsmsClient, echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    """G07: providers echo; the detail and the log must not."""
    caplog.set_level(logging.DEBUG)
    odd.answers(400, {"error": {"code": 400, "message": echo}})

    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    for text in (repr(outcome), caplog.text, repr(client)):
        for secret in ("123456", "1 2 3", "123-", "۱۲۳", "4155550123", "555-0123", "sign-in code"):
            assert secret not in text
        for secret in (PASSWORD, PASSWORD.replace(" ", ""), TOKEN, "Basic"):
            assert secret not in text or secret == "Basic"


async def test_what_helps_an_operator_is_kept(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(
        400, {"error": {"code": 400, "message": "cURL error 52: Empty reply from &quot;x&quot;"}}
    )

    outcome = await send(client)

    assert isinstance(outcome, Unknown)
    assert outcome.detail == 'cURL error 52: Empty reply from "x"'


def test_a_detail_is_short_and_one_line() -> None:
    text = scrub("a\n\x1b[31m" + "word " * 1000)

    assert len(text) <= 160
    assert text.isprintable()


async def test_cookies_are_neither_kept_nor_sent(odd: OddSite, client: WsmsClient) -> None:
    """A session cookie would make WordPress look at nonces instead of the credential."""
    odd.answers(200, SUCCESS, {"Set-Cookie": "wordpress_logged_in=1; Path=/"})

    await send(client)
    await send(client)

    assert "cookie" not in odd.seen[1].headers


def _point_environment_at(proxy: OddSite, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    netrc = directory / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password loot\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))


async def _send_then_hang(talk: Talk, site: OddSite) -> None:
    await site.read(talk)
    await site.ended.wait()


def _certificate(
    directory: Path, *, address: str, days_left: int = 1
) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context and the file of the authority that signed it (itself)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rig")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days_left))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = directory / "site.pem", directory / "site.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, pem
