"""Phone keys are replaced while numbers are limited and calls remembered."""

from typing import Any

import httpx
import pytest

from otp_service.core.keyring import Keyring, Kind
from tests.conftest import TO, Service, Starter
from tests.rotation.conftest import RingFile

ONE_A_DAY = {"OTP_LIMIT_RECIPIENT": "1/1d", "OTP_COOLDOWN": "1"}
LIMITS = [
    pytest.param({"OTP_LIMIT_RECIPIENT": "2/1d"}, {}, "recipient", id="recipient"),
    pytest.param({"OTP_LIMIT_RECIPIENT_TOTAL": "2/1d"}, {}, "shared", id="total"),
    pytest.param({"OTP_LIMIT_NUMBER_RANGE": "2/10m"}, {}, "number_block", id="block"),
    pytest.param({"OTP_LIMIT_CALLER": "2/1d"}, {}, "caller_budget", id="caller"),
    pytest.param(
        {"OTP_LIMIT_CLIENT_IP": "2/10m"}, {"client_ip": "198.51.100.7"}, "client_ip", id="ip"
    ),
]


async def ask(service: Service, **more: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if (key := more.pop("key", None)) else None
    return await service.post(
        "/otp/request", headers=headers, **{"to": TO, "purpose": "login", **more}
    )


@pytest.mark.parametrize(("settings", "more", "limit"), LIMITS)
async def test_a_rotation_loosens_no_limit(
    start_service: Starter,
    ring_file: RingFile,
    settings: dict[str, str],
    more: dict[str, Any],
    limit: str,
) -> None:
    """K05: one send before the rotation and one between use the limit up, until the old key goes and after."""
    start = {**settings, "OTP_COOLDOWN": "1", "OTP_DELIVER": "false"}
    before = await start_service(OTP_KEYRING=ring_file.text, **start)
    assert (await ask(before, **more)).status_code == 202
    old, _ = ring_file.rotate("phone")

    during = await start_service(OTP_KEYRING=ring_file.text, **start)
    during.advance(2)
    assert (await ask(during, **more)).status_code == 202
    during.advance(2)
    refused = await ask(during, **more)
    assert (refused.status_code, refused.json()["limit"]) == (429, limit)

    during.advance(
        86_400
    )  # for no longer is the old key needed: the newer one has counted all since
    for _ in range(2):
        assert (await ask(during, **more)).status_code == 202
        during.advance(2)
    ring_file.age(old, hours=25)
    ring_file.do("retire", old)
    after = await start_service(OTP_KEYRING=ring_file.text, **start)
    after.advance(86_408)
    refused = await ask(after, **more)
    assert (refused.status_code, refused.json()["limit"]) == (429, limit)


async def test_what_a_caller_is_told_of_its_limit_does_not_start_anew(
    start_service: Starter, ring_file: RingFile
) -> None:
    start = {"OTP_LIMIT_RECIPIENT": "3/1d", "OTP_COOLDOWN": "1", "OTP_DELIVER": "false"}
    before = await start_service(OTP_KEYRING=ring_file.text, **start)
    assert (await ask(before)).json()["sends_remaining"] == 2
    ring_file.rotate("phone")
    after = await start_service(OTP_KEYRING=ring_file.text, **start)
    after.advance(2)

    assert (await ask(after)).json()["sends_remaining"] == 1


async def test_with_one_key_only_the_attack_works(
    start_service: Starter, ring_file: RingFile
) -> None:
    """K05, the negative control: where only the active key counts, a rotation starts every limit anew."""
    start = {**ONE_A_DAY, "OTP_DELIVER": "false"}
    before = await start_service(OTP_KEYRING=ring_file.text, **start)
    assert (await ask(before)).status_code == 202
    ring_file.rotate("phone")
    after = await start_service(OTP_KEYRING=ring_file.text, **start)
    after.advance(2)
    assert (await ask(after)).status_code == 429

    class OnlyActive(Keyring):
        def in_order(self, kind: Kind) -> Any:
            return [self.active(kind)]

    after.container.service.sending._keyring().__class__ = OnlyActive
    assert (await ask(after)).status_code == 202


async def test_a_call_is_remembered_over_a_rotation_and_sends_nothing_more(
    start_service: Starter, ring_file: RingFile
) -> None:
    """Q11: the same answer under every ring, in both directions; another body is still refused."""
    before = await start_service(OTP_KEYRING=ring_file.text)
    first = await ask(before, key="a-key-of-the-shop")
    for kind in ("phone", "route", "seal", "pepper", "proof"):
        ring_file.rotate(kind)
    after = await start_service(OTP_KEYRING=ring_file.text)

    again = await ask(after, key="a-key-of-the-shop")
    other = await ask(after, key="a-key-of-the-shop", to="+14155550199")
    later = await ask(after, key="another-key", to="+14155557755")

    assert first.status_code == 202
    assert again.json() == first.json()
    assert other.json()["code"] == "idempotency_key_reused"
    assert (await ask(after, key="another-key", to="+14155557755")).json() == later.json()
    await after.look(first.json())


async def test_a_run_that_died_is_taken_up_after_a_rotation_and_sends_once(
    start_service: Starter, ring_file: RingFile
) -> None:
    """Its id comes from its handle, which remembers the route key that was active then."""
    before = await start_service(OTP_KEYRING=ring_file.text)
    first = await ask(before, key="a-key-of-the-shop")
    client = before.container.scripts.connection.client
    [record] = [key async for key in client.scan_iter("otp:idempotent:*")]
    await client.hdel(record, "answer")  # as if it had died before it could write its answer
    await client.hset(record, "busy_until", 0)
    ring_file.rotate("route")
    after = await start_service(OTP_KEYRING=ring_file.text)

    again = await ask(after, key="a-key-of-the-shop")

    assert again.json()["challenge_id"] == first.json()["challenge_id"]
    await after.container.worker.stop()
    await before.container.worker.stop()
    assert len(after.sandbox.messages()) == 1


async def test_the_proof_of_a_verification_taken_up_after_a_rotation_is_still_good(
    start_service: Starter, ring_file: RingFile
) -> None:
    """X35: it is derived under the key of its time, although another one is active by now."""
    before = await start_service(OTP_KEYRING=ring_file.text)
    challenge = await before.request()
    body = {"challenge_id": challenge["challenge_id"], "code": before.code(), "purpose": "login"}
    headers = {"Idempotency-Key": "a-key-of-the-shop"}
    first = await before.post("/otp/verify", headers=headers, **body)
    client = before.container.scripts.connection.client
    [record] = [key async for key in client.scan_iter("otp:idempotent:*")]
    await client.hdel(record, "answer")  # as if it had died before it could write its answer
    await client.hset(record, "busy_until", 0)
    ring_file.rotate("proof")
    after = await start_service(OTP_KEYRING=ring_file.text)

    again = await after.post("/otp/verify", headers=headers, **body)

    assert again.json()["proof"] == first.json()["proof"]
    proven = await after.post("/proofs/introspect", proof=again.json()["proof"])
    assert proven.json()["active"] is True
