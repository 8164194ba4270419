"""docker/nginx.conf, run by nginx: whom it caps, what its own errors look like, what it repeats and what it logs."""

import asyncio
import datetime
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from otp_service.cli.valkey import free_port
from tests.events.receiver import Receiver, receiving
from tests.reliability.harness import credential, eventually, serve

pytestmark = pytest.mark.nginx

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


@dataclass
class Proxy:
    """A running nginx, its log, and a client."""

    url: str
    http: httpx.AsyncClient
    log: Path

    async def post(self, path: str = "/otp/request", **more: Any) -> httpx.Response:
        return await self.http.post(path, **{"json": {}, **more})


Proxies = Callable[..., Awaitable[Proxy]]


def certificate(directory: Path) -> None:
    """A key and a certificate of its own, as nginx wants them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (directory / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def configured(root: Path, directory: Path, port: int, servers: list[str], **caps: str) -> Path:
    """The shipped file with places of this machine, and smaller numbers where a test asks for them."""
    text = (root / "docker/nginx.conf").read_text()
    changes = {
        "listen 8443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server service:8000;": " ".join(f"server {server};" for server in servers),
        "/etc/nginx/tls": str(directory),
        "/dev/stdout": str(directory / "access.log"),
        **caps,
    }
    for old, new in {
        " /tmp/": f" {directory}/",
        **changes,
    }.items():  # the directory may lie in /tmp
        assert old in text, old
        text = text.replace(old, new)
    path = directory / "nginx.conf"
    path.write_text(text)
    return path


@pytest.fixture
async def proxies(root: Path, tmp_path: Path) -> AsyncIterator[Proxies]:
    """Start nginx before servers: `await proxies("127.0.0.1:1", **{"rate=500r/s": "rate=1r/s"})`."""
    assert NGINX is not None, "these tests need nginx; see .ci/run"
    async with AsyncExitStack() as stack:

        async def start(*servers: str, **caps: str) -> Proxy:
            port = stack.enter_context(free_port())
            certificate(tmp_path)
            path = configured(root, tmp_path, port, list(servers), **caps)
            user = " user root;" if os.geteuid() == 0 else ""
            with (tmp_path / "error.log").open("wb") as errors:
                process = subprocess.Popen(  # noqa: ASYNC220
                    [NGINX, "-e", "stderr", "-p", tmp_path, "-c", path, "-g", f"daemon off;{user}"],
                    stderr=errors,
                )
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusted.check_hostname, trusted.verify_mode = False, ssl.CERT_NONE
            url = f"https://127.0.0.1:{port}"
            http = httpx.AsyncClient(base_url=url, verify=trusted, trust_env=False, timeout=60)
            proxy = Proxy(url, await stack.enter_async_context(http), tmp_path / "access.log")

            async def answers() -> bool:
                assert process.poll() is None, (tmp_path / "error.log").read_text()
                try:
                    await http.get("/healthz")
                except httpx.HTTPError:
                    return False
                return True

            await eventually(answers, "an answer of nginx")
            return proxy

        yield start


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """What the proxy said, in the shape of the service's own problems."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = dict(answer.json())
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code)
    assert told["type"] == f"urn:otp-service:problem:{code}"
    assert {"title", "detail", "instance"} <= set(told)
    assert answer.headers["x-request-id"] == told["instance"]
    assert answer.headers["cache-control"] == "no-store"
    return told


def of(receiver: Receiver) -> list[str]:
    return [each.path for each in receiver.received if each.path != "/healthz"]


async def test_calls_are_capped_by_credential_and_not_by_address(proxies: Proxies) -> None:
    async with receiving(statuses=[200]) as service:
        proxy = await proxies(
            f"127.0.0.1:{service.port}",
            **{"rate=500r/s": "rate=1r/m", "burst=1000": "burst=4"},
        )
        answers = {}
        for caller in ("a", "b"):
            headers = {"Authorization": f"Bearer {caller}"}
            answers[caller] = [await proxy.post(headers=headers) for _ in range(6)]
        for of_one in answers.values():
            assert [answer.status_code for answer in of_one] == [200] * 5 + [429]
            told = problem(of_one[-1], 429, "rate_limited")
            assert (told["limit"], of_one[-1].headers["retry-after"]) == ("proxy", "1")
        assert len(of(service)) == 10


def long_token(end: str) -> dict[str, str]:
    """Tokens of Entra ID have 1.5 kB; two of one issuer begin alike."""
    return {"Authorization": f"Bearer {'x' * 1500}{end}"}


async def test_long_tokens_meet_the_rate_of_their_callers(proxies: Proxies) -> None:
    async with receiving(statuses=[200]) as service:
        proxy = await proxies(
            f"127.0.0.1:{service.port}", **{"rate=500r/s": "rate=1r/m", "burst=1000": "burst=4"}
        )
        for caller in ("a", "b"):
            answers = [await proxy.post(headers=long_token(caller)) for _ in range(6)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429]


async def test_long_tokens_meet_the_cap_on_calls_at_once(proxies: Proxies) -> None:
    async with receiving(statuses=[200, 0]) as service:
        proxy = await proxies(
            f"127.0.0.1:{service.port}", **{"calls_of_caller 300": "calls_of_caller 2"}
        )
        held = [asyncio.create_task(proxy.post(headers=long_token("a"))) for _ in range(2)]
        await eventually(lambda: len(of(service)) == 2, "two calls in progress")
        refused = await proxy.post(headers=long_token("a"))
        service.released.set()
        other = await proxy.post(headers=long_token("b"))
        await asyncio.gather(*held)
    problem(refused, 429, "rate_limited")
    assert other.status_code == 503, "passed on to the service, which closes the connection"


async def test_calls_without_a_credential_have_a_cap_of_their_own(proxies: Proxies) -> None:
    async with receiving(statuses=[200]) as service:
        proxy = await proxies(
            f"127.0.0.1:{service.port}", **{"rate=50r/s": "rate=1r/m", "burst=100 ": "burst=4 "}
        )
        strangers = [(await proxy.post()).status_code for _ in range(6)]
        assert 429 in strangers
        known = await proxy.post(headers={"Authorization": "Bearer a"})
        assert known.status_code == 200


async def test_errors_of_the_proxy_are_problems_of_the_service(proxies: Proxies) -> None:
    async with receiving(statuses=[200]) as service:
        proxy = await proxies(f"127.0.0.1:{service.port}")
        large = await proxy.post(content=b"x" * 20_000, json=None)
        problem(large, 413, "too_large")
        long = await proxy.http.get("/" + "x" * 9000)
        problem(long, 400, "bad_request")
        assert of(service) == []


async def test_answers_of_the_service_pass_unchanged(proxies: Proxies) -> None:
    async with receiving(statuses=[200, 429], body=b'{"code":"quota_exceeded"}') as service:
        proxy = await proxies(f"127.0.0.1:{service.port}")
        answer = await proxy.post()
        assert (answer.status_code, answer.json()) == (429, {"code": "quota_exceeded"})


async def test_service_that_is_away_is_a_503_problem(proxies: Proxies) -> None:
    with free_port() as port:
        proxy = await proxies(f"127.0.0.1:{port}")
        answer = await proxy.post()
    told = problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == str(told["retry_after"]) == "1"


async def test_post_that_was_sent_is_not_repeated(proxies: Proxies) -> None:
    """The first server takes the call and closes the connection; the second never sees it."""
    async with receiving(statuses=[200]) as sound, receiving(statuses=[0]) as broken:
        broken.released.set()
        proxy = await proxies(f"127.0.0.1:{broken.port} max_fails=0", f"127.0.0.1:{sound.port}")
        answers = [await proxy.post() for _ in range(4)]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(of(broken)) == len(refused) > 0
    assert len(of(sound)) == 4 - len(refused)


async def test_call_goes_to_the_next_server_when_one_cannot_be_reached(proxies: Proxies) -> None:
    async with receiving(statuses=[200]) as sound:
        with free_port() as port:
            proxy = await proxies(f"127.0.0.1:{port}", f"127.0.0.1:{sound.port}")
            answers = [await proxy.post() for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len(of(sound)) == 4


async def test_log_holds_no_token_query_or_credential(proxies: Proxies, tmp_path: Path) -> None:
    with free_port() as port:
        proxy = await proxies(f"127.0.0.1:{port}")
        for path in (
            "/hooks/wsms/tokentoken",
            "/%68ooks/wsms/tokentoken",
            "//hooks/wsms/tokentoken",
        ):
            await proxy.post(
                f"{proxy.url}{path}?to=tokentoken", headers={"Authorization": "tokentoken"}
            )
    log = proxy.log.read_text()
    assert len(re.findall(r"POST /hooks/- 503", log)) == 3
    assert "tokentoken" not in log + (tmp_path / "error.log").read_text()


async def test_service_answers_through_the_proxy(
    proxies: Proxies, environment: dict[str, str]
) -> None:
    process = serve(environment)
    try:
        proxy = await proxies(process.url.removeprefix("http://"))
        headers = await credential(environment)
        answer = await proxy.http.post(
            "/otp/request",
            json={"to": "+14155550123", "purpose": "login"},
            headers={**headers, "Prefer": "wait=30"},
        )
        assert answer.status_code == 202, answer.text
        for name in ("x-request-id", "cache-control", "content-type"):
            assert len(answer.headers.get_list(name)) == 1
        forged = await proxy.post(headers={"Client-Cert": ":AAAA:"})
        assert forged.status_code == 401
    finally:
        process.close()
