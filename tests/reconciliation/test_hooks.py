"""The site's own webhooks: unsigned hints at a secret path, told on without number and text."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from otp_service.cli import app
from otp_service.core.hook_tokens import hook_token
from otp_service.core.keyring import Keyring, Kind, State, generate, new_entry
from tests.conftest import TO, Sandbox, Service
from tests.reconciliation.conftest import Traced

SUBSCRIBER = {"name": "Ann", "mobile": TO}


@pytest.fixture
def told(service: Service) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []

    async def tell(event: str, data: Any) -> None:
        found.append((event, dict(data)))

    service.container.service.hints._tell = tell
    return found


async def hook(
    service: Service, body: object, *, event: str = "new_sms", token: str | None = None
) -> httpx.Response:
    own = hook_token(service.settings.ring())
    return await service.http.post(
        f"/hooks/wsms/{own if token is None else token}",
        content=body if isinstance(body, bytes) else json.dumps(body),
        headers={"Content-Type": "application/json", "X-WP-SMS-Webhook-Event": event},
    )


async def test_announcements_are_told_on_without_what_they_hold(
    service: Service, told: list[tuple[str, dict[str, Any]]]
) -> None:
    api_response = {"to": TO, "message": "Your code is 123456"}
    first = await hook(service, {"api_response": api_response})
    second = await hook(service, SUBSCRIBER, event="new_subscriber")
    third = await hook(service, {**SUBSCRIBER, "mobile": TO[1:]}, event="new_subscriber")

    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 200]
    assert [event for event, _ in told] == ["wsms.sms", "wsms.subscriber", "wsms.subscriber"]
    assert told[0][1] == {"hint": True}
    assert told[1] == told[2], "one person with and without the plus"
    text = json.dumps(told)
    assert TO[1:] not in text
    assert "123456" not in text
    assert "Ann" not in text


async def test_another_path_is_nothing(
    service: Service, told: list[tuple[str, dict[str, Any]]]
) -> None:
    own = hook_token(service.settings.ring())
    nothing = await service.http.post("/hooks/nothing")
    for token in (own[:-1] + ("0" if own[-1] != "0" else "1"), own.upper(), own[:-1], "x", "é"):
        answer = await hook(service, SUBSCRIBER, event="new_subscriber", token=token)
        assert answer.status_code == 404
        assert answer.json() | {"instance": ""} == nothing.json() | {"instance": ""}
    assert told == []


@pytest.mark.parametrize(
    ("body", "event", "status"),
    [
        (b"", "new_sms", 422),
        (b"[]", "new_sms", 422),
        (b"{}", "new_sms", 422),
        (b"\xff", "new_sms", 422),
        (b"[" * 9000, "new_sms", 422),
        (SUBSCRIBER, "new_sms", 422),
        (SUBSCRIBER, "", 422),
        ({"name": 1, "mobile": []}, "new_subscriber", 422),
        ({"api_response": "x" * 20_000}, "new_sms", 413),
    ],
)
async def test_what_wsms_does_not_send_is_refused(
    service: Service,
    told: list[tuple[str, dict[str, Any]]],
    body: object,
    event: str,
    status: int,
) -> None:
    assert (await hook(service, body, event=event)).status_code == status
    assert told == []


async def test_a_hint_changes_no_delivery(service: Service, sandbox: Sandbox) -> None:
    sandbox.settings(store_outbox_messages=False)
    sandbox.fail(kind="drop_after", times=1)
    challenge = await service.request()

    await hook(service, {"api_response": {"to": TO, "status": "success"}})

    assert (await service.look(challenge))["delivery"]["status"] == "unknown"


async def test_the_path_survives_a_rotation_of_its_key(ring: str) -> None:
    from otp_service.core.hook_tokens import is_hook_token

    before = Keyring.from_json(ring)
    entries = json.loads(ring)["keys"]
    for entry in entries:
        if entry["kind"] == "credential":
            entry["state"] = "verify"
    entries.append(new_entry(Kind.CREDENTIAL, State.ACTIVE, created_at="2027-01-01T00:00:00Z"))
    after = Keyring.from_json(json.dumps({"keys": entries}))
    other = Keyring.from_json(generate(created_at="2027-01-01T00:00:00Z"))

    assert is_hook_token(after, hook_token(before))
    assert is_hook_token(after, hook_token(after))
    assert hook_token(after) != hook_token(before)
    assert not is_hook_token(other, hook_token(before))
    assert len(hook_token(before)) == 32


async def test_the_path_is_in_no_log(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    await hook(service, {"api_response": ""})
    await hook(service, {"api_response": ""}, token="0" * 32)

    out = capsys.readouterr().out
    assert "/hooks/wsms/{token}" in out
    assert hook_token(service.settings.ring()) not in out
    assert "0" * 32 not in out


def test_subscribe_here_registers_this_service_for_both_events(
    environment: dict[str, str], sandbox: Sandbox, ring: str
) -> None:
    run = CliRunner()
    command = ["wsms", "webhook", "subscribe", "--here"]
    without = run.invoke(app, command, env=environment)
    assert without.exit_code == 2
    assert "OTP_PUBLIC_URL" in without.output

    public = {**environment, "OTP_PUBLIC_URL": "https://otp.example.org/auth/"}
    assert run.invoke(app, command, env=public).exit_code == 0

    url = f"https://otp.example.org/auth/hooks/wsms/{hook_token(Keyring.from_json(ring))}"
    assert webhooks(sandbox) == {"new_sms": [url], "new_subscriber": [url]}
    command[2] = "unsubscribe"
    assert run.invoke(app, command, env=public).exit_code == 0
    assert webhooks(sandbox) == {"new_sms": [], "new_subscriber": []}


@pytest.mark.parametrize("url", ["http://otp.example.org", "https://u:p@x.org", "https://x.org/?a"])
async def test_a_public_url_that_cannot_be_called_is_refused(
    start_traced: Traced, url: str
) -> None:
    from otp_service.settings.environment import SettingsError

    with pytest.raises(SettingsError, match="OTP_PUBLIC_URL"):
        await start_traced(OTP_PUBLIC_URL=url)


def webhooks(sandbox: Sandbox) -> dict[str, list[str]]:
    return dict(sandbox.state()["webhooks"])
