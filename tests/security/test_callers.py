"""Who calls is known by a credential, and by nothing else; what a credential may not do, it can't."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as SyncRedis
from typer.testing import CliRunner, Result

from otp_service.cli import app, valkey
from otp_service.connections import open_redis
from otp_service.core import credentials
from otp_service.core.credentials import SCOPES
from otp_service.core.keyring import Kind
from otp_service.core.policy import Policy
from otp_service.errors import Unauthorized, Unavailable
from otp_service.services.authentication import Authentication
from otp_service.services.known_callers import MEMORY_SECONDS, KnownCallers
from otp_service.settings.environment import load
from otp_service.store.callers import CallerRecord, Callers
from otp_service.store.connection import Timeouts, connect
from otp_service.web.models import EXAMPLE_ID
from otp_service.web.routes import OPERATIONS
from tests.conftest import Service
from tests.web.hands import redis

CREDENTIAL = "otp_shop_0123abcd_" + "A" * 43


def concrete(path: str) -> str:
    return re.sub(r"\{[^}]+\}", EXAMPLE_ID, path)


# Credentials that are none


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic c2hvcDpwYXNzd29yZA==",
        f"Basic {CREDENTIAL}",
        CREDENTIAL,
        f"Bearer {CREDENTIAL}",
        f"Bearer {CREDENTIAL}x",
        f"Bearer {CREDENTIAL[:-1]}",
        f"Bearer {CREDENTIAL} {CREDENTIAL}",
        f"Bearer {CREDENTIAL.upper()}",
        "Bearer otp_../../etc_0123abcd_" + "A" * 43,
        "Bearer otp_*_0123abcd_" + "A" * 43,
        "Bearer otp_" + "a" * 33 + "_0123abcd_" + "A" * 43,
        "Bearer " + "\xe9" * 60,
        "Bearer " + "A" * 10_000,
    ],
)
async def test_no_call_goes_without_a_credential_or_with_one_that_is_none(
    quiet: Service, header: str | None
) -> None:
    """F01, N-081: every row of the table; an error code only where a credential came (RFC 6750 section 3.1)."""
    del quiet.http.headers["authorization"]
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    for operation in OPERATIONS:
        answer = await quiet.http.request(
            operation.method, concrete(operation.path), headers=headers, json={}
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), operation.path
        realm = 'Bearer realm="otp_service"'
        wanted = realm if header is None else f'{realm}, error="invalid_token"'
        assert answer.headers["www-authenticate"] == wanted
        if header and len(header) > 20:
            assert header[-20:] not in answer.text


async def test_every_operation_of_the_table_asks_for_a_scope() -> None:
    """F01: there is no row that a credential is not asked for; what is open has routes of its own."""
    assert all(operation.scope in SCOPES for operation in OPERATIONS)


async def test_two_credentials_at_once_are_none(quiet: Service) -> None:
    """Which of them counts would be up to every reader on the way."""
    own = quiet.http.headers["authorization"]
    del quiet.http.headers["authorization"]
    sent = [("Authorization", own), ("Authorization", own)]
    answer = await quiet.http.get(f"/otp/{EXAMPLE_ID}", headers=sent)

    assert answer.status_code == 401


async def test_a_credential_elsewhere_than_in_the_header_is_none(quiet: Service) -> None:
    """F13, N-066: in the query, where logs have it, it is a mistake to be told of, never repeated."""
    own = quiet.http.headers["authorization"].removeprefix("Bearer ")
    del quiet.http.headers["authorization"]
    in_query = await quiet.http.get(f"/otp/{EXAMPLE_ID}?access_token={own}")
    in_body = await quiet.post("/otp/cancel", access_token=own, challenge_id=EXAMPLE_ID)
    in_cookie = await quiet.http.get(f"/otp/{EXAMPLE_ID}", headers={"Cookie": f"token={own}"})

    assert (in_query.status_code, in_query.json()["code"]) == (400, "bad_request")
    assert {a.status_code for a in (in_body, in_cookie)} == {401}
    beside = await quiet.http.get(
        f"/otp/{EXAMPLE_ID}?access_token={own}", headers={"Authorization": f"Bearer {own}"}
    )
    assert beside.status_code == 400
    assert all(own not in a.text for a in (in_query, in_body, in_cookie, beside))


async def test_a_caller_is_who_its_credential_says(quiet: Service) -> None:
    """F04: no header and no field makes it another."""
    other = await quiet.caller("other")
    asked = await quiet.post(
        "/otp/request",
        headers={**other, "X-Tenant": "shop", "X-Caller": "shop", "From": "shop"},
        to="+14155550123",
        purpose="login",
    )
    mine = await quiet.http.get(asked.headers["location"])

    assert mine.status_code == 404
    assert (await quiet.http.get(asked.headers["location"], headers=other)).status_code == 200


# Scopes


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_a_call_goes_with_its_own_scope_and_with_no_other(
    quiet: Service, operation: Any
) -> None:
    """F03: the whole matrix; refused before the body is looked at."""
    for scope in SCOPES:
        answer = await quiet.http.request(
            operation.method,
            concrete(operation.path),
            headers={
                **await quiet.caller("tester-" + scope.replace(":", "-"), scope),
                "Content-Type": "application/json",
            },
            content=b"[" if operation.request else b"",
        )
        if scope in operation.scopes:
            assert answer.status_code not in (401, 403)
            continue
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        challenge = answer.headers["www-authenticate"]
        assert f'error="insufficient_scope", scope="{operation.scope}"' in challenge


async def test_all_other_scopes_together_do_not_make_up_for_the_one(quiet: Service) -> None:
    for n, operation in enumerate(OPERATIONS):
        headers = await quiet.caller(f"almost-{n}", *(set(SCOPES) - {*operation.scopes}))
        answer = await quiet.http.request(
            operation.method, concrete(operation.path), headers=headers
        )
        assert answer.status_code == 403


# In Redis


async def test_only_keyed_digests_of_credentials_are_stored(quiet: Service) -> None:
    """N-042, E11: who reads Redis can call nothing; who writes to it can forge nothing without the key."""
    own = quiet.http.headers["authorization"].removeprefix("Bearer ")
    stored = json.loads(await redis(quiet).get("otp:caller:shop"))
    secret = own.split("_", 3)[3]

    assert secret not in json.dumps(stored)
    (entry,) = stored["credentials"]
    assert set(entry) == {"id", "kid", "digest", "created_at", "expires_at"}
    key = quiet.settings.ring().active(Kind.CREDENTIAL)
    assert entry["digest"] == key.mac("credential/v1", own).hex()


async def test_a_record_written_without_the_key_opens_nothing(quiet: Service) -> None:
    """F02's neighbour: an unkeyed digest, an unknown key id or another's digest is no way in."""
    own = quiet.http.headers["authorization"].removeprefix("Bearer ")
    stored = json.loads(await redis(quiet).get("otp:caller:shop"))
    forged = "otp_evil_" + own.split("_", 2)[2]
    await redis(quiet).set("otp:caller:evil", json.dumps(stored))

    answer = await quiet.http.get(
        f"/otp/{EXAMPLE_ID}", headers={"Authorization": f"Bearer {forged}"}
    )
    assert answer.status_code == 401


# Time


class Clocks:
    """A clock and a steady clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def pass_(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def callers(environment: dict[str, str]) -> Any:
    connection = open_redis(load(environment))
    yield Callers(connection)
    await connection.aclose()


async def refused(authentication: Authentication, text: str) -> bool:
    try:
        await authentication.authenticate(text)
    except Unauthorized:
        return True
    return False


async def test_a_revoked_credential_is_refused_within_five_seconds(
    environment: dict[str, str], callers: Callers
) -> None:
    """F14: also by a process that has just used it; a new one works at once."""
    ring, clock = load(environment).ring(), Clocks()
    old, stored = credentials.issue(ring, "shop", now=0, expires_in=None)
    authentication = Authentication(
        KnownCallers(callers, Policy(), steady=clock), lambda: ring, clock=clock
    )
    await callers.replace(CallerRecord("shop", frozenset(SCOPES), 0, (stored,)))
    assert not await refused(authentication, old)

    new, fresh = credentials.issue(ring, "shop", now=0, expires_in=None)
    await callers.replace(CallerRecord("shop", frozenset(), 0, (fresh,)))
    clock.pass_(MEMORY_SECONDS - 0.01)
    assert not await refused(authentication, old)
    assert not await refused(authentication, new)
    assert await refused(authentication, old)
    await callers.remove("shop")
    clock.pass_(MEMORY_SECONDS)
    assert MEMORY_SECONDS <= 5
    assert await refused(authentication, new)


async def test_a_credential_is_refused_from_the_second_it_expires(
    environment: dict[str, str], callers: Callers
) -> None:
    ring, clock = load(environment).ring(), Clocks()
    text, stored = credentials.issue(ring, "shop", now=int(clock()), expires_in=60)
    await callers.replace(CallerRecord("shop", frozenset(SCOPES), 0, (stored,)))
    authentication = Authentication(
        KnownCallers(callers, Policy(), steady=lambda: 0.0), lambda: ring, clock=clock
    )

    clock.pass_(59)
    assert not await refused(authentication, text)
    clock.pass_(1)
    assert await refused(authentication, text)


async def test_unknown_names_do_not_fill_the_memory_or_hide_a_new_caller(
    environment: dict[str, str], callers: Callers
) -> None:
    """I07's neighbour: a caller that is created works though it was just asked for in vain."""
    ring, clock = load(environment).ring(), Clocks()
    authentication = Authentication(
        KnownCallers(callers, Policy(), steady=clock), lambda: ring, clock=clock
    )
    text, stored = credentials.issue(ring, "late", now=0, expires_in=None)
    assert await refused(authentication, text)
    await callers.replace(CallerRecord("late", frozenset(SCOPES), 0, (stored,)))
    clock.pass_(1)

    assert not await refused(authentication, text)


async def test_known_caller_outlives_an_outage_for_a_minute(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """X15: not longer, and an unknown credential is no 401 while nobody can look it up."""
    server = valkey.start(tmp_path)
    ring, clock = load(environment).ring(), Clocks()
    connection = connect(server.url, name="outage", connections=4, timeouts=Timeouts(command=1))
    callers = Callers(connection)
    authentication = Authentication(
        KnownCallers(callers, Policy(), steady=clock), lambda: ring, clock=clock
    )
    known, stored = credentials.issue(ring, "shop", now=0, expires_in=None)
    unknown, _ = credentials.issue(ring, "shop", now=0, expires_in=None)
    await callers.replace(CallerRecord("shop", frozenset(SCOPES), 0, (stored,)))
    assert not await refused(authentication, known)
    server.kill()
    for seconds in (6, 30, 23):
        clock.pass_(seconds)
        assert not await refused(authentication, known)
        with pytest.raises(Unavailable):
            await authentication.authenticate(unknown)
    clock.pass_(1)
    with pytest.raises(Unavailable):
        await authentication.authenticate(known)
    await connection.aclose()


# The command line


class Shell:
    """`otp-service` with these settings, in this process."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["callers", *arguments], env=self._environment)

    def credential(self, *arguments: str) -> str:
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return str(result.stdout.strip())


@pytest.fixture
def shell(environment: dict[str, str]) -> Shell:
    return Shell({**environment, "COLUMNS": "200"})


def status(environment: dict[str, str], text: str) -> str:
    """What the service would say to this credential now."""

    async def ask() -> str:
        ring = load(environment).ring()
        connection = open_redis(load(environment))
        try:
            found = Authentication(KnownCallers(Callers(connection), Policy()), lambda: ring)
            caller = await found.authenticate(text)
        except Unauthorized:
            return "refused"
        finally:
            await connection.aclose()
        return f"{caller.name}: {' '.join(sorted(caller.scopes))}"

    return asyncio.run(ask())


def test_a_caller_is_created_rotated_listed_and_revoked(
    shell: Shell, environment: dict[str, str]
) -> None:
    """N-048, D-11: two live at a time, so that a credential is changed without a gap."""
    first = shell.credential("create", "web", "--scope", "otp:request", "--scope", "otp:verify")
    assert status(environment, first) == "web: otp:request otp:verify"

    second = shell.credential("rotate", "web", "--expires-in", "90d")
    assert status(environment, first) == status(environment, second)
    third = shell("rotate", "web")
    assert third.exit_code == 1
    assert "2 live credentials" in third.output
    assert first.split("_")[2] in third.output

    listed = shell("list").output
    for text in (first, second):
        assert text.split("_")[2] in listed
        assert text.split("_", 3)[3] not in listed
    assert {"otp:request", "otp:verify"} <= set(listed.split())
    assert "never" in listed

    assert shell("revoke", "web", "--credential", first.split("_")[2]).exit_code == 0
    assert status(environment, first) == "refused"
    assert status(environment, second) == "web: otp:request otp:verify"
    assert shell("revoke", "web").exit_code == 0
    assert status(environment, second) == "refused"
    assert "web" not in shell("list").output


def test_callers_list_breaks_no_scope_at_80_columns(environment: dict[str, str]) -> None:
    narrow = Shell({**environment, "COLUMNS": "80"})
    narrow.credential("create", "shop", *(f"--scope={scope}" for scope in SCOPES))
    assert narrow("rotate", "shop", "--expires-in", "90d").exit_code == 0

    assert set(SCOPES) <= set(narrow("list").output.split())


def test_a_credential_that_has_expired_makes_room_for_another(
    shell: Shell, environment: dict[str, str], valkey_url: str
) -> None:
    shell.credential("create", "web", "--scope", "otp:request", "--expires-in", "30m")
    shell.credential("rotate", "web")
    with SyncRedis.from_url(valkey_url) as client:
        record = json.loads(client.get("otp:caller:web"))  # type: ignore[arg-type]
        assert 1200 <= record["credentials"][0]["expires_at"] - int(time.time()) <= 1800
        record["credentials"][0]["expires_at"] = int(time.time())
        client.set("otp:caller:web", json.dumps(record))

    assert shell("rotate", "web").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "Web", "--scope", "otp:request"), "NAME"),
        (("create", "web_1", "--scope", "otp:request"), "NAME"),
        (("create", "-", "--scope", "otp:request"), "NAME"),
        (("create", "a" * 33, "--scope", "otp:request"), "NAME"),
        (("create", "web", "--scope", "otp:*"), "--scope otp:*"),
        (("create", "web", "--scope", "admin"), "--scope admin"),
        (("create", "web", "--scope", "otp:request", "--expires-in", "90"), "--expires-in"),
        (("create", "web", "--scope", "otp:request", "--expires-in", "0d"), "--expires-in"),
        (("create", "web", "--scope", "otp:request", "--expires-in", "-1d"), "--expires-in"),
        (("create", "taken", "--scope", "otp:request"), "already"),
        (("rotate", "nobody"), "no caller"),
        (("revoke", "nobody"), "no caller"),
        (("revoke", "taken", "--credential", "ffffffff"), "--credential"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    shell: Shell, arguments: tuple[str, ...], said: str
) -> None:
    taken = shell.credential("create", "taken", "--scope", "otp:verify")
    before = shell("list").output

    result = shell(*arguments)

    assert result.exit_code == 1
    assert said in result.output
    assert shell("list").output == before
    assert taken not in before


def test_a_caller_gets_scopes_and_loses_them_with_the_credential_that_it_has(
    shell: Shell, environment: dict[str, str]
) -> None:
    credential = shell.credential("create", "web", "--scope", "otp:request")

    assert shell("scopes", "web", "--add", "otp:verify").stdout == "web: otp:request, otp:verify\n"
    assert status(environment, credential) == "web: otp:request otp:verify"
    assert shell("scopes", "web", "--remove", "otp:request").exit_code == 0
    assert status(environment, credential) == "web: otp:verify"

    for arguments, said in (
        (("--add", "otp:everything"), "--add otp:everything"),
        (("--remove", "otp:verify"), "nothing would be left"),
    ):
        refused = shell("scopes", "web", *arguments)
        assert (refused.exit_code, said in refused.output) == (1, True), refused.output
    assert status(environment, credential) == "web: otp:verify"


def test_a_caller_without_a_scope_is_not_created(shell: Shell) -> None:
    assert shell("create", "web").exit_code == 2
    assert shell("list").exit_code == 0


def test_the_command_itself_prints_the_credential_and_nothing_else(
    environment: dict[str, str],
) -> None:
    """So that a script can put it into a file; from another process, as operators run it."""
    done = subprocess.run(
        [sys.executable, "-m", "otp_service", "callers", "create", "web", "--scope", "otp:verify"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )

    assert credentials.Presented.parse(done.stdout.strip()) is not None
    assert done.stderr == ""
    assert status(environment, done.stdout.strip()) == "web: otp:verify"


def test_redis_away_is_said_without_its_password(environment: dict[str, str]) -> None:
    away = {**environment, "OTP_REDIS_URL": "redis://:pass-word-1@127.0.0.1:1/0"}

    result = Shell(away)("list")

    assert result.exit_code == 1
    assert "OTP_REDIS_URL" in result.output
    assert "pass-word-1" not in result.output


# Identities


SHA = "AB:" * 31 + "AB"


def test_a_caller_by_token_or_certificate_gets_no_credential(shell: Shell) -> None:
    done = shell("create", "web", "--scope", "otp:request", "--jwt-subject", "svc-shop")
    assert (done.exit_code, done.stdout) == (0, "web is created\n")
    assert shell("identify", "web", "--certificate-sha256", SHA).exit_code == 0
    assert shell("identify", "web", "--certificate-san", "Shop.Internal").exit_code == 0

    shown = shell("show", "web").output
    assert "jwt-subject svc-shop" in shown
    assert f"certificate-sha256 {'ab' * 32}" in shown
    assert "certificate-san shop.internal" in shown
    assert "credential" not in shown
    assert credentials.Presented.parse(shell("rotate", "web").stdout.strip()) is not None

    assert shell("identify", "web", "--jwt-subject", "svc-shop", "--remove").exit_code == 0
    assert "svc-shop" not in shell("show", "web").output


def test_an_identity_is_one_callers_until_it_is_given_up(shell: Shell, valkey_url: str) -> None:
    shell("create", "web", "--scope", "otp:request", "--jwt-subject", "svc-shop")
    taken = shell("create", "other", "--scope", "otp:request", "--jwt-subject", "svc-shop")
    assert (taken.exit_code, "is web's" in taken.output) == (1, True)
    assert shell("show", "other").exit_code == 1

    assert shell("identify", "web", "--jwt-subject", "svc-shop", "--remove").exit_code == 0
    done = shell("create", "other", "--scope", "otp:request", "--jwt-subject", "svc-shop")
    assert done.exit_code == 0

    assert shell("revoke", "other").exit_code == 0
    with SyncRedis.from_url(valkey_url) as client:
        assert list(client.scan_iter(match="otp:identity:*")) == []
        # A lead that somebody left behind holds nobody up.
        shell("identify", "web", "--jwt-subject", "svc-shop")
        (lead,) = client.scan_iter(match="otp:identity:*")
        client.set(lead, "gone")
    done = shell("create", "third", "--scope", "otp:request", "--jwt-subject", "svc-shop")
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("identify", "web"), "name a --jwt-subject"),
        (("identify", "nobody", "--jwt-subject", "x"), "no caller"),
        (("identify", "web", "--jwt-subject", ""), "--jwt-subject"),
        (("identify", "web", "--jwt-subject", "a" * 256), "--jwt-subject"),
        (("identify", "web", "--jwt-subject", "a\nb"), "--jwt-subject"),
        (("identify", "web", "--certificate-sha256", "abc"), "64 hex digits"),
        (("identify", "web", "--certificate-san", "*.shop.internal"), "--certificate-san"),
        (("identify", "web", "--certificate-san", ""), "--certificate-san"),
        (("identify", "web", "--certificate-san", "spiffe://é"), "--certificate-san"),
        (("identify", "web", "--jwt-subject", "x", "--remove"), "web has no jwt-subject x"),
        (
            ("identify", "web", *(a for n in range(9) for a in ("--jwt-subject", f"s{n}"))),
            "at most 8",
        ),
    ],
)
def test_what_can_be_no_identity_is_refused(
    shell: Shell, arguments: tuple[str, ...], said: str
) -> None:
    shell.credential("create", "web", "--scope", "otp:request")
    before = shell("show", "web").output

    result = shell(*arguments)

    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert shell("show", "web").output == before


async def test_of_two_changes_at_once_one_is_refused(callers: Callers) -> None:
    """A rotation that began before a revocation must not bring the revoked credential back."""
    old = credentials.StoredCredential("00000001", "k", "0" * 64, 0, None)
    await callers.create(CallerRecord("web", frozenset(SCOPES), 0, (old,)))
    one, two = await callers.find("web"), await callers.find("web")
    assert one is not None
    assert two is not None

    assert await callers.change(replace(one, credentials=()))
    assert not await callers.change(replace(two, scopes=frozenset({"otp:verify"})))
    after = await callers.find("web")
    assert after is not None
    assert (after.credentials, after.scopes) == ((), frozenset(SCOPES))

    await callers.remove("web")
    assert not await callers.change(after)
    assert await callers.find("web") is None
