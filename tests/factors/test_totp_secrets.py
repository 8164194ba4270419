"""Seeds and ids: shown once, sealed for one place, and of use to nobody else."""

import base64
import json
from typing import Any

import pytest
import redis

from tests.conftest import Service
from tests.factors.test_totp import USER, confirmed, enroll, now, verify


def records(url: str) -> dict[str, dict[str, Any]]:
    """Every authenticator in Redis by its id, with the key it lies under."""
    found = {}
    with redis.Redis.from_url(url, decode_responses=True) as client:
        for key in client.scan_iter("otp:*:factors:*"):
            for factor_id, text in client.hgetall(key).items():
                found[factor_id] = {"key": key, **json.loads(text)}
    return found


def write(url: str, key: str, factor_id: str, record: dict[str, Any]) -> None:
    with redis.Redis.from_url(url) as client:
        client.hset(key, factor_id, json.dumps({n: v for n, v in record.items() if n != "key"}))


async def test_a_seed_has_160_bits_and_lies_sealed_beside_whose_it_is(
    service: Service, valkey_url: str
) -> None:
    """B30, N-038."""
    enrolled, _ = await enroll(service)
    assert len(base64.b32decode(enrolled["secret"])) == 20

    [record] = records(valkey_url).values()

    assert record["seed"].partition(".")[0]  # the id of the key it is sealed under
    kept = json.dumps(records(valkey_url))
    assert enrolled["secret"] not in kept
    assert USER not in kept


async def test_a_sealed_seed_opens_nowhere_else(service: Service, valkey_url: str) -> None:
    """Who can write to Redis moves a seed it knows to another subject, or to another factor of the same: it is void."""
    mine, app = await confirmed(service, "mallory")
    theirs, _ = await confirmed(service)
    before = records(valkey_url)
    moved = {**before[theirs], "seed": before[mine]["seed"]}
    write(valkey_url, moved["key"], theirs, moved)

    answer = await verify(service, app.at(await now(service)))

    assert answer.json()["code"] == "invalid_code"
    assert (await verify(service, app.at(await now(service)), "mallory")).status_code == 200


async def test_no_later_answer_shows_a_seed(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """B30: lists, refusals, repeated calls and logs."""
    enrolled, app = await enroll(service)
    factor_id = enrolled["factor_id"]
    confirm = f"/factors/totp/{factor_id}/confirm"
    answers = [
        await service.http.get("/factors", params={"subject": USER}),
        await service.post(confirm, code="000000"),
        await service.post(confirm, code=app.at(await now(service))),
        await service.post(confirm, code=app.at(await now(service))),
        await service.http.patch(f"/factors/{factor_id}", json={"name": "Phone"}),
        await service.http.get("/factors", params={"subject": USER}),
        await verify(service, "000000"),
        await service.http.delete(f"/factors/{factor_id}"),
    ]
    said = "".join(answer.text for answer in answers) + "".join(capsys.readouterr())

    for secret in (enrolled["secret"], enrolled["provisioning_uri"], "<svg", "otpauth"):
        assert secret not in said


async def test_an_authenticator_of_somebody_else_is_confirmed_renamed_and_removed_by_nobody(
    service: Service,
) -> None:
    """B33: with the right code, by another caller; and no id of one subject leads to another's."""
    enrolled, app = await enroll(service)
    factor_id = enrolled["factor_id"]
    stranger = await service.caller("stranger")
    code = app.at(await now(service))

    answers = [
        await service.post(f"/factors/totp/{factor_id}/confirm", headers=stranger, code=code),
        await service.http.patch(f"/factors/{factor_id}", json={"name": "x"}, headers=stranger),
        await service.http.delete(f"/factors/{factor_id}", headers=stranger),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({(a.json()["code"], a.json()["detail"]) for a in answers}) == 1
    other, _ = await enroll(service, "user-2")
    mixed = factor_id[:2] + other["factor_id"][2:18] + factor_id[18:]
    assert (await service.post(f"/factors/totp/{mixed}/confirm", code=code)).status_code == 404
    assert (await service.post(f"/factors/totp/{factor_id}/confirm", code=code)).status_code == 200


async def test_a_second_enrollment_overwrites_nothing(service: Service) -> None:
    """B29: both work side by side, under names of their own."""
    first, old = await confirmed(service)
    second, new = await confirmed(service)
    await service.http.patch(f"/factors/{second}", json={"name": "Tablet"})

    assert (await verify(service, old.at(await now(service)))).json()["factor_id"] == first
    assert (await verify(service, new.at(await now(service)))).json()["factor_id"] == second
    listed = (await service.http.get("/factors", params={"subject": USER})).json()["factors"]
    assert [f["name"] for f in listed] == ["Authenticator app", "Tablet"]
