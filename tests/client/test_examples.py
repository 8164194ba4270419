"""The examples of docs/client.md do what they say, on the running service."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from otp_service import pytest_plugin
from otp_service.client import Client
from otp_service.client.asgi import ProofRefused, answer_proof_refused
from otp_service.pytest_plugin import RunningService
from tests.client.conftest import confirm, opened

Load = Callable[[str], dict[str, Any]]


def blocks(root: Path) -> dict[str, str]:
    """Every example by the name in its first line."""
    text = (root / "docs" / "client.md").read_text("utf-8")
    found = re.findall(r"^```python\n# (\w+)\n(.*?)^```", text, re.M | re.S)
    assert len(found) == text.count("```python\n"), "an example has no name"
    return dict(found)


@pytest.fixture
def load(root: Path, otp_service: RunningService, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Run an example against the running service; return its names."""
    monkeypatch.setenv("OTP_CREDENTIAL", otp_service.credential)

    def load(name: str) -> dict[str, Any]:
        source = blocks(root)[name].replace("http://127.0.0.1:8000", otp_service.url)
        names: dict[str, Any] = {}
        exec(compile(source, f"docs/client.md: {name}", "exec"), names)  # noqa: S102
        return names

    return load


def test_the_login_flow_says_what_to_tell_a_person(otp_service: RunningService, load: Load) -> None:
    phone, login = otp_service.phone(), load("login")
    with login["otp"]:
        begin, finish = login["begin"], login["finish"]
        challenge_id = begin(phone.to, "user-1", "hash")
        wrong, code = phone.wrong_code(), phone.code()

        assert finish(challenge_id, wrong, "hash") == (
            False,
            "That is not the code. 4 tries left.",
        )
        assert finish(challenge_id, "12", "hash") == (False, "A code has six digits.")
        assert finish(challenge_id, code, "another") == (False, "Please start again.")
        assert finish(challenge_id, code, "hash") == (True, "")
        assert finish(challenge_id, code, "hash") == (
            False,
            "Please request a new code (challenge_used).",
        )
        assert begin("+1 415 555", "user-1", "hash") is None


async def test_the_asynchronous_one_gives_a_proof(otp_service: RunningService, load: Load) -> None:
    phone = otp_service.phone()

    assert (await load("async")["log_in"](phone.to, "user-2", phone.code)).startswith("otpp_")


def test_an_authenticator_counts_from_its_first_code(
    otp_service: RunningService, load: Load
) -> None:
    example = load("authenticator")
    with otp_service.client(timeout=60) as otp:
        enrolled = example["enroll"](otp, "user-3", "ann@example.com")
        right = pyotp.TOTP(enrolled.secret).now()
        wrong = f"{(int(right) + 1) % 10**6:06d}"

        assert not example["confirm"](otp, enrolled.factor_id, wrong)
        assert example["methods"](otp, "user-3") == ["sms"]
        assert example["confirm"](otp, enrolled.factor_id, right)
        assert example["methods"](otp, "user-3") == ["app", "sms"]
        assert not example["confirm"](otp, "none", "123456")


def test_a_browser_is_known_until_its_cookie_was_copied(
    otp_service: RunningService, load: Load
) -> None:
    example, warned, phone = load("devices"), list[str](), otp_service.phone()
    cookies: dict[str, str] = {}
    with otp_service.client(timeout=60) as otp:

        def is_known(jar: dict[str, str]) -> bool:
            return bool(example["is_known"](otp, "user-4", jar, warned.append))

        assert not is_known(cookies)
        challenge = otp.request_code(to=phone.to, purpose="login", subject="user-4", wait=30)
        verified = otp.verify_code(
            challenge_id=challenge.challenge_id, code=phone.code(), purpose="login"
        )
        example["remember"](otp, "user-4", verified.proof, cookies)
        stolen = dict(cookies)

        assert is_known(cookies)
        tab = dict(stolen)
        assert not is_known(tab)
        assert (tab, warned) == (stolen, [])
        assert is_known(cookies)
        assert not is_known(stolen)
        assert (stolen, warned) == ({}, ["user-4"])
        assert not is_known(cookies)


def test_a_call_repeated_later_is_the_same_call(otp_service: RunningService, load: Load) -> None:
    phone, request_once = otp_service.phone(), load("later")["request_once"]
    with otp_service.client(timeout=60) as otp:
        first = request_once(otp, phone.to, f"of {phone.to}")
        assert "19.90 EUR" in phone.message()
        assert request_once(otp, phone.to, f"of {phone.to}") == first
    with Client("http://127.0.0.1:1", "nobody", retries=0) as away:
        assert request_once(away, phone.to, "x") is None


async def test_a_payment_asks_for_a_proof_of_who_is_logged_in(
    otp_service: RunningService, load: Load
) -> None:
    payments = load("payments")
    async with otp_service.async_client(timeout=60) as otp, payments["otp"]:
        proofs = []
        for subject in ("ann", "bob"):
            enrolled = await otp.enroll_totp(subject=f"{subject}-pays", account_name=subject)
            await confirm(otp, enrolled)
            code = pyotp.TOTP(enrolled.secret).now()
            verified = await otp.verify_totp(
                subject=f"{subject}-pays", code=code, purpose="payment"
            )
            proofs.append(verified.proof)

        transport = httpx.ASGITransport(app=payments["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as shop:
            answers = [
                await shop.post("/pay", headers={"X-User": "ann-pays", "X-OTP-Proof": proof})
                for proof in proofs
            ]

    assert answers[0].json() == {"paid by": "ann-pays", "confirmed by": "totp"}
    assert (answers[1].status_code, answers[1].json()["code"]) == (403, "proof_mismatch")


async def test_a_signed_proof_of_this_session_is_the_login(
    otp_service: RunningService, load: Load
) -> None:
    phone, example = otp_service.phone(), load("signed")
    async with otp_service.async_client(timeout=60) as otp, example["proofs"]:
        challenge = await otp.request_code(
            to=phone.to, purpose="login", subject="ann", binding="hers", wait=30
        )
        verified = await otp.verify_code(
            challenge_id=challenge.challenge_id, code=phone.code(), purpose="login",
            binding="hers", proof_format="jwt",
        )  # fmt: skip
        app = Starlette(
            routes=[Route("/log-in", example["log_in"], methods=["POST"])],
            exception_handlers={ProofRefused: answer_proof_refused},
        )
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as shop:
            answers = [
                await shop.post(
                    "/log-in", headers={"X-OTP-Proof": verified.proof, "X-Session-Hash": session}
                )
                for session in ("his", "hers", "hers")
            ]

    assert [answer.status_code for answer in answers] == [401, 200, 401]
    assert answers[1].json() == {"welcome": "ann"}


def test_the_plugin_serves_the_tests_of_a_caller(root: Path, tmp_path: Path) -> None:
    """With a setting overridden, whatever stands in the environment; nothing runs on afterwards."""
    (tmp_path / "conftest.py").write_text(blocks(root)["conftest"])
    (tmp_path / "test_shop.py").write_text(blocks(root)["tests"])
    base = tmp_path / "base"

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", tmp_path,
         "--basetemp", base, tmp_path],
        env={**os.environ, "OTP_NO_SUCH_SETTING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout
    data = base / "otp_service0"
    assert (data / "serve.log").exists()
    assert not (data / "endpoints.json").exists(), "dev has not ended in order"


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("OTP_MAX_ATTEMPTS: not a number")
    with (
        subprocess.Popen([sys.executable, "-c", ""]) as process,
        pytest.raises(pytest.fail.Exception, match="did not start:\nOTP_MAX_ATTEMPTS"),
    ):
        pytest_plugin._endpoints(process, tmp_path)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_phones_without_a_number_are_new(otp_service: RunningService, kind: str) -> None:
    one, two = otp_service.phone(), otp_service.phone()
    assert one.to != two.to
    async with opened(kind, otp_service.url, otp_service.credential, timeout=60) as otp:
        await otp.request_code(to=one.to, purpose="login", wait=30)
    assert (len(one.messages()), two.messages()) == (1, [])
    assert one.wrong_code() != one.code()
    assert otp_service.credential not in repr(otp_service)
