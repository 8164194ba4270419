"""
Redis goes back in time or comes back empty, and the service notices: what was spent since is not accepted again.

The controls are the same losses without the memory of the process, in `test_lost_writes.py`, and three builds of
`tests/security/broken_builds.py`.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from otp_service.cli.valkey import Valkey
from otp_service.core.audit import Act
from otp_service.store.audit import Audit
from tests.conftest import Sandbox, Service, Starter, base_environment
from tests.factors.test_totp import confirmed, now, verify
from tests.reliability.harness import eventually, number
from tests.reliability.own_redis import Own, is_ready, pair, service_on
from tests.reliability.test_lost_writes import loses_its_machine, written


@asynccontextmanager
async def forgetting(
    own_valkey: Own, sandbox: Sandbox, ring: str, directory: Path, **settings: str
) -> AsyncIterator[tuple[Service, "Loss"]]:
    """A service, and a Redis that can lose what it was given since `loss.begins()`."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring, **settings) as service:
        yield service, Loss(service, server, directory, own_valkey)


class Loss:
    def __init__(self, service: Service, server: Valkey, directory: Path, own_valkey: Own) -> None:
        self.service = service
        self.server = server
        self.own_valkey = own_valkey
        self.file = directory / "primary"
        self.kept = 0

    def begins(self) -> None:
        """What is written from here on gets lost, with at least one tick."""
        self.kept = written(self.server, self.file)

    async def happens(self) -> None:
        await self.service.rooms.history.tick()
        await loses_its_machine(self.server, self.file, self.own_valkey, kept=self.kept)

    def environment(self, sandbox: Sandbox, ring: str) -> dict[str, str]:
        return {
            **os.environ,
            **base_environment(self.server.url, sandbox.url, ring),
            "COLUMNS": "220",
        }


async def command(environment: dict[str, str], *arguments: str) -> str:
    """What `otp-service …` prints."""
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "otp_service", *arguments,
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await run.communicate()
    assert run.returncode == 0, out.decode()
    return out.decode()


async def warnings(service: Service) -> dict[str, Any]:
    return dict((await service.http.get("/readyz")).json().get("warnings", {}))


# --- A lost tail, a restored backup, a stale replica -----------------------------------------------------------------


async def test_lost_tail_accepts_no_code_or_proof_again(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X03, X41: the very first call after the loss is no success either."""
    async with forgetting(own_valkey, sandbox, ring, tmp_path) as (service, loss):
        challenge, other = await service.request(), await service.request(to=number(1))
        code = service.code()
        proof = (await service.verify(other, service.code(number(1)))).json()["proof"]
        loss.begins()
        assert (await service.verify(challenge, code)).status_code == 200
        redeemed = await service.post("/proofs/introspect", proof=proof)
        assert redeemed.json()["active"]
        await loss.happens()

        answers = [await service.verify(challenge, code) for _ in range(3)]
        assert {answer.status_code for answer in answers} <= {410, 503}
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        assert (await service.verify(challenge, code)).json()["code"] == "challenge_expired"
        again = await service.post("/proofs/introspect", proof=proof)
        assert again.json() == {"active": False}

        anew = await service.request(to=number(2))  # people request once more
        assert (await service.verify(anew, service.code(number(2)))).status_code == 200
        assert "went back in time" in (await warnings(service))["redis"]


async def test_lost_tail_opens_no_totp_step_again(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """B27, X41."""
    async with forgetting(own_valkey, sandbox, ring, tmp_path) as (service, loss):
        _, app = await confirmed(service)
        code = app.at(await now(service))
        loss.begins()
        assert (await verify(service, code)).status_code == 200
        await loss.happens()
        await eventually(lambda: is_ready(service), "ready again", seconds=30)

        assert (await verify(service, code)).json()["code"] == "invalid_code"
        service.advance(60)
        assert (await verify(service, app.at(await now(service)))).status_code == 200


async def test_restart_without_loss_raises_no_fence(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X41: no false alarm when Redis comes back with all that it had."""
    async with forgetting(own_valkey, sandbox, ring, tmp_path) as (service, loss):
        challenge = await service.request()
        await service.rooms.history.tick()
        written(loss.server, loss.file)
        loss.server.stop()
        own_valkey("primary", port=loss.server.port, password=loss.server.password)
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        assert (await service.verify(challenge, service.code())).status_code == 200
        assert await warnings(service) == {}


async def test_replica_in_step_takes_over_without_a_fence(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X41: a replica that has the ticks has what was acknowledged before them."""
    primary, replica = await pair(own_valkey)
    async with service_on(primary.url, sandbox, ring) as service:
        challenge = await service.request()
        await service.rooms.history.tick()
        with redis.Redis.from_url(primary.url) as first:
            first.set("otp:{00}:probe", 1, ex=1)
            assert first.wait(1, 10_000) == 1
        primary.kill()
        with redis.Redis.from_url(replica.url) as second:
            second.replicaof("NO", "ONE")
        async with service_on(replica.url, sandbox, ring) as after:
            assert after.rooms.scripts.fence.epoch == 0
            assert (await after.verify(challenge, after.code())).status_code == 200


@pytest.mark.parametrize("remembers", [True, False])
async def test_restore_while_stopped_is_noticed_with_a_state_dir(
    remembers: bool, own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X41, and its control: without a directory a new process knows nothing of before, as docs/restore.md says."""
    state = {"OTP_STATE_DIR": str(tmp_path / "state")} if remembers else {}
    async with forgetting(own_valkey, sandbox, ring, tmp_path, **state) as (service, loss):
        challenge = await service.request()
        code = service.code()
        loss.begins()
        assert (await service.verify(challenge, code)).status_code == 200
        await service.rooms.history.tick()
        await service.rooms.history.stop()
    await loses_its_machine(loss.server, loss.file, own_valkey, kept=loss.kept)
    async with service_on(loss.server.url, sandbox, ring, **state) as after:
        answer = await after.verify(challenge, code)
        assert answer.status_code == (410 if remembers else 200)
        assert ("redis" in await warnings(after)) == remembers


async def test_after_restore_lists_acts_to_be_done_again(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    async with forgetting(own_valkey, sandbox, ring, tmp_path) as (service, loss):
        audit = Audit(service.rooms.scripts, service.settings.ring, days=400)
        environment = loss.environment(sandbox, ring)
        assert "never seen" in await command(environment, "store", "after-restore")
        await audit.record(Act.REGION_RESUMED, by="operator:ann@host", caller="shop", reason="T-1")
        await service.rooms.history.tick()
        loss.begins()
        await audit.record(Act.CALLER_REVOKED, by="operator:ann@host", caller="shop", reason="T-2")
        await loss.happens()
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        await service.rooms.history.tick()

        told = await command(environment, "store", "after-restore")
        assert "entries of the audit log that are gone: 1" in told
        assert "do again: caller.revoked shop by operator:ann@host T-2" in told
        assert "T-1" not in told
        assert "dealt with" in await command(environment, "store", "after-restore", "--done")
        await service.rooms.history.tick()
        assert await warnings(service) == {}


# --- A clock that is set back ----------------------------------------------------------------------------------------


async def test_clock_set_back_revives_nothing_when_it_comes_back(service: Service) -> None:
    """X22: what was refused while its beginning lay in the future does not live on afterwards."""
    challenge, other = await service.request(), await service.request(to=number(1))
    proof = (await service.verify(other, service.code(number(1)))).json()["proof"]
    await service.rooms.history.tick()
    service.advance(-1000)
    await service.rooms.history.tick()
    service.advance(1010)
    assert (await service.verify(challenge, service.code())).json()["code"] == "challenge_expired"
    assert (await service.post("/proofs/introspect", proof=proof)).json() == {"active": False}


# --- An emptied store ------------------------------------------------------------------------------------------------


async def answers_of_factors(service: Service) -> list[httpx.Response]:
    return [
        await service.http.get("/factors", params={"subject": "ann"}),
        await service.post("/otp/request", to=number(3), subject="ann", purpose="login", channel="auto"),
        await service.post("/factors/totp", subject="ann", account_name="ann"),
        await service.post("/factors/totp/verify", subject="ann", code="123456", purpose="login"),
        await service.post("/recovery-codes", subject="ann"),
        await service.post("/recovery-codes/verify", subject="ann", code="ABCD-EFGH-JKMN-PQRS", purpose="login"),
        await service.http.get("/devices", params={"subject": "ann"}),
    ]  # fmt: skip


async def test_emptied_store_answers_nothing_on_factors_until_accepted(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X42."""
    async with forgetting(own_valkey, sandbox, ring, tmp_path) as (service, loss):
        await confirmed(service, "ann")
        with redis.Redis.from_url(loss.server.url) as client:
            caller = client.dump("otp:caller:shop")
            client.flushall()
            client.restore("otp:caller:shop", 0, caller)  # as an operator makes callers anew
        await service.rooms.history.tick()

        for answer in await answers_of_factors(service):
            assert (answer.status_code, answer.json()["code"]) == (503, "store_emptied"), answer.url
        assert sandbox.messages(number(3)) == []
        sms = await service.request(to=number(4))  # depends on nobody's factors
        assert (await service.verify(sms, service.code(number(4)))).status_code == 200
        assert "accept-empty" in (await warnings(service))["store"]

        async with service_on(loss.server.url, sandbox, ring) as another:
            for answer in await answers_of_factors(
                another
            ):  # Redis tells a process that remembers nothing
                assert answer.json()["code"] == "store_emptied"

            environment = loss.environment(sandbox, ring)
            accept = ("store", "accept-empty", "--reason", "T-3")
            assert "accepted" in await command(environment, *accept)
            await service.rooms.history.tick()
            await another.rooms.history.tick()
            answer = await another.http.get("/factors", params={"subject": "ann"})
            assert answer.status_code == 200
            assert "store" not in await warnings(service)
            assert "store.empty_accepted" in await command(environment, "audit")
            assert "nothing to accept" in await command(environment, *accept)


async def test_emptied_store_is_noticed_at_the_first_call(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X42: before any tick, because a new connection is checked before its answer counts."""
    server = own_valkey("primary", "--appendonly", "no")
    async with service_on(server.url, sandbox, ring, OTP_ALLOW_NO_PERSISTENCE="true") as service:
        await confirmed(service, "ann")
        server.kill()
        own_valkey("primary", "--appendonly", "no", port=server.port, password=server.password)
        answer = await service.http.get("/factors", params={"subject": "ann"})
        assert answer.status_code == 503


async def test_restored_store_answers_again(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X42: a restore needs no command; challenges of before are refused."""
    async with forgetting(own_valkey, sandbox, ring, tmp_path) as (service, loss):
        challenge = await service.request()
        await confirmed(service, "ann")
        with redis.Redis.from_url(loss.server.url) as client:
            kept = {key: (client.dump(key), max(0, client.pttl(key))) for key in client.scan_iter()}
            await service.rooms.history.tick()
            client.flushall()
            await service.rooms.history.tick()
            client.flushall()
            for key, (value, ttl) in kept.items():
                client.restore(key, ttl, value)
        await service.rooms.history.tick()
        factors = await service.http.get("/factors", params={"subject": "ann"})
        assert len(factors.json()["factors"]) == 1
        assert (await service.verify(challenge, service.code())).json()[
            "code"
        ] == "challenge_expired"


async def test_first_start_needs_no_ceremony(start_service: Starter) -> None:
    service = await start_service()
    assert (await service.http.get("/factors", params={"subject": "ann"})).status_code == 200
    assert await warnings(service) == {}
