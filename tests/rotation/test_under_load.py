"""
Q11: each key is replaced under two processes that are at work: no good request is refused, and what the older key made
works until it is retired.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from otp_service.cli.callers import app as callers
from tests.conftest import Sandbox
from tests.reliability.conftest import Spawn, spawn_server  # noqa: F401
from tests.reliability.harness import credential
from tests.rotation.conftest import RingFile
from tests.rotation.load import RELOAD_SECONDS, Load

WIDE = {
    "OTP_KEYRING_RELOAD": str(RELOAD_SECONDS),
    "OTP_LIMIT_CALLER": "100000/1d",
    "OTP_LIMIT_NUMBER_RANGE": "10000/10m",
    "OTP_HASH_QUEUE": "64",
    "OTP_OPTIN_MODE": "service",
}


@pytest.fixture
async def load(
    spawn_server: Spawn,  # noqa: F811
    ring_file: RingFile,
    sandbox: Sandbox,
) -> AsyncIterator[Load]:
    environment = {**ring_file.environment, **WIDE}
    sandbox.settings(newsletter_form_verify=False)
    processes = [spawn_server(environment) for _ in range(2)]
    found = Load(processes, sandbox, await credential(environment))
    yield found
    await found.close()


class Rotation:
    """The steps of an operator, each when every process has read the one before."""

    def __init__(self, load: Load, ring_file: RingFile) -> None:
        self.load = load
        self.ring_file = ring_file

    async def do(self, *arguments: str) -> str:
        told = await asyncio.to_thread(self.ring_file.do, *arguments)
        await self.load.turn()
        return told

    async def add_and_promote(self, kind: str) -> str:
        """Return the id of the older key."""
        old = self.ring_file.active(kind)
        added = (await self.do("add", kind)).split()[0]
        await self.do("promote", added, "--now")
        return old

    async def retire(self, kid: str) -> None:
        """As if all the time had passed for which it is needed."""
        self.ring_file.age(kid, days=30)
        await self.do("retire", kid)


@pytest.fixture
def rotation(load: Load, ring_file: RingFile) -> Rotation:
    return Rotation(load, ring_file)


@pytest.mark.parametrize("kind", ["pepper", "proof", "phone"])
async def test_a_key_of_codes_proofs_or_limits_is_replaced(
    load: Load, rotation: Rotation, kind: str
) -> None:
    """K04, K05."""
    async with load.running(load.log_in, load.log_in):
        early, code = await load.request()
        other, other_code = await load.request()
        verified = await load.verify(other, other_code, headers={"Idempotency-Key": "the-one"})
        old = await rotation.add_and_promote(kind)
        again = await load.verify(other, other_code, headers={"Idempotency-Key": "the-one"})
        assert again == verified
        assert (await load.post("/proofs/introspect", proof=verified["proof"]))["active"] is True
        await load.verify(early, code)
        await rotation.retire(old)
    assert load.done["log_in"] >= 8


@pytest.mark.parametrize("kind", ["seal", "route"])
async def test_a_key_of_what_lasts_is_replaced(load: Load, rotation: Rotation, kind: str) -> None:
    """K05, N-047: resealed while people enrol, confirm and remove; wrong codes are counted on."""
    async with load.running(load.log_in, load.use_an_app, load.opt_in):
        factor_id, totp = await load.enroll("user-1")
        codes = (await load.post("/recovery-codes", 201, subject="user-1"))["codes"]
        challenge, code = await load.request(subject="user-1", binding="tab-1")
        guess = f"{(int(code) + 1) % 10**6:06}"
        sent = {"challenge_id": challenge["challenge_id"], "code": guess, "purpose": "login"}
        left = [await load.post("/otp/verify", 400, **sent, binding="tab-1")]

        old = await rotation.add_and_promote(kind)
        left.append(await load.post("/otp/verify", 400, **sent, binding="tab-1"))
        assert await load.recover("user-1", codes[0]) == 9
        told = await rotation.do("reseal")
        left.append(await load.post("/otp/verify", 400, **sent, binding="tab-1"))
        assert [problem["attempts_remaining"] for problem in left] == [4, 3, 2]
        assert "authenticator" in told or "factors" in told
        await load.verify(challenge, code, binding="tab-1")
        await rotation.do("reseal")
        await rotation.retire(old)

        assert await load.recover("user-1", codes[1]) == 8
        now = {"subject": "user-1", "code": totp.at(int(time.time())), "purpose": "login"}
        await load.post("/factors/totp/verify", **now)
        gone = await load.http.delete(f"/factors/{factor_id}")
        assert gone.status_code == 204
    assert min(load.done.values()) >= 4


async def test_a_key_of_receipts_is_replaced(load: Load, rotation: Rotation) -> None:
    """K07: it is published before it signs, and the older one until it is retired."""
    async with load.running(load.opt_in, load.log_in):
        await rotation.add_and_promote("signing")
    assert load.done["opt_in"] >= 6


async def test_a_key_of_credentials_is_replaced(
    load: Load, rotation: Rotation, ring_file: RingFile
) -> None:
    """Two live credentials of a caller bridge it."""
    async with load.running(load.log_in, load.log_in):
        old = await rotation.add_and_promote("credential")
        ring_file.age(old, days=30)
        refused = await asyncio.to_thread(ring_file.run, "retire", old)
        assert "of shop" in refused.output
        made = await asyncio.to_thread(ring_file.run_on, callers, "rotate", "shop")
        before = load.http.headers["authorization"].split("_")[2]
        load.use({"Authorization": f"Bearer {made.output.split()[-1]}"})
        await load.turn()
        revoked = await asyncio.to_thread(
            ring_file.run_on, callers, "revoke", "shop", "--credential", before
        )
        assert revoked.exit_code == 0, revoked.output
        await rotation.retire(old)


@pytest.mark.parametrize("kind", ["pepper", "seal", "route"])
async def test_a_leaked_key_is_taken_away_and_what_it_made_is_refused(
    load: Load, rotation: Rotation, kind: str
) -> None:
    """K06: by refusals that anybody may get, never a 500; and everybody can ask anew."""
    challenge, code = await load.request(binding="tab-1")
    verified = await load.verify(*await load.request())
    _, totp = await load.enroll("user-1")
    async with load.running(load.log_in):
        old = await rotation.add_and_promote(kind)
        await rotation.do("retire", old, "--force")
        sent = {"challenge_id": challenge["challenge_id"], "code": code, "purpose": "login"}
        answers: list[httpx.Response] = [
            await load.http.post("/otp/verify", json={**sent, "binding": "tab-1"}),
            await load.http.post("/otp/resend", json={"challenge_id": challenge["challenge_id"]}),
            await load.http.get(f"/otp/{challenge['challenge_id']}"),
            await load.http.post("/otp/cancel", json={"challenge_id": challenge["challenge_id"]}),
            await load.http.get("/factors", params={"subject": "user-1"}),
        ]
        if kind in ("seal", "route"):
            now = {"subject": "user-1", "code": totp.at(int(time.time())), "purpose": "login"}
            answers.append(await load.http.post("/factors/totp/verify", json=now))
            assert answers[-1].json()["code"] in ("invalid_code", "factor_not_found")
            proven = await load.post("/proofs/introspect", proof=verified["proof"])
            assert proven["active"] is (kind == "route")
        refusal = {
            "pepper": "invalid_code",
            "seal": "challenge_not_found",
            "route": "challenge_not_found",
        }
        assert answers[0].json()["code"] == refusal[kind]
        assert max(answer.status_code for answer in answers) < 500
        await load.verify(*await load.request())
