"""
Redis goes back in time or comes back empty, and the service notices: what was spent since is not accepted again.

The controls are the same losses without the memory of the process, in `test_lost_writes.py`, and three builds of
`tests/security/broken_builds.py`.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from otp_service.cli.valkey import Valkey
from otp_service.core.audit import Act
from otp_service.core.identities import Identity, IdentityKind
from otp_service.errors import Unavailable
from otp_service.services.history import History
from otp_service.services.loops import end
from otp_service.settings.environment import SettingsError
from otp_service.store import keys
from otp_service.store.audit import Audit
from otp_service.store.scripts import Scripts
from otp_service.web.models import EXAMPLE_ID
from tests.conftest import Sandbox, Service, Starter, base_environment
from tests.factors.test_totp import confirmed, now, verify
from tests.reliability.conftest import Spawn
from tests.reliability.harness import eventually, number
from tests.reliability.own_redis import Own, is_ready, pair, service_on
from tests.reliability.test_lost_writes import loses_its_machine, written
from tests.security.conftest import register_caller
from tests.security.issuer import running_issuer
from tests.security.test_caller_certificates import SPIFFE, certificate, rfc9440, san


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
        await self.service.container.history.tick()
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
        await service.container.history.tick()
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
        await service.container.history.tick()
        with redis.Redis.from_url(primary.url) as first:
            first.set("otp:{00}:probe", 1, ex=1)
            assert first.wait(1, 10_000) == 1
        primary.kill()
        with redis.Redis.from_url(replica.url) as second:
            second.replicaof("NO", "ONE")
        async with service_on(replica.url, sandbox, ring) as after:
            assert after.container.scripts.fence.epoch == 0
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
        await service.container.history.tick()
        await service.container.history.stop()
    await loses_its_machine(loss.server, loss.file, own_valkey, kept=loss.kept)
    async with service_on(loss.server.url, sandbox, ring, **state) as after:
        answer = await after.verify(challenge, code)
        assert answer.status_code == (410 if remembers else 200)
        assert ("redis" in await warnings(after)) == remembers


async def test_after_restore_lists_acts_to_be_done_again(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    async with forgetting(own_valkey, sandbox, ring, tmp_path) as (service, loss):
        audit = Audit(service.container.scripts, service.settings.ring, days=400)
        environment = loss.environment(sandbox, ring)
        assert "never seen" in await command(environment, "store", "after-restore")
        await audit.record(Act.REGION_RESUMED, by="operator:ann@host", caller="shop", reason="T-1")
        await service.container.history.tick()
        loss.begins()
        await audit.record(Act.CALLER_REVOKED, by="operator:ann@host", caller="shop", reason="T-2")
        await loss.happens()
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        await service.container.history.tick()

        told = await command(environment, "store", "after-restore")
        assert "entries of the audit log that are gone: 1" in told
        assert "do again: caller.revoked shop by operator:ann@host T-2" in told
        assert "T-1" not in told
        assert "dealt with" in await command(environment, "store", "after-restore", "--done")
        await service.container.history.tick()
        assert await warnings(service) == {}


# --- A clock that is set back ----------------------------------------------------------------------------------------


async def test_clock_set_back_revives_nothing_when_it_comes_back(service: Service) -> None:
    """X22: what was refused while its beginning lay in the future does not live on afterwards."""
    challenge, other = await service.request(), await service.request(to=number(1))
    proof = (await service.verify(other, service.code(number(1)))).json()["proof"]
    await service.container.history.tick()
    service.advance(-1000)
    await service.container.history.tick()
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
    """X42: the callers are lost too, so each gets a new credential before codes by SMS work."""
    async with forgetting(own_valkey, sandbox, ring, tmp_path) as (service, loss):
        await confirmed(service, "ann")
        other = await service.caller("web")  # never used, so no process has it in its cache
        with redis.Redis.from_url(loss.server.url) as client:
            client.flushall()
        await service.container.history.tick()

        assert await code_for(service, other) == "store_emptied"
        assert (
            await eventually(lambda: code_once_forgotten(service), "the cache ends")
            == "store_emptied"
        )
        old = {"Authorization": service.http.headers["Authorization"]}
        service.http.headers.update(await service.caller("shop"))  # otp-service callers create
        await eventually(lambda: is_known(service), "the new credential")
        assert await code_for(service, old) == "unauthorized"
        assert await code_for(service, {"Authorization": "Bearer nonsense"}) == "unauthorized"

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
            await service.container.history.tick()
            await another.container.history.tick()
            answer = await another.http.get("/factors", params={"subject": "ann"})
            assert answer.status_code == 200
            assert "store" not in await warnings(service)
            assert "store.empty_accepted" in await command(environment, "audit")
            assert "nothing to accept" in await command(environment, *accept)
            assert await code_for(service, other) == "unauthorized"


async def code_for(service: Service, headers: dict[str, str]) -> str:
    """The code of what a caller gets for a challenge that does not exist."""
    answer = await service.http.get(f"/otp/{EXAMPLE_ID}", headers=headers)
    return str(answer.json()["code"])


async def code_once_forgotten(service: Service) -> str:
    """The code for the service's own caller, or "" while its record is cached."""
    code = await code_for(service, {})
    return "" if code == "challenge_not_found" else code


async def is_known(service: Service, **headers: str) -> bool:
    return await code_for(service, headers) == "challenge_not_found"


async def test_emptied_store_refuses_no_identity_as_unknown(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X42: callers with an issuer's tokens or a certificate, whose records are lost."""
    server, der = own_valkey(), certificate(SPIFFE)
    with running_issuer() as issuer:
        proxy = {"OTP_CALLER_CERTIFICATES": "true", "OTP_TRUSTED_PROXIES": "127.0.0.1"}
        async with service_on(server.url, sandbox, ring, **issuer.settings, **proxy) as service:
            del service.http.headers["authorization"]
            presented = [issuer.bearer(), {"Client-Cert": rfc9440(der)}]
            with redis.Redis.from_url(server.url) as client:
                client.flushall()
            await service.container.history.tick()
            for headers in presented:
                assert await code_for(service, headers) == "store_emptied"
            subject = Identity(IdentityKind.JWT_SUBJECT, "svc-shop")
            await register_caller(service.settings, "web", subject, san(SPIFFE))
            for headers in presented:
                await eventually(partial(is_known, service, **headers), "the caller made anew")


async def test_emptied_store_is_noticed_at_the_first_call(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X42: before any tick, because a new connection is checked before its answer counts."""
    server = own_valkey("primary", "--appendonly", "no")
    async with service_on(server.url, sandbox, ring, OTP_ALLOW_NO_PERSISTENCE="true") as service:
        await confirmed(service, "ann")
        web = await service.caller("web")
        await service.container.history.stop()  # the loop: only calls compare now
        server.kill()
        own_valkey("primary", "--appendonly", "no", port=server.port, password=server.password)

        async def code_of_web() -> str:
            code = await code_for(service, web)
            return "" if code == "unavailable" else code  # a call on a connection to the old server

        assert await eventually(code_of_web, "Redis answers") == "store_emptied"
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
            await service.container.history.tick()
            client.flushall()
            await service.container.history.tick()
            client.flushall()
            for key, (value, ttl) in kept.items():
                client.restore(key, ttl, value)
        await service.container.history.tick()
        factors = await service.http.get("/factors", params={"subject": "ann"})
        assert len(factors.json()["factors"]) == 1
        assert (await service.verify(challenge, service.code())).json()[
            "code"
        ] == "challenge_expired"


async def test_first_start_needs_no_ceremony(start_service: Starter) -> None:
    service = await start_service()
    assert (await service.http.get("/factors", params={"subject": "ann"})).status_code == 200
    assert await warnings(service) == {}


# --- Redis hangs -----------------------------------------------------------------------------------------------------


async def test_hanging_redis_fails_all_calls_with_one_check(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """Twelve calls cost one tick, not one each, and none of them runs once Redis goes on."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring, OTP_REDIS_TIMEOUT="1") as service:
        container = service.container
        await container.history.stop()  # the loop: only calls tick now
        ticks = counted_ticks(service)
        await opened_anew(service)
        server.process.send_signal(signal.SIGSTOP)
        calls = [
            container.scripts.run("take_turn", [keys.turn(f"t{i}")], {"every_ms": 60_000})
            for i in range(12)
        ]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(end) for end in ends} == {Unavailable}
        assert ticks() <= 2  # one check that all await
        server.process.send_signal(signal.SIGCONT)
        with redis.Redis.from_url(server.url) as client:
            client.ping()
            assert client.keys("*turn*t?*") == []


async def test_call_takes_the_check_off_its_own_deadline(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X08: a check that takes longer than the call may ends the call, and its script is not sent."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring, OTP_REDIS_TIMEOUT="1") as service:
        scripts = service.container.scripts
        await service.container.history.stop()
        await opened_anew(service)
        over = asyncio.Event()

        async def slow(_: str) -> None:
            await over.wait()

        scripts.recheck = slow
        try:
            async with asyncio.timeout(20):
                with pytest.raises(Unavailable):
                    await scripts.run("take_turn", [keys.turn("late")], {"every_ms": 60_000})
        finally:
            over.set()  # else the service's own last scripts would wait for it
        with redis.Redis.from_url(server.url) as client:
            assert client.exists(keys.turn("late")) == 0


def counted_ticks(service: Service) -> Callable[[], int]:
    """How many ticks the process has sent since."""
    store = service.container.history._store
    before = store._number
    return lambda: store._number - before


async def opened_anew(service: Service) -> None:
    """Have the process open a connection that was not compared yet."""
    pool = service.container.scripts.connection.client.connection_pool  # type: ignore[union-attr]
    for connection in pool._available_connections:
        await connection.disconnect()
    await service.container.scripts.connection.client.ping()  # type: ignore[union-attr]


# --- Each process remembers ------------------------------------------------------------------------------------------


async def test_worker_sends_no_code_of_a_restored_queue(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path, spawn_worker: Spawn
) -> None:
    """G05, X41: a job that was sent and is back in the queue is not sent again by `otp-service worker` either."""
    async with forgetting(own_valkey, sandbox, ring, tmp_path, OTP_DELIVER="false") as (
        service,
        loss,
    ):
        environment = base_environment(loss.server.url, sandbox.url, ring)
        first = await service.post("/otp/request", to=number(1), purpose="login")
        assert first.status_code == 202
        loss.begins()
        spawn_worker(environment)
        await eventually(lambda: sandbox.messages(number(1)), "the SMS", seconds=60)
        with redis.Redis.from_url(loss.server.url, decode_responses=True) as client:
            await eventually(lambda: len(client.keys("*:tick:*")) >= 2, "the worker's tick")
        await loss.happens()
        with redis.Redis.from_url(loss.server.url, decode_responses=True) as client:
            await eventually(
                lambda: len(client.keys("*:tick:*")) >= 2, "the worker ticks again", seconds=60
            )
        await service.container.history.tick()  # else the fence may rise in the call: 503
        later = await service.post("/otp/request", to=number(2), purpose="login")
        assert later.status_code == 202
        await eventually(lambda: sandbox.messages(number(2)), "the next SMS", seconds=60)
        assert len(sandbox.messages(number(1))) == 1


async def test_state_dir_of_another_installation_refuses_the_start(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path, spawn_server: Spawn
) -> None:
    """X42: it takes no factors down. Nothing is written, and the other processes go on."""
    mine, others = own_valkey("mine"), own_valkey("others")
    state = {"OTP_STATE_DIR": str(tmp_path / "state")}
    async with service_on(mine.url, sandbox, ring) as service:
        async with service_on(others.url, sandbox, ring, **state) as other:
            await other.container.history.tick()
            other.container.history._save()
        with pytest.raises(SettingsError, match="OTP_STATE_DIR"):
            async with service_on(mine.url, sandbox, ring, **state):
                pass
        environment = {**base_environment(mine.url, sandbox.url, ring), **state}
        served = spawn_server(environment, stdout=subprocess.PIPE).popen
        out, _ = await asyncio.to_thread(served.communicate)
        assert served.returncode != 0
        assert b"another installation than OTP_STATE_DIR" in out
        assert b"Traceback" not in out
        await service.container.history.tick()
        factors = await service.http.get("/factors", params={"subject": "ann"})
        assert factors.status_code == 200
        assert await warnings(service) == {}


# --- No false alarm, and none that lasts -----------------------------------------------------------------------------


def history_of(server: Valkey, **fields: int) -> dict[str, str]:
    """What Redis holds of it, after some fields were set."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        if fields:
            client.hset(keys.history(0), mapping=fields)
        return client.hgetall(keys.history(0))


async def test_fence_in_the_future_locks_no_authenticator_out(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X22: the clock was two days ahead when the epoch rose, and the process that knew has ended."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        _, app = await confirmed(service)
    ahead = int(history_of(server)["at"]) + 2 * 86_400_000
    history_of(server, at=ahead, epoch=3, fenced_at=ahead)
    async with service_on(server.url, sandbox, ring) as service:
        found = history_of(server)
        assert int(found["epoch"]) == 4
        assert int(found["fenced_at"]) < ahead - 86_400_000
        assert int(found["at"]) < ahead - 86_400_000
        service.advance(90)
        assert (await verify(service, app.at(await now(service)))).status_code == 200


async def test_outage_longer_than_a_tick_lives_raises_no_fence(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """Redis was down for over an hour, and is back with all that it had but the expired ticks."""
    server = own_valkey()
    async with service_on(server.url, sandbox, ring) as service:
        await end(service.container.history._loops)
        await service.container.history.tick()
        with redis.Redis.from_url(server.url) as client:
            client.delete(*client.keys("*:tick:*"))
        service.advance(3700)
        await service.container.history.tick()
        assert service.container.scripts.fence.epoch == 0


async def test_small_step_of_the_clock_and_a_restart_raise_no_fence(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    server = own_valkey()
    state = {"OTP_STATE_DIR": str(tmp_path / "state")}
    async with service_on(server.url, sandbox, ring, **state) as service:
        await end(service.container.history._loops)
        service.advance(4)
        await service.container.history.tick()
        service.container.history._save()
        service.advance(-4)
        async with service_on(
            server.url, sandbox, ring
        ) as other:  # writes a tick of an earlier time
            await other.container.history.tick()
    async with service_on(server.url, sandbox, ring, **state) as after:
        assert after.container.scripts.fence.epoch == 0


async def test_fence_keeps_its_time_over_a_restart(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """Also where the place that holds it does not answer yet."""
    server = own_valkey()
    state = {"OTP_STATE_DIR": str(tmp_path / "state")}
    async with service_on(server.url, sandbox, ring, **state) as service:
        await service.container.history.tick()
        service.advance(-1000)
        await service.container.history.tick()
        fence = service.container.scripts.fence
        assert fence.epoch == 1
    memory = History(
        Scripts(service.container.scripts.connection), service.container.history._audit,
        directory=tmp_path / "state",
    )  # fmt: skip
    memory._load()
    assert memory._scripts.fence == fence
