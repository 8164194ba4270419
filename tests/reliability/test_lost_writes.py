"""
Redis forgets what it had: its machine is lost, its file cut or spoilt, its disk full, or it kept no file at all.

What `OTP_DURABILITY` promises is on the disk before it is acknowledged, so that no code is accepted twice; what it does
not promise is seen to get lost, in controls. Here the process has no memory of what Redis had, so that each loss shows;
what that memory makes of it is in `test_history.py`. A machine's loss is made by ending the server and cutting its
append-only file where the disk had got to.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from otp_service.cli.valkey import Valkey
from otp_service.settings.environment import SettingsError
from tests.conftest import TO, Sandbox, Service
from tests.reliability.harness import command, count, eventually, gate_before, number, script
from tests.reliability.own_redis import (
    Own,
    are_unavailable,
    is_ready,
    on_disk,
    pair,
    without_memory,
)


def append_only_file(directory: Path) -> Path:
    """Where the server of that directory writes now."""
    return max(
        (directory / "appendonlydir").glob("*.incr.aof"), key=lambda p: int(p.name.split(".")[2])
    )


async def loses_its_machine(server: Valkey, directory: Path, own_valkey: Own, *, kept: int) -> None:
    """End it at once, with all that it wrote behind so many bytes, and start it again."""
    server.kill()
    with append_only_file(directory).open("r+b") as file:
        file.truncate(kept)
    own_valkey(directory.name, port=server.port, password=server.password)


def written(server: Valkey, directory: Path) -> int:
    """How many bytes are in the file once all is there that was acknowledged until now."""
    assert on_disk(server)
    return append_only_file(directory).stat().st_size


# --- The machine is lost ---------------------------------------------------------------------------------------------


async def test_what_the_lost_second_held_is_gone_and_what_was_before_it_is_not(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X03, the window that the README tells of: a challenge of that second was never there, counts are older."""
    server = own_valkey()
    async with without_memory(server.url, sandbox, ring) as service:
        spent, older = await service.request(to=number(1)), await service.request()
        used, code = service.code(number(1)), service.code()
        assert (await service.verify(spent, used)).status_code == 200
        assert (await service.verify(older, service.wrong_code())).status_code == 400
        kept = written(server, tmp_path / "primary")
        young = await service.request(to=number(2))
        assert (await service.verify(older, service.wrong_code())).status_code == 400

        await loses_its_machine(server, tmp_path / "primary", own_valkey, kept=kept)
        await eventually(lambda: is_ready(service), "ready again", seconds=30)

        assert count([await service.verify(spent, used)]) == {"challenge_used": 1}
        lost = await service.verify(young, service.code(number(2)))
        assert lost.json()["code"] == "challenge_not_found"
        assert (await service.look(older))["attempts_remaining"] == 4
        assert (await service.verify(older, code)).status_code == 200
        assert (await service.verify(older, code)).json()["code"] == "challenge_used"


async def accepted_then_lost(
    own_valkey: Own, sandbox: Sandbox, ring: str, directory: Path, *, durability: str
) -> list[httpx.Response]:
    """
    Accept a code while the disk holds what came before it, lose the machine, and try the code again, twice.

    The disk takes what is asked of it with WAITAOF and nothing else: without that it keeps what it had before the code
    was accepted.
    """
    server = own_valkey()
    async with without_memory(server.url, sandbox, ring, OTP_DURABILITY=durability) as service:
        challenge = await service.request()
        code = service.code()
        before = written(server, directory)
        first = await service.verify(challenge, code)
        kept = append_only_file(directory).stat().st_size if durability == "fsync" else before
        await loses_its_machine(server, directory, own_valkey, kept=kept)
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        return [first, *[await service.verify(challenge, code) for _ in range(2)]]


async def test_with_durability_fsync_a_lost_machine_accepts_no_code_twice(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X03: what was acknowledged was on the disk."""
    answers = await accepted_then_lost(
        own_valkey, sandbox, ring, tmp_path / "primary", durability="fsync"
    )
    assert answers[0].status_code == 200
    assert count(answers[1:]) == {"challenge_used": 2}


async def test_without_durability_the_same_loss_is_seen_to_accept_it_twice(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X03, the control of the test above: the window of `none`, up to a second, and why there is `fsync`."""
    answers = await accepted_then_lost(
        own_valkey, sandbox, ring, tmp_path / "primary", durability="none"
    )
    assert [answer.status_code for answer in answers] == [200, 200, 410]


async def test_with_durability_fsync_what_is_not_on_the_disk_is_not_acknowledged(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X03: the machine goes after the code was spent and before the disk had that, so nobody was let in by it."""
    server, directory = own_valkey(), tmp_path / "primary"
    async with (
        gate_before(server.url) as (door, behind),
        without_memory(behind, sandbox, ring, OTP_DURABILITY="fsync") as service,
    ):
        other = await service.request(to=number(1))  # so that Redis knows the script
        assert (await service.verify(other, service.code(number(1)))).status_code == 200
        challenge = await service.request()
        code = service.code()
        before = written(server, directory)
        spending = door.add(script("consume_challenge"), "watch", times=0)
        waits = command("WAITAOF")
        held = door.add(lambda found: bool(spending.seen) and waits(found), "hold_before")
        verifying = asyncio.create_task(service.verify(challenge, code))
        await held.is_reached()
        await eventually(lambda: is_spent(service, challenge), "the code is spent")
        server.kill()
        await door.drop()
        are_unavailable([await verifying])
        with append_only_file(directory).open("r+b") as file:
            file.truncate(before)
        own_valkey("primary", port=server.port, password=server.password)
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        answers = [await service.verify(challenge, code) for _ in range(2)]
    assert count(answers).get("200", 0) == 1


async def is_spent(service: Service, challenge: dict[str, Any]) -> bool:
    return (await service.look(challenge))["status"] == "approved"


# --- Its file is spoilt ----------------------------------------------------------------------------------------------


async def test_a_file_that_ends_in_half_a_command_is_read_up_to_there(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X04: cut anywhere, Redis is older by what was behind; what is in front of the cut is whole."""
    server, directory = own_valkey(), tmp_path / "primary"
    async with without_memory(server.url, sandbox, ring) as service:
        spent, open_ = await service.request(to=number(1)), await service.request()
        used, code = service.code(number(1)), service.code()
        assert (await service.verify(spent, used)).status_code == 200
        kept = written(server, directory)
        assert (await service.verify(open_, service.wrong_code())).status_code == 400
        assert written(server, directory) > kept + 20
        await loses_its_machine(server, directory, own_valkey, kept=kept + 20)
        await eventually(lambda: is_ready(service), "ready again", seconds=30)

        assert count([await service.verify(spent, used)]) == {"challenge_used": 1}
        assert (await service.look(open_))["attempts_remaining"] == 5
        assert (await service.verify(open_, code)).status_code == 200
        assert count([await service.verify(open_, code)]) == {"challenge_used": 1}


@pytest.mark.parametrize(
    ("tail", "options"),
    [(b"\0" * 4096, ()), (b"*3\r\n$3\r\nSET\r\n", ("--aof-load-truncated", "no"))],
    ids=["zeros, as after a power cut", "half a command, and no truncating"],
)
async def test_a_file_that_redis_refuses_is_a_503_until_it_is_mended(
    tail: bytes,
    options: tuple[str, ...],
    own_valkey: Own,
    sandbox: Sandbox,
    ring: str,
    tmp_path: Path,
) -> None:
    """X04: nothing is accepted meanwhile, and afterwards nothing twice."""
    server, directory = own_valkey("primary", *options), tmp_path / "primary"
    async with without_memory(server.url, sandbox, ring) as service:
        spent, open_ = await service.request(to=number(1)), await service.request()
        used, code = service.code(number(1)), service.code()
        assert (await service.verify(spent, used)).status_code == 200
        kept = written(server, directory)
        server.kill()
        file = append_only_file(directory)
        with file.open("r+b") as spoilt:
            spoilt.seek(kept)
            spoilt.write(tail)
        with pytest.raises(TimeoutError):
            own_valkey("primary", *options, port=server.port, password=server.password)
        are_unavailable([await service.verify(open_, code), await service.verify(spent, used)])
        assert not await is_ready(service)

        with file.open("r+b") as mended:  # as `valkey-check-aof --fix` does
            mended.truncate(kept)
        own_valkey("primary", *options, port=server.port, password=server.password)
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        assert count([await service.verify(spent, used)]) == {"challenge_used": 1}
        assert (await service.verify(open_, code)).status_code == 200


# --- Its disk is full ------------------------------------------------------------------------------------------------


def fill_the_append_only_file(client: redis.Redis, directory: Path) -> None:
    """The next file that it appends to is one of a full disk."""
    now = append_only_file(directory)
    name = now.name.split(".")
    name[2] = str(int(name[2]) + 1)
    now.with_name(".".join(name)).symlink_to("/dev/full")
    client.bgrewriteaof()


def fill_the_snapshot(client: redis.Redis, directory: Path) -> None:
    """A snapshot can't be written where a directory is."""
    (directory / "dump.rdb").mkdir()
    client.config_set("save", "1 1")
    client.bgsave()


async def empty_the_append_only_file(client: redis.Redis, directory: Path) -> None:
    def rewrites() -> bool:
        with suppress(redis.ResponseError):  # it still tries the one before
            return bool(client.bgrewriteaof())
        return False

    await eventually(rewrites, "a new file")


async def empty_the_snapshot(client: redis.Redis, directory: Path) -> None:
    (directory / "dump.rdb").rmdir()
    client.bgsave()


@pytest.mark.parametrize(
    ("fill", "empty"),
    [
        (fill_the_append_only_file, empty_the_append_only_file),
        (fill_the_snapshot, empty_the_snapshot),
    ],
    ids=["the append-only file", "the snapshot"],
)
async def test_a_redis_whose_disk_is_full_counts_nothing_so_nothing_is_verified_or_sent(
    fill: Any, empty: Any, own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X05, MISCONF."""
    server, directory = own_valkey(), tmp_path / "primary"
    async with without_memory(server.url, sandbox, ring) as service:
        challenge = await service.request()
        code = service.code()
        service.advance(31)
        with redis.Redis.from_url(server.url) as client:
            fill(client, directory)
            await eventually(lambda: refuses_writes(client), "MISCONF", seconds=30)
            body = {"challenge_id": challenge["challenge_id"]}
            are_unavailable(
                [
                    await service.verify(challenge, code),
                    await service.verify(challenge, service.wrong_code()),
                    await service.post("/otp/request", to=number(1), purpose="login"),
                    await service.post("/otp/resend", **body),
                    await service.post("/otp/cancel", **body),
                ]
            )
            assert not await is_ready(service)
            assert (await service.http.get("/healthz")).status_code == 200

            await empty(client, directory)
            await eventually(lambda: not refuses_writes(client), "writes again", seconds=30)
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        assert (await service.look(challenge))["attempts_remaining"] == 5
        assert (await service.verify(challenge, code)).status_code == 200
    assert [len(sandbox.messages(to)) for to in (TO, number(1))] == [1, 0]


def refuses_writes(client: redis.Redis) -> bool:
    """Whether it is MISCONF, and nothing else, that they meet."""
    try:
        client.set("otp:{00}:probe", 1, px=1000)
    except redis.ResponseError as error:
        if str(error).startswith("MISCONF"):
            return True
        raise
    return False


# --- It kept nothing -------------------------------------------------------------------------------------------------


async def test_a_primary_that_keeps_no_file_is_refused_at_the_start(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X12: it would come back empty, and empty its replicas."""
    server = own_valkey("primary", "--appendonly", "no")
    production = {
        "OTP_ENVIRONMENT": "production",
        "OTP_REGIONS": "US",
        "OTP_REDIS_ALLOW_ADMIN": "true",  # so that it is refused for nothing else
    }
    with pytest.raises(SettingsError, match="keeps no append-only file"):
        async with without_memory(server.url, sandbox, ring, **production):
            pass


async def test_where_it_is_allowed_all_old_ids_are_refused_once_it_came_back_empty(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X12, forced: primary and replica have forgotten all, codes that were spent and codes that were not."""
    primary, replica = await pair(own_valkey, "--appendonly", "no")
    async with without_memory(
        primary.url, sandbox, ring, OTP_ALLOW_NO_PERSISTENCE="true"
    ) as service:
        spent, open_ = await service.request(to=number(1)), await service.request()
        codes = {number(1): service.code(number(1)), TO: service.code()}
        assert (await service.verify(spent, codes[number(1)])).status_code == 200

        assert not is_empty(replica)
        primary.kill()
        again = own_valkey(
            "primary", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
            port=primary.port, password=primary.password,
        )  # fmt: skip
        await eventually(lambda: is_empty(replica), "the replica is emptied", seconds=60)
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        service.http.headers.update(await service.caller("shop"))
        await eventually(lambda: is_not_found(service, open_), "the new credential", seconds=30)

        for challenge, to in ((spent, number(1)), (open_, TO)):
            refused = await service.verify(challenge, codes[to])
            assert (refused.status_code, refused.json()["code"]) == (404, "challenge_not_found")
        assert again.process.poll() is None


def is_empty(server: Valkey) -> bool:
    with redis.Redis.from_url(server.url) as client:
        return not list(client.scan_iter("otp:*:challenge:*", count=1000))


async def is_not_found(service: Service, challenge: dict[str, Any]) -> bool:
    answer = await service.http.get(f"/otp/{challenge['challenge_id']}")
    return answer.status_code == 404
