"""Cheap tricks with headers, methods, names and formats: each is refused or means nothing."""

import json
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from otp_service.core.text import has_controls
from otp_service.web.routes import OPERATIONS
from tests.conftest import TO, Sandbox, Service
from tests.factors.test_totp import enroll, now
from tests.security.test_isolation import PROBES, Things, of_nobody
from tests.security.test_limits import told

EVIL = "evil.example"


async def every_answer(service: Service, headers: dict[str, str]) -> list[Any]:
    """What each operation and each open address answers to a call with these headers."""
    things: Things = of_nobody(service)
    answers = []
    for operation in OPERATIONS:
        path, sent = PROBES[operation.name](things)
        answers.append(
            await service.http.request(operation.method, path, json=sent, headers=headers)
        )
    for path in ("/healthz", "/readyz", "/openapi.json", "/.well-known/jwks.json", "/nothing"):
        answers.append(await service.http.get(path, headers=headers))
    return answers


@pytest.mark.parametrize("origin", [f"https://{EVIL}", "null", "https://otp.test.evil.example"])
async def test_no_page_of_another_origin_reads_or_is_allowed_anything(
    quiet: Service, origin: str
) -> None:
    """J02, J01: no CORS header for anybody, and a preflight is a method that is not there."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Sec-Fetch-Site": "cross-site",
    }
    answers = await every_answer(quiet, headers)
    answers += [await quiet.http.options(o.path, headers=headers) for o in OPERATIONS]

    assert not [name for a in answers for name in a.headers if name.startswith("access-control")]
    assert {a.status_code for a in answers[-len(OPERATIONS) :]} <= {404, 405}


def test_no_page_of_another_origin_reads_the_phone_of_the_sandbox(sandbox: Sandbox) -> None:
    """J02's kin: a developer's browser shows other pages too."""
    for path in ("/sandbox/messages", "/sandbox/state", "/"):
        answer = httpx.get(f"{sandbox.url}{path}", headers={"Origin": f"https://{EVIL}"})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control-allow")]


async def test_no_cookie_is_given_and_none_is_a_credential(quiet: Service) -> None:
    """J01, J08: without a cookie a foreign page has nothing to ride on, and a form is refused besides."""
    assert not [a for a in await every_answer(quiet, {}) if "set-cookie" in a.headers]
    credential = quiet.http.headers.pop("authorization")
    body = {"to": TO, "purpose": "login"}
    for cookie in (f"authorization={credential}", f"access_token={credential.split()[1]}"):
        answer = await quiet.post("/otp/request", headers={"Cookie": cookie}, **body)
        assert answer.status_code == 401


FORWARDED = {
    "X-Forwarded-Host": EVIL,
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Prefix": f"//{EVIL}",
    "X-Original-URL": "/otp/request",
    "X-Rewrite-URL": "/otp/request",
    "X-Host": EVIL,
    "Forwarded": f"host={EVIL};proto=http",
    "Referer": f"https://{EVIL}/",
}


async def test_nothing_is_built_from_where_a_request_says_it_came(quiet: Service) -> None:
    """J07, C19, C20: no answer names the host that was asked for, and no header sends a request to another path."""
    for to, headers in ((TO, FORWARDED), ("+14155550166", {"Host": EVIL})):
        for answer in await every_answer(quiet, headers):
            assert EVIL not in answer.text + str(answer.headers)
        asked = await quiet.post("/otp/request", headers=headers, to=to, purpose="login")
        assert asked.headers["location"] == f"/otp/{asked.json()['challenge_id']}"
    assert told(await quiet.http.get("/nothing", headers=FORWARDED))[0] == 404


async def test_no_answer_is_a_page(quiet: Service) -> None:
    """J03, J04: whatever a browser asks for, what comes is JSON that may not be sniffed, framed or run."""
    for answer in await every_answer(
        quiet, {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Dest": "document"}
    ):
        if answer.status_code != 204:
            assert answer.headers["content-type"].split(";")[0].endswith("json")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (
            answer.headers["content-security-policy"]
            == "default-src 'none'; frame-ancestors 'none'"
        )


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_a_form_is_not_parsed_however_many_fields_it_has(quiet: Service, kind: str) -> None:
    """C15: refused by its type, before a field of it is looked at."""
    form = b"&".join(b"f%d=" % n for n in range(20_000))
    answer = await quiet.http.post("/otp/verify", content=form, headers={"Content-Type": kind})
    assert told(answer) in ((415, "not_json"), (413, "too_large"))
    small = await quiet.http.post("/otp/verify", content=b"a=1", headers={"Content-Type": kind})
    assert told(small) == (415, "not_json")


@pytest.mark.parametrize(
    "value",
    [
        "bytes=0-0",
        "bytes=" + ",".join(f"{n}-" for n in range(2000)),
        "bytes=-1",
        "bytes=9-1",
        "x" * 8000,
    ],
)
async def test_a_range_means_nothing(quiet: Service, value: str) -> None:
    """C27: the whole document, once, and no offer of parts."""
    whole = await quiet.http.get("/openapi.json")
    answer = await quiet.http.get("/openapi.json", headers={"Range": value, "If-Range": "x"})

    assert (answer.status_code, answer.content) == (200, whole.content)
    assert "accept-ranges" not in answer.headers


@pytest.mark.parametrize(
    "field", ["phone", "to", "mobile", "subject", "channel", "at", "timestamp", "max_attempts"]
)
async def test_where_a_code_went_is_not_said_again(quiet: Service, field: str) -> None:
    """B07, B28: neither number nor person nor time can be exchanged when the code comes back."""
    asked = (await quiet.post("/otp/request", to=TO, purpose="login")).json()
    body = {"challenge_id": asked["challenge_id"], "code": "123456", "purpose": "login"}
    refused = await quiet.post("/otp/verify", **body, **{field: "+14155550199"})

    assert told(refused) == (422, "invalid_request")
    assert [error["field"] for error in refused.json()["errors"]] == [field]


NAMES = [
    "ann?secret=AAAAAAAAAAAAAAAA",
    "ann&secret=AAAAAAAAAAAAAAAA&issuer=Evil",
    "ann#?secret=AAAAAAAAAAAAAAAA",
    "ann%3Fsecret%3DAAAAAAAAAAAAAAAA",
    "ann/../Evil",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "]]>",
    "آن\u200fann",
    "a b+c",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_in_an_app_brings_no_secret_and_no_markup(service: Service, name: str) -> None:
    """B31, J04: what is in `otpauth://` is what was meant, and the picture of it holds shapes alone."""
    if has_controls(name):
        refused = await service.post("/factors/totp", subject="user-1", account_name=name)
        assert refused.status_code == 422
        return
    enrolled, _ = await enroll(service, account_name=name, issuer=name)
    uri = urlsplit(enrolled["provisioning_uri"])
    assert (uri.scheme, uri.netloc, uri.fragment) == ("otpauth", "totp", "")
    asked = parse_qs(uri.query, strict_parsing=True)
    assert asked["secret"] == [enrolled["secret"]]
    assert asked["issuer"] == [name]
    assert set(asked) <= {"secret", "issuer", "algorithm", "digits", "period"}
    assert unquote(uri.path) == f"/{name}:{name}"
    picture = ET.fromstring(enrolled["qr_svg"])  # noqa: S314 - our own
    assert {node.tag.partition("}")[2] for node in picture.iter()} <= {"svg", "title", "g", "path"}
    assert "alert" not in enrolled["qr_svg"]


QUERIES = {
    "subject=user-1&subject=user-2": 422,
    "subject=user-1&subject=user-1": 422,
    "SUBJECT=user-1": 422,
    "subject[]=user-1": 422,
    "subject=user-1%00": 422,
    "subject=user-1%0a": 422,
    "subject=%ff": 400,
    "subject=": 422,
    "subject=user-1&caller=shop": 422,
    "subject=user-1": 200,
}


@pytest.mark.parametrize("query", QUERIES)
async def test_a_query_has_one_meaning_or_none(quiet: Service, query: str) -> None:
    """C17, C06: twice the same name is refused, whichever of the two another reader would take."""
    assert (await quiet.http.get(f"/factors?{query}")).status_code == QUERIES[query]


@pytest.mark.parametrize(
    "scheme",
    ["Basic", "Token", "Bearer Bearer", "Bearer,", "Bearer\t", "Bearer\u00a0", "JWT", "Digest"],
)
async def test_a_credential_under_another_scheme_is_none(quiet: Service, scheme: str) -> None:
    """F01: and the refusal says which scheme there is."""
    credential = quiet.http.headers.pop("authorization").split()[1]
    header = f"{scheme} {credential}".encode("latin-1")
    body = json.dumps({"to": TO, "purpose": "login"}).encode()
    answer = await quiet.http.post(
        "/otp/request",
        content=body,
        headers=[(b"Authorization", header), (b"Content-Type", b"application/json")],
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_same_call_in_another_order_is_the_same_and_with_another_value_is_not(
    quiet: Service,
) -> None:
    """B14, N-061: a key goes with what a body says, not with how it is written; a null says nothing."""
    key = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    spelled = [
        '{"to": "+14155550123", "purpose": "login"}',
        '{"purpose":"login","to":"+14155550123"}',
        '{"purpose":"lo\\u0067in","to":"+14155550123","locale":null}',
    ]
    answers = [await quiet.http.post("/otp/request", content=text, headers=key) for text in spelled]
    assert len({a.json()["challenge_id"] for a in answers}) == 1
    other = await quiet.http.post(
        "/otp/request", content='{"purpose":"signup","to":"+14155550123"}', headers=key
    )
    assert told(other) == (422, "idempotency_key_reused")


async def test_a_request_says_nothing_of_whether_the_person_exists(service: Service) -> None:
    """E01, guarantee 6: who has logged in, has an app and codes on paper gets the answer of who was never here."""
    challenge = await service.request(subject="user-1")
    assert (await service.verify(challenge, service.code())).status_code == 200
    enrolled, app = await enroll(service)
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"
    assert (await service.post(path, code=app.at(await now(service)))).status_code == 200
    assert (await service.post("/recovery-codes", subject="user-1")).status_code == 201
    service.advance(86_401)  # the number's own sends are over; the person is still known

    async def shape(subject: str, to: str) -> tuple[Any, ...]:
        answer = await service.post("/otp/request", to=to, purpose="login", subject=subject)
        fresh = ("challenge_id", "expires_at", "to")
        body = {name: value for name, value in answer.json().items() if name not in fresh}
        headers = {k: v for k, v in answer.headers.items() if k not in ("location", "x-request-id")}
        return answer.status_code, body, headers

    known, unknown = await shape("user-1", TO), await shape("user-9", "+14155550199")
    assert known == unknown
    assert known != await shape(
        "user-1", TO
    )  # the control: a difference, such as a cooldown, is seen
