"""The story of recovery codes: shown once, each opens once."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import httpx
import pytest
import redis
from prometheus_client import REGISTRY

from otp_service.core import recovery_codes
from otp_service.core.challenge import person_address
from otp_service.core.keyring import Kind
from otp_service.core.proofs import ProofOptions
from otp_service.errors import Overloaded
from otp_service.services.hashing import ISSUING_CAPACITY
from tests.conftest import Service, Starter
from tests.factors.test_totp import confirmed, now, verify

USER = "user-1"


async def issue(service: Service) -> list[str]:
    answer = await service.post("/recovery-codes", subject=USER)
    assert answer.status_code == 201, answer.text
    return list(answer.json()["codes"])


async def redeem(service: Service, code: str, **more: Any) -> httpx.Response:
    body = {"subject": USER, "code": code, "purpose": "recovery", **more}
    return await service.post("/recovery-codes/verify", **body)


async def test_each_of_ten_codes_is_redeemed_once(service: Service) -> None:
    """B18."""
    codes = await issue(service)
    assert len(set(codes)) == 10

    first = await redeem(service, codes[0])
    second = await redeem(service, codes[0])
    other = await redeem(service, codes[1])

    assert first.json()["method"] == "recovery_code"
    assert first.json()["amr"] == []
    assert (first.json()["remaining"], other.json()["remaining"]) == (9, 8)
    assert second.json()["code"] == "invalid_code"


async def test_thirty_at_once_redeem_one(service: Service) -> None:
    """B19: artifact-keeper #1822 let 14 of 30 through."""
    code = (await issue(service))[0]

    answers = await asyncio.gather(*(redeem(service, code) for _ in range(30)))

    assert [a.status_code for a in answers].count(200) == 1


async def test_two_different_codes_at_once_are_both_spent(service: Service) -> None:
    """B20."""
    codes = await issue(service)

    answers = await asyncio.gather(*(redeem(service, code) for code in codes[:2]))

    assert [a.status_code for a in answers] == [200, 200]
    assert sorted(a.json()["remaining"] for a in answers) == [8, 9]


async def test_a_new_set_voids_the_old_one(service: Service) -> None:
    """B21."""
    old = await issue(service)
    new = await issue(service)

    assert (await redeem(service, old[0])).json()["code"] == "invalid_code"
    assert (await redeem(service, new[0])).status_code == 200


@pytest.mark.parametrize(
    "spell",
    [str.lower, lambda c: c.replace("-", " "), lambda c: c.replace("0", "O").replace("1", "l")],
)
async def test_a_code_is_read_as_people_type_it(service: Service, spell: Any) -> None:
    code = (await issue(service))[0]

    assert (await redeem(service, spell(code))).status_code == 200


async def test_wrong_codes_block_and_what_is_no_code_counts_for_nothing(service: Service) -> None:
    codes = await issue(service)
    assert (await redeem(service, "short")).status_code == 422

    wrong = [await redeem(service, recovery_codes.draw()) for _ in range(10)]

    assert [w.json().get("attempts_remaining") for w in wrong] == list(range(9, -1, -1))
    assert (await redeem(service, codes[0])).json()["code"] == "subject_blocked"


async def test_nothing_in_redis_is_a_code(service: Service, valkey_url: str) -> None:
    codes = await issue(service)
    with redis.Redis.from_url(valkey_url) as client:
        kept = b" ".join(client.dump(key) or b"" for key in client.scan_iter())

    assert b"argon2id" in kept
    assert not any(
        code.replace("-", "").encode() in kept or code.encode() in kept for code in codes
    )


async def test_the_same_idempotency_key_shows_the_codes_once(service: Service) -> None:
    """B17."""
    headers = {"Idempotency-Key": "codes-1"}

    first = await service.http.post("/recovery-codes", json={"subject": USER}, headers=headers)
    second = await service.http.post("/recovery-codes", json={"subject": USER}, headers=headers)

    assert second.json()["code"] == "already_issued"
    assert (await redeem(service, first.json()["codes"][0])).status_code == 200


async def test_a_subject_without_codes_has_nothing_to_try(service: Service) -> None:
    assert (await redeem(service, recovery_codes.draw())).json()["code"] == "factor_not_found"


@contextmanager
def no_hash_capacity(service: Service) -> Iterator[None]:
    """Every slot for verifications is in use."""
    share = service.container.service.recovery._hashes._verifying
    taken = 0
    try:
        while share.refusal("shop") is None:
            share.take("shop")
            taken += 1
        yield
    finally:
        for _ in range(taken):
            share.release("shop")


def issuing_hashes() -> float:
    """How many hashes this process has computed to issue recovery codes."""
    return REGISTRY.get_sample_value("otp_hashes_total", {"use": "issue"}) or 0


async def test_codes_without_the_needed_proof_cost_no_hash(start_service: Starter) -> None:
    """I01: a proof that is missing, dead or another person's is found out before the first hash."""
    service = await start_service(OTP_TOTP_ENROLLMENT_PROOF="true")
    _, app = await confirmed(service)
    spent = (await verify(service, app.at(await now(service)))).json()["proof"]
    await service.post("/proofs/introspect", proof=spent)
    before = issuing_hashes()

    for proof in ({}, {"proof": spent}, {"proof": "otpp_0" + "1" + "x" * 43}):
        answer = await service.post("/recovery-codes", subject=USER, **proof)
        assert (answer.status_code, answer.json()["code"]) == (409, "factor_proof_required")
    assert issuing_hashes() == before


async def test_an_eleventh_set_in_an_hour_is_refused(service: Service) -> None:
    """I01: of one subject; the refused call hashes nothing and the newest set stays good."""
    for _ in range(9):
        await issue(service)
    codes, before = await issue(service), issuing_hashes()
    refused = await service.post("/recovery-codes", subject=USER)

    assert (refused.status_code, refused.json()["limit"]) == (429, "recovery_codes")
    assert int(refused.headers["Retry-After"]) > 3500
    assert issuing_hashes() == before
    assert (await redeem(service, codes[0])).status_code == 200
    assert (await service.post("/recovery-codes", subject="user-2")).status_code == 201
    service.advance(3600)
    await issue(service)


async def test_a_set_refused_for_capacity_keeps_proof_and_limit(start_service: Starter) -> None:
    """I01: 503 spends nothing: the same proof gets a set once there is capacity."""
    service = await start_service(OTP_TOTP_ENROLLMENT_PROOF="true")
    _, app = await confirmed(service)
    proof = (await verify(service, app.at(await now(service)))).json()["proof"]
    pool, before = service.container.service.recovery._hashes, issuing_hashes()
    async with AsyncExitStack() as stack:
        for _ in range(ISSUING_CAPACITY):
            pool._issuing.take("shop")
            stack.callback(pool._issuing.release, "shop")
        for _ in range(11):
            full = await service.post("/recovery-codes", subject=USER, proof=proof)
            assert (full.status_code, full.json()["code"]) == (503, "overloaded")
    assert issuing_hashes() == before

    assert (await service.post("/recovery-codes", subject=USER, proof=proof)).status_code == 201


async def test_repeated_success_needs_no_hash_capacity(service: Service) -> None:
    """I01: the code was accepted, the answer was lost, and the hash pool is full when the call comes again."""
    code = (await issue(service))[0].replace("-", "")
    recovery, handle = service.container.service.recovery, secrets.token_hex(16)

    async def call() -> Any:
        return await recovery.redeem(
            "shop",
            USER,
            code,
            purpose="recovery",
            binding="",
            handle=handle,
            proof_options=ProofOptions(),
        )

    first = await call()
    with no_hash_capacity(service):
        repeated = await call()

    assert repeated == first


async def test_full_hash_pool_still_answers_who_has_no_try(service: Service) -> None:
    """I01: a blocked subject and a subject without codes; neither answer needs a hash."""
    codes = await issue(service)
    for _ in range(10):
        await redeem(service, recovery_codes.draw())

    with no_hash_capacity(service):
        blocked = await redeem(service, codes[0])
        nobody = await redeem(service, codes[0], subject="user-2")

    assert (blocked.status_code, blocked.json()["code"]) == (429, "subject_blocked")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "factor_not_found")


async def test_full_hash_pool_refuses_every_recovery_code_alike(service: Service) -> None:
    """I01: also a wrong code, which needs no hash: else 503 would tell that the other code exists."""
    codes = await issue(service)
    with no_hash_capacity(service):
        shed = [await redeem(service, code) for code in (codes[0], recovery_codes.draw())]

    assert [(s.status_code, s.json()["code"]) for s in shed] == [(503, "overloaded")] * 2
    assert shed[0].json()["detail"] == shed[1].json()["detail"]
    wrong = await redeem(service, recovery_codes.draw())
    assert wrong.json()["attempts_remaining"] == 9
    assert (await redeem(service, codes[0])).status_code == 200


async def test_repeated_try_without_hash_capacity_tells_no_code(service: Service) -> None:
    """I01: the try is counted already; whether there is a candidate still does not show."""
    codes = await issue(service)
    recovery, handles = service.container.service.recovery, ["11" * 16, "22" * 16]
    keyring = service.settings.ring()
    address = person_address(keyring, "shop", USER)
    name = keyring.active(Kind.NAME)
    found = []
    for handle, code in zip(handles, (codes[0], recovery_codes.draw()), strict=True):
        plain = code.replace("-", "")
        index = recovery_codes.index(name, pseudonym=address.pseudonym, code=plain)
        await recovery._codes.reserve(address, index, attempt_id=handle)
        with pytest.raises(Overloaded) as refused:
            await recovery._codes.reserve(
                address, index, attempt_id=handle, overloaded=Overloaded("full")
            )
        found.append(refused.value.detail)
    assert found == ["full", "full"]
