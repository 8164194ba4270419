"""Callers that come with a JWT of the configured issuer: what opens, and all that must not."""

import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey, import_key

from otp_service.core.credentials import SCOPES
from otp_service.core.identities import Identity, IdentityKind
from otp_service.core.receipts import TYPE as RECEIPT
from otp_service.core.signing import key_set, sign
from otp_service.settings.environment import SettingsError, load
from otp_service.web.models import EXAMPLE_ID
from tests.conftest import TO, Service, Starter
from tests.security.conftest import Register
from tests.security.issuer import Issuer, ec_key, ed_key, rsa_key, segment, signed

SUBJECT = Identity(IdentityKind.JWT_SUBJECT, "svc-shop")
PATH = f"/otp/{EXAMPLE_ID}"


@pytest.fixture
async def guarded(
    issuer: Issuer, start_service: Starter, register: Register, environment: dict[str, str]
) -> Service:
    """A service that believes the issuer; its caller `web` is the subject svc-shop."""
    await register("web", SUBJECT)
    service = await start_service(OTP_DELIVER="false", **issuer.settings)
    del service.http.headers["authorization"]
    return service


async def status(service: Service, token: str) -> int:
    """404: who asked is known, and the challenge is not; 401: who asked is not known."""
    answer = await service.http.get(PATH, headers={"Authorization": f"Bearer {token}"})
    if answer.status_code == 401:
        assert answer.json()["code"] == "unauthorized"
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    return answer.status_code


async def test_a_token_of_the_issuer_opens_what_its_caller_may(
    guarded: Service, issuer: Issuer
) -> None:
    asked = await guarded.post("/otp/request", headers=issuer.bearer(), to=TO, purpose="login")
    assert asked.status_code == 202
    looked = await guarded.http.get(asked.headers["location"], headers=issuer.bearer())

    assert looked.status_code == 200
    assert issuer.paths == ["/jwks"]


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec_key("k"), "ES256"),
        (rsa_key("k"), "RS256"),
        (ed_key("k"), "EdDSA"),
        (ed_key("k"), "Ed25519"),
    ],
    ids=["ES256", "RS256", "EdDSA", "Ed25519"],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_the_default_algorithms(
    guarded: Service, issuer: Issuer, key: Any, algorithm: str
) -> None:
    """Also RFC 9864's name for what most issuers still call EdDSA."""
    issuer.keys = [key]

    assert await status(guarded, issuer.token(header={"alg": algorithm})) == 404


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
async def test_types_of_access_tokens(guarded: Service, issuer: Issuer, typ: str | None) -> None:
    assert await status(guarded, issuer.token(header={"typ": typ})) == 404


# F05: no signature


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", None, 0, ["ES256"]])
async def test_unsigned_tokens_are_refused(
    guarded: Service, issuer: Issuer, algorithm: Any
) -> None:
    """F05: whatever stands where the signature should, and however `none` is spelled."""
    header = {"alg": algorithm, "kid": "one", "typ": "JWT"}
    text = f"{segment(header)}.{segment(issuer.claims())}"
    good = issuer.token().rpartition(".")[2]

    for signature in ("", "AA", good):
        assert await status(guarded, f"{text}.{signature}") == 401


async def test_signatures_that_are_none_are_refused(guarded: Service, issuer: Issuer) -> None:
    """F05: the right header, and no, half, zero or another signature."""
    head, _, signature = issuer.token().rpartition(".")
    other = issuer.token(issuer.claims(sub="svc-other")).rpartition(".")[2]
    for forged in ("", signature[:40], segment(bytes(64)), other, signature + "AA"):
        assert await status(guarded, f"{head}.{forged}") == 401
    assert await status(guarded, f"{head}.{signature}") == 404


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_readers_without_an_allow_list_take_unsigned_tokens(issuer: Issuer) -> None:
    """Negative control of F05: it is the allow-list that refuses them."""
    token = f"{segment({'alg': 'none'})}.{segment(issuer.claims())}."

    assert jwt.decode(token, KeySet([]), algorithms=["none"]).claims["sub"] == "svc-shop"


# F06, F07: another algorithm than the key's


def confused(issuer: Issuer, key: RSAKey | ECKey) -> tuple[str, bytes]:
    """A token whose HMAC secret is the public key, as everybody can read it; and that secret."""
    pem = key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "kid": key.kid, "typ": "JWT"}
    text = f"{segment(header)}.{segment(issuer.claims())}"
    return f"{text}.{segment(hmac.digest(pem, text.encode(), hashlib.sha256))}", pem


async def test_a_public_key_is_no_secret(guarded: Service, issuer: Issuer) -> None:
    """F06: HS256 under the issuer's public key, as PEM, and as the key set writes it."""
    for key in (ec_key("one"), rsa_key("one")):
        issuer.keys = [key]
        token, _ = confused(issuer, key)
        assert await status(guarded, token) == 401
        text = f"{segment({'alg': 'HS256', 'kid': 'one'})}.{segment(issuer.claims())}"
        secret = json.dumps(key.as_dict(private=False)).encode()
        mac = segment(hmac.digest(secret, text.encode(), hashlib.sha256))
        assert await status(guarded, f"{text}.{mac}") == 401


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_readers_that_let_the_token_choose_take_the_public_key_for_a_secret(
    issuer: Issuer,
) -> None:
    """Negative control of F06: the forged token is a whole one for whom the header alone decides."""
    token, pem = confused(issuer, rsa_key("one"))
    naive = OctKey.__new__(OctKey)
    OctKey.__init__(naive, pem, pem)

    assert jwt.decode(token, naive, algorithms=["HS256"]).claims["sub"] == "svc-shop"


async def test_a_secret_key_in_the_set_is_never_used(guarded: Service, issuer: Issuer) -> None:
    """F06: also if the issuer publishes one, by mistake or made to."""
    secret = OctKey.import_key("a" * 32, {"kid": "secret"})
    set_ = {"keys": [{**secret.as_dict(private=True), "kid": "secret"}, *issuer.key_set["keys"]]}
    issuer.answer = (200, json.dumps(set_).encode())
    token = signed({"alg": "HS256", "kid": "secret", "typ": "JWT"}, issuer.claims(), secret)

    assert await status(guarded, token) == 401
    assert await status(guarded, issuer.token()) == 404


async def test_algorithms_outside_the_list_are_refused_although_the_key_could(
    guarded: Service, issuer: Issuer, start_service: Starter
) -> None:
    """F07: the list decides, not the key; the second half is the negative control."""
    issuer.keys = [rsa_key("one")]
    for algorithm in ("RS512", "PS256"):
        assert await status(guarded, issuer.token(header={"alg": algorithm})) == 401

    wider = await start_service(
        OTP_DELIVER="false", OTP_CALLER_ALGORITHMS="RS512,PS256", **issuer.settings
    )
    assert await status(wider, issuer.token(header={"alg": "PS256"})) == 404
    assert await status(wider, issuer.token(header={"alg": "RS256"})) == 401


async def test_a_key_for_one_algorithm_is_not_used_for_another(
    guarded: Service, issuer: Issuer
) -> None:
    """F07: RS512's key in the set does not check RS256, although RS256 is allowed."""
    key = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS512"})
    issuer.keys = [key]
    token = signed({"alg": "RS256", "kid": "one"}, issuer.claims(), import_key(
        {k: v for k, v in key.as_dict(private=True).items() if k != "alg"}
    ))  # fmt: skip

    assert await status(guarded, token) == 401
    issuer.keys = [ec_key("one", "P-384")]
    assert await status(guarded, issuer.token(header={"alg": "ES384"})) == 401


@pytest.mark.parametrize("marks", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "HS256"}])
async def test_keys_for_something_else_are_not_used(
    guarded: Service, issuer: Issuer, marks: dict[str, Any]
) -> None:
    entry = issuer.keys[0].as_dict(private=False)
    spare = ec_key("spare").as_dict(private=False)
    issuer.answer = (200, json.dumps({"keys": [{**entry, **marks}, spare]}).encode())

    assert await status(guarded, issuer.token()) == 401


# F08: critical extensions


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["x"], "x": 1},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": True},
        {"crit": "x"},
        {"crit": None},
        {"b64": False},
    ],
)
async def test_critical_extensions_are_refused(
    guarded: Service, issuer: Issuer, header: dict[str, Any]
) -> None:
    """F08: we understand none, so none may be ignored; the same token without it is the negative control."""
    told = {"alg": "ES256", "kid": "one", "typ": "JWT"}

    assert await status(guarded, signed({**told, **header}, issuer.claims(), issuer.keys[0])) == 401
    assert await status(guarded, signed(told, issuer.claims(), issuer.keys[0])) == 404


# F09: whose key


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/etc/passwd",
        "one' OR '1'='1",
        "one\x00",
        "http://127.0.0.1:1/jwks",
        "",
        " one",
        "ONE",
        None,
        1,
        ["one"],
        {"one": 1},
        "a" * 3000,
    ],
)
async def test_key_ids_that_are_none_are_refused(
    guarded: Service, issuer: Issuer, kid: Any
) -> None:
    """F09: a `kid` is looked up among those of the set and is nothing else."""
    token = issuer.token(header={"kid": kid})

    assert await status(guarded, token) == 401
    assert await status(guarded, issuer.token()) == 404
    assert set(issuer.paths) <= {"/jwks"}


async def test_keys_that_a_token_brings_along_count_for_nothing(
    guarded: Service, issuer: Issuer
) -> None:
    """F09: `jwk`, `jku`, `x5u`, `x5c`: no fetch, no belief; under our `kid` and under its own."""
    mine = ec_key("one")
    brought = {
        "jwk": mine.as_dict(private=False),
        "jku": f"{issuer.url}/mine",
        "x5u": f"{issuer.url}/mine.pem",
        "x5c": ["AAAA"],
    }
    for name, value in brought.items():
        for kid in ("one", "mine"):
            token = issuer.token(key=mine, header={name: value, "kid": kid})
            assert await status(guarded, token) == 401, name
        # The issuer's own signature: what stands beside is not even read.
        assert await status(guarded, issuer.token(header={name: value})) == 404, name
    assert set(issuer.paths) == {"/jwks"}

    naive = import_key(brought["jwk"])  # negative control: who takes the header's key is taken in
    token = issuer.token(key=mine, header={"jwk": brought["jwk"]})
    assert jwt.decode(token, naive, algorithms=["ES256"]).claims["sub"] == "svc-shop"


async def test_a_key_id_that_occurs_twice_is_nobodys(guarded: Service, issuer: Issuer) -> None:
    """F09: which of the two was meant would be up to the order in the set."""
    issuer.keys = [ec_key("one"), ec_key("one"), ec_key("two")]

    for key in issuer.keys[:2]:
        assert await status(guarded, issuer.token(key=key)) == 401
    assert await status(guarded, issuer.token(key=issuer.keys[2])) == 404


# F10: claims


class In(int):
    """So many seconds from when the test runs."""


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": In(-31)},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": In(4300)},
        {"exp": In(10**9)},
        {"iat": None},
        {"iat": In(600), "exp": In(700)},
        {"iat": "0"},
        {"nbf": In(600)},
        {"nbf": "later"},
        {"aud": None},
        {"aud": ""},
        {"aud": "https://other.internal"},
        {"aud": ["https://other.internal"]},
        {"aud": {"https://otp.internal": 1}},
        {"aud": "https://otp.internal/"},
        {"iss": None},
        {"iss": "https://evil.example"},
        {"iss": ["x"]},
        {"sub": None},
        {"sub": ""},
        {"sub": ["svc-shop"]},
        {"sub": "svc-shop "},
        {"sub": "SVC-SHOP"},
        {"sub": "svc-other"},
        {"sub": "a" * 256},
        {"sub": None, "azp": "svc-shop"},
        {"cnf": {"jkt": "x"}},
        {"cnf": {"x5t#S256": "x"}},
        {"cnf": {}},
        {"cnf": "x"},
        {"scope": 1},
        {"scope": [1]},
    ],
    ids=str,
)
async def test_claims_that_do_not_hold_are_refused(
    guarded: Service, issuer: Issuer, changes: dict[str, Any]
) -> None:
    """F10; the token without the change is the negative control."""
    now = int(time.time())
    claims = {k: now + int(v) if isinstance(v, In) else v for k, v in changes.items()}
    assert await status(guarded, issuer.token(issuer.claims(**claims))) == 401
    assert await status(guarded, issuer.token()) == 404


async def test_clocks_may_differ_by_half_a_minute(guarded: Service, issuer: Issuer) -> None:
    for ahead in ({"iat": 25}, {"nbf": 25}, {"iat": -300, "exp": -5}):
        changes = {claim: int(time.time()) + seconds for claim, seconds in ahead.items()}
        assert await status(guarded, issuer.token(issuer.claims(**changes))) == 404, changes


async def test_an_entra_id_lifetime_is_accepted(guarded: Service, issuer: Issuer) -> None:
    """Entra ID's tokens last up to about 3,900 seconds; the default is 4,200."""
    now = int(time.time())
    claims = issuer.claims(iat=now, nbf=now, exp=now + 3900)
    assert await status(guarded, issuer.token(claims)) == 404


async def test_one_audience_of_several_is_enough(guarded: Service, issuer: Issuer) -> None:
    claims = issuer.claims(aud=["https://other.internal", "https://otp.internal"])

    assert await status(guarded, issuer.token(claims)) == 404


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"x"', b"\xff", b"[" * 5000, b'{"iss":1,"iss":2}']
)
async def test_claims_that_are_none_are_refused(
    guarded: Service, issuer: Issuer, payload: bytes
) -> None:
    header = {"alg": "ES256", "kid": "one"}

    assert await status(guarded, signed(header, payload, issuer.keys[0])) == 401


async def test_a_claim_given_twice_is_refused(guarded: Service, issuer: Issuer) -> None:
    """F10: the issuer may have checked the one, and we would read the other."""
    told = json.dumps(issuer.claims())
    twice = told[:-1] + ', "sub": "svc-shop"}'

    header = {"alg": "ES256", "kid": "one"}
    assert await status(guarded, signed(header, twice.encode(), issuer.keys[0])) == 401
    assert await status(guarded, signed(header, told.encode(), issuer.keys[0])) == 404


async def test_another_claim_may_name_the_caller(
    issuer: Issuer, start_service: Starter, register: Register
) -> None:
    await register("web", SUBJECT)
    service = await start_service(OTP_DELIVER="false", OTP_CALLER_CLAIM="azp", **issuer.settings)

    assert await status(service, issuer.token(issuer.claims(sub="x", azp="svc-shop"))) == 404
    assert await status(service, issuer.token()) == 401


# F11: other kinds of tokens


@pytest.mark.parametrize(
    "typ",
    ["otp-proof+jwt", RECEIPT, "logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "", 1, "at+jwt "],
)
async def test_other_kinds_of_tokens_are_no_credentials(
    guarded: Service, issuer: Issuer, typ: Any
) -> None:
    """F11: although the issuer's own key signed them, and all claims hold."""
    assert await status(guarded, issuer.token(header={"typ": typ})) == 401


async def test_what_we_sign_ourselves_is_no_credential_and_the_reverse(
    guarded: Service, issuer: Issuer
) -> None:
    """F11: even where an operator named our own key set as the issuer's."""
    ring = guarded.settings.ring()
    issuer.answer = (200, json.dumps(key_set(ring)).encode())
    for typ in (RECEIPT, "otp-proof+jwt"):
        assert await status(guarded, sign(ring, issuer.claims(), typ=typ)) == 401
    own = sign(ring, issuer.claims(), typ="JWT")
    assert await status(guarded, own) == 404  # negative control: it is the type that decides

    told = await guarded.post(
        "/proofs/introspect", headers={"Authorization": f"Bearer {own}"}, proof=own[:64]
    )
    assert told.json() == {"active": False} or told.status_code == 422


# Scopes and callers


async def test_a_scope_claim_narrows_and_never_widens(
    issuer: Issuer, start_service: Starter, register: Register
) -> None:
    """F03: the record says what is possible, the token what of it is used."""
    await register("web", SUBJECT, scopes=["otp:request"])
    service = await start_service(OTP_DELIVER="false", **issuer.settings)
    everything = " ".join(SCOPES)
    for told, name, expected in (
        (None, "scope", 404),
        (everything, "scope", 404),
        ("openid otp:request", "scope", 404),
        (["otp:request"], "scp", 404),
        ("otp:verify", "scope", 403),
        ("", "scope", 403),
        ("email profile", "scope", 403),
        ([], "scope", 403),
    ):
        claims = issuer.claims(**{name: told})
        assert await status(service, issuer.token(claims)) == expected, told
    answer = await service.post(
        "/otp/verify", headers=issuer.bearer(issuer.claims(scope=everything))
    )
    assert answer.json()["code"] == "insufficient_scope"


@pytest.mark.parametrize("moved", [True, False])
async def test_who_writes_to_redis_makes_no_identity(
    guarded: Service, issuer: Issuer, register: Register, moved: bool
) -> None:
    """F02's neighbour: what binds a subject to a caller is keyed; another caller's, moved, binds nothing either."""
    redis = guarded.container.scripts.connection.client
    await register("evil", Identity(IdentityKind.JWT_SUBJECT, "svc-evil"))
    theirs = json.loads(await redis.get("otp:caller:evil"))["identities"][0]
    if not moved:
        theirs["mac"] = hashlib.sha256(b"web svc-evil").hexdigest()
    record = json.loads(await redis.get("otp:caller:web"))
    record["identities"].append(theirs)
    await redis.set("otp:caller:web", json.dumps(record))
    for key in [key async for key in redis.scan_iter(match="otp:identity:*")]:
        await redis.set(key, "web")

    assert await status(guarded, issuer.token(issuer.claims(sub="svc-evil"))) == 401
    assert await status(guarded, issuer.token()) == 404


async def test_without_an_issuer_tokens_are_refused(service: Service, issuer: Issuer) -> None:
    del service.http.headers["authorization"]

    assert await status(service, issuer.token()) == 401
    assert issuer.paths == []


async def test_tokens_are_in_no_log_and_no_key(
    guarded: Service, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = issuer.token(), issuer.token(issuer.claims(aud="x"))
    await status(guarded, good)
    await status(guarded, bad)
    said = capsys.readouterr().out

    assert "token_audience" in said
    for token in (good, bad):
        for part in token.split(".")[1:]:
            assert part not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"OTP_CALLER_ISSUER": "https://id.example"}, "OTP_CALLER_JWKS_URL: is required"),
        ({"OTP_CALLER_AUDIENCE": "otp"}, "OTP_CALLER_ISSUER: is required"),
        ({"OTP_CALLER_JWKS_URL": "http://id.example/jwks"}, "OTP_CALLER_JWKS_URL: must be https"),
        ({"OTP_CALLER_JWKS_URL": "file:///etc/passwd"}, "OTP_CALLER_JWKS_URL: must be an https"),
        ({"OTP_CALLER_ALGORITHMS": "HS256"}, "OTP_CALLER_ALGORITHMS: must be of"),
        ({"OTP_CALLER_ALGORITHMS": "ES256,none"}, "OTP_CALLER_ALGORITHMS: must be of"),
        ({"OTP_CALLER_ALGORITHMS": ""}, "OTP_CALLER_ALGORITHMS"),
        ({"OTP_CALLER_TOKEN_LIFE": "0"}, "OTP_CALLER_TOKEN_LIFE"),
        ({"OTP_CALLER_CLAIM": ""}, "OTP_CALLER_CLAIM"),
        ({"OTP_CALLER_CERTIFICATES": "true"}, "OTP_CALLER_CERTIFICATES: needs"),
    ],
)
def test_half_an_issuer_and_unsafe_ones_refuse_to_start(
    environment: dict[str, str], changes: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load({**environment, **changes})

    assert any(line.startswith(said) for line in refused.value.lines), refused.value.lines
