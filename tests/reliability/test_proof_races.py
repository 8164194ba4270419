"""
One proof, many hands: whoever of its audience asks first, and nobody besides.

The flows and scripts of the service on a real Valkey, over two connections as two processes would have. The same races
run against scripts with one defence taken out, and must see them fail.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from otp_service.core import keyring, proofs
from otp_service.core.challenge import new_handle, subject_address
from otp_service.core.keyring import Keyring
from otp_service.core.limits import FailureBudget
from otp_service.core.proofs import ProofOptions, Success
from otp_service.core.signing import Algorithm
from otp_service.services.proofs import ProofMaking, ProofRedemption, Proven
from otp_service.store import keys
from otp_service.store.connection import Timeouts, connect
from otp_service.store.proofs import FactorProof, Proofs
from otp_service.store.recovery_codes import RecoveryCodes
from otp_service.store.scripts import Scripts
from tests.reliability.test_model import Mutant

RING = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))
SUBJECT = subject_address(RING, "shop", "subject:ann")
HANDS = 50


@dataclass
class Line:
    """What one process has."""

    scripts: Scripts
    redemption: ProofRedemption


@pytest.fixture
async def lines(valkey_url: str) -> AsyncIterator[list[Line]]:
    connections = [
        connect(valkey_url, name=f"race-{n}", connections=60, timeouts=Timeouts(command=10))
        for n in range(2)
    ]
    made = []
    for connection in connections:
        scripts = Scripts(connection)
        redemption = ProofRedemption(Proofs(scripts), lambda: RING, issuer="otp")
        made.append(Line(scripts, redemption))
    yield made
    for connection in connections:
        await connection.aclose()


async def proven(line: Line, *, binding: str = "") -> str:
    """Burn a recovery code; return the proof."""
    making = ProofMaking(lambda: RING, ttl=120, issuer="otp", algorithm=Algorithm.ES256)
    handle = new_handle(RING)
    success = Success(
        caller="shop", id=f"{SUBJECT.bucket:02x}{handle}", attempt_id=handle, challenge_id=None,
        method="recovery_code", amr=(), purpose="login", binding=binding, subject="ann",
    )  # fmt: skip
    pending = making.begin(success, ProofOptions())
    codes = RecoveryCodes(line.scripts, budget=FailureBudget(), history_ms=60_000)
    await codes.replace(SUBJECT, {"index": handle}, event=None, proof=FactorProof())
    redeemed = await codes.redeem(
        SUBJECT,
        index="index",
        phc=handle,
        attempt_id=handle,
        proof_kid="",
        proof=pending.record,
        event=None,
    )
    assert redeemed is not None
    return pending.at(redeemed.at)


async def winners(
    lines: list[Line], proof: str, *, callers: tuple[str, ...] = ("shop",), binding: str = ""
) -> list[Proven]:
    """Fifty introspections in one moment; the callers take turns."""
    answers = await asyncio.gather(
        *(
            lines[n % 2].redemption.redeem(
                callers[n % len(callers)], proof, purpose="login", binding=binding
            )
            for n in range(HANDS)
        )
    )
    return [answer for answer in answers if answer is not None]


async def test_of_fifty_at_once_one_redeems(lines: list[Line], rounds: int) -> None:
    """B12, Q3."""
    for _ in range(rounds):
        found = await winners(lines, await proven(lines[0]))
        assert [one.subject for one in found] == ["ann"]


async def test_strangers_among_them_neither_win_nor_spend(lines: list[Line], rounds: int) -> None:
    """B13, F18: there is one winner, and it is the audience."""
    for _ in range(rounds):
        proof = await proven(lines[0])
        assert await winners(lines, proof, callers=("mallory", "eve")) == []
        found = await winners(lines, proof, callers=("mallory", "shop", "eve"))
        assert [one.audience for one in found] == ["shop"]


async def test_a_wrong_binding_among_right_ones_wins_nothing_and_at_most_costs_it(
    lines: list[Line],
    rounds: int,
) -> None:
    """B13."""
    for _ in range(rounds):
        proof = await proven(lines[0], binding="session")
        wrong, right = await asyncio.gather(
            winners(lines, proof, binding="another"), winners(lines, proof, binding="session")
        )
        assert wrong == []
        assert len(right) <= 1


WITHOUT = {
    "a proof is not deleted (B12)": ("redis.call('DEL', KEYS[1])", ""),
    "an audience is nobody's business (B13)": (
        "if fields.audience ~= a.caller then",
        "if not fields.audience then",
    ),
    "a binding is nobody's business (B13)": ("fields.binding ~= a.binding or ", ""),
    "a purpose is nobody's business (B13)": (
        "(a.purpose and fields.purpose ~= a.purpose)",
        "false",
    ),
    "a proof has no end (F10)": ("is_alive(fields[1], fields[2], now) or false", "true"),
}


@pytest.mark.parametrize("what", WITHOUT)
async def test_the_races_see_a_script_without_one_of_its_defences(
    lines: list[Line], what: str
) -> None:
    """The negative controls."""
    await everything(lines)
    for line in lines:
        Mutant(what, "spend_proof", *WITHOUT[what]).put_into(line.scripts)
    with pytest.raises(AssertionError, match="found"):
        await everything(lines)


async def everything(lines: list[Line]) -> None:
    """Every way in which a proof could open what it must not, once."""
    proof = await proven(lines[0])
    assert len(await winners(lines, proof)) == 1, "found"
    assert await winners(lines, proof) == [], "found"
    assert await winners(lines, await proven(lines[0]), callers=("mallory",)) == [], "found"
    proof = await proven(lines[0], binding="session")
    assert await winners(lines, proof, binding="another") == [], "found"
    elsewhere = await lines[0].redemption.redeem(
        "shop", await proven(lines[0]), purpose="payment", binding=""
    )
    assert elsewhere is None, "found"
    late = await proven(lines[0])
    for line in lines:
        line.scripts.offset_ms = 120_000
    answer = await lines[0].redemption.redeem("shop", late, purpose="login", binding="")
    for line in lines:
        line.scripts.offset_ms = 0
    assert answer is None, "found"


async def test_a_reader_that_looks_then_deletes_is_seen_to_redeem_twice(
    lines: list[Line], valkey_url: str
) -> None:
    """B12's vulnerable build: the same fifty hands, without the script."""
    proof = await proven(lines[0])
    key = keys.proof(SUBJECT.bucket, proofs.digest(proof))
    won = 0
    start = asyncio.Barrier(HANDS)
    async with Redis.from_url(valkey_url, max_connections=HANDS) as client:

        async def naive() -> None:
            nonlocal won
            await client.ping()
            await start.wait()
            if await client.hgetall(key):
                await client.delete(key)
                won += 1

        await asyncio.gather(*(naive() for _ in range(HANDS)))
    assert won > 1
