"""Every recorded answer of the real plugin, over real HTTP, and what the client makes of it.

`recorded_verdicts.json` holds one word or two for each exchange of each recording, in order, read
against the contract by a person. `null` marks calls that the client has no method for.
"""

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from odd_sites import NUMBER, SHORT, OddSite, client_of

from otp_service.wsms import (
    Accepted,
    InvalidParameter,
    NewsletterRefused,
    Refused,
    Roles,
    SendOutcome,
    Subscribers,
    Unknown,
    Users,
    WebhookEvent,
    WsmsClient,
    WsmsError,
)

HERE = Path(__file__).parent
RECORDINGS = sorted((HERE.parent / "wsms_recordings").glob("*.json"))
VERDICTS: dict[str, list[str | None]] = json.loads((HERE / "recorded_verdicts.json").read_text())


def test_every_recording_has_its_verdicts() -> None:
    assert sorted(VERDICTS) == [path.stem for path in RECORDINGS]
    assert len(RECORDINGS) >= 58


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
async def test_the_client_reads_the_recording_as_the_contract_does(
    path: Path, odd: OddSite
) -> None:
    verdicts = []
    for exchange in _exchanges(path):
        _replay(odd, exchange["response"])
        async with client_of(
            odd.url, deadline=SHORT if "failed" in exchange["response"] else 60
        ) as c:
            verdicts.append(await _verdict(c, exchange["request"]))

    assert verdicts == VERDICTS[path.stem]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
async def test_what_is_refused_never_reached_a_phone(path: Path, odd: OddSite) -> None:
    """The rig saw what the provider took: wherever it took something, `refused` would be a lie."""
    for exchange in _exchanges(path):
        if exchange["request"]["path"].endswith("/send") and exchange.get("sms_captured"):
            _replay(odd, exchange["response"])
            timeout = "failed" in exchange["response"]
            async with client_of(odd.url, deadline=SHORT if timeout else 60) as client:
                outcome = await client.send(message="x", numbers=NUMBER)

            assert not isinstance(outcome, Refused)


def _exchanges(path: Path) -> list[dict[str, Any]]:
    exchanges: list[dict[str, Any]] = json.loads(path.read_text())["exchanges"]
    return exchanges


def _replay(odd: OddSite, response: dict[str, Any]) -> None:
    if "failed" in response:

        async def hang(talk: Any, site: OddSite) -> None:
            await site.read(talk)
            await site.ended.wait()

        odd.behave = hang
        return
    body = json.dumps(response["json"]) if "json" in response else response["text"]
    odd.answers(response["status"], body.encode(), response["headers"])


async def _verdict(client: WsmsClient, request: dict[str, Any]) -> str | None:
    call = _call(client, request)
    if call is None:
        return None
    try:
        return _word(await call())
    except NewsletterRefused as error:
        return f"NewsletterRefused {error.reason}"
    except InvalidParameter as error:
        return f"InvalidParameter {error.name}" if error.at_site else "refused here"
    except WsmsError as error:
        return type(error).__name__


def _word(result: object) -> str:
    match result:
        case Accepted():
            return "accepted" if result.text_known else "accepted, text unknown"
        case Refused() | Unknown():
            how = ", by text" if result.by_text else ""
            return f"{type(result).__name__.lower()} {result.reason}{how}"
    status = getattr(result, "status", None)
    return "ok" if status is None or not hasattr(result, "by_text") else f"ok {status}"


def _call(client: WsmsClient, request: dict[str, Any]) -> Callable[[], Any] | None:
    """Return the client's call of this method and path; its arguments matter little here."""
    path = re.sub(r"^/(wp-json|\?rest_route=)/wpsms/v1", "", request["path"]).partition("?")[0]
    person = {"name": "Ann", "mobile": NUMBER}
    calls: dict[tuple[str, str], Callable[[], Any]] = {
        ("POST", "/send"): lambda: _send(client, request),
        ("POST", "/newsletter"): lambda: client.newsletter.subscribe(**person),
        ("GET", "/newsletter"): client.newsletter.subscribers,
        ("POST", "/newsletter/verify"): lambda: client.newsletter.verify(
            **person, activation="1234"
        ),
        ("POST", "/newsletter/unsubscribe"): lambda: client.newsletter.unsubscribe(**person),
        ("GET", "/outbox"): lambda: client.outbox.page(since=date(2026, 1, 1)),
        ("GET", "/credit"): client.credit.stored,
        ("POST", "/webhook"): lambda: client.webhooks.subscribe(
            "https://hooks.rig.test/a", WebhookEvent.NEW_SMS
        ),
        ("DELETE", "/webhook"): lambda: client.webhooks.unsubscribe(
            "https://hooks.rig.test/a", WebhookEvent.NEW_SMS
        ),
        ("GET", "/outbox/#"): lambda: client.outbox.row(24),
        ("DELETE", "/outbox/#"): lambda: client.outbox.delete(24),
        ("POST", "/outbox/#/resend"): lambda: client.outbox.resend(24),
    }
    return calls.get((request["method"], re.sub(r"/\d+", "/#", path)))


async def _send(client: WsmsClient, request: dict[str, Any]) -> SendOutcome:
    """Ask for the same recipients, since some answers depend on them."""
    body = request.get("json") or {}
    match body.get("recipients"):
        case "subscribers" if body.get("group_ids"):
            return await client.send(message="x", recipients=Subscribers(body["group_ids"]))
        case "roles":
            return await client.send(message="x", recipients=Roles(["editor"]))
        case "users":
            return await client.send(message="x", recipients=Users([1]))
    return await client.send(message="x", numbers=NUMBER)
