"""What a person gets in with is changed only by who shows what they get in with: where the operator asks for that."""

import asyncio
from typing import Any

import httpx
import pyotp
import pytest

from otp_service.core import proofs
from otp_service.core.challenge import ChallengeAddress, lasting_id_for, subject_address
from otp_service.services.factor_proofs import PresentedProof
from otp_service.store import keys, script_sources
from otp_service.store.factors import NewFactor
from otp_service.store.proofs import FactorProof
from tests.conftest import Service, Starter
from tests.factors.test_recovery_codes import issue, redeem
from tests.factors.test_totp import USER, confirmed, enroll, now, verify


@pytest.fixture
async def service(start_service: Starter) -> Service:
    return await start_service(OTP_TOTP_ENROLLMENT_PROOF="true")


async def ask(service: Service, **more: Any) -> httpx.Response:
    body = {"subject": USER, "account_name": "ann", **more}
    return await service.post("/factors/totp", **body)


async def shown(service: Service, app: Any, subject: str = USER, **more: Any) -> str:
    """A proof by the authenticator."""
    answer = await verify(service, app.at(await now(service)), subject, **more)
    assert answer.status_code == 200, answer.text
    service.advance(60)
    return str(answer.json()["proof"])


def refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json().get("code")) == (409, "factor_proof_required")


async def test_the_first_authenticator_needs_no_proof_and_the_second_one_does(
    service: Service,
) -> None:
    """B29, N-033: with a proof by the first one, which is spent."""
    _, app = await confirmed(service)
    assert refused(await ask(service))
    proof = await shown(service, app)

    assert (await ask(service, proof=proof)).status_code == 201
    assert refused(await ask(service, proof=proof))
    assert (await service.post("/proofs/introspect", proof=proof)).json() == {"active": False}


async def test_a_recovery_code_proves_too(service: Service) -> None:
    codes = await issue(service)
    await confirmed(service)
    proof = (await redeem(service, codes[0])).json()["proof"]

    assert (await ask(service, proof=proof)).status_code == 201


async def test_a_code_by_sms_proves_nothing_here(service: Service) -> None:
    """N-012: whose number it is, only the caller knows, and it may have been set a minute ago."""
    await confirmed(service)
    challenge = await service.request(subject=USER)
    proof = (await service.verify(challenge, service.code())).json()["proof"]

    assert refused(await ask(service, proof=proof))
    assert (await service.post("/proofs/introspect", proof=proof)).json()["active"]


async def test_a_proof_of_another_subject_or_caller_or_of_none_is_no_proof(
    service: Service,
) -> None:
    await confirmed(service)
    _, other = await confirmed(service, "user-2")
    stranger = await service.caller("stranger")
    foreign, own = await shown(service, other, "user-2"), await shown(service, other, "user-2")

    assert refused(await ask(service, proof=foreign))
    assert refused(await ask(service, proof="otpp_0" + "1" + "x" * 43))
    assert refused(await ask(service, proof="no-proof"))
    theirs = await service.post(
        "/factors/totp", headers=stranger, subject="user-2", account_name="ann", proof=own
    )
    assert refused(theirs)
    assert (await service.post("/proofs/introspect", proof=own)).json()["active"]


@pytest.mark.parametrize("method", ["totp", "sms"])
async def test_a_proof_that_is_meant_for_another_caller_is_no_proof_here(
    service: Service, method: str
) -> None:
    """F11: nobody here may look at it, so nobody knows what it proves, and nothing may spend it."""
    factor_id, app = await confirmed(service)
    await service.caller("payments")
    if method == "totp":
        proof = await shown(service, app, audience="payments")
    else:
        challenge = await service.request(subject=USER)
        proved = await service.verify(challenge, service.code(), audience="payments")
        proof = proved.json()["proof"]

    assert refused(await ask(service, proof=proof))
    assert refused(await service.post("/recovery-codes", subject=USER, proof=proof))
    assert refused(await service.post(f"/factors/{factor_id}/remove", proof=proof))
    payments = await service.caller("payments")
    redeemed = await service.post("/proofs/introspect", headers=payments, proof=proof)
    assert redeemed.json()["active"]


async def test_the_script_alone_would_take_a_proof_that_is_meant_for_another_caller(
    service: Service,
) -> None:
    """The negative control: it spends what it is told of, so nobody may tell it of what was not looked at."""
    _, app = await confirmed(service)
    await service.caller("payments")
    proof = await shown(service, app, audience="payments")
    ring, apps = service.settings.ring(), service.container.service.apps
    subject = subject_address(ring, "shop", f"subject:{USER}")
    address = ChallengeAddress(lasting_id_for(ring, subject, "ab" * 16), subject)
    new = NewFactor(caller="shop", name="", about="", seed="", algorithm="SHA1", digits=6)
    key = keys.proof(subject.bucket, proofs.digest(proof))

    enrolled = await apps._factors.enroll(address, new, proof=FactorProof(required=True, key=key))

    assert enrolled is not None


async def test_a_proof_is_good_for_its_two_minutes_only(service: Service) -> None:
    _, app = await confirmed(service)
    proof = await shown(service, app)
    service.advance(61)

    assert refused(await ask(service, proof=proof))


async def test_enrolled_before_the_first_was_confirmed_is_no_way_around(service: Service) -> None:
    """B29: a stranger enrols too while the person is at it, and confirms afterwards."""
    strangers, theirs = await enroll(service)
    await confirmed(service)

    path = f"/factors/totp/{strangers['factor_id']}/confirm"
    late = await service.post(path, code=theirs.at(await now(service)))

    assert refused(late)
    assert (await verify(service, theirs.at(await now(service)))).status_code == 400


async def test_with_the_proof_shown_at_the_enrollment_confirming_needs_none(
    service: Service,
) -> None:
    _, app = await confirmed(service)
    enrolled, new = await enroll(service, proof=await shown(service, app))

    path = f"/factors/totp/{enrolled['factor_id']}/confirm"
    confirmation = await service.post(path, code=new.at(await now(service)))

    assert confirmation.status_code == 200


async def test_recovery_codes_are_drawn_and_factors_removed_with_a_proof(service: Service) -> None:
    """Else both would be a way around: the old one removed, the next one is the first."""
    factor_id, app = await confirmed(service)
    removal = f"/factors/{factor_id}/remove"

    assert refused(await service.post("/recovery-codes", subject=USER))
    assert refused(await service.http.delete(f"/factors/{factor_id}"))
    assert refused(await service.post(removal, proof="spent"))
    drawn = await service.post("/recovery-codes", subject=USER, proof=await shown(service, app))
    assert drawn.status_code == 201
    proof = await shown(service, app)
    assert (await service.post(removal, proof=proof)).status_code == 204
    assert (await service.post(removal, proof=proof)).status_code == 404
    assert (await ask(service)).status_code == 201


async def test_what_is_only_pending_is_removed_without(service: Service) -> None:
    enrolled, _ = await enroll(service)

    assert (await service.http.delete(f"/factors/{enrolled['factor_id']}")).status_code == 204


async def test_one_proof_enrolls_one_authenticator_however_many_ask_at_once(
    service: Service,
) -> None:
    _, app = await confirmed(service)
    proof = await shown(service, app)

    answers = await asyncio.gather(*(ask(service, proof=proof) for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_a_repeated_call_learns_that_it_was_done_and_not_that_the_proof_is_spent(
    service: Service,
) -> None:
    """B17: also when the first run's answer was not even kept."""
    _, app = await confirmed(service)
    body = {
        "caller": "shop",
        "subject": USER,
        "account_name": "ann",
        "issuer": None,
        "name": "Phone",
        "algorithm": "SHA1",
        "digits": 6,
        "policy": service.settings.policy(),
        "shown": PresentedProof(proof=await shown(service, app), required=True),
        "handle": "ab" * 16,
    }
    made: Any = await service.container.service.apps.enroll(**body)

    with pytest.raises(Exception, match="issued before") as again:
        await service.container.service.apps.enroll(**body)

    assert again.value.factor_id == made.factor_id  # type: ignore[attr-defined]


async def test_a_shown_proof_is_spent_where_none_is_asked_for_too(start_service: Starter) -> None:
    service = await start_service()
    _, app = await confirmed(service)
    proof = await shown(service, app)

    assert (await ask(service, proof=proof)).status_code == 201
    assert refused(await ask(service, proof=proof))
    assert (await ask(service)).status_code == 201


@pytest.mark.parametrize(
    ("script", "guard"),
    [
        ("accept_step", "a.proof_required and not factor.proven"),
        ("enroll_factor", "a.proof_required"),
    ],
)
async def test_without_its_guard_a_script_lets_the_stranger_in(
    service: Service, script: str, guard: str
) -> None:
    """The negative control of B29."""
    text = script_sources.source(script)
    assert guard in text
    service.container.scripts._sources[script] = text.replace(guard, "false")
    service.container.scripts._shas[script] = "0" * 40
    strangers, theirs = await enroll(service)
    await confirmed(service)

    if script == "enroll_factor":
        assert (await ask(service)).status_code == 201
    else:
        path = f"/factors/totp/{strangers['factor_id']}/confirm"
        assert (await service.post(path, code=theirs.at(await now(service)))).status_code == 200


async def test_a_proof_of_another_session_binds_nothing(service: Service) -> None:
    """B13: what was verified with a binding is good for who gives the same one."""
    _, app = await confirmed(service)
    proof = await shown(service, app, binding="session-1")

    assert refused(await ask(service, proof=proof))
    assert refused(await ask(service, proof=proof, proof_binding="session-2"))
    assert (await ask(service, proof=proof, proof_binding="session-1")).status_code == 201


async def test_the_operator_can_ask_it_of_one_caller(start_service: Starter) -> None:
    service = await start_service()
    bank = await service.caller("bank", enrollment_proof="true")
    body = {"subject": "ann", "account_name": "ann"}
    first = (await service.post("/factors/totp", headers=bank, **body)).json()
    app = pyotp.TOTP(first["secret"])
    code = app.at(await now(service))
    path = f"/factors/totp/{first['factor_id']}/confirm"
    assert (await service.post(path, headers=bank, code=code)).status_code == 200

    assert refused(await service.post("/factors/totp", headers=bank, **body))
