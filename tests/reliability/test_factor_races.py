"""
Fifty at once, round after round: a step, a recovery code and a set of them are spent once and stay spent.

The flows run on the real Valkey without HTTP between, and the hash is cheap: what races are the scripts. Each race has
its negative control: the same rounds with the guard taken out of the script must see it fail.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyotp
import pytest

from otp_service.core.challenge import subject_address
from otp_service.core.codes import HashCost
from otp_service.core.limits import Window
from otp_service.core.proofs import ProofOptions
from otp_service.core.totp import Algorithm
from otp_service.errors import OtpError
from otp_service.services.factor_proofs import PresentedProof
from otp_service.services.hashing import HashPool
from otp_service.services.recovery import Recovery
from otp_service.store import keys, script_sources
from otp_service.store.recovery_codes import TriedCode
from tests.conftest import Service, Starter
from tests.factors.test_totp import now

AT_ONCE = 50
NOTHING = PresentedProof(proof=None, required=False)
# Every round counts 49 wrong ones, and its winner clears them.
WIDE = {
    "OTP_LOCKOUT_SHORT": "1000/30m",
    "OTP_LOCKOUT_LONG": "1000/1d",
    "OTP_REDIS_TIMEOUT": "10",
    "OTP_LOG_LEVEL": "ERROR",
}
CHEAP = HashCost(passes=1, memory_kib=8)


def without(service: Service, script: str, guard: str, instead: str) -> None:
    """Take a guard out of a script."""
    text = script_sources.source(script)
    assert guard in text, guard
    service.container.scripts._sources[script] = text.replace(guard, instead)
    service.container.scripts._shas[script] = "0" * 40


async def outcomes(calls: Sequence[Any]) -> Counter[str]:
    """How often which answer came; `won` for a success."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, OtpError):
            raise each
    return Counter(each.code if isinstance(each, OtpError) else "won" for each in found)


@pytest.fixture
async def service(start_service: Starter) -> Service:
    return await start_service(**WIDE)


# --- Authenticators --------------------------------------------------------------------------------------------------


async def race_a_step(service: Service, rounds: int) -> list[Counter[str]]:
    apps, subject = service.container.service.apps, "user-1"
    made = await apps.enroll(
        "shop", subject, account_name="ann", issuer=None, name="Phone", algorithm=Algorithm.SHA1,
        digits=6, policy=service.settings.policy(), shown=NOTHING, handle="00" * 16,
    )  # fmt: skip
    app = pyotp.TOTP(made.secret)
    await apps.confirm(
        "shop", made.factor_id, app.at(await now(service)), proof_required=False, handle="11" * 16
    )
    seen = []
    for number in range(rounds):
        service.advance(60)
        code = app.at(await now(service))
        seen.append(
            await outcomes(
                [
                    service.container.service.totp_verification.verify(
                        "shop", subject, code, purpose="login", binding="", diagnose=False,
                        proof_options=ProofOptions(), handle=f"{number:016x}{i:016x}",
                    )
                    for i in range(AT_ONCE)
                ]
            )
        )  # fmt: skip
    return seen


async def test_a_step_has_one_winner(service: Service, rounds: int) -> None:
    """B24."""
    for seen in await race_a_step(service, rounds):
        assert seen == {"won": 1, "invalid_code": AT_ONCE - 1}


async def test_without_the_memory_of_steps_all_win(service: Service) -> None:
    """B24's negative control."""
    without(service, "accept_step", "return step <= factor.last_step or", "return")
    [seen] = await race_a_step(service, 1)
    assert seen["won"] > 1


# --- Recovery codes --------------------------------------------------------------------------------------------------


@pytest.fixture
async def recovery(service: Service) -> Any:
    pool = HashPool(CHEAP, threads=2, queue=AT_ONCE)
    made = service.container.service.recovery
    yield Recovery(
        keyring=made._keyring,
        codes=made._codes,
        limits=made._limits,
        hashes=pool,
        proofs=made._proofs,
        factor_proofs=made._factor_proofs,
        events=made._events,
        per_subject=Window(10_000, 3600),
    )
    pool.close()


def redemptions(recovery: Recovery, codes: Sequence[str], subject: str) -> list[Any]:
    return [
        recovery.redeem(
            "shop", subject, code.replace("-", ""), purpose="recovery", binding="", proof_options=ProofOptions(),
            handle=secrets.token_hex(16),
        )
        for code in codes
    ]  # fmt: skip


async def issued(recovery: Recovery, subject: str) -> list[str]:
    codes, _ = await recovery.issue("shop", subject, shown=NOTHING, handle=secrets.token_hex(16))
    return list(codes)


async def left(service: Service, subject: str) -> set[str]:
    """The indexes of the codes that are not spent."""
    address = subject_address(service.settings.ring(), "shop", f"subject:{subject}")
    client: Any = service.container.scripts.connection.client
    return set(await client.hkeys(keys.recovery(address)))


async def race_one_code(recovery: Recovery, rounds: int) -> list[Counter[str]]:
    """Return what came of each race. One code of ten stays: who is late for the last one hears that there is none."""
    seen = []
    for _ in range(-(-rounds // 9)):
        *codes, _ = await issued(recovery, "user-1")
        seen += [
            await outcomes(redemptions(recovery, [code] * AT_ONCE, "user-1")) for code in codes
        ]
    return seen[:rounds]


async def test_a_recovery_code_has_one_winner(recovery: Recovery, rounds: int) -> None:
    """B19."""
    for seen in await race_one_code(recovery, rounds):
        assert seen == {"won": 1, "invalid_code": AT_ONCE - 1}


async def test_without_looking_whether_it_is_there_all_win(
    service: Service, recovery: Recovery
) -> None:
    """B19's negative control."""
    guard = "if redis.call('HGET', KEYS[1], a.index) ~= a.phc then"
    without(service, "redeem_recovery_code", guard, "if false then")
    assert any(seen["won"] > 1 for seen in await race_one_code(recovery, 10))


async def race_two_codes(service: Service, recovery: Recovery, rounds: int) -> list[int]:
    """Return how many codes were left after two of ten were redeemed at once, by 25 each."""
    found = []
    for _ in range(rounds):
        codes = await issued(recovery, "user-1")
        calls = redemptions(recovery, [*codes[:2]] * (AT_ONCE // 2), "user-1")
        seen = await outcomes(calls)
        assert seen["won"] == 2
        found.append(len(await left(service, "user-1")))
    return found


async def test_two_codes_at_once_are_both_spent_and_neither_comes_back(
    service: Service, recovery: Recovery, rounds: int
) -> None:
    """B20."""
    assert set(await race_two_codes(service, recovery, rounds)) == {8}


async def test_a_set_that_is_read_and_written_back_brings_one_back(
    service: Service, recovery: Recovery
) -> None:
    """B20's negative control: the usual list in one column."""
    address = subject_address(service.settings.ring(), "shop", "subject:user-1")
    await issued(recovery, "user-1")
    client: Any = service.container.scripts.connection.client
    first, second, *_ = sorted(await left(service, "user-1"))
    start = asyncio.Barrier(2)

    async def naive(index: str) -> None:
        mine = await client.hgetall(keys.recovery(address))
        await start.wait()
        del mine[index]
        await client.delete(keys.recovery(address))
        await client.hset(keys.recovery(address), mapping=mine)

    await asyncio.gather(naive(first), naive(second))
    assert len(await left(service, "user-1")) > 8


async def race_a_new_set(service: Service, recovery: Recovery, rounds: int) -> None:
    for _ in range(rounds):
        old = await issued(recovery, "user-1")
        new, *redeemed = await asyncio.gather(
            issued(recovery, "user-1"),
            *redemptions(recovery, [*old] * 2, "user-1"),
            return_exceptions=True,
        )
        assert not isinstance(new, BaseException)
        assert all(
            not isinstance(each, Exception) or isinstance(each, OtpError) for each in redeemed
        )
        late = await outcomes(redemptions(recovery, old, "user-1"))
        assert late == {"invalid_code": 10}, late
        assert len(await left(service, "user-1")) == 10
        assert await outcomes(redemptions(recovery, new[:1], "user-1")) == {"won": 1}


async def test_after_a_new_set_no_old_code_works_however_close_they_came(
    service: Service, recovery: Recovery, rounds: int
) -> None:
    """B21."""
    await race_a_new_set(service, recovery, rounds)


async def test_a_new_set_beside_the_old_one_is_seen(service: Service, recovery: Recovery) -> None:
    """B21's negative control."""
    without(service, "replace_recovery_codes", "redis.call('DEL', KEYS[1], KEYS[5] or KEYS[1])", "")
    with pytest.raises(AssertionError):
        await race_a_new_set(service, recovery, 3)


async def test_what_was_reserved_of_the_old_set_is_not_redeemed_after_the_new_one(
    service: Service, recovery: Recovery
) -> None:
    """B21: between the two scripts of a redemption, while it hashes."""
    codes = service.container.service.recovery._codes
    address = subject_address(service.settings.ring(), "shop", "subject:user-1")
    await issued(recovery, "user-1")
    index = min(await left(service, "user-1"))
    tried = await codes.reserve(address, index, attempt_id="11" * 16)
    assert isinstance(tried, TriedCode)
    assert tried.phc is not None
    await issued(recovery, "user-1")

    redeemed = await codes.redeem(
        address,
        index=index,
        phc=tried.phc,
        attempt_id="11" * 16,
        proof_kid="",
        proof=None,
        event=None,
    )

    assert redeemed is None
