"""Server-side request forgery (G09): what leads inside is refused when it is saved and when it is used."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from otp_service.channels.webhooks import MAX_ANSWER_BYTES, WebhookChannel
from otp_service.core.targets import TargetRefused, is_public, parse
from otp_service.settings.environment import SettingsError, load
from tests.events.conftest import Receivers
from tests.events.receiver import Receiver

PUBLIC = "93.184.215.14"

BAD_URLS = [
    "http://hooks.example.com/",
    "gopher://hooks.example.com/",
    "file:///etc/passwd",
    "ftp://hooks.example.com/",
    "hooks.example.com/x",
    "https:hooks.example.com",
    "https:///x",
    "https://",
    "https://user:pass@hooks.example.com/",
    "https://user@hooks.example.com/",
    "https://@hooks.example.com/",
    "https://hooks.example.com@127.0.0.1/",
    "https://hooks.example.com:6379/",
    "https://hooks.example.com:22/",
    "https://hooks.example.com:0/",
    "https://hooks.example.com:80/",
    "https://hooks.example.com:/",
    "https://hooks.example.com:99999/",
    "https://hooks.example.com/#x",
    "https://hooks.example.com\\@127.0.0.1/",
    "https://hooks.example.com/\r\nX: y",
    "https://hooks.example.com/ x",
    "https://hooks.example.com/\t",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://192.88.99.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:4136:e378::1]/",
    "https://[2001:db8::1]/",
    "https://[fd00::1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[::1/",
    "https://localhost/",
    "https://localhost./",
    "https://hooks.example.com./",
    "https://intranet/",
    "https://hooks..example.com/",
    "https://-hooks.example.com/",
    "https://hööks.example.com/",
    "https://１２７.0.0.1/",
    "https://hooks.example.com%2f@127.0.0.1/",
    "https://127.0.0.1.:443/",
    "https://" + "a" * 1000 + ".example.com/",
]

# What a name may resolve to; one bad address among good ones is enough to refuse it.
BAD_ANSWERS = [
    ["127.0.0.1"],
    ["::1"],
    ["10.1.2.3"],
    ["169.254.169.254"],
    ["100.64.1.1"],
    ["fd12::1"],
    ["fe80::1%2"],
    ["::ffff:10.0.0.1"],
    ["64:ff9b::a9fe:a9fe"],
    ["2002:a9fe:a9fe::1"],
    ["224.0.0.251"],
    ["0.0.0.0"],  # noqa: S104
    ["168.63.129.16"],
    ["192.0.0.192"],
    ["3fff::1"],
    ["2001:10::1"],
    [PUBLIC, "127.0.0.1"],
    [PUBLIC, "::1"],
    ["not an address"],
]


def resolving(*answers: Sequence[str]):
    """A resolver that gives these answers in turn, the last one again and again."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.mark.parametrize("url", BAD_URLS)
async def test_a_bad_url_is_refused_when_it_is_saved_and_when_it_is_used(url: str) -> None:
    channel = WebhookChannel(resolve=resolving([PUBLIC]), deadline=60)

    with pytest.raises(TargetRefused) as refused:
        await channel.check(url)
    async with channel.line(url) as line:
        reply = await line.post("{}", {})

    assert reply.reason == "refused"
    host = urlsplit("https://x/" if "[::1/" in url else url).hostname
    assert not host or len(host) < 4 or host not in str(refused.value)


@pytest.mark.parametrize("addresses", BAD_ANSWERS, ids=lambda addresses: ",".join(addresses))
async def test_a_name_with_an_address_inside_is_refused_when_saved_and_when_used(
    addresses: list[str],
) -> None:
    channel = WebhookChannel(resolve=resolving(addresses), deadline=60)

    with pytest.raises(TargetRefused):
        await channel.check("https://hooks.example.com/")
    async with channel.line("https://hooks.example.com/") as line:
        assert (await line.post("{}", {})).reason == "refused"


def naive(url: str) -> bool:
    """What one writes at first: https, and no word that is known to be inside."""
    parts = urlsplit(url)
    inside = ("localhost", "127.0.0.1", "::1", "169.254.169.254")
    return parts.scheme == "https" and parts.hostname not in inside


def test_a_naive_check_lets_many_of_them_pass() -> None:
    """G09's control: without these rules most of it would be called."""
    passed = []
    for url in BAD_URLS:
        try:
            if naive(url):
                passed.append(url)
        except ValueError:
            continue
    assert len(passed) > 25


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com:8443/a?b=c",
        "HTTPS://Hooks.Example.COM/",
        "https://xn--hks-snaa.example/",
        f"https://{PUBLIC}/",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
    ],
)
async def test_a_public_address_is_taken(url: str) -> None:
    target, [address] = await WebhookChannel(resolve=resolving([PUBLIC])).check(url)
    assert target.host == target.host.lower()
    assert is_public(address)


def test_an_address_behind_nat64_counts_as_what_it_stands_for() -> None:
    assert is_public("64:ff9b::5db8:d70e")
    assert not is_public("64:ff9b::a00:1")


async def test_a_second_answer_of_the_resolver_plays_no_part(receivers: Receivers) -> None:
    """DNS rebinding: checked is what is connected to, and what is checked anew is refused."""
    inner = await receivers()
    url = f"https://rebind.example.com:8443/{inner.port}"
    channel = WebhookChannel(resolve=resolving([PUBLIC], ["127.0.0.1"]), deadline=60)

    await channel.check(url)  # saved while it was public
    async with channel.line(url) as line:
        assert (await line.post("{}", {})).reason == "refused"
    assert inner.received == []

    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    local = WebhookChannel(allow_private=True, resolve=resolve, deadline=60)
    async with local.line(f"http://rebind.example.com:{inner.port}/") as line:
        assert [(await line.post("{}", {})).status for _ in range(2)] == [204, 204]
    assert asked == ["rebind.example.com"]
    assert inner.received[0].headers["host"] == f"rebind.example.com:{inner.port}"


async def test_next_address_is_tried_when_one_cannot_be_reached(receivers: Receivers) -> None:
    """An endpoint with an IPv6 address that this machine cannot reach; later messages go straight to the good one."""
    receiver = await receivers()
    channel = WebhookChannel(
        allow_private=True, resolve=resolving(["127.0.0.2", "::1", "127.0.0.1"]), deadline=60
    )
    async with channel.line(f"http://hooks.example.com:{receiver.port}/") as line:
        assert [(await line.post("{}", {})).status for _ in range(2)] == [204, 204]
        assert line._checked is not None
        assert line._checked[1] == ["127.0.0.1", "127.0.0.2", "::1"]
    assert {each.headers["host"] for each in receiver.received} == {
        f"hooks.example.com:{receiver.port}"
    }


async def test_message_that_was_sent_goes_to_no_other_address(receivers: Receivers) -> None:
    """The first address takes the message and closes the connection without an answer."""
    first, second = await receivers(statuses=[0]), Receiver()
    first.released.set()
    server = await asyncio.start_server(second.handle, "127.0.0.2", first.port)
    channel = WebhookChannel(
        allow_private=True, resolve=resolving(["127.0.0.1", "127.0.0.2"]), deadline=60
    )
    async with server, channel.line(f"http://hooks.example.com:{first.port}/") as line:
        assert (await line.post("{}", {})).reason == "connection"
    assert (len(first.received), second.received) == (1, [])


async def test_tls_checks_the_name_though_the_connection_goes_to_an_address(
    tmp_path: Path, receivers: Receivers
) -> None:
    server, client = contexts(tmp_path, "hooks.example.com")
    receiver = await receivers(tls=server)
    channel = WebhookChannel(
        allow_private=True, resolve=resolving(["127.0.0.1"]), tls=client, deadline=60
    )

    replies = []
    for host in ("hooks.example.com", "other.example.com"):
        async with channel.line(f"https://{host}:{receiver.port}/") as line:
            replies.append((await line.post("{}", {})).reason)

    assert replies == ["http_204", "connection"]
    assert len(receiver.received) == 1


async def test_an_endless_answer_is_not_read(receivers: Receivers) -> None:
    receiver = await receivers(statuses=[200], body=b"x" * (MAX_ANSWER_BYTES * 50))
    channel = WebhookChannel(allow_private=True, deadline=60)

    async with channel.line(receiver.url) as line:
        assert (await line.post("{}", {})).status == 200


async def test_who_does_not_answer_in_time_has_failed(receivers: Receivers) -> None:
    receiver = await receivers(statuses=[0])
    channel = WebhookChannel(allow_private=True, deadline=1)

    async with channel.line(receiver.url) as line:
        assert (await line.post("{}", {})).reason == "timeout"


async def test_no_proxy_of_the_environment_is_used(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, receiver = await receivers(), await receivers()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
    channel = WebhookChannel(allow_private=True, deadline=60)

    async with channel.line(receiver.url) as line:
        assert (await line.post("{}", {})).status == 204
    assert proxy.received == []


def test_private_addresses_can_be_allowed_in_development_only(environment: dict[str, str]) -> None:
    assert load(environment).webhooks_allow_private
    with pytest.raises(SettingsError, match="OTP_WEBHOOKS_ALLOW_PRIVATE"):
        load({**environment, "OTP_ENVIRONMENT": "production", "OTP_REGIONS": "DE"})


def test_a_target_tells_no_more_than_it_must() -> None:
    assert "secret" not in repr(parse("https://hooks.example.com/secret?key=secret"))


def contexts(directory: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server with a certificate for that name, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cafile=str(pem))
    return server, client


def test_the_table_names_every_kind_of_address() -> None:
    literals = [urlsplit(url).hostname for url in BAD_URLS if "%" not in url and "[::1/" not in url]
    kinds = set()
    for literal in literals:
        try:
            address = ipaddress.ip_address(literal or "")
        except ValueError:
            continue
        kinds |= {
            kind
            for kind in (
                "is_loopback",
                "is_private",
                "is_link_local",
                "is_multicast",
                "is_reserved",
            )
            if getattr(address, kind)
        }
    assert len(kinds) == 5
