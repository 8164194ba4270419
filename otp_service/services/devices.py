"""
"Remember this device", as a caller sees it: a token after a proof, another one at each use, a list, and an end.

A device stands in for the factor that was shown when it was remembered, for the same purpose, and is one itself never:
its proofs say `device` and no method of RFC 8176. Its token is good once. Whoever comes with one that was used before
holds a copy, or the copy was used before them; since nobody can tell which, the device is forgotten.

Blocks for wrong codes do not concern it, nor does it lift them: there is nothing to guess, and a person whom a stranger
has locked out by guessing still gets in from the browser that is known (security.md A10).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from otp_service.core import devices
from otp_service.core.challenge import (
    ChallengeAddress,
    address_of,
    challenge_id_for,
    fingerprint,
    lasting_id_for,
    person_address,
)
from otp_service.core.envelopes import About, device_name_of
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.policy import Policy
from otp_service.core.proofs import ProofOptions, Success, digest
from otp_service.core.seal import SealBroken, seal, unseal
from otp_service.errors import (
    DeviceNotFound,
    DeviceReused,
    FieldError,
    InvalidDevice,
    InvalidRequest,
    ProofNotAccepted,
)
from otp_service.services.events import Events
from otp_service.services.proofs import ProofMaking, ProofRedemption, Proven
from otp_service.store import keys
from otp_service.store.devices import Device, Devices, Reused
from otp_service.telemetry import DEVICES

log = structlog.get_logger()

METHOD = "device"
AMR: tuple[str, ...] = ()  # RFC 8176 has no value for it, and it never counts as a factor
# No device, or it would live for ever; no recovery code, or one stolen on paper would open for a month.
STANDS_IN_FOR = frozenset({"sms", "totp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A device, with its first token. `expires_at` in Unix milliseconds, `expires_in` in seconds."""

    device_id: str
    token: str = field(repr=False)
    purpose: str
    expires_at: int
    expires_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceVerified:
    """A remembered device, and the token that is good from now on. Times in Unix milliseconds."""

    device_id: str
    token: str = field(repr=False)
    verified_at: int
    expires_at: int
    proof: str = field(repr=False)
    proof_expires_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDevice:
    """A device as it is listed; `name` is None too when the key that sealed it is gone."""

    device: Device
    name: str | None = field(repr=False)


class RememberedDevices:
    """Remembers, verifies, lists and forgets devices."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        devices: Devices,
        proofs: ProofMaking,
        redemption: ProofRedemption,
        events: Events,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._devices = devices
        self._proofs = proofs
        self._redemption = redemption
        self._events = events

    async def remember(
        self,
        caller: str,
        subject: str,
        *,
        proof: str,
        proof_binding: str,
        name: str | None,
        expires_in: int | None,
        binding: str,
        handle: str,
    ) -> Remembered:
        """
        Remember a device for what the proof proves, and spend that.

        Args:
            caller: Whose subject it is.
            subject: The caller's id of the person, as in the proof.
            proof: Of a code or an authenticator, by this caller.
            proof_binding: What that verification was bound to, or "".
            name: What the person calls the device.
            expires_in: Seconds, at most the policy's; None for those.
            binding: What every verification must give again, or "".
            handle: 32 hex digits, from which the device takes its id.

        Raises:
            InvalidRequest: `expires_in` is too long; the proof is not spent.
            ProofNotAccepted: it is.
            Unavailable: the device may be remembered, and then it is; the same `handle` again finds out.
        """
        seconds = expires_in or self._policy.device_ttl
        if seconds > self._policy.device_ttl:
            most = f"must be at most {self._policy.device_ttl}"
            raise InvalidRequest(FieldError("expires_in", most))
        # None: dead, or not this caller's to look at. The script still finds what a retried call did before.
        proven = await self._redemption.look(caller, proof, binding=proof_binding)
        if proven is not None and (reason := _why_not(proven, caller, subject)):
            await self._redemption.redeem(caller, proof, purpose=None, binding=proof_binding)
            raise ProofNotAccepted(reason)
        keyring = self._keyring()
        address = person_address(keyring, caller, subject)
        device = ChallengeAddress(lasting_id_for(keyring, address, handle), address)
        remembered = await self._devices.remember(
            device,
            caller=caller,
            about=About(subject=subject, client_ref=None).seal(keyring, device.challenge_id),
            purpose=proven.purpose if proven else "",
            binding=_bound(keyring, caller, binding),
            name=None if name is None else seal(keyring, name, belongs_to=_name_of(device)),
            ttl_ms=seconds * 1000,
            events=await self._events.wanted(caller),
            proof=keys.proof(address.bucket, digest(proof) if proven else "none"),
        )
        if remembered is None:
            raise ProofNotAccepted("inactive")
        expires_at, of = remembered
        DEVICES.labels("remembered").inc()
        log.info("device.remembered", caller=caller, device_id=device.challenge_id)
        return Remembered(
            device_id=device.challenge_id,
            token=devices.token(keyring, device, 0, caller=caller),
            purpose=of,
            expires_at=expires_at,
            expires_in=seconds,
        )

    async def verify(
        self,
        caller: str,
        subject: str,
        token: str,
        *,
        purpose: str,
        binding: str,
        handle: str,
        proof_options: ProofOptions,
    ) -> DeviceVerified:
        """
        Accept the newest token of a device, once, and give the next.

        Args:
            caller: Whose subject it is.
            subject: The caller's id of the person.
            token: As the person's browser kept it.
            purpose: That of the proof for which the device was remembered.
            binding: What was given then, or "".
            handle: 32 hex digits, the proof's own; the same again finds what it did.
            proof_options: Format, lifetime and audience of the proof.

        Raises:
            InvalidDevice, DeviceMismatch, DeviceRotated: and the newest token stays good.
            DeviceReused: and none of the device is good any more.
            Unavailable: the token may be spent.
        """
        keyring = self._keyring()
        address = person_address(keyring, caller, subject)
        genuine = devices.read(keyring, token, caller=caller, subject=address)
        if genuine is None:
            raise InvalidDevice
        device_id = genuine.device.challenge_id
        success = Success(
            caller=caller,
            id=challenge_id_for(keyring, address, handle),
            attempt_id=handle,
            challenge_id=None,
            method=METHOD,
            amr=AMR,
            purpose=purpose,
            binding=binding,
            subject=subject,
        )
        proof = self._proofs.begin(success, proof_options)
        rotated = await self._devices.rotate(
            genuine,
            purpose=purpose,
            binding=_bound(keyring, caller, binding),
            run=handle,
            leeway_ms=self._policy.device_reuse_grace * 1000,
            proof=proof.record,
            events=await self._events.wanted(caller),
        )
        if isinstance(rotated, Reused):
            if rotated.found:
                DEVICES.labels("reused").inc()
            log.warning(
                "device.reused", caller=caller, device_id=device_id, again=not rotated.found
            )
            raise DeviceReused(device_id, rotated.at)
        DEVICES.labels("verified").inc()
        log.info("device.verified", caller=caller, device_id=device_id)
        following = genuine.generation + 1
        return DeviceVerified(
            device_id=device_id,
            token=devices.token(keyring, genuine.device, following, caller=caller),
            verified_at=rotated.at,
            expires_at=rotated.expires_at,
            proof=proof.at(rotated.at),
            proof_expires_in=proof.expires_in,
        )

    async def all(self, caller: str, subject: str) -> Sequence[KnownDevice]:
        """Return a subject's devices, the newest first. Raises Unavailable."""
        keyring = self._keyring()
        address = person_address(keyring, caller, subject)
        found = []
        for device in await self._devices.all(address):
            named = ChallengeAddress(device.device_id, address)
            found.append(KnownDevice(device=device, name=_name(keyring, named, device.name)))
        return found

    async def forget(self, caller: str, device_id: str) -> None:
        """Forget a device; its token is refused from this moment. Raises DeviceNotFound, Unavailable."""
        address = address_of(self._keyring(), device_id)
        if address is None:
            raise DeviceNotFound
        events = await self._events.wanted(caller)
        await self._devices.forget(address, caller=caller, events=events)
        DEVICES.labels("forgotten").inc()
        log.info("device.forgotten", caller=caller, device_id=device_id)

    async def forget_all(self, caller: str, subject: str) -> None:
        """Forget every device of a subject, if there is any. Raises Unavailable."""
        address = person_address(self._keyring(), caller, subject)
        events = await self._events.wanted(caller)
        count = await self._devices.forget_all(address, events=events)
        DEVICES.labels("forgotten").inc(count)
        log.info("devices.forgotten", caller=caller, count=count)


def _why_not(proven: Proven, caller: str, subject: str) -> str | None:
    """Return why no device is remembered for what is proven, or None."""
    # Of another caller's proof the subject is another person, however it is spelled.
    if proven.caller != caller:
        return "inactive"
    if proven.subject != subject:
        return "subject"
    return "method" if proven.method not in STANDS_IN_FOR else None


def _bound(keyring: Keyring, caller: str, binding: str) -> str:
    if not binding:
        return ""
    return fingerprint(keyring.active(Kind.NAME), "device-binding/v1", caller, binding)


def _name_of(device: ChallengeAddress) -> str:
    return device_name_of(device.subject, device.challenge_id)


def _name(keyring: Keyring, device: ChallengeAddress, sealed: str | None) -> str | None:
    """A list without a name still lets a person forget a device, which is what it is for."""
    if sealed is None:
        return None
    try:
        return unseal(keyring, sealed, belongs_to=_name_of(device))
    except SealBroken:
        return None
