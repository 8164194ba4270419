"""Each attack again, on scripts without the line that stops it: it must work there, or its test proves nothing."""

from tests.conftest import Service
from tests.factors.test_totp import USER, confirmed, enroll, now, verify
from tests.reliability.test_factor_races import without


async def test_an_older_step_after_a_newer_one(service: Service) -> None:
    """B25, B27: where only the very step is remembered, as most do."""
    guard = "return step <= factor.last_step or"
    without(service, "accept_step", guard, "return step == factor.last_step or")
    _, app = await confirmed(service)
    moment = await now(service)
    assert (await verify(service, app.at(moment))).status_code == 200

    assert (await verify(service, app.at(moment - 30))).status_code == 200


async def test_a_pending_authenticator_used_for_a_login(service: Service) -> None:
    """B29."""
    without(
        service,
        "reserve_factor",
        "local wanted = factor.status == 'confirmed'",
        "local wanted = true",
    )
    without(service, "accept_step", "or (factor.status == 'pending') ~= a.confirm then", "then")
    _, app = await enroll(service)

    assert (await verify(service, app.at(await now(service)))).status_code == 200


async def test_a_factor_of_somebody_else(service: Service) -> None:
    """B33, F17."""
    without(service, "change_factor", "or factor.caller ~= a.caller then", "then")
    factor_id, _ = await confirmed(service)
    stranger = await service.caller("stranger")

    removed = await service.http.delete(f"/factors/{factor_id}", headers=stranger)

    assert removed.status_code == 204


async def test_tries_that_are_not_counted(service: Service) -> None:
    """A10: any number of guesses over any number of sessions."""
    without(
        service,
        "reserve_factor",
        "local left, own = count_failure(KEYS[2], KEYS[5], a.budget, now)",
        "local left, own = 9, 9",
    )
    _, app = await confirmed(service)
    wrong = f"{(int(app.at(await now(service))) + 1) % 1_000_000:06d}"

    answers = [await verify(service, wrong, USER) for _ in range(12)]

    assert {answer.status_code for answer in answers} == {400}
