"""
A scan of Redis for values that outlive the key that encrypted them.

Sealed for good are the seeds of authenticators and the addresses and secrets of webhook endpoints; for some weeks the
names of devices and the messages that wait for an endpoint; for moments, where a worker runs, what endpoints are to be
told of. Named for good is what belongs to a subject. All else ends by itself (`flows.rotation`).
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from otp_service.core.challenge import SubjectAddress, subject_of
from otp_service.core.envelopes import about_of, device_name_of, seed_of
from otp_service.core.keyring import Keyring
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS
from otp_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A key of a subject, the tag in its name, and the id of the live route key that made that, or None."""

    key: str
    tag: str
    subject: SubjectAddress | None
    kid: str | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """
    Something sealed in a field of a hash.

    Attributes:
        what: In words.
        key: The hash.
        name: Of its field, which holds JSON.
        text: What was read there.
        member: The name in that JSON.
        belongs_to: What it was sealed for; None where no live route key tells whose it is.
    """

    what: str
    key: str
    name: str
    text: str = field(repr=False)
    member: str
    belongs_to: str | None

    @property
    def sealed(self) -> str:
        """The sealed text; "" where there is none, as of a damaged field."""
        try:
            return str(json.loads(self.text)[self.member] or "")
        except (ValueError, KeyError, TypeError):
            return ""

    def with_seal(self, sealed: str) -> str:
        """Return the field with another seal in it."""
        return json.dumps({**json.loads(self.text), self.member: sealed})


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An entry of a stream of events, not relayed yet. It can't be changed, and is gone when a worker has read it."""

    key: str
    sealed: str = field(repr=False)


Found = SubjectKey | Sealed | PendingEvent


class ReencryptionScan:
    """Scans every key of Redis."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def look(self, keyring: Keyring) -> AsyncIterator[Found]:
        """Yield what lasts; what comes or goes meanwhile may be missing. Raises Unavailable."""
        client: Any = self._scripts.connection.client
        try:
            async for name in client.scan_iter(match=keys.ALL, count=1000):
                async for found in self._at(client, keyring, str(name)):
                    yield found
        except FAULTS as error:
            raise Unavailable(f"redis: {type(error).__name__}") from error

    async def _at(self, client: Any, keyring: Keyring, name: str) -> AsyncIterator[Found]:  # noqa: ANN401
        tagged = keys.subject_in(name)
        if tagged is not None:
            subject, route = subject_of(keyring, *tagged) or (None, None)
            yield SubjectKey(name, tagged[1], subject, route.kid if route else None)
            if ":factors:" in name:
                for factor_id, text in (await _fields(client, name)).items():
                    owner = seed_of(subject, factor_id) if subject else None
                    yield Sealed("authenticator", name, factor_id, text, "seed", owner)
                    about = about_of(factor_id)
                    whose = Sealed("name of a subject", name, factor_id, text, "about", about)
                    if whose.sealed:
                        yield whose
            elif ":devices:" in name:
                for device_id, text in (await _fields(client, name)).items():
                    owner = device_name_of(subject, device_id) if subject else None
                    device = Sealed("name of a device", name, device_id, text, "name", owner)
                    about = about_of(device_id)
                    whose = Sealed("name of a subject", name, device_id, text, "about", about)
                    for found in (device, whose):
                        if found.sealed:
                            yield found
        elif name.startswith(keys.WEBHOOKS[:-1]):
            for endpoint, text in (await _fields(client, name)).items():
                if not endpoint.endswith(keys.OFF):
                    yield Sealed(
                        "webhook endpoint", name, endpoint, text, "sealed", f"webhook:{endpoint}"
                    )
        elif name.startswith(keys.records("")):
            for message, text in (await _fields(client, name)).items():
                yield Sealed("webhook message", name, message, text, "body", f"event:{message}")
        elif name in keys.event_streams():
            for _, entry in await client.xrange(name):
                yield PendingEvent(name, dict(entry).get("about", ""))

    async def replace(self, found: Sealed, sealed: str) -> bool:
        """Put another seal in, unless the field has changed since it was read; whether it did. Raises Unavailable."""
        answer = await self._scripts.run(
            "replace_field",
            [found.key],
            {"field": found.name, "was": found.text, "becomes": found.with_seal(sealed)},
            durable=True,
        )
        return bool(answer["verdict"] == "replaced")

    async def move(self, found: SubjectKey, subject: SubjectAddress) -> None:
        """Move a key to the name that the active route key gives it. Raises Unavailable."""
        name = keys.for_subject(found.key, subject)
        await self._scripts.run("move_subject", [name], {}, durable=True)

    async def erase(self, found: SubjectKey) -> None:
        """Delete a key. Raises Unavailable."""
        client: Any = self._scripts.connection.client
        try:
            await client.delete(found.key)
        except FAULTS as error:
            raise Unavailable(f"redis: {type(error).__name__}") from error


async def _fields(client: Any, name: str) -> Mapping[str, str]:  # noqa: ANN401
    return {str(k): str(v) for k, v in (await client.hgetall(name)).items()}
