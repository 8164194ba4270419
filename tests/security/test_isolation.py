"""Of one caller, another sees nothing and counts nothing: its ids, people and numbers are as if they never were."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pyotp

from otp_service.core.challenge import challenge_id_for, new_handle, subject_address
from otp_service.store import keys
from otp_service.web.routes import OPERATIONS
from tests.conftest import TO, Service
from tests.reliability.harness import eventually

OTHER_TO = "+14155550199"
SAME_ID = {"X-Request-Id": "the-same-for-both"}
# What is new in each answer, whoever asks.
FRESH = {
    "challenge_id",
    "factor_id",
    "expires_at",
    "created_at",
    "confirmed_at",
    "qr_terminal",
    "secret",
    "provisioning_uri",
    "qr_svg",
    "codes",
}


@dataclass(frozen=True)
class Things:
    """What one caller has, or what nobody ever had."""

    challenge_id: str
    factor_id: str
    subject: str
    code: str
    app_code: str
    recovery_code: str
    proof: str
    device_id: str
    device_token: str
    to: str


Probe = Callable[[Things], tuple[str, dict[str, Any] | None]]

PROBES: dict[str, Probe] = {
    "requestCode": lambda t: (
        "/otp/request",
        {"to": t.to, "purpose": "login", "subject": t.subject},
    ),
    "verifyCode": lambda t: (
        "/otp/verify",
        {"challenge_id": t.challenge_id, "code": t.code, "purpose": "login"},
    ),
    "resendCode": lambda t: ("/otp/resend", {"challenge_id": t.challenge_id}),
    "cancelChallenge": lambda t: ("/otp/cancel", {"challenge_id": t.challenge_id}),
    "getChallenge": lambda t: (f"/otp/{t.challenge_id}", None),
    "requestOptIn": lambda t: ("/optin/request", {"name": "Ann", "mobile": t.to}),
    "verifyOptIn": lambda t: (
        "/optin/verify",
        {"name": "Ann", "mobile": t.to, "activation": "1234"},
    ),
    "unsubscribe": lambda t: ("/optin/unsubscribe", {"name": "Ann", "mobile": t.to}),
    "enrollTotp": lambda t: ("/factors/totp", {"subject": t.subject, "account_name": "ann"}),
    "verifyTotp": lambda t: (
        "/factors/totp/verify",
        {"subject": t.subject, "code": t.app_code, "purpose": "login"},
    ),
    "confirmTotp": lambda t: (f"/factors/totp/{t.factor_id}/confirm", {"code": t.app_code}),
    "listFactors": lambda t: (f"/factors?subject={t.subject}", None),
    "renameFactor": lambda t: (f"/factors/{t.factor_id}", {"name": "mine"}),
    "removeFactor": lambda t: (f"/factors/{t.factor_id}", None),
    "issueRecoveryCodes": lambda t: ("/recovery-codes", {"subject": t.subject}),
    "redeemRecoveryCode": lambda t: (
        "/recovery-codes/verify",
        {"subject": t.subject, "code": t.recovery_code, "purpose": "login"},
    ),
    "removeFactorWithProof": lambda t: (f"/factors/{t.factor_id}/remove", {"proof": t.proof}),
    "rememberDevice": lambda t: ("/devices", {"subject": t.subject, "proof": t.proof}),
    "verifyDevice": lambda t: (
        "/devices/verify",
        {"subject": t.subject, "token": t.device_token, "purpose": "login"},
    ),
    "listDevices": lambda t: (f"/devices?subject={t.subject}", None),
    "forgetDevice": lambda t: (f"/devices/{t.device_id}", None),
    "forgetDevices": lambda t: (f"/devices?subject={t.subject}", None),
    "readTimeline": lambda t: ("/timeline", {"challenge_id": t.challenge_id}),
    "unblockSubject": lambda t: (
        "/subjects/unblock",
        {"subject": t.subject, "reason": "called the help desk"},
    ),
    "eraseSubject": lambda t: (
        "/subjects/erase",
        {"subject": t.subject, "reason": "closed the account"},
    ),
    "introspectProof": lambda t: ("/proofs/introspect", {"proof": t.proof}),
}
# The site has one list, whichever caller asks; what it answers of a number is the site's own.
OF_THE_SITE = {"requestOptIn", "verifyOptIn", "unsubscribe"}


async def of_shop(service: Service) -> Things:
    """Everything that the caller `shop` can have, alive."""
    enrolled = (await service.post("/factors/totp", subject="user-a", account_name="ann")).json()
    app = pyotp.parse_uri(enrolled["provisioning_uri"])
    code = app.at(await service.now())
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"
    assert (await service.post(path, code=code)).status_code == 200
    codes = (await service.post("/recovery-codes", subject="user-a")).json()["codes"]
    challenge = await service.request(subject="user-a")
    login = await service.verify(challenge, service.code())
    device = await service.post("/devices", subject="user-a", proof=login.json()["proof"])
    assert device.status_code == 201, device.text
    service.advance(121)
    proven = await service.post(
        "/recovery-codes/verify", subject="user-a", code=codes[0], purpose="login"
    )
    challenge = await service.request(subject="user-a")
    return Things(
        challenge_id=challenge["challenge_id"],
        factor_id=enrolled["factor_id"],
        subject="user-a",
        code=service.code(),
        app_code=code,
        recovery_code=codes[1],
        proof=proven.json()["proof"],
        device_id=device.json()["device_id"],
        device_token=device.json()["token"],
        to=TO,
    )


def of_nobody(service: Service) -> Things:
    """As well-formed, and never there."""
    ring = service.settings.ring()
    address = subject_address(ring, "nobody", "subject:nobody")
    return Things(
        challenge_id=challenge_id_for(ring, address, new_handle(ring)),
        factor_id=challenge_id_for(ring, address, new_handle(ring)),
        subject="user-b",
        code="000000",
        app_code="000000",
        recovery_code="ABCD-EFGH-JKMN-PQRS",
        proof="p" * 43,
        device_id=challenge_id_for(ring, address, new_handle(ring)),
        device_token="otpd_" + "d" * 85,
        to=OTHER_TO,
    )


async def ask(
    service: Service, operation: Any, things: Things, headers: dict[str, str]
) -> httpx.Response:
    path, body = PROBES[operation.name](things)
    return await service.http.request(
        operation.method, path, json=body, headers={**headers, **SAME_ID}
    )


def told(answer: httpx.Response, things: Things) -> tuple[Any, ...]:
    """An answer, without what is new in each and without what the asker said itself."""
    text = answer.text
    if answer.status_code < 300 and text:
        members = {name: value for name, value in answer.json().items() if name not in FRESH}
        text = str(members).replace(things.subject, "…").replace(things.to[-2:], "…")
    names = {"location"} | ({"content-length"} if answer.status_code < 300 else set())
    headers = {name: value for name, value in answer.headers.items() if name not in names}
    return answer.status_code, text, headers


def test_every_operation_is_probed() -> None:
    """A new operation says here how another caller's ids are tried on it."""
    assert set(PROBES) == {operation.name for operation in OPERATIONS}


async def all_delivered(service: Service) -> bool:
    """Say whether no code waits to be sent."""
    client: Any = service.container.scripts.connection.client
    return not sum([int(await client.xlen(queue)) for queue in keys.queues()])


async def test_ids_of_another_caller_are_ids_that_never_were(service: Service) -> None:
    """A18, B06, F17: byte for byte the same answer and the same headers, whatever is asked."""
    theirs, nobodys = await of_shop(service), of_nobody(service)
    for n, operation in enumerate(OPERATIONS):
        stranger = await service.caller(f"stranger-{n}")
        # Codes of opt-ins are refused while two others wait in their queue.
        await eventually(lambda: all_delivered(service), "empty queues")
        foreign = told(await ask(service, operation, theirs, stranger), theirs)
        await eventually(lambda: all_delivered(service), "empty queues")
        unknown = told(await ask(service, operation, nobodys, stranger), nobodys)
        assert foreign == unknown, operation.name
        assert foreign[0] < 500, operation.name


async def test_nothing_that_a_stranger_tries_changes_or_counts_anything(service: Service) -> None:
    """B06: no guess is burned, no code is spent, nothing is removed; each first try of the owner works."""
    theirs = await of_shop(service)
    stranger = await service.caller("stranger")
    for operation in OPERATIONS:
        if operation.name in OF_THE_SITE | {"requestCode"}:
            continue
        for _ in range(12):
            await ask(service, operation, theirs, stranger)

    looked = (await service.http.get(f"/otp/{theirs.challenge_id}")).json()
    assert (looked["status"], looked["attempts_remaining"]) == ("pending", 5)
    ways = (await service.http.get("/factors?subject=user-a")).json()
    assert [way["factor_id"] for way in ways["factors"]] == [theirs.factor_id]
    assert ways["factors"][0]["name"] != "mine"
    assert ways["recovery_codes_remaining"] == 9
    verified = await service.verify({"challenge_id": theirs.challenge_id}, theirs.code)
    assert verified.status_code == 200
    redeemed = await service.post(
        "/recovery-codes/verify", subject="user-a", code=theirs.recovery_code, purpose="login"
    )
    assert redeemed.status_code == 200
    remembered = await service.post(
        "/devices/verify", subject="user-a", token=theirs.device_token, purpose="login"
    )
    assert remembered.status_code == 200
    known = (await service.post("/proofs/introspect", proof=theirs.proof)).json()
    assert known["active"] is True


async def test_sends_and_failures_of_one_caller_are_not_to_be_seen_in_anothers_limits(
    service: Service,
) -> None:
    """A18, guarantee 6: neither by what is left, nor by when, nor by a block of the same name of a person."""
    first = await service.request(subject="user-a")
    for _ in range(5):
        await service.verify(first, service.wrong_code())
    stranger = await service.caller("stranger")
    body = {"purpose": "login", "subject": "user-a"}

    seen = await service.post("/otp/request", headers=stranger, to=TO, **body)
    fresh = await service.post(
        "/otp/request", headers=stranger, to=OTHER_TO, purpose="login", subject="user-b"
    )
    hidden = ("ratelimit", "ratelimit-policy")
    assert [seen.headers[name] for name in hidden] == [fresh.headers[name] for name in hidden]
    for member in ("sends_remaining", "resend_in", "attempts_remaining", "expires_in"):
        assert seen.json()[member] == fresh.json()[member], member


async def test_the_same_idempotency_key_of_two_callers_is_two_keys(service: Service) -> None:
    stranger = await service.caller("stranger")
    key = {"Idempotency-Key": "the-same-for-both"}
    body = {"to": TO, "purpose": "login"}

    mine = await service.post("/otp/request", headers=key, **body)
    theirs = await service.post("/otp/request", headers={**key, **stranger}, **body)

    assert mine.status_code == theirs.status_code == 202
    assert "idempotency-replayed" not in theirs.headers
    assert mine.json()["challenge_id"] != theirs.json()["challenge_id"]
