"""`otp-service wsms` against the sandbox: what it prints, and how it exits."""

import json
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from click.testing import Result
from odd_sites import NUMBER, PASSWORD
from typer.testing import CliRunner

from otp_service.cli.wsms import app
from otp_service.sandbox.faults import Fault
from otp_service.sandbox.site import Site

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(sandbox_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("OTP_WSMS_URL", sandbox_url)
    monkeypatch.setenv("OTP_WSMS_USERNAME", "otp")
    monkeypatch.setenv("OTP_WSMS_APPLICATION_PASSWORD", PASSWORD)
    monkeypatch.setenv("COLUMNS", "200")

    async def invoke(*arguments: str, stdin: str | None = None) -> Result:
        # On a thread: the command brings an event loop of its own.
        return await to_thread.run_sync(
            partial(CliRunner().invoke, app, list(arguments), input=stdin)
        )

    return invoke


def parsed(result: Result) -> Any:
    return json.loads(result.stdout)


async def test_send_accepted(run: Run, sandbox: Site) -> None:
    result = await run("send", "hello", "--to", NUMBER, "--sender", "Shop", "--json")

    assert result.exit_code == 0
    assert parsed(result) == {"outcome": "accepted", "balance": 4711, "text_known": True}
    assert sandbox.phone.messages(NUMBER)[0].message == "hello"
    assert sandbox.phone.messages(NUMBER)[0].sender == "Shop"


async def test_the_message_from_standard_input(run: Run, sandbox: Site) -> None:
    result = await run("send", "-", "--to", NUMBER, stdin="سلام\n")

    assert result.exit_code == 0
    assert "accepted" in result.stdout
    assert sandbox.phone.messages(NUMBER)[0].message == "سلام"


async def test_send_refused(run: Run, sandbox: Site) -> None:
    sandbox.settings.gateway_name = ""

    result = await run("send", "hello", "--to", NUMBER, "--json")

    assert result.exit_code == 1
    assert parsed(result)["outcome"] == "refused"
    assert parsed(result)["reason"] == "gateway_not_configured"
    assert parsed(result)["by_text"] is True


async def test_send_unknown(run: Run, sandbox: Site) -> None:
    sandbox.faults.replace([Fault(kind="provider_error")])

    result = await run("send", "hello", "--to", NUMBER, "--json")

    assert result.exit_code == 3
    assert parsed(result)["outcome"] == "unknown"
    assert parsed(result)["reason"] == "gateway_error"


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "hello"],
        ["send", "hello", "--to", NUMBER, "--bp-users"],
        ["send", "hello", "--to", NUMBER, "--schedule", "tomorrow"],
        ["subscribe", "Ann", NUMBER, "--field", "city"],
        ["outbox", "--since", "yesterday"],
        ["nonsense"],
    ],
)
async def test_misuse(run: Run, arguments: list[str]) -> None:
    assert (await run(*arguments)).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "hello", "--to", "4155550123"],
        ["send", "hello", "--to", NUMBER, "--repeat-every", "2"],
        ["send", "hello", "--to", NUMBER, "--schedule", "2030-01-01T12:00"],
        ["verify", "Ann", NUMBER, "12345"],
        ["unsubscribe", "Ann", NUMBER],
        ["outbox", "show", "99"],
        ["--url", "http://example.org", "credit"],
        ["--username", "nobody", "credit"],
    ],
)
async def test_a_refusal_says_why_and_exits_1(run: Run, arguments: list[str]) -> None:
    result = await run(*arguments)

    assert result.exit_code == 1
    assert result.stderr.startswith("refused: ")
    assert PASSWORD not in result.output


@pytest.mark.parametrize(
    "recipients",
    [
        ["--group", "1"],
        ["--user", "1"],
        ["--role", "otp_sender"],
        ["--wc-customers"],
        ["--bp-users"],
    ],
)
async def test_other_recipients(run: Run, recipients: list[str]) -> None:
    """Nobody in the sandbox has a number there, which it says."""
    result = await run("send", "hello", *recipients, "--json")

    assert result.exit_code == 1
    assert parsed(result)["reason"] in {"no_recipients", "recipients_unavailable"}


async def test_the_newsletter(run: Run, sandbox: Site) -> None:
    sandbox.settings.newsletter_form_verify = True

    pending = await run("subscribe", "Ann", NUMBER, "--group", "1", "--field", "a=b", "--json")
    code = sandbox.phone.messages(NUMBER)[0].message.split(": ")[1]
    done = await run("verify", "Ann", NUMBER, "-", "--group", "1", "--json", stdin=f"{code}\n")
    listed = await run("subscribers", "--json")
    gone = await run("unsubscribe", "Ann", NUMBER, "--group", "1", "--json")

    assert parsed(pending) == {"status": "pending"}
    assert parsed(done) == {"status": "subscribed"}
    assert parsed(listed) == [{"name": "Ann", "mobile": NUMBER}]
    assert parsed(gone) == {"status": "unsubscribed"}


async def test_the_outbox_hides_texts_until_asked(run: Run) -> None:
    await run("send", "code 123456", "--to", NUMBER)

    table = await run("outbox")
    texts = await run("outbox", "--texts", "--json", "--limit", "5", "--oldest-first")

    assert table.exit_code == 0
    assert NUMBER in table.stdout
    assert "123456" not in table.stdout
    assert parsed(texts)[0]["message"] == "code 123456"
    assert parsed(texts)[0]["recipients"] == [NUMBER]


async def test_one_row_of_the_outbox(run: Run, sandbox: Site) -> None:
    await run("send", "hello", "--to", NUMBER)

    shown = await run("outbox", "show", "1", "--json")
    again = await run("outbox", "resend", "1")
    deleted = await run("outbox", "delete", "1", "--json")

    assert parsed(shown)["message"] == "hello"
    assert again.exit_code == 0
    assert parsed(deleted) == {"status": "deleted"}
    assert len(sandbox.phone.messages(NUMBER)) == 2


async def test_credit_and_webhooks(run: Run) -> None:
    fresh = await run("credit", "--refresh", "--json")
    stored = await run("credit")
    url = "https://hooks.example.org/x"
    on = await run("webhook", "subscribe", url, "new_sms", "--json")
    off = await run("webhook", "unsubscribe", url, "new_sms", "--json")

    assert parsed(fresh)["amount"] == "4711"
    assert "4711" in stored.stdout
    assert parsed(on) == {"status": "subscribed"}
    assert parsed(off) == {"status": "unsubscribed"}


async def test_check(run: Run, sandbox: Site) -> None:
    good = await run("check")
    sandbox.users.all()[0].capabilities.discard("wpsms_sendsms")
    bad = await run("check", "--json")

    assert good.exit_code == 0
    assert "wpsms_sendsms" in good.stdout
    assert "/wp-json/ (WSMS 7.2.8, zone UTC)\n" in good.stdout
    assert bad.exit_code == 1
    assert parsed(bad)["capabilities"]["wpsms_sendsms"] is False
    assert parsed(bad)["ready_to_send"] is False
    assert "role" in parsed(bad)["advice"]["wpsms_sendsms"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "hello", "--to", NUMBER],
        ["credit"],
        ["credit", "--refresh"],
        ["subscribers"],
        ["subscribe", "Ann", NUMBER],
        ["verify", "Ann", NUMBER, "1234"],
        ["unsubscribe", "Ann", NUMBER],
        ["outbox"],
        ["outbox", "show", "1"],
        ["outbox", "delete", "1"],
        ["outbox", "resend", "1"],
        ["webhook", "subscribe", "https://hooks.example.org/x", "new_sms"],
        ["check"],
    ],
    ids=" ".join,
)
async def test_every_command_names_wsms_8(run: Run, sandbox: Site, arguments: list[str]) -> None:
    sandbox.settings.wsms_version = "8"

    result = await run(*arguments)

    assert result.exit_code == 1
    assert "WSMS 8" in result.output
    assert "install 7.2" in result.output


async def test_send_without_the_plugin_says_to_activate_it(run: Run, sandbox: Site) -> None:
    sandbox.settings.plugin_active = False

    result = await run("send", "hello", "--to", NUMBER, "--json")

    assert "Install and activate WSMS 7.2" in parsed(result)["detail"]


async def test_maintenance_is_a_refusal_by_that_name(run: Run, sandbox: Site) -> None:
    sandbox.settings.maintenance = True

    sent = await run("send", "hello", "--to", NUMBER, "--json")
    checked = await run("check")
    subscribed = await run("subscribe", "Ann", NUMBER)

    assert (sent.exit_code, parsed(sent)["reason"]) == (1, "maintenance")
    assert (checked.exit_code, "maintenance" in checked.stderr) == (1, True)
    assert (subscribed.exit_code, "maintenance" in subscribed.stderr) == (1, True)


async def test_an_answer_that_may_have_done_something_exits_3(run: Run, sandbox: Site) -> None:
    sandbox.faults.replace([Fault(kind="html", endpoint="*")])

    assert (await run("subscribe", "Ann", NUMBER)).exit_code == 3
    assert (await run("credit")).exit_code == 1


async def test_secrets_from_files(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    monkeypatch.delenv("OTP_WSMS_APPLICATION_PASSWORD")
    missing = await run("credit")
    monkeypatch.setenv("OTP_WSMS_APPLICATION_PASSWORD_FILE", str(file))
    found = await run("credit")
    monkeypatch.setenv("OTP_WSMS_APPLICATION_PASSWORD_FILE", str(tmp_path / "nowhere"))
    unreadable = await run("credit")

    assert missing.exit_code == 2
    assert "OTP_WSMS_APPLICATION_PASSWORD" in missing.output
    assert found.exit_code == 0
    assert unreadable.exit_code == 2
