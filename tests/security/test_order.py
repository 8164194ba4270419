"""Steps out of order: whatever is called when, nothing succeeds whose beginning has not happened (F19, N-051)."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pyotp
import pytest

from otp_service.core.challenge import challenge_id_for, new_handle, subject_address
from tests.conftest import Service, Starter
from tests.factors.test_totp import now
from tests.reliability.harness import number

STEPS = 40


@dataclass
class Walk:
    """One person, and what has happened; the walk fails as soon as something succeeds that could not."""

    service: Service
    random: random.Random
    subject: str
    to: str
    challenge: dict[str, Any] | None = None
    code: str = ""
    approved: bool = False
    proof: str = ""
    factor: dict[str, Any] | None = None
    confirmed: bool = False
    recovery: list[str] | None = None
    device: str = ""

    def some_id(self) -> str:
        """Well-formed, and of nothing."""
        ring = self.service.settings.ring()
        address = subject_address(ring, "shop", f"subject:{self.subject}")
        return challenge_id_for(ring, address, new_handle(ring))

    async def post(self, path: str, **body: Any) -> httpx.Response:
        answer = await self.service.post(path, **body)
        assert answer.status_code < 500, answer.text
        return answer

    async def request(self) -> None:
        self.service.advance(130)
        answer = await self.service.post(
            "/otp/request", headers={"Prefer": "wait=30"}, to=self.to, purpose="login",
            subject=self.subject,
        )  # fmt: skip
        if answer.status_code == 202:
            self.challenge, self.approved, self.proof = answer.json(), False, ""
            self.code = self.service.code(self.to)

    async def verify(self) -> None:
        known = self.challenge["challenge_id"] if self.challenge else self.some_id()
        answer = await self.post(
            "/otp/verify", challenge_id=known, code=self.code or "123456", purpose="login"
        )
        if answer.status_code == 200:
            assert self.challenge is not None
            assert not self.approved
            self.approved, self.proof = True, answer.json()["proof"]

    async def resend(self) -> None:
        self.service.advance(130)
        known = self.challenge["challenge_id"] if self.challenge else self.some_id()
        answer = await self.service.post(
            "/otp/resend", headers={"Prefer": "wait=30"}, challenge_id=known
        )
        if answer.status_code == 202:
            assert self.challenge is not None
            assert not self.approved
            self.code = self.service.code(self.to)

    async def redeem_proof(self) -> None:
        answer = await self.post("/proofs/introspect", proof=self.proof or "otpp_00" + "A" * 43)
        if answer.json()["active"]:
            assert self.proof
            self.proof = ""

    async def remember(self) -> None:
        proof = self.proof or "otpp_00" + "A" * 43
        answer = await self.post("/devices", subject=self.subject, proof=proof)
        if answer.status_code == 201:
            assert self.proof
            self.proof, self.device = "", answer.json()["token"]

    async def come_back(self) -> None:
        token = self.device or f"otpd_{'A' * 85}"
        answer = await self.post(
            "/devices/verify", subject=self.subject, token=token, purpose="login"
        )
        if answer.status_code == 200:
            assert self.device
            self.device = answer.json()["token"]

    async def enroll(self) -> None:
        if self.factor is None:
            answer = await self.post("/factors/totp", subject=self.subject, account_name="ann")
            assert answer.status_code == 201
            self.factor = answer.json()

    async def confirm(self) -> None:
        known = self.factor["factor_id"] if self.factor else self.some_id()
        answer = await self.post(f"/factors/totp/{known}/confirm", code=await self.app_code())
        if answer.status_code == 200:
            assert self.factor is not None
            assert not self.confirmed
            self.confirmed = True

    async def verify_app(self) -> None:
        answer = await self.post(
            "/factors/totp/verify", subject=self.subject, code=await self.app_code(),
            purpose="login",
        )  # fmt: skip
        assert answer.status_code != 200 or self.confirmed

    async def issue(self) -> None:
        answer = await self.post("/recovery-codes", subject=self.subject)
        assert answer.status_code == 201
        self.recovery = answer.json()["codes"]

    async def recover(self) -> None:
        code = self.recovery.pop() if self.recovery else "ABCD-EFGH-JKMN-PQRS"
        had = self.recovery is not None
        answer = await self.post(
            "/recovery-codes/verify", subject=self.subject, code=code, purpose="login"
        )
        assert answer.status_code != 200 or had

    async def app_code(self) -> str:
        self.service.advance(30)
        if self.factor is None:
            return "123456"
        return pyotp.TOTP(self.factor["secret"]).at(await now(self.service))

    def steps(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.request, self.verify, self.resend, self.redeem_proof, self.remember,
            self.come_back, self.enroll, self.confirm, self.verify_app, self.issue, self.recover,
        ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_succeeds_whose_beginning_has_not_happened(
    seed: int, start_service: Starter
) -> None:
    service = await start_service(
        OTP_LOCKOUT_SHORT="1000/30m", OTP_LOCKOUT_LONG="1000/1d", OTP_LIMIT_RECIPIENT="1000/1d",
        OTP_LIMIT_RECIPIENT_TOTAL="1000/1d", OTP_LIMIT_NUMBER_RANGE="1000/10m",
    )  # fmt: skip
    walk = Walk(service, random.Random(seed), f"user-{seed}", number(seed))
    for step in walk.steps():  # each once where nothing has begun
        if step not in (walk.request, walk.enroll, walk.issue):
            await step()
    assert (walk.approved, walk.confirmed, walk.device) == (False, False, "")
    for _ in range(STEPS):
        await walk.random.choice(walk.steps())()
    for step in (walk.request, walk.verify, walk.enroll, walk.confirm, walk.issue):
        await step()
    assert walk.approved  # in order, all of it succeeds
    assert walk.confirmed
