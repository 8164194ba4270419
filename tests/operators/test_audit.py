"""Who did what is in a log that can be added to and read, and in which nothing is changed unseen."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from otp_service.cli.audit import operator
from otp_service.core.audit import Act, checked_reason
from otp_service.store import keys
from otp_service.store.audit import Audit
from tests.conftest import Service
from tests.operators.conftest import Run, audited


async def test_acts_of_operators_are_told_with_who_and_what_and_no_secret(run: Run) -> None:
    credential = (await run("callers", "create", "shop", "--scope", "otp:request")).stdout.strip()
    second = (await run("callers", "rotate", "shop")).stdout.strip()
    await run("callers", "revoke", "shop", "--credential", credential.split("_")[2])
    await run("callers", "revoke", "shop")

    told = await audited(run)

    assert [entry["act"] for entry in told] == [
        "caller.created",
        "caller.rotated",
        "caller.revoked",
        "caller.revoked",
    ]
    assert {entry["by"] for entry in told} == {operator()}
    assert {entry["caller"] for entry in told} == {"shop"}
    assert told[0]["details"] == {"scopes": "otp:request", "credential": credential.split("_")[2]}
    for secret in (credential, second):
        assert secret.split("_", 3)[3] not in json.dumps(told)
    assert [entry["number"] for entry in told] == [1, 2, 3, 4]


async def test_what_a_caller_is_known_by_and_held_to_is_told(run: Run) -> None:
    await run("callers", "create", "shop", "--scope", "otp:request", "--jwt-subject", "svc-shop")
    await run("callers", "identify", "shop", "--certificate-san", "Shop.Internal")
    await run("callers", "identify", "shop", "--jwt-subject", "svc-shop", "--remove")
    await run("callers", "policy", "shop", "--set", "digits=8", "--set", "brand=Shop")
    await run("callers", "policy", "shop", "--set", "digits=9", "--unset", "brand")
    await run("callers", "policy", "shop")
    await run("callers", "scopes", "shop", "--add", "otp:verify", "--remove", "otp:request")
    await run("callers", "scopes", "shop")
    await run("callers", "identify", "shop", "--jwt-subject", "another", "--remove")

    told = await audited(run)

    assert {entry["caller"] for entry in told} == {"shop"}
    assert [(entry["act"], entry["details"]) for entry in told] == [
        ("caller.created", {"scopes": "otp:request", "identities": "jwt-subject svc-shop"}),
        ("caller.identified", {"identities": "certificate-san shop.internal"}),
        ("caller.identity_removed", {"identities": "jwt-subject svc-shop"}),
        ("caller.policy_changed", {"set": "digits=8; brand=Shop"}),
        ("caller.policy_changed", {"set": "digits=9", "unset": "brand"}),
        ("caller.scopes_changed", {"scopes": "otp:verify"}),
    ]


async def test_what_another_caller_is_known_by_is_refused_before_anything_is_told(
    run: Run,
) -> None:
    await run("callers", "create", "shop", "--scope", "otp:request", "--jwt-subject", "svc-shop")
    await run("callers", "create", "desk", "--scope", "otp:request")
    before = await audited(run)

    for refused in (
        ("identify", "desk", "--jwt-subject", "svc-shop"),
        ("create", "other", "--scope", "otp:request", "--jwt-subject", "svc-shop"),
        ("create", "desk", "--scope", "otp:request"),
    ):
        assert (await run("callers", *refused)).exit_code == 1

    assert await audited(run) == before


async def test_acts_on_webhooks_and_keys_are_told(
    run: Run, ring: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTP_WEBHOOKS_ALLOW_PRIVATE", "true")
    await run("callers", "create", "shop", "--scope", "otp:request")
    url = "http://127.0.0.1:9/hook?key=its-own-secret"
    created = await run("webhooks", "create", "shop", url, "--event", "delivery.failed")
    endpoint = created.stdout.split()[0]
    await run("webhooks", "rotate", endpoint)
    await run("webhooks", "rotate", endpoint, "--retire")
    await run("webhooks", "enable", endpoint)
    await run("webhooks", "remove", endpoint)
    file = tmp_path / "ring.json"
    file.write_text(ring)
    kid = (await run("keys", "add", "pepper", "--file", str(file))).stdout.split()[0]
    await run("keys", "promote", kid, "--now", "--file", str(file))
    old = next(e["kid"] for e in json.loads(ring)["keys"] if e["kind"] == "pepper")
    await run("keys", "retire", old, "--force", "--file", str(file))

    told = await audited(run)

    assert [entry["act"] for entry in told[1:]] == [
        "webhook.created",
        "webhook.rotated",
        "webhook.retired",
        "webhook.enabled",
        "webhook.removed",
        "key.added",
        "key.promoted",
        "key.retired",
    ]
    assert told[1]["details"] == {"endpoint": endpoint, "events": "delivery.failed"}
    assert told[7]["details"] == {"key": kid, "kind": "pepper"}
    assert "its-own-secret" not in json.dumps(told)


async def test_without_the_settings_keys_are_changed_and_it_is_said_that_nothing_is_audited(
    run: Run, ring: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ring.json"
    file.write_text(ring)
    monkeypatch.delenv("OTP_REDIS_URL")

    added = await run("keys", "add", "pepper", "--file", str(file))

    assert added.exit_code == 0
    assert "not in the audit log" in added.stderr


async def test_a_ring_of_an_earlier_version_gets_its_missing_key_although_nothing_is_audited(
    run: Run, ring: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = json.dumps({"keys": [e for e in json.loads(ring)["keys"] if e["kind"] != "device"]})
    file = tmp_path / "ring.json"
    file.write_text(older)
    monkeypatch.setenv("OTP_KEYRING", older)

    added = await run("keys", "add", "device", "--file", str(file))

    assert added.exit_code == 0, added.output
    assert "not in the audit log" in added.stderr


async def test_what_cannot_be_audited_is_not_done(run: Run, valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        client.set(keys.AUDIT, "no stream")

        assert (await run("callers", "create", "shop", "--scope", "otp:request")).exit_code == 1

        assert client.exists(keys.caller("shop")) == 0


async def test_only_some_acts_and_only_the_newest_can_be_asked_for(run: Run) -> None:
    await run("callers", "create", "shop", "--scope", "otp:request")
    await run("callers", "rotate", "shop")

    assert [e["act"] for e in await audited(run, "--act", "caller.rotated")] == ["caller.rotated"]
    assert len(await audited(run, "--since", "1h")) == 2
    assert await audited(run, "--since", "2099-01-01T00:00Z") == []
    assert (await run("audit", "--since", "yesterday")).exit_code == 1
    assert "caller.rotated" in (await run("audit")).stdout


async def test_who_follows_the_log_hears_of_each_act_and_can_go_on_after_the_last(
    environment: dict[str, str], run: Run
) -> None:
    """As a SIEM's collector does, which is restarted now and then."""
    await run("callers", "create", "shop", "--scope", "otp:request")
    (first,) = await audited(run)
    arguments = ("audit", "--follow", "--json", "--since", first["id"])
    following = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "otp_service", *arguments,
        env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert following.stdout is not None
    try:
        await run("callers", "rotate", "shop")
        heard = [await asyncio.wait_for(following.stdout.readline(), 60)]
        await run("callers", "revoke", "shop")
        heard.append(await asyncio.wait_for(following.stdout.readline(), 60))
    finally:
        following.send_signal(signal.SIGINT)
        ended = await following.wait()

    assert [json.loads(line) for line in heard] == (await audited(run))[1:]
    assert [json.loads(line)["act"] for line in heard] == ["caller.rotated", "caller.revoked"]
    assert ended == 0


async def written(run: Run, times: int = 4) -> None:
    for number in range(times):
        await run("callers", "create", f"shop-{number}", "--scope", "otp:request")


async def test_a_log_that_nobody_touched_is_found_whole(run: Run) -> None:
    assert "empty" in (await run("audit", "verify")).stdout
    await written(run)

    checked = await run("audit", "verify")

    assert checked.exit_code == 0, checked.output
    assert "4 entries, numbers 1 to 4" in checked.stdout


@pytest.mark.parametrize("which", [0, 1, 3], ids=["oldest", "in the middle", "newest"])
async def test_an_entry_that_somebody_took_out_is_missed(
    run: Run, valkey_url: str, which: int
) -> None:
    await written(run)
    with redis.Redis.from_url(valkey_url) as client:
        client.xdel(keys.AUDIT, client.xrange(keys.AUDIT)[which][0])

    checked = await run("audit", "verify")

    assert checked.exit_code == 1
    assert ("gone" in checked.stderr) or ("does not follow" in checked.stderr)


@pytest.mark.parametrize("field", ["act", "by", "caller", "subject", "reason", "details"])
async def test_an_entry_that_somebody_changed_is_found(
    run: Run, valkey_url: str, field: str
) -> None:
    await written(run, 3)
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        entries = client.xrange(keys.AUDIT)
        client.delete(keys.AUDIT)
        for number, (entry_id, fields) in enumerate(entries):
            other = '{"scopes": "optin"}' if field == "details" else "another"
            changed = {**fields, field: other} if number == 1 else fields
            client.xadd(keys.AUDIT, changed, id=entry_id)

    checked = await run("audit", "verify")

    assert checked.exit_code == 1
    assert "number 2 was changed" in checked.stderr


@pytest.fixture
def least_powerful(valkey_url: str, root: Path) -> Iterator[str]:
    """The URL of the user of docker/users.acl.template."""
    lines = (root / "docker/users.acl.template").read_text().splitlines()
    rules = next(line for line in lines if line.startswith("user otp ")).split(" ", 2)[2]
    head, _, selector = rules.replace("#@SHA256_OF_THE_PASSWORD@", ">word").partition(" (")
    with redis.Redis.from_url(valkey_url) as client:
        client.execute_command("ACL", "SETUSER", "otp", "reset", *head.split(), f"({selector}")
        yield valkey_url.replace(valkey_url.split("//")[1].split("@")[0], "otp:word")
        client.execute_command("ACL", "DELUSER", "otp")


async def test_the_service_s_own_user_can_add_to_the_log_and_take_nothing_away(
    run: Run, least_powerful: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K18: who has the service's password of Redis still can't undo what was written."""
    monkeypatch.setenv("OTP_REDIS_URL", least_powerful)
    await written(run, 2)

    with redis.Redis.from_url(least_powerful, decode_responses=True) as client:
        newest = client.xrevrange(keys.AUDIT)[0][0]
        for command in (
            ("XDEL", keys.AUDIT, newest),
            ("XTRIM", keys.AUDIT, "MAXLEN", 0),
            ("DEL", keys.AUDIT),
            ("SET", keys.AUDIT, ""),
            ("PEXPIRE", keys.AUDIT, 1),
            ("RENAME", keys.AUDIT, "otp:x"),
            ("EVAL", "return redis.call('DEL', KEYS[1])", 1, keys.AUDIT),
        ):
            with pytest.raises(redis.ResponseError, match=r"[Nn]o permissions"):
                client.execute_command(*command)

    assert "2 entries" in (await run("audit", "verify")).stdout


async def test_acts_at_the_same_moment_make_one_chain(service: Service, run: Run) -> None:
    ring = service.settings.ring()
    log = Audit(service.container.scripts, lambda: ring, days=1)

    await asyncio.gather(*(log.record(Act.CALLER_CREATED, by="operator:a@b") for _ in range(20)))

    assert "20 entries, numbers 1 to 20" in (await run("audit", "verify")).stdout


async def test_retention_takes_old_entries_and_the_rest_is_still_found_whole(
    service: Service, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = service.settings.ring()
    log = Audit(service.container.scripts, lambda: ring, days=400)
    service.advance(-500 * 86_400)
    await service.container.history.tick()
    await log.record(Act.CALLER_CREATED, by="operator:a@b", caller="old")
    service.advance(500 * 86_400)

    await log.record(Act.CALLER_CREATED, by="operator:a@b", caller="new")

    assert [entry["caller"] for entry in await audited(run)] == ["new"]
    assert "numbers 2 to 2" in (await run("audit", "verify")).stdout
    monkeypatch.setenv("OTP_AUDIT_DAYS", "600")
    assert "too young" in (await run("audit", "verify")).stderr


def test_a_reason_names_no_number_and_no_person() -> None:
    """E: a reason is kept for years, so it holds a ticket and no person."""
    assert checked_reason(" ticket 4711, seen 2026-11-23 ") == "ticket 4711, seen 2026-11-23"
    for text in (
        "",
        "a\nb",
        "x" * 201,
        "called from +1 (415) 555-0123",
        "0170 1234567 8",
        "۰۹۱۲۳۴۵۶۷۸۹",
    ):
        with pytest.raises(ValueError, match="must"):
            checked_reason(text)
    with pytest.raises(ValueError, match="must not name"):
        checked_reason("Ann, User-17, called", not_naming="user-17")
