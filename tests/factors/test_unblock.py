"""An operator frees a person whom too many wrong codes have blocked."""

from otp_service.core.challenge import subject_address
from otp_service.store.guards import Guards
from tests.conftest import Service

USER = "user-1"


async def fail(service: Service, times: int) -> list[str]:
    """Wrong codes in challenges of their own, as many as it takes; what each was answered."""
    answers: list[str] = []
    while len(answers) < times:
        service.advance(121)
        challenge = await service.post(
            "/otp/request",
            headers={"Prefer": "wait=30"},
            to="+14155550123",
            purpose="login",
            subject=USER,
        )
        if challenge.status_code != 202:
            return [*answers, challenge.json()["code"]]
        for _ in range(min(5, times - len(answers))):
            answers.append(
                (await service.verify(challenge.json(), service.wrong_code())).json()["code"]
            )
    return answers


async def unblock(service: Service) -> int:
    address = subject_address(service.settings.ring(), "shop", f"subject:{USER}")
    policy = service.settings.policy()
    guards = Guards(service.container.scripts, budget=policy.failures, history_ms=policy.history_ms)
    return await guards.unblock(address, "sms")


async def test_who_is_not_blocked_is_not_touched(service: Service) -> None:
    await fail(service, 3)

    assert await unblock(service) == 0


async def test_an_unblocked_person_has_five_more_tries_and_no_more(service: Service) -> None:
    """K18: unblocking is no way to guess on."""
    await fail(service, 10)
    assert (await fail(service, 1))[-1] == "subject_blocked"

    assert await unblock(service) == 5
    answers = await fail(service, 5)

    assert answers == ["invalid_code"] * 4 + ["challenge_exhausted"]
    assert (await fail(service, 1))[-1] == "subject_blocked"


async def test_success_after_an_unblock_clears_the_counts(service: Service) -> None:
    await fail(service, 10)
    await unblock(service)
    service.advance(121)
    challenge = await service.request(subject=USER)

    assert (await service.verify(challenge, service.code())).status_code == 200
    assert await unblock(service) == 0
