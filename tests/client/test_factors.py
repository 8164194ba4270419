"""Authenticator apps and recovery codes through both clients, on the running service."""

import uuid

import pyotp
import pytest

from otp_service.client import (
    AlreadyIssued,
    FactorNotFound,
    IdempotencyKeyReused,
    InvalidCode,
)
from tests.client.conftest import Caller, confirm


@pytest.fixture
def subject() -> str:
    return f"user-{uuid.uuid4()}"


async def test_an_authenticator_is_enrolled_confirmed_used_renamed_and_removed(
    otp: Caller, subject: str
) -> None:
    enrolled = await otp.enroll_totp(subject=subject, account_name="ann@example.com", name="Phone")
    assert enrolled.provisioning_uri.startswith("otpauth://totp/")
    assert "<svg" in enrolled.qr_svg
    for secret in (enrolled.secret, enrolled.provisioning_uri, enrolled.qr_svg):
        assert secret not in repr(enrolled)
    await confirm(otp, enrolled)

    code = pyotp.TOTP(enrolled.secret).now()
    verified = await otp.verify_totp(subject=subject, code=code, purpose="login", binding="s")
    assert (verified.method, verified.factor_id) == ("totp", enrolled.factor_id)
    assert (await otp.redeem_proof(proof=verified.proof, binding="s")).method == "totp"
    with pytest.raises(InvalidCode) as again:
        await otp.verify_totp(subject=subject, code=code, purpose="login", binding="s")
    assert again.value.clock_off is False

    renamed = await otp.rename_factor(factor_id=enrolled.factor_id, name="Old phone")
    ways = await otp.factors(subject=subject)
    assert ways.factors == (renamed,)
    assert (renamed.name, renamed.status, ways.recovery_codes_remaining) == (
        "Old phone",
        "confirmed",
        0,
    )
    assert await otp.remove_factor(factor_id=enrolled.factor_id) is None
    with pytest.raises(FactorNotFound):
        await otp.remove_factor(factor_id=enrolled.factor_id)


async def test_secrets_are_shown_once_and_the_refusal_names_what_was_made(
    otp: Caller, subject: str
) -> None:
    asked = {"subject": subject, "account_name": "ann", "idempotency_key": str(uuid.uuid4())}
    enrolled = await otp.enroll_totp(**asked)

    with pytest.raises(AlreadyIssued) as again:
        await otp.enroll_totp(**asked)
    with pytest.raises(IdempotencyKeyReused):
        await otp.enroll_totp(**{**asked, "account_name": "bob"})

    assert again.value.factor_id == enrolled.factor_id


async def test_a_recovery_code_is_redeemed_once_and_the_rest_counted(
    otp: Caller, subject: str
) -> None:
    issued = await otp.issue_recovery_codes(subject=subject)
    assert len(set(issued.codes)) == 10
    assert issued.codes[0] not in repr(issued)

    redeemed = await otp.redeem_recovery_code(
        subject=subject, code=issued.codes[0].lower(), purpose="recovery"
    )
    assert (redeemed.method, redeemed.amr, redeemed.remaining) == ("recovery_code", (), 9)
    with pytest.raises(InvalidCode):
        await otp.redeem_recovery_code(subject=subject, code=issued.codes[0], purpose="recovery")
