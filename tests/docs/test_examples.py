"""The examples of the README and docs/proofs.md do what they say, on what `otp-service dev` starts."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from playwright._impl._driver import compute_driver_executable

from otp_service.client import Client
from tests.docs.conftest import Running


def _blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.M | re.S)


def _there(text: str, running: Running) -> str:
    return text.replace("http://127.0.0.1:8000", running.service_url).replace(
        "http://127.0.0.1:8025", running.sandbox_url
    )


def _curl(command: str) -> httpx.Response:
    """What curl would do with -H, -d and a URL."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words.pop(0) == "curl"
    headers, body, url = [], None, ""
    while words:
        word = words.pop(0)
        if word == "-s":
            continue
        if word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers.append((name, value))
        elif word == "-d":
            body = words.pop(0)
        else:
            url = word
    return httpx.request("GET" if body is None else "POST", url, headers=headers, content=body)


def test_the_three_curl_commands_request_read_and_verify(readme: str, running: Running) -> None:
    [block] = _blocks(readme, "sh")
    assignment, *commands = _there(block, running).strip().split("\n\n")
    assert assignment == "CREDENTIAL=$(cat .dev/credential)"
    request, phone, verify = [c.replace("$CREDENTIAL", running.credential) for c in commands]

    challenge = _curl(request)
    assert challenge.status_code == 202, challenge.text
    code = running.code("+14155550123")
    assert code in _curl(phone).text
    verified = _curl(
        verify.replace("THE FIRST ONE SAID", challenge.json()["challenge_id"]).replace(
            "THE PHONE SAYS", code
        )
    )

    assert verified.status_code == 200, verified.text
    assert verified.json()["verified"] is True


def test_commands_that_dev_prints_work_as_printed(running: Running) -> None:
    printed = (running.data / "out").read_text().replace("+14155550123", "+14155550145")
    for line in printed.splitlines():
        assert len(line) <= 80 or str(running.data) in line or sys.prefix in line, line
    [kept] = re.findall(r"^CREDENTIAL=\$\(cat (.*)\)$", printed, re.M)
    credential = Path(*shlex.split(kept)).read_text()
    request, phone, verify = [
        command.replace("$CREDENTIAL", credential)
        for command in re.findall(r"^curl .*?(?=\n\n)", printed, re.M | re.S)
    ]

    challenge = _curl(request).json()["challenge_id"]
    code = running.code("+14155550145")
    assert code in _curl(phone.replace("4155550123", "4155550145")).text
    filled = verify.replace("THE FIRST ONE SAID", challenge).replace("THE PHONE SAYS", code)
    assert _curl(filled).json()["verified"] is True

    [operators] = re.findall(r"^set -a; .*\n.* timeline .*$", printed, re.M)
    told = subprocess.run(
        ["/bin/sh", "-ec", operators],
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},  # otp-service is not on it
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "right code" in told.stdout


def test_an_operators_command_finds_what_dev_has_started(readme: str, running: Running) -> None:
    [block] = [text for text in _blocks(readme, "console") if "timeline dev" in text]
    commands = block.replace("$ ", "").replace(".dev/", f"{running.data}/")
    here = commands.replace(".venv/bin/otp-service", f"{sys.executable} -m otp_service")
    with Client(running.service_url, running.credential) as otp:
        otp.request_code(to="+14155550167", purpose="login", wait=30)

    told = subprocess.run(
        ["/bin/sh", "-ec", here.replace("+14155550123", "+14155550167")],
        env={"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stderr
    assert "taken by the site" in told.stdout


def test_the_python_example_logs_a_person_in_and_says_what_is_wrong(
    readme: str, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = _blocks(readme, "python")
    monkeypatch.setenv("OTP_CREDENTIAL", running.credential)
    example: dict[str, Any] = {}
    exec(compile(_there(block, running), "README.md", "exec"), example)  # noqa: S102
    begin, finish = example["begin"], example["finish"]

    challenge_id = begin("+14155550134", "user-1", "hash-of-the-session")
    code = running.code("+14155550134")
    wrong = f"{(int(code) + 1) % 10**6:06d}"

    assert finish(challenge_id, wrong, "hash-of-the-session") == (
        False,
        "That is not the code. 4 tries left.",
    )
    assert finish(challenge_id, "12", "hash-of-the-session") == (False, "A code has six digits.")
    assert finish(challenge_id, code, "another-session") == (False, "Please start again.")
    assert finish(challenge_id, code, "hash-of-the-session") == (True, "")
    assert finish(challenge_id, code, "hash-of-the-session")[0] is False
    assert begin("+1 415 555", "user-1", "hash-of-the-session") is None
    example["otp"].close()


def test_the_javascript_example_logs_a_person_in(
    readme: str, running: Running, tmp_path: Path
) -> None:
    [block] = _blocks(readme, "js")
    (tmp_path / "login.mjs").write_text(_there(block, running))
    (tmp_path / "call.mjs").write_text(
        'import * as login from "./login.mjs";\n'
        "const [name, ...rest] = process.argv.slice(2);\n"
        "console.log(JSON.stringify(await login[name](...rest)));\n"
    )
    node = compute_driver_executable()[0]  # which comes with playwright

    def run(*words: str) -> Any:
        found = subprocess.run(
            [node, tmp_path / "call.mjs", *words],
            env={"OTP_CREDENTIAL": running.credential},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)

    challenge_id = run("begin", "+14155550145", "user-2", "hash")
    code = running.code("+14155550145")
    wrong = f"{(int(code) + 1) % 10**6:06d}"

    assert run("finish", challenge_id, wrong, "hash") == {
        "ok": False,
        "code": "invalid_code",
        "attemptsRemaining": 4,
    }
    assert run("finish", challenge_id, code, "hash") == {"ok": True}
    assert run("begin", "none", "user-2", "hash") is None


def test_the_examples_on_proofs_redeem_one_and_check_one(root: Path, running: Running) -> None:
    text = (root / "docs" / "proofs.md").read_text("utf-8")
    [curl], [python] = _blocks(text, "bash"), _blocks(text, "python")
    introspect = _there(curl, running).replace("$CREDENTIAL", running.credential)
    example: dict[str, Any] = {}
    exec(compile(_there(python, running), "docs/proofs.md", "exec"), example)  # noqa: S102
    with Client(running.service_url, running.credential) as otp:

        def proof(to: str, proof_format: str) -> str:
            challenge = otp.request_code(to=to, purpose="login", subject="user-1", wait=10)
            return otp.verify_code(
                challenge_id=challenge.challenge_id,
                code=running.code(to),
                purpose="login",
                proof_format=proof_format,
            ).proof

        opaque, signed = proof("+14155550156", "opaque"), proof("+14155550167", "jwt")

    redeemed = [_curl(introspect.replace("THE VERIFICATION SAID", opaque)).json() for _ in range(2)]
    assert (redeemed[0]["active"], redeemed[0]["sub"]) == (True, "user-1")
    assert redeemed[1] == {"active": False}
    assert example["proven"](signed)["sub"] == "user-1"
    with pytest.raises(jwt.InvalidTokenError):
        example["proven"](signed[:-8] + "AAAAAAAA")
    with pytest.raises(jwt.InvalidTokenError):
        example["proven"](jwt.encode({"sub": "user-1"}, "x" * 32))
