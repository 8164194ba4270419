"""The issuer's keys: fetched seldom, from one address, with bounds; the last good set holds, and then nothing does."""

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from otp_service.channels.key_set import KeySetSource
from otp_service.core.caller_tokens import TokenRefused, TokenRules
from otp_service.core.identities import Identity, IdentityKind
from otp_service.core.issuer_keys import MAX_BYTES
from otp_service.doctor.issuer import inspect_issuer
from otp_service.errors import Unavailable
from otp_service.services.caller_tokens import (
    KEPT_SECONDS,
    PAUSE_SECONDS,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    CallerTokens,
)
from otp_service.settings.environment import load
from tests.conftest import Starter
from tests.reliability.harness import eventually
from tests.security.conftest import Register
from tests.security.issuer import AUDIENCE, Issuer, ec_key


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """The checking of tokens alone, under a clock of its own."""

    def __init__(self, issuer: Issuer, *, deadline: float = 60.0) -> None:
        self.issuer = issuer
        self.clock = Clock()
        rules = TokenRules(
            issuer=issuer.url,
            audience=AUDIENCE,
            algorithms=frozenset({"ES256"}),
            claim="sub",
            max_life=3600,
        )
        source = KeySetSource(f"{issuer.url}/jwks", deadline=deadline)
        self.tokens = CallerTokens(rules, source.fetch, steady=self.clock)

    async def says(self, token: str) -> str:
        try:
            claims = await self.tokens.read(token)
        except TokenRefused as error:
            return error.reason
        except Unavailable:
            return "unavailable"
        return claims.subject

    async def good(self) -> str:
        return await self.says(self.issuer.token())

    @property
    def fetches(self) -> int:
        return len(self.issuer.paths)


@pytest.fixture
def desk(issuer: Issuer) -> Desk:
    return Desk(issuer)


async def test_a_thousand_unknown_keys_fetch_once_a_minute(desk: Desk, issuer: Issuer) -> None:
    """F12: one by one and all at once."""
    assert await desk.good() == "svc-shop"
    desk.clock.now += PAUSE_SECONDS
    stranger = ec_key("x")
    tokens = [issuer.token(key=stranger, header={"kid": f"kid-{n}"}) for n in range(1000)]

    assert set(await asyncio.gather(*map(desk.says, tokens))) == {"unknown_key"}
    assert desk.fetches == 2
    for token in tokens[:50]:
        desk.clock.now += 1
        assert await desk.says(token) == "unknown_key"
    assert desk.fetches == 2
    desk.clock.now += PAUSE_SECONDS - 50
    await desk.says(tokens[0])
    assert desk.fetches == 3


async def test_tokens_that_no_key_could_make_good_fetch_nothing(desk: Desk, issuer: Issuer) -> None:
    """F12: garbage, other issuers, other algorithms, other types."""
    for token in (
        "a.b.c",
        issuer.token(issuer.claims(iss="https://evil.example")),
        issuer.token(header={"typ": "otp-proof+jwt"}),
        issuer.token(header={"kid": None}),
        issuer.token(header={"crit": ["x"]}),
    ):
        assert await desk.says(token) != "svc-shop"
    assert desk.fetches == 0


async def test_a_new_key_is_known_when_its_first_token_comes(desk: Desk, issuer: Issuer) -> None:
    await desk.good()
    issuer.keys = [ec_key("two"), *issuer.keys]
    assert await desk.good() == "unknown_key"  # within the minute
    desk.clock.now += PAUSE_SECONDS

    assert await desk.good() == "svc-shop"


async def test_a_key_that_the_issuer_withdrew_is_forgotten_within_minutes(
    desk: Desk, issuer: Issuer
) -> None:
    """Refreshed beside the calls: the one that finds the set too old does not wait."""
    old = issuer.keys[0]
    await desk.good()
    issuer.keys = [ec_key("two")]
    desk.clock.now += REFRESH_SECONDS
    assert await desk.says(issuer.token(key=old)) == "svc-shop"

    async def forgotten() -> bool:
        return await desk.says(issuer.token(key=old)) == "unknown_key"

    await eventually(forgotten, "the key forgotten")
    assert desk.fetches == 2
    await desk.tokens.stop()


FAULTS: dict[str, Callable[[Issuer], None]] = {}


def fault(act: Callable[[Issuer], None]) -> Callable[[Issuer], None]:
    FAULTS[act.__name__] = act
    return act


@fault
def server_error(issuer: Issuer) -> None:
    issuer.answer = (500, b"oops")


@fault
def not_found(issuer: Issuer) -> None:
    issuer.answer = (404, json.dumps(issuer.key_set).encode())


@fault
def garbage(issuer: Issuer) -> None:
    issuer.answer = (200, b"<html>sign in</html>")


@fault
def empty(issuer: Issuer) -> None:
    issuer.answer = (200, b'{"keys": []}')


@fault
def no_set(issuer: Issuer) -> None:
    issuer.answer = (200, b'["keys"]')


@fault
def deep(issuer: Issuer) -> None:
    issuer.answer = (200, b"[" * 60_000)


@fault
def hundred_megabytes(issuer: Issuer) -> None:
    issuer.answer = (200, b" " * 100_000_000)


@fault
def a_bomb(issuer: Issuer) -> None:
    issuer.headers = {"Content-Encoding": "gzip"}
    issuer.answer = (200, gzip.compress(b" " * 50_000_000))


@fault
def secrets_only(issuer: Issuer) -> None:
    issuer.answer = (
        200,
        b'{"keys": [{"kty": "oct", "kid": "one", "k": "YWFhYWFhYWFhYWFhYWFhYQ"}]}',
    )


@fault
def nonsense_in_keys(issuer: Issuer) -> None:
    entries: list[Any] = [1, None, "x", {"kty": []}, {"kid": "one"}, {"kty": "EC", "kid": "one"}]
    issuer.answer = (200, json.dumps({"keys": entries}).encode())


@fault
def a_redirect(issuer: Issuer) -> None:
    issuer.headers = {"Location": f"{issuer.url}/elsewhere"}
    issuer.answer = (302, b"")


@fault
def a_thousand_keys(issuer: Issuer) -> None:
    entry = issuer.key_set["keys"][0]
    many = [{"kty": "oct", "kid": str(n)} for n in range(1000)]
    issuer.answer = (200, json.dumps({"keys": [entry, *many]}).encode())


@pytest.mark.parametrize("act", FAULTS.values(), ids=FAULTS)
async def test_while_the_issuer_fails_the_last_good_set_holds_up_to_its_bound(
    desk: Desk, issuer: Issuer, act: Callable[[Issuer], None]
) -> None:
    """F12, X39: and a token is never believed without a key."""
    assert await desk.good() == "svc-shop"
    act(issuer)
    desk.clock.now += REFRESH_SECONDS
    assert await desk.good() == "svc-shop"
    stranger = issuer.token(key=ec_key("two"))
    assert await desk.says(stranger) == "unknown_key"
    assert desk.fetches == 2
    assert set(issuer.paths) == {"/jwks"}

    desk.clock.now += KEPT_SECONDS - REFRESH_SECONDS - 1
    assert await desk.good() == "svc-shop"
    assert desk.tokens.trouble is not None
    await desk.tokens.stop()
    desk.clock.now += 1 + PAUSE_SECONDS
    assert await desk.good() == "unavailable"

    issuer.answer, issuer.headers = None, {}
    desk.clock.now += RETRY_SECONDS
    assert await desk.good() == "svc-shop"
    assert desk.tokens.trouble is None


@pytest.mark.parametrize(("length", "expected"), [(MAX_BYTES, "svc-shop"), (MAX_BYTES + 1, "no")])
async def test_a_set_has_a_size(desk: Desk, issuer: Issuer, length: int, expected: str) -> None:
    """F12: what is longer is not held, however good it is."""
    issuer.answer = (200, json.dumps(issuer.key_set).encode().ljust(length))

    assert await desk.good() == (expected if expected == "svc-shop" else "unavailable")


async def test_an_issuer_that_never_answered_is_asked_every_few_seconds(
    desk: Desk, issuer: Issuer
) -> None:
    """X39: 503, not 401: the caller's token may be all right."""
    issuer.answer = (500, b"")
    for _ in range(20):
        assert await desk.good() == "unavailable"
    assert desk.fetches == 1
    issuer.answer = None
    desk.clock.now += RETRY_SECONDS

    assert await desk.good() == "svc-shop"


async def test_an_issuer_that_accepts_and_says_nothing_has_a_deadline(issuer: Issuer) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    good, issuer.url = issuer.url, f"http://127.0.0.1:{port}"
    desk = Desk(issuer, deadline=0.2)
    try:
        async with asyncio.timeout(30):
            assert await desk.good() == "unavailable"
    finally:
        issuer.url = good
        server.close()


async def test_an_environment_proxy_is_not_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert await desk.good() == "svc-shop"


async def test_an_issuer_away_stops_nobody_who_comes_with_a_credential(
    issuer: Issuer, start_service: Starter, register: Register
) -> None:
    """X39: 503 with Retry-After for tokens alone."""
    await register("web", Identity(IdentityKind.JWT_SUBJECT, "svc-shop"))
    issuer.answer = (500, b"")
    service = await start_service(OTP_DELIVER="false", **issuer.settings)
    by_token = await service.post("/otp/cancel", headers=issuer.bearer(), challenge_id="x" * 34)
    by_credential = await service.post("/otp/cancel", challenge_id="0" * 34)

    assert (by_token.status_code, by_token.json()["code"]) == (503, "unavailable")
    assert int(by_token.headers["retry-after"]) == RETRY_SECONDS
    assert by_credential.status_code == 404


async def test_the_doctor_says_whether_the_issuers_keys_can_be_used(
    issuer: Issuer, environment: dict[str, str]
) -> None:
    settings = load({**environment, **issuer.settings})
    assert [f.level for f in await inspect_issuer(settings)] == ["ok"]
    issuer.keys = [ec_key("one", "P-384")]
    (other,) = await inspect_issuer(settings)
    assert (other.level, "ES384" in other.message) == ("warn", True)
    issuer.answer = (500, b"")
    (away,) = await inspect_issuer(settings)
    assert (away.level, "http_500" in away.message) == ("warn", True)

    assert await inspect_issuer(load(environment)) == []
