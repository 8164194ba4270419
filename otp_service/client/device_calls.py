"""The calls for remembered devices."""

from otp_service.client.call import Call, given, key, segment
from otp_service.client.device_results import DeviceRemembered, Devices, DeviceVerification


def remember_device(
    *,
    subject: str,
    proof: str,
    proof_binding: str | None = None,
    name: str | None = None,
    expires_in: int | None = None,
    binding: str | None = None,
    idempotency_key: str | None = None,
) -> Call[DeviceRemembered]:
    """
    Remember a device after a verification; its token then stands in for the factor that was shown.

    Args:
        proof: Of that verification, of a code or an authenticator, for this subject; it is spent.
        proof_binding: The `binding` of that verification, if it had one.
        name: What the person calls the device.
        expires_in: Seconds, if it shall be less than the service's own.
        binding: Something that stays with the device and is not in the token; each verification must give it again.

    Raises:
        ProofNotAccepted: see its `reason`; verify anew.
        AlreadyIssued: the first answer got lost, and tokens are shown once: forget `device_id`.
    """
    body = given(
        subject=subject,
        proof=proof,
        proof_binding=proof_binding,
        name=name,
        expires_in=expires_in,
        binding=binding,
    )
    return Call(
        method="POST",
        path="/devices",
        result=DeviceRemembered,
        body=body,
        idempotency_key=key(idempotency_key),
    )


def verify_device(
    *,
    subject: str,
    token: str,
    purpose: str,
    binding: str | None = None,
    audience: str | None = None,
    proof_format: str | None = None,
    idempotency_key: str | None = None,
) -> Call[DeviceVerification]:
    """
    Check a device's token, once; the result holds the next one, which must take its place.

    Args:
        binding: As it was given when the device was remembered.
        audience: The caller that the proof is for; yourself by default, others with the scope `proof:vouch`.
        proof_format: `opaque` (the default), or `jwt` for a `ProofVerifier`.

    Raises:
        InvalidDevice: not remembered: ask for the second factor, and drop the token.
        DeviceRotated: a call beside this one got the new token: use that, and drop nothing.
        DeviceReused: there is a copy: ask for the second factor, drop the token, and tell the person.
        DeviceMismatch: it was remembered for another purpose or binding.
    """
    return Call(
        method="POST",
        path="/devices/verify",
        result=DeviceVerification,
        body=given(
            subject=subject,
            token=token,
            purpose=purpose,
            binding=binding,
            audience=audience,
            proof_format=proof_format,
        ),
        idempotency_key=key(idempotency_key),
    )


def devices(*, subject: str) -> Call[Devices]:
    """Return which devices of a subject are remembered, without tokens."""
    return Call(method="GET", path="/devices", result=Devices, query={"subject": subject})


def forget_device(*, device_id: str) -> Call[None]:
    """
    Forget a device; its token is refused from this moment.

    Raises:
        DeviceNotFound: no such device, or forgotten before.
    """
    return Call(method="DELETE", path=f"/devices/{segment(device_id)}", result=type(None))


def forget_devices(*, subject: str) -> Call[None]:
    """Forget all devices of a subject, as after a new password or number; again: the same."""
    return Call(method="DELETE", path="/devices", result=type(None), query={"subject": subject})
