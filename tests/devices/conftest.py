"""A person who has just shown a second factor, and the browser that keeps the token."""

import itertools
from typing import Any

import httpx
import pytest

from tests.conftest import Service, Starter
from tests.reliability.harness import number

USER = "user-1"
_numbers = itertools.count()


class People:
    """What a login flow does, against one service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def proof(self, subject: str = USER, *, purpose: str = "login", **more: Any) -> str:
        """The proof of a code that was sent and typed just now."""
        to = number(next(_numbers) % 90)
        challenge = await self.service.request(to=to, subject=subject, purpose=purpose, **more)
        answer = await self.service.verify(challenge, self.service.code(to), purpose=purpose)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["proof"])

    async def ask(self, subject: str = USER, **more: Any) -> httpx.Response:
        """Ask to remember a device, with a fresh proof unless one is given."""
        proof = more.pop("proof", None) or await self.proof(subject)
        return await self.service.post("/devices", subject=subject, proof=proof, **more)

    async def remembered(self, subject: str = USER, **more: Any) -> dict[str, Any]:
        """A device, with its first token."""
        answer = await self.ask(subject, **more)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def verify(self, token: str, subject: str = USER, **more: Any) -> httpx.Response:
        body = {"subject": subject, "token": token, "purpose": "login", **more}
        headers = body.pop("headers", None)
        return await self.service.post("/devices/verify", headers=headers, **body)

    async def verified(self, token: str, **more: Any) -> dict[str, Any]:
        """A verification that passed, with the next token."""
        answer = await self.verify(token, **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def listed(self, subject: str = USER, **more: Any) -> list[dict[str, Any]]:
        answer = await self.service.http.get("/devices", params={"subject": subject}, **more)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["devices"])


@pytest.fixture
async def people(start_service: Starter) -> People:
    """With room for many codes: what limits them is tested elsewhere."""
    wide = {
        "OTP_LIMIT_RECIPIENT": "1000/1d",
        "OTP_LIMIT_RECIPIENT_TOTAL": "1000/1d",
        "OTP_COOLDOWN": "1",
        "OTP_REDIS_TIMEOUT": "10",  # on a busy machine nothing of a race is late
    }
    return People(await start_service(**wide))
