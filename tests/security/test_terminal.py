"""What others wrote is text on an operator's terminal: it moves no cursor, hides no line and breaks no command."""

import json

import pytest
from rich.console import Console
from rich.errors import MarkupError

from otp_service.cli.plain import plain
from tests.conftest import PASSWORD, Sandbox, Service, Starter
from tests.operators.conftest import Run, run  # noqa: F401 - a fixture
from tests.security.test_limits import WRONG, opened

CLEAR, TITLE, C1 = "\x1b[2J\x1b[H", "\x1b]0;done\x07", "\x9b2J"
TURNED = "\u202e"  # what follows reads from the right


async def freed(start_service: Starter, reason: str) -> Service:
    """A help desk has freed a blocked person, for this reason."""
    service = await start_service(OTP_LOCKOUT_SHORT="1/30m", OTP_DELIVER="false")
    challenge = await opened(service, subject="user-1")
    await service.verify(challenge, WRONG)
    answer = await service.post("/subjects/unblock", subject="user-1", reason=reason)
    assert answer.status_code == 200, answer.text
    return service


@pytest.mark.parametrize(
    "reason", ["[/] ticket", "[black on black]ticket[/]", "[link=http://x]t[/]"]
)
async def test_a_reason_is_shown_as_it_was_written(
    reason: str,
    start_service: Starter,
    run: Run,  # noqa: F811
) -> None:
    """K18: a help desk's reason can neither end the operator's look at the audit log nor hide in it."""
    await freed(start_service, reason)
    told = await run("audit")

    assert told.exit_code == 0, told.output
    assert reason in told.stdout


def test_a_console_with_markup_ends_or_hides() -> None:
    """The negative control: what the three reasons do to it."""
    shown = Console(force_terminal=False)
    with pytest.raises(MarkupError):
        shown.print("[/] ticket")
    with shown.capture() as got:
        shown.print("[black on black]ticket[/]")
    assert "black" not in got.get()


@pytest.mark.parametrize("control", [CLEAR, TITLE, C1])
async def test_a_reason_holds_no_control_character(control: str, service: Service) -> None:
    """C28."""
    answer = await service.post("/subjects/unblock", subject="user-1", reason=f"a{control}b")
    assert answer.status_code == 422


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("control", [CLEAR, TITLE, C1, TURNED])
async def test_a_message_of_the_site_moves_no_cursor(
    control: str,
    as_json: bool,
    sandbox: Sandbox,
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C28, E14: what lies in the outbox may have been written by a visitor of the site."""
    for name, value in {
        "URL": sandbox.url,
        "USERNAME": "otp",
        "APPLICATION_PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(f"OTP_WSMS_{name}", value)
    sent = await run("wsms", "send", f"hello {control} [/]", "--to", "+14155550123", "--json")
    assert json.loads(sent.stdout)["outcome"] == "accepted"
    shown = await run("wsms", "outbox", "--texts", *(["--json"] if as_json else []))

    assert shown.exit_code == 0, shown.output
    assert "hello" in shown.stdout
    assert not set(shown.stdout) & set("\x1b\x07\x9b\u202e")
    if as_json:
        assert control in json.loads(shown.stdout)[0]["message"]


def test_layout_and_letters_of_every_script_stay() -> None:
    text = "سلام\u200cها\n\tतुम 你好 😀 [x]"
    assert plain(text) == text
    assert plain(json.dumps(CLEAR + C1, ensure_ascii=False)) == json.dumps(CLEAR + C1)
