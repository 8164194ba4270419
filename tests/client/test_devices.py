"""Remembered devices through both clients, on the running service."""

import uuid

import pytest

from otp_service.client import (
    AlreadyIssued,
    DeviceMismatch,
    DeviceNotFound,
    DeviceReused,
    DeviceRotated,
    InvalidDevice,
    ProofNotAccepted,
)
from otp_service.pytest_plugin import RunningService
from tests.client.conftest import Caller


@pytest.fixture
def subject() -> str:
    return f"user-{uuid.uuid4()}"


async def proof(otp: Caller, service: RunningService, subject: str) -> str:
    phone = service.phone()
    challenge = await otp.request_code(to=phone.to, purpose="login", subject=subject, wait=30)
    verified = await otp.verify_code(
        challenge_id=challenge.challenge_id, code=phone.code(), purpose="login"
    )
    return str(verified.proof)


async def test_a_device_is_remembered_verified_listed_and_forgotten(
    otp: Caller, otp_service: RunningService, subject: str
) -> None:
    spent = await proof(otp, otp_service, subject)
    device = await otp.remember_device(
        subject=subject, proof=spent, name="Phone", expires_in=3600, binding="key-1"
    )
    assert (device.purpose, device.expires_in) == ("login", 3600)
    assert device.token not in repr(device)

    login = await otp.verify_device(
        subject=subject, token=device.token, purpose="login", binding="key-1"
    )
    assert (login.method, login.amr, login.device_id) == ("device", (), device.device_id)
    assert login.token not in repr(login)
    assert (await otp.redeem_proof(proof=login.proof, binding="key-1")).method == "device"
    with pytest.raises(DeviceRotated):
        await otp.verify_device(
            subject=subject, token=device.token, purpose="login", binding="key-1"
        )
    with pytest.raises(DeviceMismatch):
        await otp.verify_device(subject=subject, token=login.token, purpose="login")

    [listed] = (await otp.devices(subject=subject)).devices
    assert (listed.device_id, listed.name, listed.last_used_at) == (
        device.device_id, "Phone", login.verified_at,
    )  # fmt: skip
    assert await otp.forget_device(device_id=device.device_id) is None
    with pytest.raises(DeviceNotFound):
        await otp.forget_device(device_id=device.device_id)
    assert await otp.forget_devices(subject=subject) is None
    with pytest.raises(InvalidDevice):
        await otp.verify_device(subject=subject, token=login.token, purpose="login")


async def test_a_copied_token_and_a_spent_proof_say_what_they_are(
    otp: Caller, otp_service: RunningService, subject: str
) -> None:
    asked = {
        "subject": subject,
        "proof": await proof(otp, otp_service, subject),
        "idempotency_key": str(uuid.uuid4()),
    }
    device = await otp.remember_device(**asked)
    with pytest.raises(AlreadyIssued) as again:
        await otp.remember_device(**asked)
    assert again.value.device_id == device.device_id
    with pytest.raises(ProofNotAccepted) as spent:
        await otp.remember_device(subject=subject, proof=asked["proof"])
    assert spent.value.reason == "inactive"

    token = device.token
    for _ in range(2):
        token = (await otp.verify_device(subject=subject, token=token, purpose="login")).token
    with pytest.raises(DeviceReused) as copied:
        await otp.verify_device(subject=subject, token=device.token, purpose="login")
    assert copied.value.device_id == device.device_id
    assert copied.value.ended_at.tzinfo is not None
