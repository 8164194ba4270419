"""Remembered devices in Redis: which generation of a token is good, and until when; never a token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otp_service.core.challenge import ChallengeAddress, SubjectAddress
from otp_service.core.devices import Genuine
from otp_service.errors import (
    DeviceMismatch,
    DeviceNotFound,
    DeviceRotated,
    InvalidDevice,
    Unavailable,
)
from otp_service.store import keys
from otp_service.store.proofs import ProofRecord, proof_args, proof_keys
from otp_service.store.scripts import Scripts

MAX_DEVICES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """
    One remembered device. Times in Unix milliseconds; `name` is sealed.

    Attributes:
        purpose: What it stands in for.
        used_at: When it was verified last, or None.
    """

    device_id: str
    name: str | None
    purpose: str
    created_at: int
    used_at: int | None
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The newest token was shown, and the next one took its place. Unix milliseconds."""

    at: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """
    An older token was shown, and since then none of the device is good.

    Attributes:
        at: When that was seen first; Unix milliseconds.
        found: Whether it was just now.
    """

    at: int
    found: bool


class Devices:
    """
    One hash for each subject. `events`: whether webhooks are told.

    Args:
        history_ms: How long its timeline is kept.
    """

    def __init__(self, scripts: Scripts, *, history_ms: int) -> None:
        self._scripts = scripts
        self._history_ms = history_ms

    async def remember(
        self,
        address: ChallengeAddress,
        *,
        caller: str,
        about: str,
        purpose: str,
        binding: str,
        name: str | None,
        ttl_ms: int,
        events: bool,
        proof: str,
    ) -> tuple[int, str] | None:
        """
        Remember a device, its token being of generation 0, and spend the proof, both or neither.

        Return until when and for which purpose, also of a retried call, or None when the proof is spent or past its
        end. Of more than `MAX_DEVICES` the one that was longest not used is forgotten. `about` and `name` are sealed.

        Args:
            proof: The name of its key, in the subject's slot.

        Raises:
            Unavailable: the device may be remembered; if not, the proof is not spent.
        """
        device = {"caller": caller, "about": about, "purpose": purpose, "binding": binding}
        answer = await self._scripts.run(
            "remember_device",
            [*_told(address.subject), proof],
            {
                "id": address.challenge_id,
                "life_ms": self._history_ms,
                "events": events,
                "device": device if name is None else {**device, "name": name},
                "ttl_ms": ttl_ms,
                "max_devices": MAX_DEVICES,
            },
            durable=True,
        )
        if answer["verdict"] == "inactive":
            return None
        return int(answer["expires_at"]), str(answer["purpose"])

    async def rotate(
        self,
        genuine: Genuine,
        *,
        purpose: str,
        binding: str,
        run: str,
        leeway_ms: int,
        proof: ProofRecord | None,
        events: bool,
    ) -> Rotated | Reused:
        """
        Let the next generation take the place of the newest, and write the proof. One winner.

        Args:
            run: What makes the call repeatable: the same again finds what it did.

        Raises:
            InvalidDevice, DeviceMismatch, DeviceRotated: and the newest token stays good.
            Unavailable: it may be rotated.
        """
        answer = await self._scripts.run(
            "rotate_device",
            [*_told(genuine.device.subject), *proof_keys(proof)],
            {
                "id": genuine.device.challenge_id,
                "generation": genuine.generation,
                "purpose": purpose,
                "binding": binding,
                "run": run,
                "leeway_ms": leeway_ms,
                "life_ms": self._history_ms,
                "events": events,
                **proof_args(proof),
            },
            durable=True,
        )
        match answer["verdict"]:
            case "rotated":
                return Rotated(at=int(answer["at"]), expires_at=int(answer["expires_at"]))
            case "reused":
                return Reused(at=int(answer["at"]), found=bool(answer["found"]))
            case "superseded":
                raise DeviceRotated
            case "mismatch":
                raise DeviceMismatch
            case "not_found":
                raise InvalidDevice
            case other:
                raise Unavailable(f"redis: unknown verdict {other!r}")

    async def all(self, subject: SubjectAddress) -> list[Device]:
        """Return a subject's devices, the newest first. Raises Unavailable."""
        answer = await self._scripts.run("list_devices", [keys.devices(subject)], {})
        found = [_device(device_id, f) for device_id, f in dict(answer["devices"] or {}).items()]
        return sorted(found, key=lambda device: (-device.created_at, device.device_id))

    async def forget(self, address: ChallengeAddress, *, caller: str, events: bool) -> None:
        """
        Forget one; its token is refused from this moment.

        Raises:
            DeviceNotFound, Unavailable.
        """
        answer = await self._scripts.run(
            "forget_device",
            _told(address.subject),
            {
                "id": address.challenge_id,
                "caller": caller,
                "life_ms": self._history_ms,
                "events": events,
            },
            durable=True,
        )
        if answer["verdict"] != "forgotten":
            raise DeviceNotFound

    async def forget_all(self, subject: SubjectAddress, *, events: bool) -> int:
        """Forget all of a subject; return how many there were. Raises Unavailable."""
        answer = await self._scripts.run(
            "forget_devices",
            _told(subject),
            {"life_ms": self._history_ms, "events": events},
            durable=True,
        )
        return int(answer["count"])


def _told(subject: SubjectAddress) -> list[str]:
    return [keys.devices(subject), keys.timeline(subject), keys.events(subject.bucket)]


def _device(device_id: str, fields: Mapping[str, Any]) -> Device:
    used_at, name = fields.get("used_at"), fields.get("name")
    return Device(
        device_id=device_id,
        name=str(name) if name is not None else None,
        purpose=str(fields["purpose"]),
        created_at=int(fields["created_at"]),
        used_at=int(used_at) if used_at is not None else None,
        expires_at=int(fields["expires_at"]),
    )
