"""Places that ask for a proof: by a middleware, by a dependency, with proofs of the running service."""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pyotp
import pytest
from starlette.requests import HTTPConnection, Request

from otp_service.client import AsyncClient, AsyncProofVerifier, SeenProofs, Unauthorized
from otp_service.client.asgi import (
    ProofMiddleware,
    require_proof,
)
from otp_service.pytest_plugin import RunningService
from tests.client.conftest import NO_TLS, confirm, opened
from tests.client.scripted import Reply, Scripted, problem
from tests.client.shop import application, post

PAYMENT = {"amount": "19.90 EUR", "payee": "Acme Books"}
Prove = Callable[..., Awaitable[str]]


@pytest.fixture
async def client(otp_service: RunningService) -> AsyncIterator[AsyncClient]:
    async with otp_service.async_client(timeout=60) as client:
        yield client


@pytest.fixture
def prove(client: AsyncClient) -> Prove:
    """Get a proof of somebody."""

    async def prove(subject: str = "ann", purpose: str = "payment", **wish: str) -> str:
        enrolled = await client.enroll_totp(subject=subject, account_name=subject)
        await confirm(client, enrolled)
        verified = await client.verify_totp(
            subject=subject, code=pyotp.TOTP(enrolled.secret).now(), purpose=purpose, **wish
        )
        await client.remove_factor(factor_id=enrolled.factor_id)
        return verified.proof

    return prove


both = pytest.mark.parametrize("how", ["middleware", "dependency"])


@both
async def test_a_proof_of_the_person_for_the_purpose_opens_once(
    client: AsyncClient, prove: Prove, how: str
) -> None:
    app, proof = application(client, how), await prove()

    first = await post(app, x_otp_proof=proof, x_user="ann")
    second = await post(app, x_otp_proof=proof, x_user="ann")

    assert first.json() == {"paid by": "ann", "method": "totp"}
    assert (second.status_code, second.json()["code"]) == (401, "proof_inactive")


@both
async def test_a_remembered_device_opens_only_where_it_is_said_to(
    client: AsyncClient, prove: Prove, how: str
) -> None:
    """Whoever asks for a factor just now, by `max_age` or not, must not get a cookie of last month for it."""
    device = await client.remember_device(subject="ann", proof=await prove())
    token, answers = device.token, []
    for options in ({}, {"methods": ("totp", "device")}, {"methods": ("totp",)}):
        login = await client.verify_device(subject="ann", token=token, purpose="payment")
        token = login.token
        app = application(client, how, **options)
        answers.append(await post(app, x_otp_proof=login.proof, x_user="ann"))

    assert [answer.status_code for answer in answers] == [403, 200, 403]
    assert answers[0].json()["code"] == "proof_mismatch"
    assert answers[1].json()["method"] == "device"


@both
async def test_without_one_the_answer_is_a_problem_that_says_what_is_missing(
    client: AsyncClient, how: str
) -> None:
    answer = await post(application(client, how), x_user="ann")

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'OTP-Proof purpose="payment"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "type": "urn:otp-service:problem:proof_missing",
        "title": "This needs a proof in X-OTP-Proof",
        "status": 401,
        "code": "proof_missing",
    }


@both
@pytest.mark.parametrize("odd", ["otpp_" + "0" * 45, "no proof at all", "x" * 5000, ""])
async def test_what_is_no_proof_opens_nothing(client: AsyncClient, how: str, odd: str) -> None:
    answer = await post(application(client, how), x_otp_proof=odd, x_user="ann")

    assert (answer.status_code, answer.json()["code"]) == (401, "proof_inactive")


@both
@pytest.mark.parametrize(
    ("subject", "purpose", "user", "options"),
    [
        ("ann", "login", "ann", {}),
        ("bob", "payment", "ann", {}),
        ("ann", "payment", None, {}),
        ("ann", "payment", "ann", {"methods": ("sms", "recovery_code")}),
    ],
    ids=["another purpose", "another person", "nobody logged in", "another method"],
)
async def test_a_proof_of_something_else_is_forbidden(
    client: AsyncClient,
    prove: Prove,
    how: str,
    subject: str,
    purpose: str,
    user: str | None,
    options: dict[str, Any],
) -> None:
    headers = {"x_otp_proof": await prove(subject, purpose)} | ({"x_user": user} if user else {})

    answer = await post(application(client, how, **options), **headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "proof_mismatch")


@both
async def test_a_proof_of_nobody_in_particular_is_not_that_of_nobody_logged_in(
    client: AsyncClient, otp_service: RunningService, how: str
) -> None:
    phone = otp_service.phone()
    challenge = await client.request_code(to=phone.to, purpose="payment", wait=30, context=PAYMENT)
    verified = await client.verify_code(
        challenge_id=challenge.challenge_id, code=phone.code(), purpose="payment"
    )
    assert verified.subject is None

    answer = await post(application(client, how), x_otp_proof=verified.proof)

    assert (answer.status_code, answer.json()["code"]) == (403, "proof_mismatch")


@both
@pytest.mark.parametrize(("later", "status"), [(60, 200), (92, 401)])
async def test_a_proof_can_be_too_old_for_a_place(
    client: AsyncClient, prove: Prove, how: str, later: int, status: int
) -> None:
    proof = await prove()
    now = time.time()
    app = application(client, how, max_age=90, clock=lambda: now + later)

    answer = await post(app, x_otp_proof=proof, x_user="ann")

    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == "proof_too_old"


@both
async def test_anybodys_proof_does_only_where_that_was_said(
    client: AsyncClient, prove: Prove, how: str
) -> None:
    app = application(client, how, subject=None, header="X-Second-Factor")

    assert (await post(app, x_second_factor=await prove("carol"))).status_code == 200
    with pytest.raises(TypeError, match="subject"):
        require_proof(client, purpose="payment")  # type: ignore[call-arg]


@both
async def test_two_proofs_are_none(client: AsyncClient, prove: Prove, how: str) -> None:
    app = application(client, how)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as http:
        two = [("X-OTP-Proof", await prove()), ("X-OTP-Proof", await prove()), ("X-User", "ann")]
        answer = await http.post("/pay", headers=two)

    assert answer.json()["code"] == "proof_missing"


@both
async def test_it_stays_closed_when_nobody_can_tell(scripted: Scripted, how: str) -> None:
    scripted.script = [problem(503, "unavailable", retry_after=4)]
    async with opened("async", scripted.url) as otp:
        assert isinstance(otp.client, AsyncClient)
        answer = await post(application(otp.client, how), x_otp_proof="otpp_x", x_user="ann")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "4")
    assert len(scripted.seen) == 1


@both
async def test_a_credential_of_ours_that_is_refused_is_a_fault_and_not_the_persons(
    scripted: Scripted, how: str
) -> None:
    scripted.script = [problem(401, "unauthorized")]
    async with opened("async", scripted.url) as otp:
        assert isinstance(otp.client, AsyncClient)
        with pytest.raises(Unauthorized):
            await post(application(otp.client, how), x_otp_proof="otpp_x", x_user="ann")


# Bound, signed and vouched for


def session(request: HTTPConnection) -> str | None:
    return request.headers.get("x-session")


@pytest.fixture
async def verifier(otp_service: RunningService) -> AsyncIterator[AsyncProofVerifier]:
    transport = httpx.AsyncHTTPTransport(verify=NO_TLS)
    async with AsyncProofVerifier(
        otp_service.url, issuer="otp_service", audience="dev", memory=SeenProofs(),
        transport=transport,
    ) as verifier:  # fmt: skip
        yield verifier


@both
@pytest.mark.parametrize("form", ["opaque", "jwt"])
async def test_a_place_can_ask_for_a_proof_of_this_very_session(
    client: AsyncClient, verifier: AsyncProofVerifier, prove: Prove, how: str, form: str
) -> None:
    """B13: stolen from one session, it is worth nothing in another; the thief's look spends an opaque one."""
    source = client if form == "opaque" else verifier
    app = application(source, how, binding=session)
    stolen, own = [await prove(binding="hers", proof_format=form) for _ in range(2)]

    for headers in ({"x_session": "his"}, {"x_session": ""}, {}):
        refused = await post(app, x_otp_proof=stolen, x_user="ann", **headers)
        told = "proof_inactive" if headers.get("x_session") else "proof_mismatch"
        assert refused.json()["code"] == told
    opened_by = await post(app, x_otp_proof=own, x_user="ann", x_session="hers")

    assert opened_by.json() == {"paid by": "ann", "method": "totp"}


@both
async def test_a_bound_proof_opens_no_place_that_knows_no_binding(
    client: AsyncClient, prove: Prove, how: str
) -> None:
    proof = await prove(binding="hers")

    answer = await post(application(client, how), x_otp_proof=proof, x_user="ann")

    assert answer.json()["code"] == "proof_inactive"


@both
async def test_a_place_takes_signed_proofs_without_asking_and_each_once(
    client: AsyncClient, verifier: AsyncProofVerifier, prove: Prove, how: str
) -> None:
    app, proof = application(verifier, how), await prove(proof_format="jwt")

    first = await post(app, x_otp_proof=proof, x_user="ann")
    second = await post(app, x_otp_proof=proof, x_user="ann")
    elsewhere = await post(
        application(verifier, how, purpose="login"),
        x_otp_proof=await prove(proof_format="jwt"),
        x_user="ann",
    )

    assert first.json() == {"paid by": "ann", "method": "totp"}
    assert (second.status_code, second.json()["code"]) == (401, "proof_inactive")
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "proof_mismatch")


@both
async def test_a_place_takes_the_kind_of_proof_that_it_was_made_for(
    client: AsyncClient, verifier: AsyncProofVerifier, prove: Prove, how: str
) -> None:
    for source, form in ((client, "jwt"), (verifier, "opaque")):
        proof = await prove(proof_format=form)
        answer = await post(application(source, how), x_otp_proof=proof, x_user="ann")
        assert (answer.status_code, answer.json()["code"]) == (401, "proof_inactive")


@both
async def test_who_may_have_verified_is_ourselves_unless_others_are_named(
    scripted: Scripted, how: str
) -> None:
    """A caller chooses the names of its subjects: another's `ann` is not ours."""
    now = int(time.time())
    scripted.script = [
        Reply(body={
            "active": True, "iss": "otp", "aud": "payments", "jti": "j", "client_id": "shop",
            "sub": "ann", "purpose": "payment", "method": "sms", "amr": ["sms"],
            "auth_time": now, "iat": now, "exp": now + 120,
        })
    ]  # fmt: skip
    statuses = []
    async with opened("async", scripted.url) as otp:
        assert isinstance(otp.client, AsyncClient)
        for callers in (None, (), ("payments",), ("shop",)):
            app = application(otp.client, how, callers=callers)
            statuses.append((await post(app, x_otp_proof="otpp_x", x_user="ann")).status_code)

    assert statuses == [403, 403, 403, 200]


async def test_a_websocket_needs_a_proof_too(client: AsyncClient, prove: Prove) -> None:
    reached: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope.get("state"))

    guard = ProofMiddleware(app, client, purpose="payment", subject=None)
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope: dict[str, Any] = {"type": "websocket", "headers": []}
    await guard(scope, receive, send)
    assert (told, reached) == (
        [{"type": "websocket.close", "code": 1008, "reason": "proof_missing"}],
        [],
    )
    proof = (await prove()).encode()
    await guard({**scope, "headers": [(b"x-otp-proof", proof)]}, receive, send)
    await guard({"type": "lifespan"}, receive, send)
    assert reached[0]["otp_proof"].sub == "ann"
    assert len(reached) == 2


async def test_fastapi_can_tell_what_the_dependency_wants(client: AsyncClient) -> None:
    """FastAPI hands over the request to whatever parameter is annotated so."""
    parameters = inspect.signature(require_proof(client, purpose="login", subject=None)).parameters

    assert [parameter.annotation for parameter in parameters.values()] == [Request]
