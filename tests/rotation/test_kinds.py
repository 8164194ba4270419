"""K08: a key does what its kind is for, and nothing else."""

import json
from typing import Any

import pytest

from otp_service.store.deliveries import GROUP
from tests.conftest import Starter
from tests.reliability.harness import eventually
from tests.rotation.conftest import RingFile
from tests.web import hands


def swapped(text: str, one: str, other: str) -> str:
    """The ring with the secrets of two kinds in each other's place, under the same ids."""
    ring = json.loads(text)
    first, second = [next(e for e in ring["keys"] if e["kind"] == kind) for kind in (one, other)]
    first["secret"], second["secret"] = second["secret"], first["secret"]
    return json.dumps(ring)


@pytest.mark.parametrize(
    ("one", "other", "refusals"),
    [
        ("pepper", "seal", {"challenge_not_found"}),
        ("pepper", "phone", {"invalid_code"}),
        ("pepper", "proof", {"invalid_code"}),
        ("seal", "signing", {"challenge_not_found"}),
        ("route", "name", {"challenge_not_found", "challenge_replaced"}),
    ],
)
async def test_with_two_kinds_swapped_nothing_verifies(
    start_service: Starter, ring: str, one: str, other: str, refusals: set[str]
) -> None:
    """And nothing breaks: a refusal, never a 500."""
    right = await start_service(OTP_KEYRING=ring)
    wrong = await start_service(OTP_KEYRING=swapped(ring, one, other), OTP_DELIVER="false")
    right.http.headers.update(wrong.http.headers)  # a caller's newest credential counts
    challenge = await right.request(subject="user-1")
    code = right.code()

    assert (await wrong.verify(challenge, code)).json()["code"] in refusals
    assert (await right.verify(challenge, code)).status_code == 200


async def test_a_job_of_a_key_that_a_process_does_not_know_is_left_to_others(
    start_service: Starter, ring_file: RingFile
) -> None:
    """A worker that has not read the newest ring takes no code away from those who have."""
    behind = await start_service(OTP_KEYRING=ring_file.text)
    ring_file.rotate("route")
    ahead = await start_service(OTP_KEYRING=ring_file.text, OTP_DELIVER="false")
    behind.http.headers.update(ahead.http.headers)
    asked = await ahead.post("/otp/request", to="+14155550123", purpose="login")
    challenge: dict[str, Any] = asked.json()

    queue = f"otp:{{0{challenge['challenge_id'][1]}}}:queue"

    async def taken() -> bool:
        return bool((await hands.redis(ahead).xpending(queue, GROUP))["pending"])

    await eventually(taken, "the job is read")
    await behind.container.worker.stop()
    [(_, job)] = await hands.redis(ahead).xrange(queue)
    assert job["id"] == challenge["challenge_id"]
