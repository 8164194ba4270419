"""Every operation that takes an Idempotency-Key, and others that change something, each ready to be called once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

import httpx
import pyotp

from otp_service.store.script_sources import names, source
from tests.conftest import Sandbox, Service, running_service
from tests.reliability.harness import Command, Gate, eventually, number

STANDS_AT = 1_790_000_010_000  # the time of the scripts, in the middle of an authenticator's step
# What runs by itself beside calls, in every process.
BACKGROUND = {
    "tick",
    "append_audit",
    "note_step_back",
    "claim_due",
    "credit_told",
    "see_credit",
    "take_turn",
    "take_webhooks",
    "evaluate_regions",
}
WIDE = {
    "OTP_LIMIT_RECIPIENT": "1000/1d",
    "OTP_LIMIT_RECIPIENT_TOTAL": "1000/1d",
    "OTP_LIMIT_NUMBER_RANGE": "1000/1d",
    "OTP_COOLDOWN": "1",
}
_SHAS = {
    sha1(source(name, moving=moving).encode(), usedforsecurity=False).hexdigest().encode()
    for name in names()
    if name not in BACKGROUND
    for moving in (False, True)
}


def scripts_of_calls(command: Command) -> bool:
    """Whether it runs a script that only calls run. Redis knows them all: see `gate`."""
    return command[0].upper() == b"EVALSHA" and command[1] in _SHAS


@dataclass
class Flow:
    """
    Two services on one Redis: `near` prepares and delivers; `far` takes the call, with a gate between it and Redis.

    Attributes:
        count: Of people so far: each call is of a new one.
    """

    near: Service
    far: Service
    gate: Gate
    count: int = 0

    def person(self) -> tuple[str, str]:
        """A new person and a new number."""
        self.count += 1
        return f"user-{self.count}", number(self.count)

    async def proof(self, subject: str, to: str) -> str:
        challenge = await self.near.request(to=to, subject=subject)
        answer = await self.near.verify(challenge, self.near.code(to))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["proof"])

    async def pending_app(self, subject: str) -> dict[str, Any]:
        body = {"subject": subject, "account_name": "a", "issuer": "b"}
        answer = await self.near.post("/factors/totp", **body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def app(self, subject: str) -> str:
        """Enrol and confirm an authenticator; return its seed."""
        found = await self.pending_app(subject)
        sent = {"code": app_code(found["secret"], self.near, steps=-1)}
        answer = await self.near.post(f"/factors/totp/{found['factor_id']}/confirm", **sent)
        assert answer.status_code == 200, answer.text
        return str(found["secret"])

    async def device(self, subject: str, to: str) -> str:
        proof = await self.proof(subject, to)
        answer = await self.near.post("/devices", subject=subject, proof=proof)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])


def app_code(secret: str, service: Service, *, steps: int = 0) -> str:
    at = (STANDS_AT + service.container.scripts.offset_ms) // 1000 + 30 * steps
    return pyotp.TOTP(secret).at(at)


@dataclass
class Ready:
    """
    One call, ready to be made.

    Attributes:
        once: Returns what the call changes, to be compared: how many codes are left and the like.
        issued: Whether it shows what is shown once: again it may answer 409 `already_issued`.
    """

    path: str
    body: dict[str, Any]
    method: str = "POST"
    once: Callable[[], Awaitable[Any]] | None = None
    after: Any = None
    issued: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, service: Service, key: str | None) -> httpx.Response:
        headers = {**self.headers, **({"Idempotency-Key": key} if key else {})}
        return await service.http.request(
            self.method, self.path, json=self.body or None, headers=headers
        )


async def request_code(flow: Flow) -> Ready:
    subject, to = flow.person()

    async def messages() -> int:
        return len(flow.near.sandbox.messages(to))

    return Ready(
        "/otp/request", {"to": to, "subject": subject, "purpose": "login"}, once=messages, after=1
    )


async def verify_code(flow: Flow) -> Ready:
    subject, to = flow.person()
    challenge = await flow.near.request(to=to, subject=subject)

    async def standing() -> str:
        return str((await flow.near.look(challenge))["status"])

    body = {
        "challenge_id": challenge["challenge_id"],
        "code": flow.near.code(to),
        "purpose": "login",
    }
    return Ready("/otp/verify", body, once=standing, after="approved")


async def resend_code(flow: Flow) -> Ready:
    subject, to = flow.person()
    challenge = await flow.near.request(to=to, subject=subject)
    flow.near.advance(31)
    flow.far.advance(31)

    async def messages() -> int:
        return len(flow.near.sandbox.messages(to))

    return Ready("/otp/resend", {"challenge_id": challenge["challenge_id"]}, once=messages, after=2)


async def request_opt_in(flow: Flow) -> Ready:
    _, to = flow.person()
    site_draws = flow.near.settings.optin_mode == "wsms"
    flow.near.sandbox.settings(newsletter_form_verify=site_draws)
    return Ready("/optin/request", {"name": "A B", "mobile": to})


async def verify_opt_in(flow: Flow) -> Ready:
    asked = await request_opt_in(flow)
    answer = await asked.call(flow.near, None)
    assert answer.status_code == 202, answer.text
    to = asked.body["mobile"]
    await eventually(lambda: flow.near.sandbox.messages(to), "the code of the opt-in")

    async def rows() -> int:
        return sum(row["mobile"] == to for row in flow.near.sandbox.state()["subscribers"])

    body = {"name": "A B", "mobile": to, "activation": flow.near.code(to)}
    return Ready("/optin/verify", body, once=rows, after=1)


async def enroll_totp(flow: Flow) -> Ready:
    subject, _ = flow.person()
    return Ready(
        "/factors/totp", {"subject": subject, "account_name": "a", "issuer": "b"}, issued=True
    )


async def verify_totp(flow: Flow) -> Ready:
    subject, _ = flow.person()
    code = app_code(await flow.app(subject), flow.near)
    return Ready("/factors/totp/verify", {"subject": subject, "code": code, "purpose": "login"})


async def confirm_totp(flow: Flow) -> Ready:
    subject, _ = flow.person()
    found = await flow.pending_app(subject)
    body = {"code": app_code(found["secret"], flow.near)}
    return Ready(f"/factors/totp/{found['factor_id']}/confirm", body)


async def issue_recovery_codes(flow: Flow) -> Ready:
    subject, _ = flow.person()
    return Ready("/recovery-codes", {"subject": subject}, issued=True)


async def redeem_recovery_code(flow: Flow) -> Ready:
    subject, _ = flow.person()
    answer = await flow.near.post("/recovery-codes", subject=subject)
    assert answer.status_code == 201, answer.text

    async def left() -> int:
        params = {"subject": subject}
        found = await flow.near.http.get("/factors", params=params)
        return int(found.json()["recovery_codes_remaining"])

    body = {"subject": subject, "code": answer.json()["codes"][0], "purpose": "login"}
    return Ready("/recovery-codes/verify", body, once=left, after=9)


async def remember_device(flow: Flow) -> Ready:
    subject, to = flow.person()
    proof = await flow.proof(subject, to)

    async def devices() -> int:
        found = await flow.near.http.get("/devices", params={"subject": subject})
        return len(found.json()["devices"])

    return Ready(
        "/devices", {"subject": subject, "proof": proof}, once=devices, after=1, issued=True
    )


async def verify_device(flow: Flow) -> Ready:
    subject, to = flow.person()
    token = await flow.device(subject, to)
    return Ready("/devices/verify", {"subject": subject, "token": token, "purpose": "login"})


async def unblock_subject(flow: Flow) -> Ready:
    subject, _ = flow.person()
    return Ready("/subjects/unblock", {"subject": subject, "reason": "asked by phone"})


async def erase_subject(flow: Flow) -> Ready:
    subject, _ = flow.person()
    await flow.pending_app(subject)
    return Ready("/subjects/erase", {"subject": subject, "reason": "asked by letter"})


async def cancel_challenge(flow: Flow) -> Ready:
    subject, to = flow.person()
    challenge = await flow.near.request(to=to, subject=subject)

    async def standing() -> str:
        return str((await flow.near.look(challenge))["status"])

    return Ready(
        "/otp/cancel", {"challenge_id": challenge["challenge_id"]}, once=standing, after="canceled"
    )


async def introspect_proof(flow: Flow) -> Ready:
    subject, to = flow.person()
    return Ready("/proofs/introspect", {"proof": await flow.proof(subject, to), "purpose": "login"})


async def remove_factor(flow: Flow) -> Ready:
    subject, _ = flow.person()
    found = await flow.pending_app(subject)
    return Ready(f"/factors/{found['factor_id']}", {}, method="DELETE")


Prepare = Callable[[Flow], Awaitable[Ready]]

# By operationId. A test checks that none is missing.
KEYED: dict[str, Prepare] = {
    "requestCode": request_code,
    "verifyCode": verify_code,
    "resendCode": resend_code,
    "requestOptIn": request_opt_in,
    "verifyOptIn": verify_opt_in,
    "enrollTotp": enroll_totp,
    "verifyTotp": verify_totp,
    "confirmTotp": confirm_totp,
    "issueRecoveryCodes": issue_recovery_codes,
    "redeemRecoveryCode": redeem_recovery_code,
    "rememberDevice": remember_device,
    "verifyDevice": verify_device,
    "unblockSubject": unblock_subject,
    "eraseSubject": erase_subject,
}
UNKEYED: dict[str, Prepare] = {
    "cancelChallenge": cancel_challenge,
    "introspectProof": introspect_proof,
    "removeFactor": remove_factor,
}


@asynccontextmanager
async def flow_through(
    gate: tuple[Gate, dict[str, str]], sandbox: Sandbox, valkey_url: str, **changes: str
) -> AsyncIterator[Flow]:
    """Start both services; `changes` are settings of the far one."""
    door, behind = gate
    near_environment = {**behind, "OTP_REDIS_URL": valkey_url, **WIDE}
    far_environment = {**behind, **WIDE, "OTP_DELIVER": "false", **changes}
    async with (
        running_service(far_environment, sandbox, frozen_at_ms=STANDS_AT) as far,
        running_service(near_environment, sandbox, frozen_at_ms=STANDS_AT) as near,
    ):
        far.http.headers.update(near.http.headers)  # one caller; the credential made last is good
        yield Flow(near, far, door)
