"""What an operator set for one caller holds for that caller, and for nobody else."""

import json
import re
from collections.abc import Callable

import pytest
from redis import Redis as SyncRedis
from typer.testing import CliRunner, Result

from otp_service.cli import app
from tests.conftest import TO, Service, Starter
from tests.web.hands import redis


async def ask(service: Service, headers: dict[str, str], **body: object) -> dict[str, object]:
    """Request a code as that caller and wait until it has gone out."""
    sent = {"to": TO, "purpose": "login", **body}
    answer = await service.post("/otp/request", headers={**headers, "Prefer": "wait=30"}, **sent)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def first_line(service: Service) -> str:
    """Of the newest message, with its code masked."""
    message = service.sandbox.messages()[0]["message"]
    return str(re.sub("[0-9]{6}", "#", message.splitlines()[0]))


async def test_codes_are_as_long_as_the_caller_needs_and_live_as_short(service: Service) -> None:
    bank = await service.caller("bank", digits="8", code_ttl="90", max_attempts="2", max_sends="2")
    challenge = await ask(service, bank, subject="ann")

    assert len(service.code()) == 8
    assert challenge["expires_in"] == 90
    assert challenge["attempts_remaining"] == 2
    assert challenge["sends_remaining"] == 1

    wrong = {"challenge_id": challenge["challenge_id"], "purpose": "login", "code": "0" * 8}
    assert (await service.post("/otp/verify", headers=bank, **wrong)).status_code == 400
    spent = await service.post("/otp/verify", headers=bank, **wrong)
    assert spent.json()["code"] == "challenge_exhausted"

    service.advance(120)
    other = await service.request(to="+14155550124")
    assert len(service.code("+14155550124")) == 6
    assert (other["expires_in"], other["attempts_remaining"]) == (300, 5)


async def test_a_purpose_outside_the_callers_set_is_refused_by_field(service: Service) -> None:
    """A13: of every operation that takes one, before anything is counted or sent."""
    shop = await service.caller("web", purposes="login")
    bodies = {
        "/otp/request": {"to": TO, "purpose": "payment"},
        "/factors/totp/verify": {"subject": "ann", "code": "123456", "purpose": "payment"},
        "/recovery-codes/verify": {
            "subject": "ann",
            "code": "AAAA-AAAA-AAAA-AAAA",
            "purpose": "payment",
        },
    }
    for path, body in bodies.items():
        answer = await service.post(path, headers=shop, **body)
        assert answer.status_code == 422, path
        assert answer.json()["errors"][0]["field"] == "purpose"
        assert "login" in answer.json()["errors"][0]["reason"]
    assert service.sandbox.messages() == []

    assert (await ask(service, shop))["purpose"] == "login"


async def test_a_policy_in_a_request_is_refused_as_an_unknown_field(service: Service) -> None:
    """A13: only the operator sets it."""
    for field, value in {"max_attempts": 10, "digits": 4, "origin": "evil.example"}.items():
        answer = await service.post("/otp/request", to=TO, purpose="login", **{field: value})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field


async def test_cooldown_and_windows_of_one_caller_leave_others_alone(service: Service) -> None:
    slow = await service.caller("slow", cooldown="300", per_recipient="2/1h", per_caller="3/1d")
    first = await ask(service, slow)
    assert first["resend_in"] is None or first["resend_in"] > 200
    assert first["sends_remaining"] == 1

    service.advance(121)
    early = await service.post("/otp/request", headers=slow, to=TO, purpose="login")
    assert (early.status_code, early.json()["limit"]) == (429, "cooldown")
    await service.request()  # another caller has the service's cooldown

    service.advance(180)
    await ask(service, slow)
    service.advance(301)
    third = await service.post("/otp/request", headers=slow, to=TO, purpose="login")
    assert third.json()["limit"] == "recipient"

    await ask(service, slow, to="+14155550199")
    budget = await service.post("/otp/request", headers=slow, to="+14155550150", purpose="login")
    assert (budget.status_code, budget.json()["limit"]) == (429, "caller_budget")


async def test_a_window_of_its_own_makes_no_cooldown_shorter(service: Service) -> None:
    """A13: the second send is remembered for the service's ten minutes, not for the caller's one."""
    web = await service.caller("web", per_recipient="4/1m")
    await ask(service, web)
    service.advance(31)
    await ask(service, web)
    service.advance(45)
    early = await service.post("/otp/request", headers=web, to=TO, purpose="login")

    assert (early.status_code, early.json()["limit"]) == (429, "cooldown")


async def test_an_end_users_network_may_cause_fewer_sends_for_one_caller(service: Service) -> None:
    strict = await service.caller("strict", per_client_ip="1/10m")
    await ask(service, strict, client_ip="192.0.2.1")
    again = await service.post(
        "/otp/request", headers=strict, to="+14155550199", purpose="login", client_ip="192.0.2.1"
    )

    assert again.json()["limit"] == "client_ip"
    await service.request(to="+14155550150", client_ip="192.0.2.1")


async def test_regions_of_one_caller(service: Service) -> None:
    german = await service.caller("german", regions="DE")
    refused = await service.post("/otp/request", headers=german, to=TO, purpose="login")
    assert (refused.status_code, refused.json()["reason"]) == (422, "region")
    form = {"name": "Ann", "mobile": TO}
    refused = await service.post("/optin/request", headers=german, **form)
    assert (refused.status_code, refused.json()["reason"]) == (422, "region")

    await service.request()


async def test_messages_say_what_is_the_callers_own(service: Service) -> None:
    """Brand, origin, app, language and sender; of the service's for everybody else."""
    shop = await service.caller(
        "web",
        brand="Fine Shop",
        origin="shop.example",
        app_hash="FA+9qCX9VSu",
        locale="de",
        locales="de,en",
        sender="SHOP",
    )
    await ask(service, shop)
    (message,) = service.sandbox.messages()
    assert "Fine Shop" in message["message"]
    assert message["message"].splitlines()[-1].startswith("@shop.example #")
    assert message["message"].splitlines()[-2] == "FA+9qCX9VSu"
    assert service.sandbox.state()["outbox"][0]["sender"] == "SHOP"

    german = first_line(service)
    service.advance(31)
    await ask(service, shop, locale="en")
    english = first_line(service)
    service.advance(61)
    await ask(service, shop, locale="fa")  # not one of its languages: its default
    assert first_line(service) == german != english

    await service.request(to="+14155550170", locale="fa")
    plain = service.sandbox.messages("+14155550170")[0]["message"]
    assert "Shop" not in plain
    assert "FA+9qCX9VSu" not in plain
    assert "@" not in plain
    assert not plain.isascii()
    assert service.sandbox.state()["outbox"][0]["sender"] != "SHOP"


async def test_a_resend_keeps_what_the_challenge_was_opened_under(
    start_service: Starter,
) -> None:
    service = await start_service()
    shop = await service.caller("web", digits="8", origin="shop.example")
    challenge = await ask(service, shop)
    loose = await service.caller("web")
    other = await start_service()  # another process, which remembers nothing of the caller
    other.advance(31)
    answer = await other.post(
        "/otp/resend",
        headers={**loose, "Prefer": "wait=30"},
        challenge_id=challenge["challenge_id"],
    )

    assert answer.status_code == 202, answer.text
    assert service.sandbox.messages()[0]["message"].endswith(f"@shop.example #{service.code()}")
    assert len(service.code()) == 8


async def test_a_grace_of_the_service_that_a_caller_does_not_want(start_service: Starter) -> None:
    service = await start_service(OTP_RESEND_GRACE="60")
    strict = await service.caller("strict", resend_grace="0")
    relaxed = await service.caller("relaxed")
    for headers, to, expected in ((strict, TO, 400), (relaxed, "+14155550199", 200)):
        challenge = await ask(service, headers, to=to)
        old = service.code(to)
        service.advance(31)
        await service.post(
            "/otp/resend",
            headers={**headers, "Prefer": "wait=30"},
            challenge_id=challenge["challenge_id"],
        )
        answer = await service.post(
            "/otp/verify",
            headers=headers,
            challenge_id=challenge["challenge_id"],
            code=old,
            purpose="login",
        )
        assert answer.status_code == expected


async def test_proofs_of_every_method_live_as_short_as_the_caller_wants(service: Service) -> None:
    short = await service.caller("short", proof_ttl="30")
    challenge = await ask(service, short)
    verified = await service.post(
        "/otp/verify",
        headers=short,
        challenge_id=challenge["challenge_id"],
        code=service.code(),
        purpose="login",
    )
    codes = await service.post("/recovery-codes", headers=short, subject="ann")
    redeemed = await service.post(
        "/recovery-codes/verify",
        headers=short,
        subject="ann",
        code=codes.json()["codes"][0],
        purpose="login",
    )

    for answer in (verified, redeemed):
        assert answer.json()["proof_expires_in"] == 30
    service.advance(31)
    for answer in (verified, redeemed):
        told = await service.post("/proofs/introspect", headers=short, proof=answer.json()["proof"])
        assert told.json()["active"] is False


async def test_the_brand_of_a_caller_is_the_issuer_in_the_app(service: Service) -> None:
    shop = await service.caller("web", brand="Fine Shop")
    enrolled = await service.post(
        "/factors/totp", headers=shop, subject="ann", account_name="ann@shop.example"
    )

    assert "issuer=Fine%20Shop" in enrolled.json()["provisioning_uri"]


async def test_a_policy_in_redis_that_cannot_be_read_is_no_policy_at_all(service: Service) -> None:
    """A damaged record closes: the service's rules alone would be looser than what was meant."""
    for damage in ({"digits": "many"}, {"unheard_of": "1"}, ["digits"], {"digits": 8}):
        headers = await service.caller("web")
        stored = json.loads(await redis(service).get("otp:caller:web"))
        await redis(service).set("otp:caller:web", json.dumps({**stored, "policy": damage}))
        answer = await service.post("/otp/request", headers=headers, to=TO, purpose="login")
        assert answer.status_code == 503, damage


# The command line


@pytest.fixture
def shell(environment: dict[str, str]) -> Callable[..., Result]:
    def run(*arguments: str, **changes: str) -> Result:
        env = {**environment, "COLUMNS": "250", **changes}
        return CliRunner().invoke(app, ["callers", *arguments], env=env)

    assert run("create", "web", "--scope", "otp:request").exit_code == 0
    return run


def test_a_policy_is_set_shown_and_taken_back(shell: Callable[..., Result]) -> None:
    done = shell("policy", "web", "--set", "digits=8", "--set", "purposes=login,signup")
    assert (done.exit_code, done.stdout) == (0, "purposes = login,signup\ndigits = 8\n")

    assert shell("policy", "web", "--set", "brand=Shop", "--unset", "digits").exit_code == 0
    shown = shell("show", "web").output
    assert "otp:request" in shown
    assert "purposes = login,signup" in shown
    assert "brand = Shop" in shown
    assert "digits" not in shown
    assert "purposes=login,signup brand=Shop" in shell("list").output
    assert shell("policy", "web").stdout == "purposes = login,signup\nbrand = Shop\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "digits=5"), "digits: at least 6"),
        (("--set", "digits"), "FIELD=VALUE"),
        (("--set", "cooldown=1"), "cooldown: no step under the service's 30,60,120"),
        (("--set", "volume=11"), "volume: there are purposes"),
        (("--set", "locale=xx"), "locale: there are texts for"),
        (("--unset", "digits"), "no policy of its own"),
    ],
)
def test_what_can_be_no_policy_is_refused_and_changes_nothing(
    shell: Callable[..., Result], valkey_url: str, arguments: tuple[str, ...], said: str
) -> None:
    with SyncRedis.from_url(valkey_url) as client:
        before = client.get("otp:caller:web")
        result = shell("policy", "web", *arguments)

        assert (result.exit_code, said in result.output) == (1, True), result.output
        assert client.get("otp:caller:web") == before


def test_texts_that_no_longer_fit_one_sms_are_told_of(shell: Callable[..., Result]) -> None:
    host = "a-very-long-name-of-a-host-" + "x" * 30 + ".shop.example.com"
    result = shell("policy", "web", "--set", f"origin={host}")

    assert result.exit_code == 0
    assert "warning: " in result.stderr


def test_rotation_keeps_the_policy(shell: Callable[..., Result]) -> None:
    shell("policy", "web", "--set", "digits=8")
    assert shell("rotate", "web").exit_code == 0

    assert "digits = 8" in shell("show", "web").output
