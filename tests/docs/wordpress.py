"""
What the commands in docs/wordpress.md print, on a sandbox set up as the comment above each of them says.

`python -m tests.docs.wordpress` writes them anew.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "wordpress.md"
PASSWORD = "abcd EFGH 2345 ijkl MNOP 6789"
ALL = ["wpsms_sendsms", "wpsms_subscribers", "wpsms_outbox", "wpsms_setting"]
WIDTH = 120


def rewritten(text: str, sandbox_url: str) -> str:
    """The document with the outputs as they are now."""

    def block(found: re.Match[str]) -> str:
        printed = output(sandbox_url, json.loads(found[1]), found[2])
        return f"<!-- site {found[1]} -->\n```text\n$ otp-service {found[2]}\n{printed}```"

    return re.sub(r"<!-- site (\{.*\}) -->\n```text\n\$ otp-service (.*)\n([^`]*)```", block, text)


def output(sandbox_url: str, site: dict[str, Any], command: str) -> str:
    """What the command prints when the site is set up so."""
    call: Callable[..., httpx.Response] = partial(httpx.request, timeout=120)
    call("POST", f"{sandbox_url}/sandbox/reset").raise_for_status()
    user = {"login": "otp", "capabilities": site.pop("capabilities", ALL)}
    call("PUT", f"{sandbox_url}/sandbox/users", json=user).raise_for_status()
    environment = {
        **os.environ,
        "OTP_WSMS_URL": site.pop("url", sandbox_url),
        "OTP_WSMS_USERNAME": "otp",
        "OTP_WSMS_APPLICATION_PASSWORD": site.pop("password", PASSWORD),
        "COLUMNS": str(WIDTH),
    }
    call("PUT", f"{sandbox_url}/sandbox/settings", json=site).raise_for_status()
    found = subprocess.run(
        [sys.executable, "-m", "otp_service", *shlex.split(command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    call("PUT", f"{sandbox_url}/sandbox/users", json={**user, "capabilities": ALL})
    printed = found.stdout.replace(sandbox_url, "http://127.0.0.1:8025")
    return "".join(f"{line.rstrip()}\n" for line in printed.splitlines())


if __name__ == "__main__":
    from otp_service.cli.ports import listen

    listening = listen(0, what="the sandbox", variable="SANDBOX_PORT")
    process = subprocess.Popen(
        [sys.executable, "-m", "otp_service", "sandbox", "--fd", str(listening.fileno())],
        env={**os.environ, "OTP_SANDBOX_APPLICATION_PASSWORD": PASSWORD},
        pass_fds=[listening.fileno()],
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        DOCUMENT.write_text(rewritten(DOCUMENT.read_text("utf-8"), url), "utf-8")
    finally:
        process.terminate()
