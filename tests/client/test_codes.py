"""A login flow, a proof and an opt-in through both clients, on the running service."""

import contextlib
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from otp_service.client import (
    Challenge,
    ChallengeCanceled,
    ChallengeExhausted,
    ChallengeMismatch,
    ChallengeNotFound,
    ChallengeUsed,
    CodeNotSent,
    DestinationRefused,
    InvalidCode,
    InvalidRequest,
    MalformedRequest,
    ProofInactive,
    RateLimited,
    Unauthorized,
)
from otp_service.pytest_plugin import Phone, RunningService
from tests.client.conftest import Caller, opened


@pytest.fixture
def phone(otp_service: RunningService) -> Phone:
    return otp_service.phone()


async def request(otp: Caller, phone: Phone, **more: str) -> Challenge:
    challenge = await otp.request_code(to=phone.to, purpose="login", wait=30, **more)
    assert isinstance(challenge, Challenge)
    return challenge


async def test_a_right_code_is_accepted_and_its_proof_redeemed_once(
    otp: Caller, phone: Phone
) -> None:
    challenge = await request(otp, phone, subject="ann", binding="session", client_ref="cart-1")
    assert (challenge.status, challenge.delivery.status) == ("pending", "accepted")
    assert phone.to not in challenge.to
    assert timedelta(0) < challenge.expires_at - datetime.now(UTC) <= timedelta(minutes=5)

    verified = await otp.verify_code(
        challenge_id=challenge.challenge_id, code=phone.code(), purpose="login", binding="session"
    )
    assert (verified.verified, verified.subject, verified.amr) == (True, "ann", ("sms",))
    assert verified.verified_at.tzinfo is not None
    assert verified.proof not in repr(verified)

    proven = await otp.redeem_proof(proof=verified.proof, purpose="login", binding="session")
    assert (proven.sub, proven.purpose, proven.method) == ("ann", "login", "sms")
    assert proven.challenge_id == challenge.challenge_id
    assert proven.exp - proven.auth_time == timedelta(seconds=verified.proof_expires_in)
    with pytest.raises(ProofInactive):
        await otp.redeem_proof(proof=verified.proof)

    standing = await otp.challenge(challenge_id=challenge.challenge_id)
    assert (standing.status, standing.client_ref) == ("approved", "cart-1")
    with pytest.raises(ChallengeUsed) as used:
        await otp.verify_code(
            challenge_id=challenge.challenge_id, code="123456", purpose="login", binding="session"
        )
    assert used.value.ended_at == standing.ended_at
    assert (used.value.status, used.value.code) == (410, "challenge_used")


async def test_a_wrong_code_tells_how_many_tries_are_left(otp: Caller, phone: Phone) -> None:
    challenge = await request(otp, phone)
    wrong = {"challenge_id": challenge.challenge_id, "code": phone.wrong_code(), "purpose": "login"}

    left = []
    for _ in range(4):
        with pytest.raises(InvalidCode) as refused:
            await otp.verify_code(**wrong)
        left.append(refused.value.attempts_remaining)
    assert left == [4, 3, 2, 1]
    with pytest.raises(ChallengeExhausted):
        await otp.verify_code(**wrong)


async def test_the_same_key_again_burns_no_try(otp: Caller, phone: Phone) -> None:
    challenge = await request(otp, phone)
    key = str(uuid.uuid4())

    for _ in range(3):
        with pytest.raises(InvalidCode) as refused:
            await otp.verify_code(
                challenge_id=challenge.challenge_id, code=phone.wrong_code(), purpose="login",
                idempotency_key=key,
            )  # fmt: skip
        assert refused.value.attempts_remaining == 4
        assert refused.value.idempotency_key == key


async def test_a_canceled_challenge_takes_no_code(otp: Caller, phone: Phone) -> None:
    challenge = await request(otp, phone)

    canceled = await otp.cancel(challenge_id=challenge.challenge_id)
    assert canceled.status == "canceled"
    with pytest.raises(ChallengeCanceled) as ended:
        await otp.verify_code(
            challenge_id=challenge.challenge_id, code=phone.code(), purpose="login"
        )
    assert ended.value.ended_at == canceled.ended_at


async def test_a_resend_waits_for_the_cooldown_and_makes_the_old_code_worthless(
    otp: Caller, phone: Phone
) -> None:
    challenge = await request(otp, phone)
    old = phone.code()

    with pytest.raises(RateLimited) as early:
        await otp.resend_code(challenge_id=challenge.challenge_id, wait=30)
    assert (early.value.limit, early.value.retry_after) == ("cooldown", 1)
    resent = None
    while resent is None:
        with contextlib.suppress(RateLimited):
            resent = await otp.resend_code(challenge_id=challenge.challenge_id, wait=30)
    assert len(phone.messages()) == 2
    assert resent.sends_remaining == challenge.sends_remaining - 1
    if old != phone.code():
        with pytest.raises(InvalidCode):
            await otp.verify_code(challenge_id=resent.challenge_id, code=old, purpose="login")
    await otp.verify_code(challenge_id=resent.challenge_id, code=phone.code(), purpose="login")


async def test_what_a_refusal_knows_is_on_the_exception(otp: Caller, phone: Phone) -> None:
    with pytest.raises(DestinationRefused) as no_number:
        await otp.request_code(to="+1 415", purpose="login")
    assert no_number.value.reason == "not_a_number"
    assert no_number.value.request_id
    with pytest.raises(InvalidRequest) as malformed:
        await otp.request_code(to=phone.to, purpose="No Purpose", client_ip="here")
    assert {error.field for error in malformed.value.errors} == {"purpose", "client_ip"}
    assert "client_ip" in str(malformed.value)
    challenge = await request(otp, phone, binding="one")
    with pytest.raises(ChallengeMismatch):
        await otp.verify_code(
            challenge_id=challenge.challenge_id, code=phone.code(), purpose="login", binding="two"
        )
    with pytest.raises(ChallengeNotFound):
        await otp.challenge(challenge_id="1" * 34)


async def test_before_a_code_has_left_there_is_nothing_to_verify(
    otp: Caller, phone: Phone, otp_service: RunningService
) -> None:
    refusing = {"kind": "status", "status": 403, "to": phone.to, "times": 1}
    otp_service.sandbox.put("/sandbox/faults", json=refusing).raise_for_status()
    challenge = await request(otp, phone)
    assert challenge.delivery.status == "failed"

    with pytest.raises(CodeNotSent) as refused:
        await otp.verify_code(challenge_id=challenge.challenge_id, code="123456", purpose="login")

    assert refused.value.retry_after is not None


@pytest.mark.parametrize("odd", ["..", "../otp", "?x=1", "#", "", "%2e%2e/x"])
async def test_no_id_leads_to_another_path(otp: Caller, odd: str) -> None:
    with pytest.raises((MalformedRequest, InvalidRequest, ChallengeNotFound)):
        await otp.challenge(challenge_id=odd)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_wrong_credential_is_told_from_a_wrong_code(
    otp_service: RunningService, kind: str
) -> None:
    async with opened(kind, otp_service.url, "otp_dev_00000000_" + "x" * 43) as stranger:
        with pytest.raises(Unauthorized) as refused:
            await stranger.challenge(challenge_id="x")
    assert "xxx" not in repr(refused.value)


async def test_an_opt_in_is_asked_for_confirmed_and_ended(otp: Caller, phone: Phone) -> None:
    person = {"name": "Ann Lee", "mobile": phone.to}

    asked = await otp.request_opt_in(
        **person, consent_text="Yes, please.", consent_version="2026-11", locale="en"
    )
    assert (asked.status, asked.expires_in) == ("pending", 300)
    subscribed = await otp.verify_opt_in(**person, activation=phone.code())
    assert (subscribed.status, subscribed.receipt.count(".")) == ("subscribed", 2)
    assert subscribed.receipt not in repr(subscribed)
    ended = await otp.unsubscribe(**person)
    assert ended.status == "unsubscribed"
