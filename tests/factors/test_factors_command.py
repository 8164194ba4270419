"""`otp-service factors`: people come with their authenticators, and go with them."""

import json
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyotp
import pytest
import redis
from anyio import to_thread
from click.testing import Result
from typer.testing import CliRunner

from otp_service.cli.factors import app
from otp_service.cli.store import app as store
from otp_service.core import keyring
from otp_service.store import keys
from tests.conftest import Service, Starter
from tests.factors.test_totp import USER, confirmed, enroll, now, verify

Run = Callable[..., Awaitable[Result]]
SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def runner(environment: dict[str, str]) -> Run:
    async def invoke(*arguments: str) -> Result:
        env: dict[str, str | None] = {**environment, "COLUMNS": "200"}
        return await to_thread.run_sync(partial(CliRunner().invoke, app, list(arguments), env=env))

    return invoke


@pytest.fixture
def run(environment: dict[str, str], service: Service) -> Run:
    return runner(environment)


def audited(environment: dict[str, str]) -> list[tuple[str, str, dict[str, str]]]:
    """What the audit log says: act, caller, details."""
    with redis.Redis.from_url(environment["OTP_REDIS_URL"], decode_responses=True) as client:
        found: Any = client.xrange(keys.AUDIT)
    entries = [entry for _, entry in found]
    return [(e["act"], e["caller"], json.loads(e["details"])) for e in entries]


async def test_an_imported_authenticator_works_at_once_and_its_used_code_does_not(
    service: Service, run: Run, tmp_path: Path
) -> None:
    """B22: what the former service has accepted a moment ago is not accepted here."""
    file = tmp_path / "seeds.csv"
    file.write_text(f"subject,secret,name\n{USER},{SEED},Old phone\n")
    theirs = pyotp.TOTP(SEED)

    done = await run("import", str(file), "--caller", "shop")

    assert (done.exit_code, done.stdout) == (0, "1 brought, 0 known before, 0 refused\n")
    assert (await verify(service, theirs.at(await now(service)))).status_code == 400
    service.advance(60)
    assert (await verify(service, theirs.at(await now(service)))).status_code == 200
    [listed] = (await service.http.get("/factors", params={"subject": USER})).json()["factors"]
    assert (listed["name"], listed["status"]) == ("Old phone", "confirmed")


async def test_run_again_it_brings_what_is_missing(
    service: Service, run: Run, tmp_path: Path
) -> None:
    """A last accepted step is not forgotten by it."""
    file = tmp_path / "seeds.jsonl"
    rows = [{"subject": f"user-{i}", "secret": SEED} for i in range(3)]
    file.write_text("\n".join(map(json.dumps, rows[:2])))
    await run("import", str(file), "--caller", "shop")
    service.advance(60)
    code = pyotp.TOTP(SEED).at(await now(service))
    assert (await verify(service, code, "user-0")).status_code == 200
    file.write_text("\n".join(map(json.dumps, [*rows, {**rows[0], "secret": SEED.lower()}])))

    again = await run("import", str(file), "--caller", "shop")

    assert again.stdout == "1 brought, 3 known before, 0 refused\n"
    assert (await verify(service, code, "user-0")).status_code == 400
    listed = (await service.http.get("/factors", params={"subject": "user-0"})).json()["factors"]
    assert len(listed) == 1


async def test_refused_rows_are_told_by_number_and_reason_and_the_rest_comes(
    service: Service, run: Run, tmp_path: Path, valkey_url: str
) -> None:
    file = tmp_path / "seeds.txt"
    file.write_text(
        f"otpauth://totp/x:ann?secret={SEED}\n"
        f"otpauth://hotp/x:bob?secret={SEED}&counter=1\n"
        f"otpauth://totp/x:carl?secret={SEED}&encoder=steam\n"
        "otpauth://totp/x:dora?secret=GEZDGNBVGY3TQOJQGEZDGNA\n"
    )

    done = await run("import", str(file), "--caller", "shop")

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "row 2: uri is HOTP, which counts presses: only TOTP",
        "row 3: uri is of Steam, whose codes are no digits",
        "row 4: uri.secret has fewer than 128 bits",
        "1 brought, 0 known before, 3 refused",
    ]
    with redis.Redis.from_url(valkey_url) as client:
        kept = b" ".join(client.dump(key) or b"" for key in client.scan_iter())
    assert SEED.encode() not in kept
    assert SEED not in done.output


async def test_a_dry_run_writes_nothing(service: Service, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "seeds.csv"
    file.write_text(f"subject,secret\n{USER},{SEED}\nbob,x\n")

    done = await run("import", str(file), "--caller", "shop", "--dry-run")

    assert done.stdout.splitlines()[-1] == "1 good, nothing written, 1 refused"
    found = (await service.http.get("/factors", params={"subject": USER})).json()
    assert found["factors"] == []


async def test_a_subject_with_ten_has_no_room(service: Service, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "seeds.csv"
    seeds = [pyotp.random_base32() for _ in range(11)]
    file.write_text("subject,secret\n" + "".join(f"{USER},{seed}\n" for seed in seeds))

    done = await run("import", str(file), "--caller", "shop")

    assert "subject has as many authenticators as it may" in done.stdout
    assert done.stdout.splitlines()[-1] == "10 brought, 0 known before, 1 refused"


async def test_a_caller_that_is_none_and_a_file_that_is_none_are_refused(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "seeds.csv"
    file.write_text(f"subject,secret\nann,{SEED}\n")

    assert (
        "there is no caller shoop" in (await run("import", str(file), "--caller", "shoop")).stderr
    )
    missing = await run("import", str(tmp_path / "none.csv"), "--caller", "shop")
    assert "can't be read" in missing.stderr


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "otpauth"])
async def test_what_is_exported_comes_alive_in_another_service(
    environment: dict[str, str], start_service: Starter, tmp_path: Path, format: str
) -> None:
    """Another Redis database, another key ring, another caller: the person notices nothing."""
    old = await start_service()
    _, app_one = await confirmed(old)
    enrolled, app_two = await enroll(old, "user-2", algorithm="SHA512", digits=8)
    path = f"/factors/totp/{enrolled['factor_id']}/confirm"
    assert (await old.post(path, code=app_two.at(await now(old)))).status_code == 200
    await enroll(old, "pending")
    file = tmp_path / f"seeds.{format}"
    elsewhere = {
        "OTP_REDIS_URL": environment["OTP_REDIS_URL"].rpartition("/")[0] + "/1",
        "OTP_KEYRING": keyring.generate(created_at="2026-11-23T00:00:00Z"),
    }
    new = await start_service(**elsewhere)
    new.http.headers.update(await new.caller("store"))

    out = await runner(environment)(
        "export", "--caller", "shop", "--format", format, "--output", str(file),
        "--yes-export-secrets",
    )  # fmt: skip
    back = await runner({**environment, **elsewhere})("import", str(file), "--caller", "store")

    assert (out.exit_code, out.stderr.splitlines()[-1]) == (0, "2 written, 0 left behind")
    assert app_one.secret not in out.output
    assert audited(environment) == [("seeds.exported", "shop", {"count": "2"})]
    assert audited({**environment, **elsewhere}) == [("seeds.imported", "store", {"count": "2"})]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (back.exit_code, back.stdout) == (0, "2 brought, 0 known before, 0 refused\n")
    new.advance(60)
    moment = await now(new)
    assert (await verify(new, app_one.at(moment))).status_code == 200
    assert (await verify(new, app_two.at(moment), "user-2")).status_code == 200
    assert (await verify(new, app_two.at(moment), "pending")).status_code == 404


async def test_seeds_leave_only_for_who_means_it_and_never_for_a_terminal(
    service: Service, run: Run, tmp_path: Path
) -> None:
    _, app_one = await confirmed(service)
    stranger = await service.caller("stranger")
    assert stranger
    there = tmp_path / "there.csv"
    there.write_text("mine")

    unmeant = await run("export", "--caller", "shop", "--format", "csv")
    piped = await run("export", "--caller", "shop", "--format", "csv", "--yes-export-secrets")
    foreign = await run("export", "--caller", "stranger", "--format", "csv", "--yes-export-secrets")
    over = await run(
        "export", "--caller", "shop", "--format", "csv", "--yes-export-secrets",
        "--output", str(there),
    )  # fmt: skip

    assert unmeant.exit_code == 1
    assert app_one.secret not in unmeant.output
    assert app_one.secret in piped.stdout
    assert app_one.secret not in foreign.stdout
    assert (over.exit_code, there.read_text()) == (1, "mine")


async def test_an_authenticator_from_before_subjects_were_written_is_left_behind_by_name(
    service: Service, run: Run, valkey_url: str
) -> None:
    factor_id, _ = await confirmed(service)
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        [key] = client.scan_iter("otp:*:factors:*")
        record = json.loads(client.hget(key, factor_id) or "")
        del record["about"]
        client.hset(key, factor_id, json.dumps(record))

    out = await run("export", "--caller", "shop", "--format", "json", "--yes-export-secrets")

    assert out.exit_code == 1
    assert json.loads(out.stdout) == []
    assert f"left behind {factor_id}: whose it is was not written" in out.stderr


async def test_an_operator_removes_what_a_person_has_lost_whatever_proof_is_asked_for(
    start_service: Starter, environment: dict[str, str]
) -> None:
    service = await start_service(OTP_TOTP_ENROLLMENT_PROOF="true")
    _, app_one = await confirmed(service)

    done = await runner(environment)(
        "remove", "--caller", "shop", "--subject", USER, "--reason", "lost phone, ticket 4711"
    )

    assert done.stdout.splitlines()[-1] == "1 removed"
    assert (await verify(service, app_one.at(await now(service)))).status_code == 404
    await enroll(service)


async def test_emptied_store_refuses_export_and_removal(
    service: Service, run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    """X42: else a nightly export replaces the last good file by an empty one. An import is part of the recovery."""
    await confirmed(service)
    with redis.Redis.from_url(environment["OTP_REDIS_URL"]) as client:
        client.flushall()
    await service.container.history.tick()
    await service.caller("shop")
    export = ("export", "--caller", "shop", "--format", "json", "--yes-export-secrets")
    removal = ("remove", "--caller", "shop", "--subject", USER, "--reason", "T-1")
    for arguments in (export, removal):
        refused = await run(*arguments)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "otp-service store accept-empty" in refused.stderr
    assert audited(environment) == []

    file = tmp_path / "seeds.csv"
    file.write_text(f"subject,secret\n{USER},{SEED}\n")
    assert (await run("import", str(file), "--caller", "shop")).exit_code == 0
    accepted = await to_thread.run_sync(
        partial(CliRunner().invoke, store, ["accept-empty", "--reason", "T-2"], env=environment)
    )
    assert accepted.exit_code == 0
    assert SEED in (await run(*export)).stdout
