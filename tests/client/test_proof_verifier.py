"""Signed proofs, checked without asking: what is believed, what is not, and when keys are fetched."""

import asyncio
import base64
import concurrent.futures
import hashlib
import hmac
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import jwt
import pytest

from otp_service.client import (
    AsyncProofVerifier,
    ProofInactive,
    ProofVerifier,
    Proven,
    SeenProofs,
    Unavailable,
)
from otp_service.client.verifier import Clocks
from otp_service.core import keyring, proofs, signing
from otp_service.core.keyring import Keyring
from otp_service.core.proofs import Success
from otp_service.core.receipts import Confirmed, Consent, receipt
from otp_service.core.signing import Algorithm
from tests.client.conftest import NO_TLS
from tests.client.scripted import DRIP, DROP, Reply, Scripted

NOW = 1_795_435_200
ISSUER = "https://otp.example.com"
RING = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))
OTHER = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))
SUCCESS = Success(
    caller="shop",
    id="0a" + "A" * 32,
    attempt_id="f" * 32,
    challenge_id="0a" + "A" * 32,
    method="sms",
    amr=("sms",),
    purpose="payment",
    binding="session",
    subject="ann",
)
MADE: dict[str, Any] = {
    "issuer": ISSUER, "audience": "payments", "algorithm": Algorithm.ES256,
    "verified_at": NOW * 1000, "ttl": 120,
}  # fmt: skip
GOOD = proofs.signed(RING, SUCCESS, **MADE)
PUBLISHED = signing.key_set(RING)


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Checking:
    """Either verifier on a clock of its own: one test says of both what they do."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url, self.clock = kind, url, Clock()
        self.opened: list[Any] = []
        self.verifier = self.made()

    def made(self, **options: Any) -> ProofVerifier | AsyncProofVerifier:
        asked = {
            "issuer": ISSUER,
            "audience": "payments",
            "memory": None,
            "clocks": Clocks(self.clock, self.clock),
            **options,
        }
        if self.kind == "sync":
            self.opened.append(
                ProofVerifier(self.url, transport=httpx.HTTPTransport(verify=NO_TLS), **asked)
            )
        else:
            transport = httpx.AsyncHTTPTransport(verify=NO_TLS)
            self.opened.append(AsyncProofVerifier(self.url, transport=transport, **asked))
        return self.opened[-1]  # type: ignore[no-any-return]

    async def close(self) -> None:
        for verifier in self.opened:
            if isinstance(verifier, ProofVerifier):
                verifier.close()
            else:
                await verifier.aclose()

    async def __call__(self, proof: str = GOOD, **asked: Any) -> Proven:
        asked = {"purpose": "payment", "binding": "session", **asked}
        found: Any = self.verifier.redeem_proof(proof=proof, **asked)
        return await found if inspect.isawaitable(found) else found

    async def refuses(self, proof: str, reason: str, **asked: Any) -> None:
        with pytest.raises(ProofInactive) as refused:
            await self(proof, **asked)
        assert reason in refused.value.detail
        assert refused.value.detail not in str(refused.value)


@pytest.fixture(params=["sync", "async"])
async def redeem(request: pytest.FixtureRequest, scripted: Scripted) -> AsyncIterator[Checking]:
    scripted.script = [Reply(body=PUBLISHED)]
    checking = Checking(request.param, scripted.url)
    yield checking
    await checking.close()


def signed(header: dict[str, Any] | None = None, ring: Keyring = RING, **claims: Any) -> str:
    """A proof by the ring's own key, of which anything may be another; None leaves a claim out."""
    says = {**jwt.decode(GOOD, options={"verify_signature": False}), **claims}
    says = {name: value for name, value in says.items() if value is not None}
    key = signing._proof_key(ring.active(keyring.Kind.PROOF), Algorithm.ES256)
    named = {"alg": "ES256", "kid": key.kid, "typ": proofs.TYPE, **(header or {})}
    text = f"{encoded(json.dumps(named))}.{encoded(json.dumps(says))}"
    raw = signing._Registry.algorithms["ES256"].sign(text.encode(), key)
    return f"{text}.{encoded(raw)}"


def encoded(data: str | bytes) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


# --- What is believed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_a_good_proof_tells_what_introspection_would(
    redeem: Checking, algorithm: Algorithm
) -> None:
    proven = await redeem(proofs.signed(RING, SUCCESS, **{**MADE, "algorithm": algorithm}))

    assert (proven.sub, proven.client_id, proven.aud, proven.iss) == (
        "ann", "shop", "payments", ISSUER,
    )  # fmt: skip
    assert (proven.purpose, proven.method, proven.amr) == ("payment", "sms", ("sms",))
    assert proven.auth_time.timestamp() == NOW
    assert proven.exp.timestamp() == NOW + 120


async def test_the_forger_of_these_tests_is_believed_where_it_forges_nothing(
    redeem: Checking,
) -> None:
    """The control of the attacks below: each differs from this in one thing."""
    assert (await redeem(signed())).sub == "ann"


async def test_ed25519_by_its_own_name_is_the_same_algorithm(
    redeem: Checking, scripted: Scripted
) -> None:
    """RFC 9864: what we sign is called EdDSA, and a later service may say Ed25519."""
    renamed = [{**k, "alg": "Ed25519"} if k["kty"] == "OKP" else k for k in PUBLISHED["keys"]]
    scripted.script = [Reply(body={"keys": renamed})]

    assert (
        await redeem(proofs.signed(RING, SUCCESS, **{**MADE, "algorithm": Algorithm.EDDSA}))
    ).sub == "ann"


# --- What is not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", ""])
@pytest.mark.parametrize("signature", ["", "AA"])
async def test_f05_what_nobody_signed_is_refused(
    redeem: Checking, alg: str, signature: str
) -> None:
    _, payload, _ = GOOD.split(".")
    header = {**jwt.get_unverified_header(GOOD), "alg": alg}
    reason = "alg" if signature else "no JWT"

    await redeem.refuses(f"{encoded(json.dumps(header))}.{payload}.{signature}", reason)


@pytest.mark.parametrize("form", ["pem", "der", "jwk", "x"])
async def test_f06_the_public_key_is_no_shared_secret(redeem: Checking, form: str) -> None:
    key = signing._proof_key(RING.active(keyring.Kind.PROOF), Algorithm.ES256)
    public = key.as_dict(private=False)
    secret = {
        "pem": key.as_pem(private=False),
        "der": key.as_der(private=False),
        "jwk": json.dumps(public).encode(),
        "x": str(public["x"]).encode(),
    }[form]
    header = {"alg": "HS256", "kid": key.kid, "typ": proofs.TYPE}
    text = f"{encoded(json.dumps(header))}.{GOOD.split('.')[1]}"
    forged = f"{text}.{encoded(hmac.digest(secret, text.encode(), hashlib.sha256))}"

    await redeem.refuses(forged, "alg is not allowed")


async def test_f07_only_algorithms_that_were_allowed_sign(redeem: Checking) -> None:
    """PyJWT CVE-2026-48523: whatever the key in the set is for."""
    redeem.verifier = redeem.made(algorithms=["ES256"])
    by_ed25519 = proofs.signed(RING, SUCCESS, **{**MADE, "algorithm": Algorithm.EDDSA})

    await redeem.refuses(by_ed25519, "alg is not allowed")
    assert (await redeem()).sub == "ann"


@pytest.mark.parametrize("alg", ["EdDSA", "ES384", "ES256K", "RS256", "PS256"])
async def test_f07_a_key_signs_by_its_own_algorithm_only(redeem: Checking, alg: str) -> None:
    await redeem.refuses(signed({"alg": alg}), "not")


@pytest.mark.parametrize("crit", [["x"], ["b64"], ["exp"], [], "x", None])
async def test_f08_an_extension_that_must_be_understood_is_refused(
    redeem: Checking, crit: Any
) -> None:
    await redeem.refuses(signed({"crit": crit, "x": 1, "b64": False}), "")
    await redeem.refuses(signed({"crit": crit}), "crit")


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR 1=1 --", "http://127.0.0.1:1/jwks", "", "proof", 1, None]
)
async def test_f09_a_key_id_is_only_looked_up(redeem: Checking, kid: Any) -> None:
    await redeem.refuses(signed({"kid": kid}), "key")


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
async def test_f09_the_keys_that_a_proof_brings_along_are_not_looked_at(
    redeem: Checking, scripted: Scripted, member: str
) -> None:
    mine = signing._proof_key(OTHER.active(keyring.Kind.PROOF), Algorithm.ES256)
    brought = {
        "jwk": {**mine.as_dict(private=False)},
        "jku": f"{scripted.url}/mine.json",
        "x5u": f"{scripted.url}/mine.pem",
        "x5c": ["MIIB"],
    }[member]
    kid = PUBLISHED["keys"][1]["kid"]

    await redeem.refuses(signed({member: brought, "kid": kid}, ring=OTHER), "")
    await redeem.refuses(signed({member: brought}, ring=OTHER), "")
    assert {seen.path for seen in scripted.seen} == {"/.well-known/jwks.json"}


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": NOW - 6}, "exp"),
    "no exp": ({"exp": None}, "exp"),
    "exp in words": ({"exp": "tomorrow"}, "exp"),
    "exp without end": ({"exp": 10**400}, ""),
    "not yet": ({"nbf": NOW + 6}, "not yet valid"),
    "no nbf": ({"nbf": None}, "nbf"),
    "from the future": ({"iat": NOW + 6}, "in the future"),
    "no iat": ({"iat": None}, "iat"),
    "another audience": ({"aud": "shop"}, "audience"),
    "several audiences": ({"aud": ["payments", "shop"]}, "audience"),
    "no audience": ({"aud": None}, "aud"),
    "another issuer": ({"iss": "https://otp.example.org"}, "iss"),
    "no issuer": ({"iss": None}, "iss"),
    "no jti": ({"jti": None}, "jti"),
    "a jti that is a number": ({"jti": 1}, "jti"),
    "no purpose": ({"purpose": None}, "claims"),
    "no caller": ({"client_id": None}, "claims"),
    "another purpose": ({"purpose": "login"}, "purpose"),
    "another binding": ({"binding": encoded(hashlib.sha256(b"another").digest())}, "bound"),
    "no binding": ({"binding": None}, "bound"),
}


@pytest.mark.parametrize(("claims", "reason"), FOREIGN.values(), ids=FOREIGN)
async def test_f10_b13_a_proof_that_says_something_else_is_refused(
    redeem: Checking, claims: dict[str, Any], reason: str
) -> None:
    await redeem.refuses(signed(**claims), reason)


@pytest.mark.parametrize("late", [5.0, -5.0])
async def test_f10_clocks_may_differ_by_the_leeway(redeem: Checking, late: float) -> None:
    redeem.clock.now = NOW + (124 if late > 0 else -5)

    assert (await redeem()).sub == "ann"
    redeem.clock.now += 1 if late > 0 else -1
    await redeem.refuses(GOOD, "exp" if late > 0 else "")


async def test_a_bound_proof_proves_nothing_where_no_binding_is_known(redeem: Checking) -> None:
    """B13."""
    await redeem.refuses(GOOD, "bound", binding=None)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "consent-receipt+jws", "", None])
async def test_f11_what_was_signed_as_something_else_is_no_proof(
    redeem: Checking, typ: str | None
) -> None:
    await redeem.refuses(signed({"typ": typ}), "typ")


async def test_f11_a_receipt_is_no_proof_and_its_key_signs_none(redeem: Checking) -> None:
    """Twice over: the type differs, and a key of receipts is no key of proofs."""
    agreed = Confirmed(
        caller="payments", e164="+14155550123", group_id=None, consent=Consent(),
        confirmed_at=NOW * 1000,
    )  # fmt: skip
    made = receipt(RING, agreed, issuer=ISSUER, receipt_id="r")

    await redeem.refuses(made, "typ")
    assert jwt.get_unverified_header(made)["kid"] != jwt.get_unverified_header(GOOD)["kid"]


@pytest.mark.parametrize(
    "odd",
    ["", ".", "..", "a.b", "a.b.c", "e30.e30.e30", "W10.e30.AA", GOOD + ".", GOOD + "=", GOOD + "\n",
     " " + GOOD, GOOD[:-2], GOOD.replace(".", "..", 1), "A" * 5000, "é.é.é", "otpp_0a" + "A" * 43,
     encoded("[" * 300) + ".e30.AA"],
)  # fmt: skip
async def test_what_is_no_proof_at_all_proves_nothing(redeem: Checking, odd: str) -> None:
    await redeem.refuses(odd, "")


async def test_every_bit_of_a_proof_counts(redeem: Checking) -> None:
    """Of its last character but the two bits that encode nothing."""
    for at in range(0, len(GOOD) - 1, 7):
        changed = "A" if GOOD[at] != "A" else "Q"
        await redeem.refuses(GOOD[:at] + changed + GOOD[at + 1 :], "")


# --- Keys ------------------------------------------------------------------------------------------------------------


async def test_keys_are_fetched_once_and_again_after_five_minutes(
    redeem: Checking, scripted: Scripted
) -> None:
    redeem.clock.now = NOW
    for _ in range(10):
        await redeem()
    assert len(scripted.seen) == 1
    assert "authorization" not in scripted.seen[0].headers

    redeem.clock.now = NOW + 300
    later = proofs.signed(RING, SUCCESS, **{**MADE, "verified_at": (NOW + 300) * 1000})
    await redeem(later)
    assert len(scripted.seen) == 2


async def test_f12_a_thousand_unknown_keys_are_asked_for_once_a_minute(
    redeem: Checking, scripted: Scripted
) -> None:
    await redeem()
    for number in range(1000):
        await redeem.refuses(signed({"kid": f"proof-{number}"}), "not published")
    assert len(scripted.seen) == 1

    redeem.clock.now += 60
    for number in range(1000):
        await redeem.refuses(signed({"kid": f"proof-{number}"}), "not published")
    assert len(scripted.seen) == 2


async def test_a_key_that_is_new_is_fetched_when_a_proof_names_it(
    redeem: Checking, scripted: Scripted
) -> None:
    await redeem()
    scripted.script = [Reply(body=signing.key_set(OTHER))]
    redeem.clock.now += 60

    assert (await redeem(proofs.signed(OTHER, SUCCESS, **MADE))).sub == "ann"
    await redeem.refuses(GOOD, "not published")


GARBAGE = {
    "an error": Reply(500, {"code": "internal", "title": "x"}),
    "a page": Reply(body=b"<html>", media_type="text/html"),
    "no set": Reply(body={"keys": "none"}),
    "an empty set": Reply(body={"keys": []}),
    "a redirect": Reply(302, {}, {"Location": "/mine.json"}),
    "a number": Reply(body=b"1"),
    "deep": Reply(body=b"[" * 30_000),
    "endless": Reply(body=b" " * 70_000 + json.dumps(PUBLISHED).encode()),
    "many": Reply(body={"keys": [{}] * 65}),
    "two of one id": Reply(body={"keys": PUBLISHED["keys"] * 2}),
    "shared secrets": Reply(body={"keys": [{"kty": "oct", "kid": "x", "k": "AAAA"}]}),
    "points off the curve": Reply(
        body={"keys": [{"kty": "EC", "crv": "P-256", "kid": "x", "x": "AQ", "y": "AQ"}]}
    ),
    "a dropped line": DROP,
}


@pytest.mark.parametrize("reply", GARBAGE.values(), ids=GARBAGE)
async def test_f12_x39_garbage_replaces_no_good_keys_for_an_hour_and_is_never_a_yes(
    redeem: Checking, scripted: Scripted, reply: Reply | str
) -> None:
    await redeem()
    scripted.script = [reply]

    def of_then() -> str:
        return proofs.signed(RING, SUCCESS, **{**MADE, "verified_at": int(redeem.clock.now) * 1000})

    redeem.clock.now = NOW + 3599
    assert (await redeem(of_then())).sub == "ann"
    redeem.clock.now = NOW + 3600
    with pytest.raises(Unavailable):
        await redeem(of_then())
    scripted.script = [Reply(body=PUBLISHED)]
    redeem.clock.now += 60
    assert (await redeem(of_then())).sub == "ann"


@pytest.mark.parametrize("reply", [DRIP, DROP])
async def test_without_keys_nothing_is_believed_and_nobody_waits_long(
    redeem: Checking, scripted: Scripted, reply: str
) -> None:
    """X39."""
    scripted.script = [reply]
    redeem.verifier = redeem.made(timeout=3)

    for _ in range(5):
        with pytest.raises(Unavailable):
            await redeem()
    assert len(scripted.seen) == 1
    scripted.script = [Reply(body=PUBLISHED)]
    redeem.clock.now += 5
    assert (await redeem()).sub == "ann"


async def test_f12_a_storm_of_proofs_is_one_fetch(redeem: Checking, scripted: Scripted) -> None:
    if isinstance(redeem.verifier, ProofVerifier):
        verifier = redeem.verifier
        asked = {"proof": GOOD, "binding": "session"}
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda _: verifier.redeem_proof(**asked), range(64)))
        assert {proven.sub for proven in found} == {"ann"}
    else:
        await at_once([redeem() for _ in range(64)])

    assert len(scripted.seen) == 1


async def at_once(calls: list[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*calls, return_exceptions=True))


# --- Once ------------------------------------------------------------------------------------------------------------


async def test_b12_a_memory_makes_a_signed_proof_one_time(redeem: Checking) -> None:
    redeem.verifier = redeem.made(memory=SeenProofs(clock=redeem.clock))

    assert (await redeem()).sub == "ann"
    again = proofs.signed(RING, SUCCESS, **MADE)  # a repeated call: other bytes, the same success
    assert again != GOOD
    for proof in (GOOD, again):
        await redeem.refuses(proof, "shown before")


async def test_without_a_memory_it_is_good_as_often_as_it_is_shown(redeem: Checking) -> None:
    """The negative control, and what the documents say of it."""
    assert [(await redeem()).sub for _ in range(3)] == ["ann"] * 3


async def test_b12_fifty_at_once_are_one(redeem: Checking) -> None:
    redeem.verifier = redeem.made(memory=SeenProofs(clock=redeem.clock))
    if isinstance(redeem.verifier, ProofVerifier):
        verifier = redeem.verifier

        def one(_: int) -> bool:
            try:
                return bool(verifier.redeem_proof(proof=GOOD, binding="session"))
            except ProofInactive:
                return False

        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            won = sum(pool.map(one, range(50)))
    else:
        answers = await at_once([redeem() for _ in range(50)])
        won = sum(isinstance(answer, Proven) for answer in answers)

    assert won == 1


async def test_what_is_refused_for_another_reason_is_not_remembered(redeem: Checking) -> None:
    """Or whoever saw a proof could have it refused in its own place."""
    redeem.verifier = redeem.made(memory=SeenProofs(clock=redeem.clock))
    await redeem.refuses(GOOD, "bound", binding="another")

    assert (await redeem()).sub == "ann"


def test_a_memory_forgets_what_is_over_and_nothing_else() -> None:
    clock = Clock()
    seen = SeenProofs(2, clock=clock)
    assert seen.first_time("a", NOW + 10)
    assert seen.first_time("b", NOW + 20)
    assert not seen.first_time("a", NOW + 10)
    with pytest.raises(Unavailable, match="too many"):
        seen.first_time("c", NOW + 30)

    clock.now += 10

    assert seen.first_time("c", NOW + 30)
    assert not seen.first_time("b", NOW + 20)


async def test_a_memory_that_is_elsewhere_is_asked_and_a_no_of_any_kind_is_a_no(
    scripted: Scripted,
) -> None:
    scripted.script = [Reply(body=PUBLISHED)]
    answers: list[Any] = [True, False, None, 0, "OK"]
    asked: list[tuple[str, float]] = []

    class Elsewhere:
        async def first_time(self, jti: str, until: float) -> bool:
            asked.append((jti, until))
            return bool(answers.pop(0) is True)

    checking = Checking("async", scripted.url)
    checking.verifier = checking.made(memory=Elsewhere())
    assert (await checking()).sub == "ann"
    for _ in range(4):
        await checking.refuses(GOOD, "shown before")
    await checking.close()
    assert asked == [(proofs.id_of(RING, SUCCESS), NOW + 125)] * 5


# --- Making one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"algorithms": ["none"]}, {"algorithms": ["HS256"]}, {"algorithms": []}, {"leeway": -1},
     {"leeway": 301}, {"issuer": ""}, {"audience": ""}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_cannot_be_right_is_refused_at_once(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"algorithms|leeway|given"):
        Checking(kind, "https://otp.internal").made(**wrong)


@pytest.mark.parametrize("kind", [ProofVerifier, AsyncProofVerifier])
def test_whoever_makes_one_says_what_remembers(kind: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="memory"):
        kind("https://otp.internal", issuer=ISSUER, audience="payments")
    with pytest.raises(ValueError, match="https"):
        kind("otp.internal", issuer=ISSUER, audience="payments", memory=None)
