"""openapi.json says what the service does: all of it, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from prometheus_client import REGISTRY
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from typer.testing import CliRunner

from otp_service.cli import app
from otp_service.web import problems
from otp_service.web.edge import HEADERS
from otp_service.web.models import EXAMPLE_ID
from otp_service.web.openapi.document import document
from otp_service.web.routes import OPERATIONS
from tests.conftest import Service
from tests.web.conftest import Live

CONTRACT = document(OPERATIONS)
CALLS = [(path, method) for path, item in CONTRACT["paths"].items() for method in item]
PATHS = list(CONTRACT["paths"])
GOOD_REQUEST = {"to": "+14155550123", "purpose": "login"}


def concrete(path: str) -> str:
    """The path with something for each of its parameters."""
    return re.sub(r"\{[^}]+\}", EXAMPLE_ID, path)


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    resource = Resource.from_contents(CONTRACT, default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:contract", resource)
    text = json.dumps(schema).replace('"#/', '"urn:contract#/')
    return Draft202012Validator(json.loads(text), registry=registry, format_checker=FormatChecker())


# The file


def test_openapi_json_is_what_the_routes_say(root: Path) -> None:
    printed = CliRunner().invoke(app, ["openapi"])

    assert printed.exit_code == 0
    stored = (root / "openapi.json").read_text("utf-8")
    assert json.loads(stored) == json.loads(printed.output), (
        "openapi.json is stale: run `make docs`"
    )
    assert stored == printed.output, "openapi.json was edited by hand: run `make docs`"


def test_openapi_json_is_valid_openapi_3_1() -> None:
    validate(CONTRACT)

    assert CONTRACT["openapi"].startswith("3.1.")


async def test_the_service_serves_the_same_document(quiet: Service) -> None:
    answer = await quiet.http.get("/openapi.json")

    assert answer.json() == CONTRACT


def test_every_operation_has_a_name_a_scope_and_its_answers() -> None:
    names = [CONTRACT["paths"][path][method]["operationId"] for path, method in CALLS]
    assert len(names) == len(set(names))
    for path, method in CALLS:
        told = CONTRACT["paths"][path][method]
        assert told["summary"]
        assert "405" in told["responses"]
        if told["security"]:
            assert {"401", "403", "503"} <= set(told["responses"])


# Refusals


LEAVES = sorted(set(problems.leaves()), key=lambda leaf: leaf.code)


def test_every_refusal_has_one_row_and_every_row_is_a_refusal() -> None:
    assert set(problems.TABLE) == set(LEAVES)
    codes = [leaf.code for leaf in LEAVES]
    assert len(codes) == len(set(codes)), "two refusals share a code"


def test_every_refusal_is_told_of_somewhere() -> None:
    """One that no operation lists can be no answer: the contract would be broken by it. A missing path is none's."""
    told = {
        code
        for path, method in CALLS
        for response in CONTRACT["paths"][path][method]["responses"].values()
        for code in response["content"].get(problems.MEDIA_TYPE, {}).get("examples", {})
    }
    assert {leaf.code for leaf in LEAVES} - told <= {"not_found"}


def test_every_refusal_is_in_the_readme(root: Path) -> None:
    readme = (root / "README.md").read_text("utf-8")

    assert [leaf.code for leaf in LEAVES if f"`{leaf.code}`" not in readme] == []


@pytest.mark.parametrize(("path", "method"), CALLS)
def test_every_problem_example_is_such_a_problem(path: str, method: str) -> None:
    """N-080: each problem of each operation, with the status it stands under and the headers it comes with."""
    statuses = {leaf.code: problems.TABLE[leaf].status for leaf in LEAVES}
    for status, response in CONTRACT["paths"][path][method]["responses"].items():
        content = response["content"].get(problems.MEDIA_TYPE)
        if content is None:
            continue
        headers = set(response["headers"])
        for code, shown in content["examples"].items():
            example = shown["value"]
            validator(content["schema"]).validate(example)
            assert example["code"] == code
            assert example["type"] == problems.TYPE_PREFIX + code
            assert example["status"] == int(status) == statuses[code]
            assert example["detail"]
            assert ("retry_after" in example) <= ("Retry-After" in headers)
        assert ("WWW-Authenticate" in headers) == (status in ("401", "403"))
        assert ("Allow" in headers) == (status == "405")
        if status in ("429", "503"):
            assert "Retry-After" in headers


@pytest.mark.parametrize(("path", "method"), CALLS)
def test_every_example_is_valid_and_whole(path: str, method: str) -> None:
    told = CONTRACT["paths"][path][method]
    contents = [response["content"] for response in told["responses"].values()]
    if "requestBody" in told:
        contents.append(told["requestBody"]["content"])
    for content in contents:
        for media_type in content.values():
            if "example" in media_type:
                validator(media_type["schema"]).validate(media_type["example"])
            else:
                assert "examples" in media_type or media_type["schema"] == {"type": "object"}
    for parameter in told.get("parameters", []):
        if "example" in parameter:
            validator(parameter["schema"]).validate(parameter["example"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_example_can_be_sent_as_it_stands(operation: Any) -> None:
    if operation.request is None:
        return
    told = CONTRACT["paths"][operation.path][operation.method.lower()]
    example = told["requestBody"]["content"]["application/json"]["example"]

    operation.request.model_validate(example)


# Methods


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_method_that_a_path_does_not_have_is_405_and_allow_names_those_it_has(
    quiet: Service, path: str
) -> None:
    """C18, N-064: before any credential is looked at, and for every path of the contract."""
    own = {method.upper() for method in CONTRACT["paths"][path]}
    own |= {"HEAD"} if "GET" in own else set()
    for method in set(METHODS) - own:
        answer = await quiet.http.request(method, concrete(path), json={})

        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) == own
        assert method == "HEAD" or answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("method", METHODS)
async def test_methods_are_counted_by_name(quiet: Service, method: str) -> None:
    """Those of RFC 9110 and PATCH; what a client makes up is `other`, so that the labels stay a closed set."""
    counted = {"method": "other" if method == "BREW" else method, "route": "none", "status": "404"}
    before = REGISTRY.get_sample_value("otp_http_requests_total", counted) or 0

    await quiet.http.request(method, "/nothing")

    assert REGISTRY.get_sample_value("otp_http_requests_total", counted) == before + 1


async def test_head_gives_the_head_of_get_and_nothing_else(live: Live) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        got = await live.ask(f"GET {path} HTTP/1.1")
        head = await live.ask(f"HEAD {path} HTTP/1.1")

        assert head.status == got.status == 200
        assert head.headers["content-length"] == got.headers["content-length"]
    async with live.connection() as wire:
        wire.send(live.head("HEAD /healthz HTTP/1.1", Connection="close"))
        await wire.answer(head_only=True)
        assert await wire.reader.read() == b""


async def test_head_asks_for_a_credential_as_get_does(live: Live) -> None:
    heard = await live.ask(f"HEAD /otp/{EXAMPLE_ID} HTTP/1.1", Authorization=None)

    assert heard.status == 401


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"]
)
async def test_a_method_can_not_be_overridden(quiet: Service, header: str) -> None:
    """C18."""
    as_get = await quiet.http.get("/otp/verify", headers={header: "POST"})
    as_post = await quiet.http.post("/healthz", headers={header: "GET"})

    assert (as_get.status_code, as_post.status_code) == (405, 405)


# Paths and hosts


@pytest.mark.parametrize(
    "path",
    [
        "/otp/request/",
        "//otp/request",
        "/otp//request",
        "/./otp/request",
        "/otp/../otp/request",
        "/otp/%2e/request",
        "/otp%2Frequest/",
        "/OTP/request",
        "/otp/Request",
        "/otp/request;x=1",
        "/otp/request%00",
        "/otp/request%20",
        "/otp/r%65quest",
        "/otp%2Frequest",
        "/otp/request%0A",
        "/otp/request%0D%0A",
        "/healthz/../otp/request",
        "/%6ftp/request",
        "/otp/request/%2e%2e",
        "/otp/request%c0%af",
        "/otp/request%",
        "/otp/request?",
    ],
)
async def test_another_spelling_of_a_path_is_no_way_around_the_credential(
    live: Live, path: str
) -> None:
    """C20: it is nothing (404, or 405 under /otp/), or the same operation with the same door. Never a redirect."""
    body = json.dumps(GOOD_REQUEST).encode()

    without = await live.ask(f"POST {path} HTTP/1.1", body, Authorization=None)
    with_credential = await live.ask(f"POST {path} HTTP/1.1", body)

    assert without.status in (400, 401, 404, 405)
    assert with_credential.status in (202, 400, 404, 405)
    assert (without.status == 401) == (with_credential.status == 202)
    if without.status in (404, 405):
        assert json.loads(without.body)["code"] in ("not_found", "method_not_allowed")


async def test_a_path_that_is_not_there_is_a_problem_and_no_page(quiet: Service) -> None:
    for path in ("/", "/otp", "/otp/", "/docs", "/metrics", "/debug", "/favicon.ico", "/.env"):
        answer = await quiet.http.get(path)

        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == problems.MEDIA_TYPE
        assert answer.json()["code"] == "not_found"


BAD_HOSTS = [
    "x/healthz?a=",
    "a b",
    "a,b",
    "a@b",
    "http://a",
    "a:port",
    "a:123456",
    "",
    "[::1",
    "a\\b",
    "a#b",
    "\xe9.example",
]


@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_a_host_that_is_none_is_refused_whatever_the_path(quiet: Service, host: str) -> None:
    """C19: a URL built of it would lead elsewhere than the route that is served."""
    sent = {"Host": host.encode("latin-1")}
    for path in ("/otp/verify", "/healthz", "/nothing"):
        answer = await quiet.http.post(path, json={}, headers=sent)

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_no_host_and_two_hosts_are_refused(live: Live) -> None:
    """C19, RFC 9112 section 3.2."""
    missing = await live.ask("GET /healthz HTTP/1.1", Host=None)
    two = await live.ask("GET /healthz HTTP/1.1", raw_headers={"HOST": "b.example"})
    assert [missing.status, two.status] == [400, 400]


async def test_requests_that_are_no_http_are_400_and_the_service_goes_on(live: Live) -> None:
    """Q5: nothing that a parser may choke on is a 500."""
    for line in (
        "GET http://[::1 HTTP/1.1",
        "CONNECT a.example:443 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET /healthz HTTP/9.9",
        "GE\x00T /healthz HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET /h\xe9 HTTP/1.1",
    ):
        heard = await live.ask(line)
        assert 400 <= heard.status < 500, line

    assert (await live.ask("GET /healthz HTTP/1.1")).status == 200


@pytest.mark.parametrize("ending", ["%0A", "%0a%0a", "%0D%0A", "%00", "%7F"])
@pytest.mark.parametrize("path", ["/otp/request", "/healthz", "/otp/" + "a" * 34])
async def test_a_path_that_ends_in_a_control_character_is_nothing(
    live: Live, path: str, ending: str
) -> None:
    """C20: a line feed at the end is not the operation's path, whatever a pattern's `$` says."""
    method = "POST" if path == "/otp/request" else "GET"

    heard = await live.ask(f"{method} {path}{ending} HTTP/1.1")

    assert (heard.status, json.loads(heard.body)["code"]) == (404, "not_found")


# What every call asks for and gives


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/xml",
        "application/json;q=0",
        "x",
        "application/json;q=0, */*",
        "*/*, application/json; Q=0.000",
        "application/*;q=0., */*;q=1",
    ],
)
async def test_who_accepts_no_json_gets_406_and_nothing_is_done(
    quiet: Service, accept: str
) -> None:
    answer = await quiet.post("/otp/request", headers={"Accept": accept}, **GOOD_REQUEST)

    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(
    "accepts",
    [
        ["*/*"],
        ["application/*"],
        ["text/html, application/json;q=0.1"],
        ["text/html", "application/json"],
        [""],
        ["*/*;q=0, application/json"],
        ["application/*;q=0", "application/json;q=0.001"],
    ],
)
async def test_who_accepts_json_among_others_is_served(quiet: Service, accepts: list[str]) -> None:
    sent = [*quiet.http.headers.items(), *(("Accept", accept) for accept in accepts)]
    headers = [(name, value) for name, value in sent if (name, value) != ("accept", "*/*")]

    answer = await quiet.http.post("/otp/request", json=GOOD_REQUEST, headers=headers)

    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("method", "path"),
    [(operation.method, operation.path) for operation in OPERATIONS if operation.query is None],
)
async def test_no_call_takes_a_query(quiet: Service, method: str, path: str) -> None:
    """C17, F13: a code or a credential in a URL is in every log on the way."""
    for query in ("code=123456", "access_token=x", "marker"):
        answer = await quiet.http.request(method, f"{concrete(path)}?{query}")

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert query not in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/otp/request", "/nothing"])
async def test_every_answer_says_that_it_is_not_to_be_kept_or_framed(
    quiet: Service, path: str
) -> None:
    """E15, N-067."""
    for answer in (await quiet.http.get(path), await quiet.http.post(path, json={})):
        told = {name: answer.headers[name] for name in (row[0].decode() for row in HEADERS)}
        assert told == {
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
            "strict-transport-security": "max-age=63072000; includeSubDomains",
        }
        assert "server" not in answer.headers


async def test_a_request_keeps_the_id_it_came_with_if_it_is_one(quiet: Service) -> None:
    """C28: what goes into a log line can't break out of it."""
    for given in ("0123456789abcdef", "a.b-c_d.12345678"):
        answer = await quiet.http.get("/healthz", headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] == given
    for given in ("short", "x" * 65, "a b c d e f g", "12345678\x1b[31m", '12345678","a":"b'):
        answer = await quiet.http.get("/healthz", headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] != given
        assert len(answer.headers["x-request-id"]) == 32


async def test_a_problem_names_the_request_it_is_about(quiet: Service) -> None:
    answer = await quiet.http.get("/nothing", headers={"X-Request-Id": "mine-mine-mine"})

    assert answer.json()["instance"] == "mine-mine-mine"
