"""Remembered devices over HTTP."""

from otp_service.services import devices
from otp_service.services.devices import KnownDevice
from otp_service.web.device_models import (
    DeviceList,
    DeviceRemembered,
    DevicesQuery,
    DeviceVerification,
    DeviceVerifyBody,
    DeviceView,
    RememberBody,
)
from otp_service.web.models import NoContent
from otp_service.web.operations import Answer, Call
from otp_service.web.problems import rfc3339
from otp_service.web.proofs import proof_options


async def remember_device(call: Call) -> Answer:
    sent: RememberBody = call.body
    remembered = await call.service.devices.remember(
        call.caller.name,
        sent.subject,
        proof=sent.proof,
        proof_binding=sent.proof_binding or "",
        name=sent.name,
        expires_in=sent.expires_in,
        binding=sent.binding or "",
        handle=call.handle,
    )
    return Answer(
        DeviceRemembered(
            device_id=remembered.device_id,
            token=remembered.token,
            purpose=remembered.purpose,
            expires_at=rfc3339(remembered.expires_at),
            expires_in=remembered.expires_in,
        )
    )


async def verify_device(call: Call) -> Answer:
    sent: DeviceVerifyBody = call.body
    call.require_purpose(sent.purpose)
    verified = await call.service.devices.verify(
        call.caller.name,
        sent.subject,
        sent.token,
        purpose=sent.purpose,
        binding=sent.binding or "",
        handle=call.handle,
        proof_options=proof_options(call),
    )
    return Answer(
        DeviceVerification(
            verified=True,
            method="device",
            device_id=verified.device_id,
            token=verified.token,
            purpose=sent.purpose,
            subject=sent.subject,
            amr=list(devices.AMR),
            verified_at=rfc3339(verified.verified_at),
            expires_at=rfc3339(verified.expires_at),
            proof=verified.proof,
            proof_expires_in=verified.proof_expires_in,
        )
    )


async def list_devices(call: Call) -> Answer:
    asked: DevicesQuery = call.body
    found = await call.service.devices.all(call.caller.name, asked.subject)
    return Answer(DeviceList(subject=asked.subject, devices=[_view(known) for known in found]))


async def forget_device(call: Call) -> Answer:
    await call.service.devices.forget(call.caller.name, call.path["device_id"])
    return Answer(NoContent())


async def forget_devices(call: Call) -> Answer:
    asked: DevicesQuery = call.body
    await call.service.devices.forget_all(call.caller.name, asked.subject)
    return Answer(NoContent())


def _view(known: KnownDevice) -> DeviceView:
    device = known.device
    return DeviceView(
        device_id=device.device_id,
        name=known.name,
        purpose=device.purpose,
        created_at=rfc3339(device.created_at),
        last_used_at=rfc3339(device.used_at) if device.used_at is not None else None,
        expires_at=rfc3339(device.expires_at),
    )
