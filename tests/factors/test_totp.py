"""The story of an authenticator app: enrol, confirm, verify, and what must not pass."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
import redis
from prometheus_client import REGISTRY

from tests.conftest import Service

USER = "user-1"


async def enroll(
    service: Service, subject: str = USER, **more: Any
) -> tuple[dict[str, Any], pyotp.TOTP]:
    body = {"subject": subject, "account_name": "ann", **more}
    answer = await service.post("/factors/totp", **body)
    assert answer.status_code == 201, answer.text
    return answer.json(), pyotp.parse_uri(answer.json()["provisioning_uri"])


async def now(service: Service) -> int:
    """Redis' clock in seconds, as the scripts see it."""
    return await service.now()


async def confirmed(service: Service, subject: str = USER) -> tuple[str, pyotp.TOTP]:
    """An authenticator that is in use, its confirming step well past."""
    enrolled, app = await enroll(service, subject)
    code = app.at(await now(service))
    answer = await service.post(f"/factors/totp/{enrolled['factor_id']}/confirm", code=code)
    assert answer.status_code == 200, answer.text
    service.advance(60)
    return enrolled["factor_id"], app


async def verify(service: Service, code: str, subject: str = USER, **more: Any) -> httpx.Response:
    return await service.post(
        "/factors/totp/verify", subject=subject, code=code, purpose="login", **more
    )


async def test_a_code_of_the_app_is_accepted_once(service: Service) -> None:
    """B22."""
    factor_id, app = await confirmed(service)
    code = app.at(await now(service))

    first = await verify(service, code)
    second = await verify(service, code)

    assert first.status_code == 200
    assert first.json()["factor_id"] == factor_id
    assert first.json()["amr"] == ["otp"]
    assert second.json()["code"] == "invalid_code"


def counted(event: str) -> float:
    """How often `otp_challenges_total` tells of it for logins."""
    labels = {"purpose": "login", "event": event}
    return REGISTRY.get_sample_value("otp_challenges_total", labels) or 0


async def test_the_metric_counts_every_wrong_code_of_any_factor(service: Service) -> None:
    """A code that was right once, too: else a replay shows nowhere."""
    _, app = await confirmed(service)
    code = app.at(await now(service))
    [recovery, *_] = (await service.post("/recovery-codes", subject=USER)).json()["codes"]
    before = counted("wrong_code"), counted("approved")

    for each in (code, code, app.at(await now(service) + 3600)):
        await verify(service, each)
    for each in (recovery, recovery, "2222-2222-2222-2222"):
        await service.post("/recovery-codes/verify", subject=USER, code=each, purpose="login")

    assert (counted("wrong_code"), counted("approved")) == (before[0] + 4, before[1] + 2)


async def test_fifty_at_once_are_one_acceptance(service: Service) -> None:
    """B24."""
    _, app = await confirmed(service)
    code = app.at(await now(service))

    answers = await asyncio.gather(*(verify(service, code) for _ in range(50)))

    assert sorted(a.status_code for a in answers).count(200) == 1


async def test_an_older_step_is_refused_after_a_newer_one(service: Service) -> None:
    """B25, B27: also when the clock is set back."""
    _, app = await confirmed(service)
    moment = await now(service)
    assert (await verify(service, app.at(moment))).status_code == 200

    assert (await verify(service, app.at(moment - 30))).json()["code"] == "invalid_code"
    service.advance(-60)
    await service.container.history.tick()
    assert (await verify(service, app.at(moment - 60))).json()["code"] == "invalid_code"


async def test_a_pending_authenticator_counts_for_nothing(service: Service) -> None:
    """B29."""
    _, app = await enroll(service)

    answer = await verify(service, app.at(await now(service)))

    assert answer.status_code == 404
    assert answer.json()["code"] == "factor_not_found"


async def test_a_pending_authenticator_is_gone_after_fifteen_minutes(service: Service) -> None:
    enrolled, app = await enroll(service)
    service.advance(901)

    answer = await service.post(
        f"/factors/totp/{enrolled['factor_id']}/confirm", code=app.at(await now(service))
    )

    assert answer.json()["code"] == "factor_not_found"


async def test_a_pending_authenticator_is_gone_after_five_wrong_codes(service: Service) -> None:
    enrolled, app = await enroll(service)
    right = app.at(await now(service))
    wrong = f"{(int(right) + 1) % 1_000_000:06d}"
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"

    left = [
        (await service.post(path, code=wrong)).json().get("attempts_remaining") for _ in range(5)
    ]

    assert left == [4, 3, 2, 1, 0]
    assert (await service.post(path, code=right)).json()["code"] == "factor_not_found"


async def test_ten_wrong_codes_block_authenticators_and_not_sms(service: Service) -> None:
    """A10, A17 and N-025: across sessions, each factor by itself."""
    _, app = await confirmed(service)
    wrong = f"{(int(app.at(await now(service))) + 1) % 1_000_000:06d}"

    answers = [await verify(service, wrong) for _ in range(11)]

    assert [a.status_code for a in answers] == [400] * 10 + [429]
    assert (await verify(service, app.at(await now(service)))).json()["code"] == "subject_blocked"
    challenge = await service.request(subject=USER)
    assert (await service.verify(challenge, service.code())).status_code == 200
    service.advance(1801)
    assert (await verify(service, app.at(await now(service)))).status_code == 200


async def test_a_factor_of_another_caller_or_subject_does_not_exist(service: Service) -> None:
    """B33, F17."""
    factor_id, app = await confirmed(service)
    stranger = await service.caller("stranger")
    code = app.at(await now(service))

    foreign = await service.post(
        "/factors/totp/verify", headers=stranger, subject=USER, code=code, purpose="login"
    )
    removed = await service.http.delete(f"/factors/{factor_id}", headers=stranger)
    listed = await service.http.get("/factors", params={"subject": USER}, headers=stranger)

    assert foreign.status_code == removed.status_code == 404
    assert listed.json()["factors"] == []
    assert (await verify(service, code, subject="user-2")).status_code == 404
    assert (await verify(service, code)).status_code == 200


async def test_factors_are_listed_renamed_and_removed_without_secrets(service: Service) -> None:
    """B30."""
    factor_id, app = await confirmed(service)
    await service.http.patch(f"/factors/{factor_id}", json={"name": "Old phone"})

    listed = await service.http.get("/factors", params={"subject": USER})
    removed = await service.http.delete(f"/factors/{factor_id}")

    assert [f["name"] for f in listed.json()["factors"]] == ["Old phone"]
    assert app.secret not in listed.text
    assert removed.status_code == 204
    assert (await verify(service, app.at(await now(service)))).status_code == 404


async def test_a_used_code_says_so_and_costs_no_try(service: Service) -> None:
    """B23: the code that confirmed an authenticator, typed again at the next login."""
    enrolled, app = await enroll(service)
    code = app.at(await now(service))
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"
    assert (await service.post(path, code=code)).status_code == 200

    for _ in range(12):
        again = await verify(service, code)
        assert (again.status_code, again.json()["code"]) == (400, "invalid_code")
        assert again.json()["hint"] == "already_used"
        assert again.json()["detail"] == "Already used: wait for the next code."
        assert again.json()["attempts_remaining"] == 10
    wrong = await verify(service, app.at(await now(service) + 3600))
    assert (wrong.json()["attempts_remaining"], "hint" in wrong.json()) == (9, False)
    service.advance(30)
    assert (await verify(service, app.at(await now(service)))).status_code == 200


async def test_a_used_code_ends_no_challenge(service: Service) -> None:
    _, app = await confirmed(service)
    code = app.at(await now(service))
    assert (await verify(service, code)).status_code == 200
    asked = await service.post("/otp/request", purpose="login", channel="auto", subject=USER)
    challenge = asked.json()

    for _ in range(6):
        again = await service.verify(challenge, code)
        assert (again.json()["hint"], again.json()["attempts_remaining"]) == ("already_used", 5)
    service.advance(30)
    assert (await service.verify(challenge, app.at(await now(service)))).status_code == 200


async def test_a_used_code_on_the_last_try_lifts_its_own_block_only(service: Service) -> None:
    _, app = await confirmed(service)
    code = app.at(await now(service))
    assert (await verify(service, code)).status_code == 200
    for left in range(9, 0, -1):
        wrong = await verify(service, app.at(await now(service) + 3600))
        assert wrong.json()["attempts_remaining"] == left
    assert (await verify(service, code)).json()["attempts_remaining"] == 1
    assert (await verify(service, app.at(await now(service) + 3600))).status_code == 400
    assert (await verify(service, code)).json()["code"] == "subject_blocked"


async def test_the_same_key_gives_a_used_code_the_same_answer(service: Service) -> None:
    _, app = await confirmed(service)
    code = app.at(await now(service))
    assert (await verify(service, code)).status_code == 200
    body = {"subject": USER, "code": code, "purpose": "login"}
    answers = [
        await service.post("/factors/totp/verify", headers={"Idempotency-Key": "k"}, **body)
        for _ in range(3)
    ]
    assert {answer.json()["attempts_remaining"] for answer in answers} == {10}


async def test_a_new_enrolment_replaces_the_oldest_pending_one(service: Service) -> None:
    """Ten that nobody confirmed keep no person from enrolling."""
    first, _ = await enroll(service)
    second, _ = await enroll(service)
    for _ in range(8):
        service.advance(1)
        await enroll(service)
    service.advance(1)
    newest, app = await enroll(service)

    listed = (await service.http.get("/factors", params={"subject": USER})).json()["factors"]
    ids = {factor["factor_id"] for factor in listed}
    assert len(ids) == 10
    assert len({first["factor_id"], second["factor_id"]} & ids) == 1
    path = f"/factors/totp/{newest['factor_id']}/confirm"
    assert (await service.post(path, code=app.at(await now(service)))).status_code == 200


@pytest.mark.parametrize("spelling", ["{0}", " {0} ", "{1} {2}", "{1}-{2}"])
async def test_a_replay_in_another_spelling_is_a_replay(service: Service, spelling: str) -> None:
    """B23: Vault CVE-2025-6014."""
    _, app = await confirmed(service)
    code = app.at(await now(service))
    assert (await verify(service, code)).status_code == 200

    again = await verify(service, spelling.format(code, code[:3], code[3:]))

    assert again.json()["code"] == "invalid_code"


@pytest.mark.parametrize("zero", ["０", "𝟎", "٠", "०"])
async def test_a_replay_in_other_digits_is_a_replay(service: Service, zero: str) -> None:
    """B23: full-width, bold, Arabic-Indic and Devanagari digits mean the same step."""
    _, app = await confirmed(service)
    code = app.at(await now(service))
    spelled = "".join(chr(ord(zero) + int(digit)) for digit in code)
    assert (await verify(service, spelled)).status_code == 200

    assert (await verify(service, code)).json()["code"] == "invalid_code"


@pytest.mark.parametrize(
    "odd", ["+12345", "12_345", "1e5", "0x1234", "12345a", "²²²²²²", "", "Ⅻ12345"]
)
async def test_what_is_no_code_is_refused_and_costs_no_try(service: Service, odd: str) -> None:
    """B23: what `int` would take."""
    _, app = await confirmed(service)
    for _ in range(11):
        assert (await verify(service, odd)).status_code == 422

    assert (await verify(service, app.at(await now(service)))).status_code == 200


@pytest.mark.parametrize("at", [0, "now", 1795435200])
async def test_a_caller_cannot_bring_its_own_time(service: Service, at: Any) -> None:
    """B28."""
    await confirmed(service)

    answer = await verify(service, "123456", at=at)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "at"


@pytest.mark.parametrize(
    "weak", [{"digits": 1}, {"digits": 7}, {"algorithm": "MD5"}, {"period": 86400}, {"secret": "A"}]
)
async def test_weak_parameters_are_refused(service: Service, weak: dict[str, Any]) -> None:
    """B31."""
    answer = await service.post("/factors/totp", subject=USER, account_name="ann", **weak)

    assert answer.status_code == 422


async def test_a_clock_that_is_off_is_told_only_with_the_scope(service: Service) -> None:
    _, app = await confirmed(service)
    plain = await service.caller("shop", "factors:verify", "factors:manage")
    ahead = app.at(await now(service) + 150)

    told = (await verify(service, ahead)).json()
    untold = (
        await service.post(
            "/factors/totp/verify", headers=plain, subject=USER, code=ahead, purpose="login"
        )
    ).json()

    assert told["hint"] == "clock_off"
    assert "hint" not in untold


async def test_the_same_idempotency_key_shows_no_secret_twice(
    service: Service, valkey_url: str
) -> None:
    """B17."""
    body = {"subject": USER, "account_name": "ann"}
    headers = {"Idempotency-Key": "enrol-1"}

    first = await service.http.post("/factors/totp", json=body, headers=headers)
    second = await service.http.post("/factors/totp", json=body, headers=headers)

    assert second.status_code == 409
    assert second.json()["code"] == "already_issued"
    assert second.json()["factor_id"] == first.json()["factor_id"]
    with redis.Redis.from_url(valkey_url) as client:
        kept = b" ".join(client.dump(key) or b"" for key in client.scan_iter())
    assert first.json()["secret"].encode() not in kept


async def test_a_proof_of_an_authenticator_says_so(service: Service) -> None:
    _, app = await confirmed(service)
    proof = (await verify(service, app.at(await now(service)))).json()["proof"]

    proven = (await service.post("/proofs/introspect", proof=proof)).json()

    assert proven["active"] is True
    assert (proven["method"], proven["amr"], proven["sub"]) == ("totp", ["otp"], USER)
    assert "challenge_id" not in proven


async def test_the_uri_and_the_qr_code_say_what_the_app_needs(service: Service) -> None:
    enrolled, app = await enroll(service, issuer="Acme", algorithm="SHA256", digits=8)
    uri = urlsplit(enrolled["provisioning_uri"])

    assert parse_qs(uri.query)["secret"] == [enrolled["secret"]]
    assert (app.issuer, app.name, app.digits) == ("Acme", "ann", 8)
    assert enrolled["qr_svg"].startswith("<svg")


async def test_an_eleventh_authenticator_is_refused(service: Service) -> None:
    for _ in range(10):
        await confirmed(service)
    refused = await service.post("/factors/totp", subject=USER, account_name="ann")
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_factors")
