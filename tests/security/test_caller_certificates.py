"""Callers known by the certificate that a proxy hands on, and by nobody's word but a trusted proxy's."""

import base64
import datetime
import hashlib
import json
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from otp_service.core.certificates import CertificateRefused, read
from otp_service.core.identities import Identity, IdentityKind, identity
from otp_service.web.models import EXAMPLE_ID
from tests.conftest import Service, Starter
from tests.security.conftest import Register
from tests.security.issuer import Issuer, segment

PATH = f"/otp/{EXAMPLE_ID}"
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
SPIFFE = "spiffe://example.org/shop"


def certificate(
    *names: str, begins: datetime.datetime = NOW - DAY, ends: datetime.datetime = NOW + DAY
) -> bytes:
    """The DER of one for these URIs and DNS names."""
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop")])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    if names:
        listed = [
            x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name)
            for name in names
        ]
        made = made.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    return made.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def rfc9440(der: bytes) -> str:
    return f":{base64.b64encode(der).decode()}:"


def nginx(der: bytes) -> str:
    """As `$ssl_client_escaped_cert` has it."""
    return quote(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode(), safe="/")


def sha256(der: bytes) -> Identity:
    return identity(IdentityKind.CERTIFICATE_SHA256, hashlib.sha256(der).hexdigest())


def san(name: str) -> Identity:
    return identity(IdentityKind.CERTIFICATE_SAN, name)


@pytest.fixture
async def guarded(start_service: Starter) -> Service:
    """A service behind a proxy on loopback, from where the test's calls come."""
    service = await start_service(
        OTP_DELIVER="false", OTP_CALLER_CERTIFICATES="true", OTP_TRUSTED_PROXIES="127.0.0.1"
    )
    del service.http.headers["authorization"]
    return service


async def status(service: Service, *headers: str, bearer: str | None = None) -> int:
    """404: who asked is known, and the challenge is not; 401: who asked is not known."""
    sent = [("Client-Cert", header) for header in headers]
    if bearer is not None:
        sent.append(("Authorization", bearer))
    answer = await service.http.get(PATH, headers=sent)
    return answer.status_code


@pytest.mark.parametrize("form", [rfc9440, nginx])
@pytest.mark.parametrize("by", ["hash", "uri", "dns"])
async def test_a_registered_certificate_says_who_calls(
    guarded: Service, register: Register, form: object, by: str
) -> None:
    der = certificate(SPIFFE, "Shop.internal")
    known = {"hash": sha256(der), "uri": san(SPIFFE), "dns": san("shop.internal")}[by]
    await register("web", known, scopes=["otp:request"])
    header = form(der)  # type: ignore[operator]

    assert await status(guarded, header) == 404
    refused = await guarded.http.post("/otp/verify", headers={"Client-Cert": header}, json={})
    assert refused.json()["code"] == "insufficient_scope"


async def test_certificates_of_nobody_are_refused(guarded: Service, register: Register) -> None:
    await register("web", san(SPIFFE), sha256(certificate()))
    for der in (
        certificate(),
        certificate("spiffe://example.org/shop2"),
        certificate("spiffe://example.org/shop/"),
        certificate("spiffe://example.org/Shop"),
        certificate("example.org"),
    ):
        assert await status(guarded, rfc9440(der)) == 401
    assert await status(guarded) == 401


async def test_empty_header_of_the_proxy_is_no_certificate(guarded: Service) -> None:
    """A proxy that always sets it sends it empty where the client has none: the bearer credential counts."""
    bearer = (await guarded.caller("shop"))["Authorization"]
    for empty in ("", "   "):
        assert await status(guarded, empty, bearer=bearer) == 404
        assert await status(guarded, empty) == 401
    assert await status(guarded, "", "", bearer=bearer) == 401


async def test_a_header_from_anywhere_but_the_proxy_is_refused(
    register: Register, start_service: Starter, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    F15's kin: whoever reaches the service beside the proxy can write `Client-Cert`, and headers on where it came from.

    The last part is the negative control: believed from everywhere, the very same call opens.
    """
    der = certificate(SPIFFE)
    await register("web", san(SPIFFE))
    spoofed = {
        "Client-Cert": rfc9440(der),
        "X-Forwarded-For": "10.1.2.3",
        "X-Real-IP": "10.1.2.3",
        "Forwarded": "for=10.1.2.3",
    }
    common = {"OTP_DELIVER": "false", "OTP_CALLER_CERTIFICATES": "true"}
    beside = await start_service(**common, OTP_TRUSTED_PROXIES="10.0.0.0/8,::1")
    del beside.http.headers["authorization"]
    answer = await beside.http.get(PATH, headers=spoofed)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "from_elsewhere" in capsys.readouterr().out

    credential = await beside.caller("shop")
    assert (await beside.http.get(PATH, headers={**spoofed, **credential})).status_code == 401
    assert (await beside.http.get(PATH, headers=credential)).status_code == 404

    gullible = await start_service(**common, OTP_TRUSTED_PROXIES="127.0.0.0/8")
    del gullible.http.headers["authorization"]
    assert (await gullible.http.get(PATH, headers=spoofed)).status_code == 404


@pytest.mark.parametrize(
    ("peer", "trusted", "expected"),
    [
        ("10.0.0.7", "10.0.0.0/24", 404),
        ("10.0.1.7", "10.0.0.0/24", 401),
        ("::ffff:10.0.0.7", "10.0.0.0/24", 404),
        ("fd00::7", "fd00::/64", 404),
        ("fd00:0:0:1::7", "fd00::/64", 401),
        ("fd00::7", "10.0.0.0/24", 401),
    ],
)
async def test_the_hop_is_known_by_its_address(
    register: Register, start_service: Starter, peer: str, trusted: str, expected: int
) -> None:
    await register("web", san(SPIFFE))
    service = await start_service(
        OTP_DELIVER="false", OTP_CALLER_CERTIFICATES="true", OTP_TRUSTED_PROXIES=trusted
    )
    app = service.http._transport.app  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(app=app, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://otp.test") as http:
        answer = await http.get(PATH, headers={"Client-Cert": rfc9440(certificate(SPIFFE))})

    assert answer.status_code == expected


async def test_where_certificates_are_off_the_header_means_nothing(
    register: Register, start_service: Starter
) -> None:
    await register("web", san(SPIFFE))
    service = await start_service(OTP_DELIVER="false", OTP_TRUSTED_PROXIES="127.0.0.1")
    header = {"Client-Cert": rfc9440(certificate(SPIFFE))}

    assert (await service.http.get(PATH, headers=header)).status_code == 404  # by its credential
    del service.http.headers["authorization"]
    assert (await service.http.get(PATH, headers=header)).status_code == 401


@pytest.mark.parametrize(
    ("begins", "ends"),
    [(NOW - 2 * DAY, NOW - DAY), (NOW + DAY, NOW + 2 * DAY)],
    ids=["expired", "not yet"],
)
async def test_a_certificate_outside_its_time_is_refused(
    guarded: Service, register: Register, begins: datetime.datetime, ends: datetime.datetime
) -> None:
    """Also beside a good credential: something is wrong on the way, and nobody should get used to it."""
    der = certificate(SPIFFE, begins=begins, ends=ends)
    await register("web", san(SPIFFE), sha256(der))
    credential = await guarded.caller("shop")

    assert await status(guarded, rfc9440(der)) == 401
    assert await status(guarded, rfc9440(der), bearer=credential["Authorization"]) == 401
    assert await status(guarded, rfc9440(certificate(SPIFFE))) == 404


GOOD = certificate(SPIFFE)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ":",
        "::",
        ":AAAA:",
        rfc9440(GOOD)[1:],
        rfc9440(GOOD)[:-1],
        rfc9440(GOOD).replace(":", ""),
        rfc9440(GOOD[:-1]),
        rfc9440(GOOD + b"x"),
        f"{rfc9440(GOOD)}, {rfc9440(GOOD)}",
        rfc9440(GOOD) + ";x=1",
        nginx(GOOD) + nginx(GOOD),
        nginx(GOOD)[:-4],
        nginx(GOOD).replace("BEGIN", "BEGAN"),
        "%ff%fe",
        SPIFFE,
        f"Hash={hashlib.sha256(GOOD).hexdigest()};URI={SPIFFE}",
        ":" + "A" * 20_000 + ":",
    ],
    ids=range(18),
)
async def test_headers_that_hold_no_certificate_are_refused(
    guarded: Service, register: Register, header: str
) -> None:
    await register("web", san(SPIFFE), sha256(GOOD))

    assert await status(guarded, header) == 401


async def test_two_headers_are_refused(guarded: Service, register: Register) -> None:
    """Which of them the proxy wrote can't be known."""
    await register("web", san(SPIFFE))
    good = rfc9440(GOOD)

    assert await status(guarded, good) == 404
    assert await status(guarded, good, good) == 401
    assert await status(guarded, good, rfc9440(certificate())) == 401


async def test_a_certificate_for_two_callers_is_neithers(
    guarded: Service, register: Register
) -> None:
    await register("one", san(SPIFFE))
    await register("two", san("shop.internal"))

    assert await status(guarded, rfc9440(certificate(SPIFFE))) == 404
    assert await status(guarded, rfc9440(certificate(SPIFFE, "shop.internal"))) == 401


async def test_certificate_and_credential_must_not_name_two_callers(
    guarded: Service, register: Register
) -> None:
    """A certificate that names nobody, as every workload of a mesh has one, says nothing against a credential."""
    await register("web", san(SPIFFE))
    other = (await guarded.caller("shop"))["Authorization"]

    assert await status(guarded, rfc9440(GOOD), bearer=other) == 401
    assert await status(guarded, rfc9440(certificate()), bearer=other) == 404
    assert await status(guarded, rfc9440(GOOD), bearer="Bearer x") == 401
    assert await status(guarded, rfc9440(GOOD), bearer="") == 401


async def test_a_token_bound_to_a_certificate_is_worth_nothing_without_it(
    register: Register, start_service: Starter, issuer: Issuer
) -> None:
    """RFC 8705 section 3: a stolen token does not open from another machine."""
    await register("web", Identity(IdentityKind.JWT_SUBJECT, "svc-shop"), san(SPIFFE))
    service = await start_service(
        OTP_DELIVER="false",
        OTP_CALLER_CERTIFICATES="true",
        OTP_TRUSTED_PROXIES="127.0.0.1",
        **issuer.settings,
    )
    del service.http.headers["authorization"]
    bound = issuer.claims(cnf={"x5t#S256": segment(hashlib.sha256(GOOD).digest())})
    bearer = issuer.bearer(bound)["Authorization"]

    assert await status(service, rfc9440(GOOD), bearer=bearer) == 404
    assert await status(service, bearer=bearer) == 401
    assert await status(service, rfc9440(certificate(SPIFFE)), bearer=bearer) == 401
    assert await status(service, bearer=issuer.bearer()["Authorization"]) == 404


async def test_an_identity_that_was_taken_away_is_refused(
    start_service: Starter, register: Register
) -> None:
    """F14's kin; another process knows at once, this one within five seconds."""
    settings = {
        "OTP_DELIVER": "false",
        "OTP_CALLER_CERTIFICATES": "true",
        "OTP_TRUSTED_PROXIES": "127.0.0.1",
    }
    await register("web", san(SPIFFE))
    await register("web")
    service = await start_service(**settings)
    del service.http.headers["authorization"]

    assert await status(service, rfc9440(GOOD)) == 401


def test_both_forms_read_alike() -> None:
    der = certificate(SPIFFE, "Shop.Internal")
    one, other = (read(form(der), now=NOW.timestamp()) for form in (rfc9440, nginx))

    assert one == other
    assert one.sha256 == hashlib.sha256(der).hexdigest()
    assert one.names == (SPIFFE, "shop.internal")


def test_more_names_than_anybody_needs_are_refused() -> None:
    names = [f"spiffe://example.org/{n}" for n in range(17)]

    assert len(read(rfc9440(certificate(*names[:16])), now=NOW.timestamp()).names) == 16
    with pytest.raises(CertificateRefused, match="malformed"):
        read(rfc9440(certificate(*names)), now=NOW.timestamp())


async def test_redis_holds_no_more_of_an_identity_than_an_operator_wrote(
    guarded: Service, register: Register
) -> None:
    await register("web", san(SPIFFE))
    stored = json.loads(await guarded.container.scripts.connection.client.get("otp:caller:web"))

    (entry,) = stored["identities"]
    assert set(entry) == {"kind", "value", "kid", "mac"}
    assert entry["value"] == SPIFFE
