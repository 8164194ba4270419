"""
What was said in confidence is nowhere afterwards: no log line, answer, metric, key, value or append-only file has it.

The service runs as operators run it, at DEBUG, on a Valkey of its own; then all that it left is searched for every
code, number, credential and key, in clear and in the spellings that encoders give them.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from otp_service.cli import valkey
from otp_service.core import credentials
from otp_service.core.credentials import SCOPES
from otp_service.core.envelopes import About, Destination
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.recipients import parse_recipient
from otp_service.services.code_requests import CodeRequest
from otp_service.settings.environment import load
from tests.conftest import PASSWORD, Sandbox, base_environment, code_in

NUMBERS = [f"+1415555{n:04d}" for n in range(110, 122)]
LANDLINE = "+442079460018"
SUBJECT, BINDING, ADDRESS = "person-8a6f11", "session-51f0c2", "203.0.113.77"
KEY = "idempotency-77d1e0"


def forms(secret: bytes) -> Iterator[bytes]:
    """Yield the secret as encoders would write it, also in the midst of something longer."""
    yield secret
    yield secret.hex().encode()
    text = secret.decode("latin-1")
    yield urllib.parse.quote(text, safe="").encode()
    yield json.dumps(text)[1:-1].encode()
    for offset in range(3):  # base64 looks different by where in its three bytes a text begins
        whole = base64.b64encode(b"\0" * offset + secret)
        first, last = -(-offset * 4 // 3), (offset + len(secret)) * 4 // 3
        yield whole[first:last]
        yield whole[first:last].translate(bytes.maketrans(b"+/", b"-_"))


def leaks(left: Mapping[str, bytes], secrets: Mapping[str, bytes]) -> list[str]:
    """Say which secret is where."""
    return [
        f"{name} in {where}"
        for name, secret in secrets.items()
        for where, data in left.items()
        if any(form in data for form in set(forms(secret)))
    ]


def number_forms(number: str) -> dict[str, bytes]:
    """A number with and without its plus, its calling code, and as `phonenumbers` would write it."""
    national = number.removeprefix("+1")
    return {
        number: number.encode(),
        f"{number} without +": number[1:].encode(),
        f"{number} national": national.encode(),
        f"{number} spaced": f"{national[:3]} {national[3:6]} {national[6:]}".encode(),
        f"{number} dashed": f"{national[:3]}-{national[3:6]}-{national[6:]}".encode(),
    }


@dataclass
class Trail:
    """What a run left behind, and what must not be in it."""

    logs: bytes = b""
    metrics: bytes = b""
    answers: list[bytes] = field(default_factory=list)
    requests: int = 0
    store: dict[str, bytes] = field(default_factory=dict)
    codes: dict[str, bytes] = field(default_factory=dict)
    said: dict[str, bytes] = field(default_factory=dict)  # may come back to who said it
    keys: dict[str, bytes] = field(default_factory=dict)

    @property
    def outside(self) -> dict[str, bytes]:
        return {"the logs": self.logs, "the metrics": self.metrics, **self.store}

    @property
    def everywhere(self) -> dict[str, bytes]:
        return {**self.outside, "an answer": b"\n".join(self.answers)}


class Talk:
    """A client that keeps every byte it gets."""

    def __init__(self, url: str, credential: str, trail: Trail) -> None:
        self._trail = trail
        self.http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {credential}"}, timeout=60
        )

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, path, **options)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self._trail.answers.append(head.encode() + b"\n" + answer.content)
        self._trail.requests += 1
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        return answer.json()

    def post(self, path: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
        return self("POST", path, json=body, headers=headers)


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory, sandbox_process: str, ring: str) -> Trail:
    """One run for all tests of this file."""
    directory = tmp_path_factory.mktemp("silence")
    slow = ("--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000")
    server = valkey.start(directory / "valkey", options=slow)
    sandbox = Sandbox(sandbox_process)
    sandbox.reset()
    ports = ExitStack()
    admin_port = ports.enter_context(valkey.free_port())
    environment = {
        **base_environment(server.url, sandbox.url, ring),
        "OTP_LOG_LEVEL": "DEBUG",
        "OTP_CODE_DIGITS": "10",  # too long to be found by chance
        "OTP_ADMIN_PORT": str(admin_port),
        "OTP_LIMIT_NUMBER_RANGE": "1000/1m",
        "OTP_COOLDOWN": "1",
    }
    credential, stored = credentials.issue(
        load(environment).ring(), "shop", now=int(time.time()), expires_in=None
    )
    with Redis.from_url(server.url) as client:
        record = {"scopes": sorted(SCOPES), "created_at": 0, "credentials": [vars_of(stored)]}
        client.set("otp:caller:shop", json.dumps(record))
    listening = socket.create_server(("127.0.0.1", 0))
    log = directory / "service.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "otp_service", "serve", "--fd", str(listening.fileno())],
            env={**os.environ, **environment},
            pass_fds=[listening.fileno()],
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=valkey.die_with_parent(),
        )
    found = Trail()
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        talk = Talk(url, credential, found)
        with talk.http:
            live(talk, sandbox, found, credential)
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=60) as page:
            found.metrics = page.read()
    finally:
        process.terminate()
        process.wait(60)
        listening.close()
        ports.close()
    found.logs = log.read_bytes()
    found.store = at_rest(server.url, directory / "valkey")
    server.stop()
    found.keys = secrets_of(environment, credential, server.password)
    return found


def vars_of(stored: credentials.StoredCredential) -> dict[str, Any]:
    return {name: getattr(stored, name) for name in type(stored).__slots__}


def live(talk: Talk, sandbox: Sandbox, trail: Trail, credential: str) -> None:
    """Everything that a day brings: success, mistakes, faults, nonsense."""
    wait = {"Prefer": "wait=30"}
    wrong_codes: list[str] = []

    def request(n: int, **more: Any) -> tuple[str, str]:
        told = talk.post("/otp/request", wait, to=NUMBERS[n], purpose="login", **more)
        messages = sandbox.messages(NUMBERS[n])
        return told["challenge_id"], code_in(messages[0]["message"]) if messages else "0000000000"

    # Success, with all that a caller may say; a replay, a proof
    personal = {"subject": SUBJECT, "binding": BINDING, "client_ip": ADDRESS}
    one, code = request(0, **personal)
    check = {"challenge_id": one, "purpose": "login", "binding": BINDING}
    for wrong in (code[::-1] if code[::-1] != code else code[:-1] + "5", "9876501234"):
        wrong_codes.append(wrong)
        talk.post("/otp/verify", {"Idempotency-Key": KEY + wrong[:2]}, **check, code=wrong)
    typed = code.translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))
    for _ in range(2):
        proof = talk.post("/otp/verify", {"Idempotency-Key": KEY}, **check, code=typed)["proof"]
    talk.post("/otp/verify", **check, code=code)
    assert talk.post("/proofs/introspect", proof=proof, binding=BINDING)["sub"] == SUBJECT
    talk.post("/proofs/introspect", proof=proof)
    # Alive at the end, with a code that is still good; one exhausted; one canceled; one resent and looked at
    request(1, **personal | {"binding": "another"})
    two, code = request(2)
    for _ in range(6):
        wrong_codes.append(f"{(int(code) + 1) % 10**10:010d}")
        talk.post("/otp/verify", challenge_id=two, purpose="login", code=wrong_codes[-1])
    three, _ = request(3)
    talk.post("/otp/cancel", challenge_id=three)
    four, old = request(4)
    trail.codes["an old code"] = old.encode()
    end = time.monotonic() + 60
    while "challenge_id" not in talk.post("/otp/resend", wait, challenge_id=four):
        assert time.monotonic() < end
    talk("GET", f"/otp/{four}")
    # The provider fails in its ways, some after sending, one repeating the number and code at us
    faults: list[dict[str, Any]] = [
        {"kind": "status", "status": 500},
        {"kind": "provider_error", "text": f"bad number {NUMBERS[6]} in sms"},
        {"kind": "drop_after"},
        {"kind": "html", "sent": True},
        {"kind": "redirect"},
    ]
    for n, fault in enumerate(faults, 5):
        sandbox.fail(**fault, times=1)
        request(n)
        request(11, subject=f"between-{n}", binding=f"b{n}") if n == 7 else None
    # Nonsense, with what is secret in places where it does not belong
    payload = {"to": NUMBERS[0], "purpose": "login"}
    talk.post("/otp/request", **payload, code=code)
    talk.post("/otp/request", to=NUMBERS[0], purpose=code)
    talk.post("/otp/request", to=f"{NUMBERS[0]};ext=5", purpose="login")
    talk.post("/otp/request", to=LANDLINE, purpose="login")
    talk.post("/otp/request", to=[NUMBERS[0]], purpose="login")
    talk.post("/otp/verify", challenge_id=NUMBERS[0], code=int(code), purpose="login")
    talk.post("/otp/verify", challenge_id=two, code=f"{code}1", purpose="login")
    talk("POST", "/otp/request", content=f'{{"to": "{NUMBERS[0]}", "code": "{code}"'.encode())
    talk("POST", "/otp/request", content=f"to={NUMBERS[0]}&code={code}".encode())
    talk("GET", f"/otp/{NUMBERS[0]}")
    talk("GET", f"/{code}/{NUMBERS[0]}?code={code}")
    talk("POST", f"/otp/verify?code={code}&to={NUMBERS[0]}", json={})
    talk("DELETE", f"/otp/{code}")
    talk("GET", f"/otp/{one}", headers={"Authorization": f"Bearer {credential}x"})
    talk("GET", f"/otp/{one}", headers={"Authorization": f"Basic {credential}"})
    talk("GET", f"/otp/{one}", headers={"User-Agent": f"{code} {NUMBERS[0]}", "Accept": code})
    talk("GET", "/readyz")
    # What was sent to whom
    messages = [message for number in NUMBERS for message in sandbox.messages(number)]
    assert len(messages) == 9
    trail.codes |= {
        f"code {n}": code_in(message["message"]).encode() for n, message in enumerate(messages)
    }
    trail.codes |= {f"wrong code {n}": wrong.encode() for n, wrong in enumerate(wrong_codes)}
    trail.said = {
        name: text.encode()
        for name, text in {
            "the subject": SUBJECT,
            "the binding": BINDING,
            "the address": ADDRESS,
            "the idempotency key": KEY,
            "the proof": proof,
        }.items()
    }


def at_rest(url: str, directory: Path) -> dict[str, bytes]:
    """Every key and value of every type, the slow log, and the files that Valkey writes."""
    readers = {
        b"string": lambda c, key: c.get(key),
        b"hash": lambda c, key: c.hgetall(key),
        b"zset": lambda c, key: c.zrange(key, 0, -1),
        b"stream": lambda c, key: c.xrange(key),
        b"set": lambda c, key: c.smembers(key),
        b"list": lambda c, key: c.lrange(key, 0, -1),
    }
    with Redis.from_url(url) as client:
        names = list(client.scan_iter(count=1000))
        values = [readers[client.type(key)](client, key) for key in names]
        slow = client.slowlog_get(100_000)
        assert len(slow) > 100
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert any(path.suffix == ".aof" and path.stat().st_size > 10_000 for path in files)
    return {
        "the keys": b"\n".join(names),
        "the values": flat(values),
        "the slow log": flat([entry["command"] for entry in slow]),
        **{f"the file {path.name}": path.read_bytes() for path in files},
    }


def flat(value: Any) -> bytes:
    """All the bytes in there, one after the other."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return flat([*value.keys(), *value.values()])
    if isinstance(value, list | tuple | set):
        return b"\n".join(flat(part) for part in value)
    return str(value).encode()


def secrets_of(
    environment: dict[str, str], credential: str, redis_password: str
) -> dict[str, bytes]:
    """What the configuration holds, as given and as derived."""
    ring = Keyring.from_json(environment["OTP_KEYRING"])
    raw = [entry["secret"] for entry in json.loads(environment["OTP_KEYRING"])["keys"]]
    return {
        "the credential": credential.encode(),
        "the credential's secret": credential.split("_", 3)[3].encode(),
        "the application password": PASSWORD.encode(),
        "the application password without spaces": PASSWORD.replace(" ", "").encode(),
        "the Basic credentials": f"otp:{PASSWORD}".encode(),
        "the password of Redis": redis_password.encode(),
        **{f"key {n} of the ring": secret.encode() for n, secret in enumerate(raw)},
        **{f"raw key {n} of the ring": base64.b64decode(secret) for n, secret in enumerate(raw)},
        **{f"the working {kind} key": ring.active(kind).secret for kind in Kind},
    }


def numbers() -> dict[str, bytes]:
    found: dict[str, bytes] = {"the landline": LANDLINE[1:].encode()}
    for number in NUMBERS:
        found |= number_forms(number)
    return found


def test_no_code_is_left_anywhere(trail: Trail) -> None:
    """E06, E08, E09, E11, E13: neither a right one nor what was typed instead."""
    assert len(trail.codes) > 15
    assert leaks(trail.everywhere, trail.codes) == []


def test_no_number_is_left_anywhere(trail: Trail) -> None:
    """E08, E09, E11, E13, guarantee 7: a dozen spellings of each; answers show a mask."""
    assert leaks(trail.everywhere, numbers()) == []
    assert "+1•••••10".encode() in b"\n".join(trail.answers)


def test_no_credential_and_no_key_is_left_anywhere(trail: Trail) -> None:
    """E08, N-101."""
    assert len(trail.keys) > 20
    assert leaks(trail.everywhere, trail.keys) == []


def test_what_a_caller_says_of_a_person_is_in_no_log_and_not_at_rest(trail: Trail) -> None:
    """E11, N-105, guarantee 7: subject, binding, address, idempotency key and proof come back to their caller alone."""
    assert leaks(trail.outside, trail.said) == []
    assert leaks({"an answer": b"\n".join(trail.answers)}, trail.said) == [
        "the subject in an answer",
        "the proof in an answer",
    ]


def test_what_was_searched_is_what_was_done(trail: Trail) -> None:
    """An empty log holds no secret either."""
    lines = [json.loads(line) for line in trail.logs.decode().splitlines()]
    requests = [line for line in lines if line["event"] == "http.request"]

    assert len(requests) == trail.requests
    assert {line["route"] for line in requests} >= {"/otp/verify", "/otp/{challenge_id}", "none"}
    events = {line["event"] for line in lines}
    assert events >= {"challenge.opened", "challenge.approved", "challenge.wrong_code"}
    assert {line["level"] for line in lines} >= {"info"}
    assert b'otp_refusals_total{code="invalid_code"}' in trail.metrics
    assert b"otp_http_requests_total{" in trail.metrics
    assert b"otp:{" in trail.store["the keys"]
    assert b"$argon2id$" in trail.store["the values"]
    assert b"EVALSHA" in trail.store["the slow log"].upper()


def test_metrics_have_a_bounded_set_of_labels(trail: Trail) -> None:
    """E09, I08: a thousand spellings of a path are one series."""
    routes = {
        line.partition('route="')[2].partition('"')[0]
        for line in trail.metrics.decode().splitlines()
        if line.startswith("otp_http_requests_total{")
    }

    assert "none" in routes
    assert all(route == "none" or route.startswith("/") for route in routes)
    assert len(routes) < 20


@pytest.mark.parametrize("number", range(8))
def test_one_secret_left_in_one_place_is_found(trail: Trail, number: int) -> None:
    """E06, E08, E09, E11, E13: the control: whichever of its forms it has, and wherever in a text it stands."""
    secret = b"2718281828"
    form = sorted(set(forms(secret)))[number % len(set(forms(secret)))]

    assert leaks({"x": trail.logs + b'{"a":"' + form + b'"}'}, {"it": secret}) == ["it in x"]
    assert leaks({"x": trail.logs}, {"it": secret}) == []


@pytest.mark.parametrize("offset", range(3))
def test_a_secret_inside_something_encoded_is_found(offset: int) -> None:
    data = base64.b64encode(b"x" * offset + b"+14155550123" + b"yz")

    assert leaks({"x": data}, {"it": b"+14155550123"}) == ["it in x"]


# Faults and prints


FAULTY = """
import asyncio, sys
from otp_service.telemetry import REFUSALS, configure_logging
configure_logging("DEBUG")
import structlog, logging
from otp_service.web.edge import RequestContextMiddleware

async def handler(scope, receive, send):
    code, number = "2718281828", "+14155550123"
    try:
        raise ValueError(f"no {code} for {number}")
    except ValueError as error:
        raise RuntimeError({"code": code}, number) from error

async def main():
    sent = []
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": [(b"host", b"a")]}
    await RequestContextMiddleware(handler)(scope, None, send)
    counted = REFUSALS.labels("internal")._value.get()
    sys.stderr.write(f"{sent} counted: {counted}")

asyncio.run(main())
try:
    raise ValueError("2718281828")
except ValueError:
    logging.getLogger("somebody.else").exception("failed")
    structlog.get_logger().error("failed", exc_info=True)
"""


def test_a_fault_is_logged_by_type_and_place_and_answered_with_neither() -> None:
    """E10, N-080, N-103: no message, no local variable, no cause; and the answer is a problem."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTY], capture_output=True, text=True, timeout=300, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    faults = [line for line in lines if "error" in line]

    assert [line["error"] for line in faults] == ["RuntimeError", "ValueError", "ValueError"]
    assert all(line["at"] for line in faults)
    assert "'status': 500" in done.stderr
    assert '"code":"internal"' in done.stderr
    assert "counted: 1.0" in done.stderr
    for secret in ("2718281828", "4155550123"):
        assert secret not in done.stdout + done.stderr
    assert "RuntimeError" not in done.stderr


def test_nothing_that_holds_a_secret_prints_it(environment: dict[str, str]) -> None:
    """E10: a traceback's locals, a debugger, an f-string by mistake."""
    settings = load(environment)
    ring = settings.ring()
    text, stored = credentials.issue(ring, "shop", now=0, expires_in=None)
    presented = credentials.Presented.parse(text)
    number, context = NUMBERS[0], {"amount": "19.90 EUR", "payee": "Acme Books"}
    things = [
        settings,
        settings.model_dump(),
        ring,
        ring.active(Kind.PEPPER),
        presented,
        stored,
        parse_recipient(number, regions=None),
        Destination(to=number, context=context, client_ip=ADDRESS),
        About(subject=SUBJECT, client_ref=None),
        CodeRequest(to=number, purpose="login", subject=SUBJECT, client_ip=ADDRESS),
    ]
    printed = "\n".join(f"{thing!r} {thing!s}" for thing in things).encode()

    assert leaks({"a print": printed}, secrets_of(environment, text, "none-at-all")) == []
    assert leaks({"a print": printed}, number_forms(number)) == []
    for personal in (SUBJECT, ADDRESS, "Acme Books"):
        assert personal.encode() not in printed
