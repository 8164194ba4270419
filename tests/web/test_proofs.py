"""Proofs: whom they are for, what they are bound to, and the signed ones that their audience checks alone."""

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import jwt
import pyotp
import pytest

from otp_service.core.credentials import SCOPES
from tests.conftest import Service, Starter

Prove = Callable[..., Awaitable[str]]
ISSUER = "https://otp.example.com"
INACTIVE = {"active": False}


@pytest.fixture
def prove(service: Service) -> Prove:
    return prover(service)


def prover(service: Service) -> Prove:
    """Verify a code and return its proof; without a subject the number stands for the person."""

    async def prove(headers: dict[str, str] | None = None, **wish: Any) -> str:
        asked = {key: wish[key] for key in ("binding", "purpose") if key in wish}
        challenge = await service.request(subject="ann", **asked)
        answer = await service.post(
            "/otp/verify",
            headers=headers,
            challenge_id=challenge["challenge_id"],
            code=service.code(),
            **{"purpose": "login", **wish},
        )
        assert answer.status_code == 200, answer.text
        service.advance(60)  # past the cooldown, and less than a proof's life
        return str(answer.json()["proof"])

    return prove


async def introspect(
    service: Service, proof: str, headers: dict[str, str] | None = None, **asked: str
) -> dict[str, Any]:
    answer = await service.post("/proofs/introspect", headers=headers, proof=proof, **asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


# --- Whom it is for --------------------------------------------------------------------------------------------------


async def test_a_proof_for_another_caller_is_redeemed_by_that_one_alone(
    service: Service, prove: Prove
) -> None:
    """B13, F18: and whoever verified can't spend it either."""
    payments = await service.caller("payments", "proof:redeem")
    proof = await prove(audience="payments")

    own = await introspect(service, proof)
    theirs = await introspect(service, proof, payments)

    assert own == INACTIVE
    assert theirs["active"] is True
    assert (theirs["aud"], theirs["client_id"], theirs["sub"]) == ("payments", "shop", "ann")


async def test_a_proof_for_nobody_is_made_all_the_same_and_nobody_can_redeem_it(
    service: Service, prove: Prove
) -> None:
    """F18: so nobody learns which callers there are."""
    proof = await prove(audience="no-such-caller")

    assert await introspect(service, proof) == INACTIVE


async def test_speaking_to_another_caller_needs_a_scope_of_its_own_and_spends_no_code(
    service: Service,
) -> None:
    """F03: a caller chooses its subjects' names, so it could name anybody's to others."""
    scopes = set(SCOPES) - {"proof:vouch"}
    newsletter = await service.caller("newsletter", *scopes)
    asked = {"to": "+14155550145", "purpose": "login", "subject": "the-director"}
    headers = {**newsletter, "Prefer": "wait=30"}
    challenge = (await service.post("/otp/request", headers=headers, **asked)).json()
    body = {
        "challenge_id": challenge["challenge_id"],
        "code": service.code("+14155550145"),
        "purpose": "login",
    }

    refused = [
        await service.post(
            "/otp/verify", headers=newsletter, audience="payments", proof_format=form, **body
        )
        for form in ("opaque", "jwt")
    ]
    own = await service.post("/otp/verify", headers=newsletter, audience="newsletter", **body)

    assert [r.status_code for r in refused] == [403, 403]
    assert "proof:vouch" in refused[0].text
    assert own.status_code == 200


@pytest.mark.parametrize("name", ["", "Payments", "a" * 33, "-x", "x-", "pay ments", "pay\n"])
async def test_an_audience_that_can_be_no_callers_name_is_refused(
    service: Service, name: str
) -> None:
    challenge = await service.request()

    answer = await service.verify(challenge, service.code(), audience=name)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "audience"


# --- What it is bound to ---------------------------------------------------------------------------------------------

WRONG = {
    "another purpose": {"purpose": "payment", "binding": "session"},
    "another binding": {"purpose": "login", "binding": "another"},
    "no binding": {"purpose": "login"},
}


@pytest.mark.parametrize("asked", WRONG.values(), ids=WRONG)
async def test_a_proof_shown_in_the_wrong_place_proves_nothing_and_is_spent(
    service: Service, prove: Prove, asked: dict[str, str]
) -> None:
    """B13: a thief has one look, and no second guess at a binding."""
    proof = await prove(binding="session")

    assert await introspect(service, proof, **asked) == INACTIVE
    assert await introspect(service, proof, purpose="login", binding="session") == INACTIVE


async def test_a_stranger_can_spend_nobodys_proof(service: Service, prove: Prove) -> None:
    """B13, F18: however it asks."""
    stranger = await service.caller("stranger", "proof:redeem")
    proof = await prove(binding="session")
    for asked in (*WRONG.values(), {"purpose": "login", "binding": "session"}):
        assert await introspect(service, proof, stranger, **asked) == INACTIVE

    found = await introspect(service, proof, purpose="login", binding="session")

    assert found["active"] is True
    assert found["binding"] == hashed("session")


async def test_a_proof_bound_to_nothing_is_not_one_bound_to_something(
    service: Service, prove: Prove
) -> None:
    proof = await prove()

    assert await introspect(service, proof, binding="session") == INACTIVE


async def test_introspection_tells_what_rfc_7662_names(service: Service, prove: Prove) -> None:
    found = await introspect(service, await prove())

    assert found["iss"] == service.settings.issuer
    assert found["aud"] == found["client_id"] == "shop"
    assert found["iat"] == found["auth_time"] == found["exp"] - 120
    assert len(found["jti"]) == 32
    assert "binding" not in found
    assert found["amr"] == ["sms"]


async def test_redis_holds_neither_a_binding_nor_a_hash_that_could_be_guessed(
    service: Service, prove: Prove
) -> None:
    """J: a binding may be short; without the ring its fingerprint can't be tried."""
    await prove(binding="1234")
    client: Any = service.container.scripts.connection.client
    [key] = [key async for key in client.scan_iter(match="otp:*:proof:*")]
    record = await client.hgetall(key)

    assert "1234" not in record["binding"]
    assert record["binding"] not in (hashed("1234"), hashlib.sha256(b"1234").hexdigest()[:32])
    assert "ann" not in json.dumps(record)


# --- Signed ----------------------------------------------------------------------------------------------------------


def hashed(binding: str) -> str:
    digest = hashlib.sha256(binding.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


async def checked_by_pyjwt(service: Service, proof: str, *, audience: str = "shop") -> Any:
    """What an audience in another team does, with another library than ours."""
    published = (await service.http.get("/.well-known/jwks.json")).json()
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(published).keys}
    header = jwt.get_unverified_header(proof)
    assert header["typ"] == "otp-proof+jwt"
    return jwt.decode(
        proof,
        keys[header["kid"]],
        algorithms=["ES256", "EdDSA"],
        issuer=ISSUER,
        audience=audience,
        leeway=600,  # the tests' clock runs ahead
        options={"require": ["exp", "nbf", "iat", "aud", "iss", "jti"]},
    )


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_a_signed_proof_is_checked_by_another_library(
    start_service: Starter, algorithm: str
) -> None:
    """N-085: PyJWT, which knows Ed25519 by its older name only."""
    service = await start_service(OTP_ISSUER=ISSUER, OTP_PROOF_JWT_ALGORITHM=algorithm)
    proof = await prover(service)(proof_format="jwt", audience="payments", binding="session")

    claims = await checked_by_pyjwt(service, proof, audience="payments")

    assert jwt.get_unverified_header(proof)["alg"] == algorithm
    assert claims["sub"] == "ann"
    assert claims["client_id"] == "shop"
    assert claims["purpose"] == "login"
    assert claims["method"] == "sms"
    assert claims["amr"] == ["sms"]
    assert claims["binding"] == hashed("session")
    assert claims["auth_time"] == claims["iat"] == claims["nbf"] == claims["exp"] - 120
    assert set(claims) == {
        "iss", "aud", "sub", "client_id", "purpose", "binding", "challenge_id", "method", "amr",
        "auth_time", "iat", "nbf", "exp", "jti",
    }  # fmt: skip


async def test_what_is_not_known_is_not_claimed(start_service: Starter) -> None:
    service = await start_service(OTP_ISSUER=ISSUER)
    challenge = await service.request()
    answer = await service.verify(challenge, service.code(), proof_format="jwt")

    claims = await checked_by_pyjwt(service, answer.json()["proof"])

    assert not {"sub", "binding"} & set(claims)


async def test_every_way_of_verifying_gives_signed_proofs_and_none_claims_two_factors(
    start_service: Starter,
) -> None:
    """RFC 8176: `mfa` is nobody's to claim who has seen one factor, and a recovery code has no value there."""
    service = await start_service(OTP_ISSUER=ISSUER)
    enrolled = (await service.post("/factors/totp", subject="ann", account_name="ann")).json()
    app = pyotp.TOTP(enrolled["secret"])
    seconds = await service.now()
    confirm = f"/factors/totp/{enrolled['factor_id']}/confirm"
    assert (await service.post(confirm, code=app.at(seconds - 30))).status_code == 200
    [code, *_] = (await service.post("/recovery-codes", subject="ann")).json()["codes"]
    asked = {"subject": "ann", "purpose": "login", "proof_format": "jwt"}

    totp = await service.post("/factors/totp/verify", code=app.at(seconds), **asked)
    recovery = await service.post("/recovery-codes/verify", code=code, **asked)

    found = [await checked_by_pyjwt(service, a.json()["proof"]) for a in (totp, recovery)]
    assert [claims["method"] for claims in found] == ["totp", "recovery_code"]
    assert [claims.get("amr") for claims in found] == [["otp"], None]
    assert not any("challenge_id" in claims for claims in found)


async def test_a_repeated_call_gives_the_same_jti(service: Service) -> None:
    """X35, N-084: so an audience that remembers it takes the success once."""
    challenge = await service.request()
    key = {"Idempotency-Key": "v-1"}
    body = {
        "challenge_id": challenge["challenge_id"],
        "code": service.code(),
        "purpose": "login",
        "proof_format": "jwt",
    }

    proofs = [
        (await service.post("/otp/verify", headers=key, **body)).json()["proof"] for _ in range(2)
    ]

    ids = [jwt.decode(p, options={"verify_signature": False})["jti"] for p in proofs]
    assert ids[0] == ids[1]


async def test_a_signed_proof_is_not_recorded_and_never_active_here(
    service: Service, prove: Prove
) -> None:
    """Its audience checks it; who asks us by mistake learns that nothing is proven."""
    proof = await prove(proof_format="jwt")
    client: Any = service.container.scripts.connection.client

    assert [key async for key in client.scan_iter(match="otp:*:proof:*")] == []
    assert await introspect(service, proof) == INACTIVE


async def test_a_signed_proof_is_no_credential_and_no_credential_is_a_proof(
    service: Service, prove: Prove
) -> None:
    """F11."""
    proof = await prove(proof_format="jwt")
    credential = service.http.headers["authorization"].removeprefix("Bearer ")

    answer = await service.post(
        "/proofs/introspect", headers={"Authorization": f"Bearer {proof}"}, proof="x"
    )

    assert answer.status_code == 401
    assert await introspect(service, credential) == INACTIVE


async def test_the_published_keys_are_public_halves_under_distinct_ids(service: Service) -> None:
    """N-085: one for receipts, and one of each algorithm for proofs."""
    answer: httpx.Response = await service.http.get("/.well-known/jwks.json")
    keys = answer.json()["keys"]

    assert answer.headers["cache-control"] == "public, max-age=300"
    assert len({key["kid"] for key in keys}) == len(keys) == 3
    assert sorted(key["alg"] for key in keys) == ["ES256", "ES256", "EdDSA"]
    assert not any("d" in key for key in keys)
