"""Over real sockets: what only a real server can do wrong, and how the sandbox is started."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest
import typer
import uvicorn
from recorded_sites import PASSWORD, accounts

from otp_service.cli.sandbox import sandbox
from otp_service.sandbox import server
from otp_service.sandbox.app import create_app
from otp_service.sandbox.faults import Fault
from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.site import Site

SEND = {
    "sender": "App",
    "recipients": "numbers",
    "numbers": ["+14155550123"],
    "message": "Your code is 123456",
}
ENDPOINT = "/wp-json/wpsms/v1/send"


@pytest.fixture
def live() -> Iterator[SimpleNamespace]:
    """A site behind uvicorn in a thread, and an administrator's client."""
    site = Site(SiteSettings(), users=accounts())
    listening = server.bound("127.0.0.1", 0)
    config = uvicorn.Config(create_app(site), log_level="error", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    listening.listen(64)
    thread.start()
    url = server.url_of(listening)
    with httpx.Client(base_url=url, auth=("admin", PASSWORD), timeout=60) as client:
        yield SimpleNamespace(site=site, client=client, url=url)
    running.should_exit = True
    thread.join()
    listening.close()


@pytest.mark.parametrize(("kind", "sent"), [("drop_before", 0), ("drop_after", 1)])
def test_a_dropped_connection_is_a_reset_on_the_socket(
    live: SimpleNamespace, kind: str, sent: int
) -> None:
    live.site.break_with(Fault(kind=kind, times=1))
    with pytest.raises(httpx.ReadError):
        live.client.post(ENDPOINT, json=SEND)
    assert len(live.site.phone.messages()) == sent
    assert live.client.post(ENDPOINT, json=SEND).status_code == 200


def test_a_truncated_answer_ends_before_its_length(live: SimpleNamespace) -> None:
    live.site.break_with(Fault(kind="truncated", sent=True))
    with pytest.raises(httpx.RemoteProtocolError):
        live.client.post(ENDPOINT, json=SEND)
    assert len(live.site.phone.messages()) == 1


def test_a_flood_is_as_large_as_asked_for(live: SimpleNamespace) -> None:
    live.site.break_with(Fault(kind="huge", size=3_000_000))
    assert len(live.client.post(ENDPOINT, json=SEND).content) == 3_000_002


def test_an_answer_can_drip(live: SimpleNamespace) -> None:
    waits: list[float] = []

    async def count(seconds: float) -> None:
        waits.append(seconds)

    live.site.sleep = count
    live.site.break_with(Fault(kind="drip", interval=2, sent=True))
    response = live.client.post(ENDPOINT, json=SEND)
    assert response.json()["data"] == {"balance": 4711}
    assert waits == [2] * len(response.content)


@pytest.mark.parametrize(
    "fault",
    [Fault(kind="hang", sent=True), Fault(kind="slow", delay=0.05)],
    ids=lambda fault: fault.kind,
)
def test_a_caller_that_gives_up_does_not_stop_the_message(
    live: SimpleNamespace, fault: Fault
) -> None:
    live.site.break_with(fault)
    request = next(
        live.client.auth.sync_auth_flow(live.client.build_request("POST", ENDPOINT, json=SEND))
    )
    headers = b"".join(b"%s: %s\r\n" % pair for pair in request.headers.raw)
    with live.client.stream("GET", "/sandbox/stream") as stream:
        lines = stream.iter_lines()
        assert "event: forget" in [next(lines), next(lines)]
        with socket.create_connection(_address(live.url)) as raw:
            start = b"POST %s HTTP/1.1\r\n" % ENDPOINT.encode()
            raw.sendall(start + headers + b"\r\n" + request.content)
        assert any(str(SEND["message"]) in line for line in lines)


def _address(url: str) -> tuple[str, int]:
    parsed = httpx.URL(url)
    return parsed.host, parsed.port or 80


def test_private_webhooks_are_called_only_when_allowed(live: SimpleNamespace) -> None:
    receiver = socket.create_server(("127.0.0.1", 0))
    got: list[bytes] = []

    def answer_once() -> None:
        connection, _ = receiver.accept()
        with connection:
            got.append(connection.recv(65_536))
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    thread = threading.Thread(target=answer_once)
    thread.start()
    hook = {"webhook_url": f"http://127.0.0.1:{receiver.getsockname()[1]}/x", "type": "new_sms"}
    live.site.webhooks["new_sms"] = [hook["webhook_url"]]
    assert live.client.post(ENDPOINT, json=SEND).status_code == 200
    assert got == []
    live.site.settings.allow_private_webhooks = True
    assert live.client.post("/wp-json/wpsms/v1/webhook", json=hook).status_code == 200
    live.client.post(ENDPOINT, json=SEND)
    thread.join()
    receiver.close()
    head = got[0].decode()
    assert head.startswith("POST /x HTTP/1.1\r\n")
    assert "X-Wp-Sms-Webhook-Event: new_sms".lower() in head.lower()


RUN = "import typer; from otp_service.cli.sandbox import sandbox; typer.run(sandbox)"


def test_it_runs_on_an_inherited_socket_and_stops_at_once_with_a_page_open() -> None:
    with server.bound("127.0.0.1", 0) as listening:
        url = server.url_of(listening)
        running = subprocess.Popen(
            [sys.executable, "-c", RUN, "--fd", str(listening.fileno()), "--username", "svc"],
            env={**os.environ, "OTP_SANDBOX_APPLICATION_PASSWORD": "abcd efgh ijkl"},
            pass_fds=[listening.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert running.stdout is not None
    said = running.stdout.readline()
    with httpx.Client(base_url=url, auth=("svc", "abcdefghijkl"), timeout=60) as client:
        assert client.post(ENDPOINT, json=SEND).status_code == 200
        index = client.get("/wp-json/").json()
        with client.stream("GET", "/sandbox/stream") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry")
            running.terminate()
            out, err = running.communicate(timeout=60)
            assert list(lines)
    assert (index["url"], url in said, "no real site" in said) == (url, True, True)
    assert "abcd" not in said + out + err
    assert err == ""


def test_it_prints_a_password_it_made_up_itself() -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, "--port", "0"],
        env={k: v for k, v in os.environ.items() if not k.startswith("OTP_")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    url = running.stdout.readline().split()[2]
    password = running.stdout.readline().partition("application password ")[2].strip()
    assert len(password) == 29
    response = httpx.post(url + ENDPOINT, json=SEND, auth=("otp", password), timeout=60)
    running.terminate()
    running.communicate(timeout=60)
    assert response.status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::"])  # noqa: S104
def test_it_listens_on_loopback_unless_told_otherwise(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as refused:
        sandbox(host=host)
    assert refused.value.exit_code == 2
    assert "not loopback" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with server.bound("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(typer.Exit) as refused:
            sandbox(port=port)
    assert refused.value.exit_code == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
