"""`channel: auto`: one flow for the login page, by whichever way the person has."""

import asyncio
from typing import Any

import httpx

from otp_service.core.proofs import ProofOptions
from otp_service.store import script_sources
from tests.conftest import TO, Service, Starter
from tests.factors.test_recovery_codes import issue, no_hash_capacity
from tests.factors.test_totp import USER, confirmed, enroll, now, verify


async def ask(service: Service, **more: Any) -> httpx.Response:
    body = {"to": TO, "purpose": "login", "channel": "auto", "subject": USER, **more}
    return await service.post("/otp/request", **{k: v for k, v in body.items() if v is not None})


async def challenged(service: Service, **more: Any) -> dict[str, Any]:
    answer = await ask(service, **more)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def wrong(code: str, by: int = 1) -> str:
    return f"{(int(code) + by) % 10 ** len(code):0{len(code)}d}"


async def test_who_has_an_app_is_asked_for_its_code_and_gets_no_sms(service: Service) -> None:
    _, app = await confirmed(service)

    challenge = await challenged(service)
    verified = await service.verify(challenge, app.at(await now(service)))

    assert (challenge["channel"], challenge["to"]) == ("totp", None)
    assert challenge["delivery"] == {"status": "none", "reason": None}
    assert (challenge["resend_in"], challenge["sends_remaining"]) == (None, 0)
    assert verified.status_code == 200, verified.text
    assert (verified.json()["method"], verified.json()["amr"]) == ("totp", ["otp"])
    assert verified.json()["subject"] == USER
    proven = (await service.post("/proofs/introspect", proof=verified.json()["proof"])).json()
    assert (proven["method"], proven["sub"]) == ("totp", USER)
    assert proven["challenge_id"] == challenge["challenge_id"]
    standing = await service.look(challenge)
    assert (standing["status"], standing["channel"]) == ("approved", "totp")
    assert service.sandbox.messages() == []


async def test_who_has_none_gets_an_sms(service: Service) -> None:
    await enroll(service)  # pending: it counts for nothing

    challenge = await service.request(channel="auto", subject=USER)
    verified = await service.verify(challenge, service.code())

    assert (challenge["channel"], challenge["to"]) == ("sms", "+1•••••23")
    assert (verified.json()["method"], verified.json()["amr"]) == ("sms", ["sms"])


async def test_no_number_is_needed_for_who_has_an_app(service: Service) -> None:
    await confirmed(service)

    assert (await ask(service, to=None)).status_code == 202
    without = await ask(service, to=None, subject="user-2")
    assert without.json()["errors"] == [{"field": "to", "reason": "is required: this goes by SMS"}]
    by_sms = await ask(service, to=None, channel=None)
    assert by_sms.json()["errors"] == [{"field": "to", "reason": "is required"}]


async def test_auto_needs_to_know_who_it_is(service: Service) -> None:
    answer = await ask(service, subject=None)

    assert answer.json()["errors"][0]["field"] == "subject"


async def test_what_must_be_shown_goes_by_sms(service: Service) -> None:
    """An app can't show amount and payee (PSD2 RTS article 5)."""
    await confirmed(service)
    shown = {"amount": "19.90 EUR", "payee": "Acme Books"}

    challenge = await challenged(service, purpose="payment", context=shown)

    assert challenge["channel"] == "sms"


async def test_the_operator_says_in_which_order(start_service: Starter) -> None:
    sms_first = await start_service(OTP_AUTO_CHANNELS="sms,totp")
    await confirmed(sms_first)
    assert (await challenged(sms_first))["channel"] == "sms"
    assert (await challenged(sms_first, to=None))["channel"] == "totp"

    apps_only = await start_service(OTP_AUTO_CHANNELS="totp")
    assert (await challenged(apps_only))["channel"] == "totp"
    assert (await ask(apps_only, subject="user-2")).json()["code"] == "factor_not_found"


async def test_a_code_is_accepted_once_over_both_doors(service: Service) -> None:
    """B22: a step spent at /factors/totp/verify is spent at /otp/verify, and the other way round."""
    _, app = await confirmed(service)
    code = app.at(await now(service))
    assert (await verify(service, code)).status_code == 200

    assert (await service.verify(await challenged(service), code)).json()["code"] == "invalid_code"
    service.advance(60)
    code, challenge = app.at(await now(service)), await challenged(service)
    assert (await service.verify(challenge, code)).status_code == 200
    assert (await verify(service, code)).json()["code"] == "invalid_code"
    assert (await service.verify(challenge, code)).json()["code"] == "challenge_used"


async def test_of_fifty_at_once_one_is_accepted(service: Service) -> None:
    """B02, B24: with one code and one challenge, and with one code and three challenges."""
    _, app = await confirmed(service)
    challenges = [await challenged(service, binding=f"tab-{i}") for i in range(3)]
    code = app.at(await now(service))

    answers = await asyncio.gather(
        *(
            service.verify(challenge, code, binding=f"tab-{i}")
            for _ in range(5)
            for i, challenge in enumerate(challenges)
        )
    )

    assert [answer.status_code for answer in answers].count(200) == 1


async def test_tries_belong_to_the_challenge_and_to_the_person(service: Service) -> None:
    """A01, A04: five of a challenge, ten of the subject over all of them, shared with /factors/totp/verify."""
    _, app = await confirmed(service)
    code = app.at(await now(service))
    first = await challenged(service)

    told = [(await service.verify(first, wrong(code, 1 + i))).json() for i in range(5)]
    assert [answer.get("attempts_remaining") for answer in told] == [4, 3, 2, 1, None]
    assert told[-1]["code"] == "challenge_exhausted"
    assert (await service.verify(first, code)).json()["code"] == "challenge_exhausted"
    for i in range(5):
        await verify(service, wrong(code, 1 + i))
    assert (await verify(service, code)).json()["code"] == "subject_blocked"
    assert (await ask(service)).json()["code"] == "subject_blocked"
    assert (await ask(service, channel=None)).status_code == 202


async def test_purpose_binding_caller_and_length_are_seen_to_before_a_try_is_spent(
    service: Service,
) -> None:
    _, app = await confirmed(service)
    challenge = await challenged(service, binding="tab-1")
    code = app.at(await now(service))
    stranger = await service.caller("stranger")

    foreign = await service.post(
        "/otp/verify",
        headers=stranger,
        challenge_id=challenge["challenge_id"],
        code=code,
        purpose="login",
        binding="tab-1",
    )
    answers = [
        await service.verify(challenge, code, binding="tab-2"),
        await service.verify(challenge, code, binding="tab-1", purpose="payment"),
        await service.verify(challenge, code + "00", binding="tab-1"),
    ]

    assert foreign.json()["code"] == "challenge_not_found"
    assert [answer.json()["code"] for answer in answers] == [
        "challenge_mismatch",
        "challenge_mismatch",
        "invalid_request",
    ]
    assert (await service.look(challenge))["attempts_remaining"] == 5
    assert (await service.verify(challenge, code, binding="tab-1")).status_code == 200


async def test_a_resend_sends_nothing_and_a_request_by_sms_takes_its_place(
    service: Service,
) -> None:
    """The way out for who has not got the phone at hand."""
    _, app = await confirmed(service)
    challenge = await challenged(service)

    resent = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])
    by_sms = await service.request(subject=USER)

    assert resent.json()["errors"][0]["field"] == "challenge_id"
    late = await service.verify(challenge, app.at(await now(service)))
    assert late.json()["code"] == "challenge_replaced"
    assert (await service.verify(by_sms, service.code())).status_code == 200


async def test_it_ends_as_other_challenges_do(service: Service) -> None:
    _, app = await confirmed(service)
    canceled, expired = await challenged(service, binding="a"), await challenged(service)
    await service.post("/otp/cancel", challenge_id=canceled["challenge_id"])
    service.advance(301)
    code = app.at(await now(service))

    answers = [
        await service.verify(canceled, code, binding="a"),
        await service.verify(expired, code),
    ]

    assert [a.json()["code"] for a in answers] == ["challenge_canceled", "challenge_expired"]


async def test_the_same_key_gives_the_same_challenge_and_the_same_proof(service: Service) -> None:
    """B15: also where only the handle is left of the first run."""
    _, app = await confirmed(service)
    challenge = await challenged(service)
    code = app.at(await now(service))
    verify_app = service.container.service.methods.verify
    run: dict[str, Any] = {
        "purpose": "login",
        "binding": "",
        "handle": "ab" * 16,
        "proof_options": ProofOptions(),
        "diagnose": True,
    }

    first = await verify_app("shop", challenge["challenge_id"], code, **run)
    again = await verify_app("shop", challenge["challenge_id"], code, **run)

    assert first == again


async def test_an_app_removed_in_between_is_told_and_costs_nothing(service: Service) -> None:
    """B10: what was bound to the challenge is gone, and its code with it."""
    factor_id, app = await confirmed(service)
    challenge = await challenged(service)
    await service.http.delete(f"/factors/{factor_id}")

    answer = await service.verify(challenge, app.at(await now(service)))

    assert answer.json()["code"] == "factor_not_found"
    assert (await service.look(challenge))["attempts_remaining"] == 5


async def test_a_clock_that_is_off_is_told_here_too(service: Service) -> None:
    _, app = await confirmed(service)
    challenge = await challenged(service)

    answer = await service.verify(challenge, app.at(await now(service) + 150))

    assert answer.json()["hint"] == "clock_off"


async def test_challenges_for_an_app_are_limited_though_they_cost_nothing(
    service: Service,
) -> None:
    await confirmed(service)
    answers = [await ask(service) for _ in range(31)]

    assert [answer.status_code for answer in answers] == [202] * 30 + [429]
    assert answers[-1].json()["limit"] == "challenges"
    assert (await ask(service, channel=None)).status_code == 202


async def test_a_login_page_can_ask_which_ways_there_are(service: Service) -> None:
    async def ways() -> Any:
        return (await service.http.get("/factors", params={"subject": USER})).json()["methods"]

    assert await ways() == ["sms"]
    enrolled, app = await enroll(service)
    assert await ways() == ["sms"]
    await service.post(
        f"/factors/totp/{enrolled['factor_id']}/confirm", code=app.at(await now(service))
    )
    assert await ways() == ["totp", "sms"]
    await issue(service)
    assert await ways() == ["totp", "sms", "recovery_code"]


async def test_without_its_guard_a_code_is_accepted_again(service: Service) -> None:
    """The negative control of B22 and B24 for challenges."""
    text, guard = script_sources.source("consume_by_step"), "return step <= factor.last_step or"
    assert guard in text
    service.container.scripts._sources["consume_by_step"] = text.replace(guard, "return")
    service.container.scripts._shas["consume_by_step"] = "0" * 40
    _, app = await confirmed(service)
    code = app.at(await now(service))
    assert (await verify(service, code)).status_code == 200

    assert (await service.verify(await challenged(service), code)).status_code == 200


async def test_an_app_code_needs_no_hash_capacity(service: Service) -> None:
    """I01: it is compared without a hash, so it is answered while the hash pool is full."""
    _, app = await confirmed(service)
    challenge = await challenged(service)
    right = app.at(await now(service))

    with no_hash_capacity(service):
        refused = await service.verify(challenge, wrong(right))
        verified = await service.verify(challenge, right)

    assert (refused.status_code, refused.json()["attempts_remaining"]) == (400, 4)
    assert (verified.status_code, verified.json()["method"]) == (200, "totp")


async def test_a_full_hash_pool_counts_no_attempt(service: Service) -> None:
    """I01: the code by SMS stays good; and what needs no hash is answered as ever."""
    challenge = await service.request()
    code = service.code()
    service.advance(60)
    canceled = await service.request(binding="another")
    await service.post("/otp/cancel", challenge_id=canceled["challenge_id"])

    with no_hash_capacity(service):
        shed = await service.verify(challenge, code)
        over = await service.verify(canceled, "000000", binding="another")
        other = await service.verify(challenge, "000000", purpose="signup")

    assert (shed.status_code, shed.json()["code"]) == (503, "overloaded")
    assert shed.json()["detail"].startswith("The hash capacity is in use.")
    assert (over.status_code, over.json()["code"]) == (410, "challenge_canceled")
    assert (other.status_code, other.json()["code"]) == (409, "challenge_mismatch")
    assert (await service.look(challenge))["attempts_remaining"] == 5
    assert (await service.verify(challenge, code)).status_code == 200
