"""The story of a login flow: request, read the phone, verify."""

from tests.conftest import TO, Service


async def test_the_right_code_is_accepted_once(service: Service) -> None:
    """B01."""
    challenge = await service.request(subject="user-1")
    assert challenge["delivery"] == {"status": "accepted", "reason": None}
    assert challenge["to"] == "+1•••••23"

    first = await service.verify(challenge, service.code())
    second = await service.verify(challenge, service.code())

    assert first.status_code == 200
    assert first.json()["subject"] == "user-1"
    assert second.status_code == 410
    assert second.json()["code"] == "challenge_used"
    assert second.json()["ended_at"] == first.json()["verified_at"]


async def test_a_wrong_code_says_how_many_tries_are_left(service: Service) -> None:
    challenge = await service.request()
    wrong = service.wrong_code()

    answers = [(await service.verify(challenge, wrong)).json() for _ in range(6)]

    assert [a.get("attempts_remaining") for a in answers] == [4, 3, 2, 1, None, None]
    assert [a["code"] for a in answers] == ["invalid_code"] * 4 + ["challenge_exhausted"] * 2
    assert (await service.verify(challenge, service.code())).json()["code"] == "challenge_exhausted"


async def test_the_right_code_on_the_last_try_is_accepted(service: Service) -> None:
    challenge = await service.request()
    for _ in range(4):
        await service.verify(challenge, service.wrong_code())

    assert (await service.verify(challenge, service.code())).status_code == 200


async def test_a_resent_code_replaces_the_old_one_within_the_same_tries(service: Service) -> None:
    challenge = await service.request()
    old = service.code()
    await service.verify(challenge, service.wrong_code())
    service.advance(30)

    answer = await service.post(
        "/otp/resend", headers={"Prefer": "wait=30"}, challenge_id=challenge["challenge_id"]
    )

    assert answer.status_code == 202
    assert answer.json()["attempts_remaining"] == 4
    assert len(service.sandbox.messages(TO)) == 2
    new = service.code()
    if old != new:
        assert (await service.verify(challenge, old)).json()["attempts_remaining"] == 3
    assert (await service.verify(challenge, new)).status_code == 200


async def test_a_code_expires_after_five_minutes_by_the_clock_of_redis(service: Service) -> None:
    """B09, G08: by the time that was written with it, however late the SMS came."""
    challenge = await service.request()
    service.advance(301)

    answer = await service.verify(challenge, service.code())

    assert answer.status_code == 410
    assert answer.json()["code"] == "challenge_expired"
    assert answer.json()["ended_at"] == challenge["expires_at"]


async def test_a_canceled_challenge_is_over_and_says_so(service: Service) -> None:
    challenge = await service.request()
    body = {"challenge_id": challenge["challenge_id"]}

    first, second = [await service.post("/otp/cancel", **body) for _ in range(2)]

    assert first.json() == second.json()
    assert first.json()["status"] == "canceled"
    assert (await service.verify(challenge, service.code())).json()["code"] == "challenge_canceled"


async def test_a_proof_can_be_redeemed_once_by_its_caller(service: Service) -> None:
    challenge = await service.request(subject="user-1")
    proof = (await service.verify(challenge, service.code())).json()["proof"]
    stranger = await service.caller("stranger")

    foreign = await service.post("/proofs/introspect", headers=stranger, proof=proof)
    first = await service.post("/proofs/introspect", proof=proof)
    second = await service.post("/proofs/introspect", proof=proof)

    assert foreign.json() == second.json() == {"active": False}
    assert first.json()["active"] is True
    assert first.json()["sub"] == "user-1"
    assert first.json()["amr"] == ["sms"]
