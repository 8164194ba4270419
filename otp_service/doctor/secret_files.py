"""The files that hold secrets: who on this machine may read or change them."""

import stat
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from otp_service.doctor.finding import Finding
from otp_service.settings.table import Settings, secret_names


def inspect_secret_files(settings: Settings) -> list[Finding]:
    """Return what the modes of the files of secrets say, a finding for each file."""
    return [_inspect(what, path, settings) for what, path in secret_files(settings)]


def secret_files(settings: Settings) -> list[tuple[str, Path]]:
    """
    Return the files that hold secrets, by what names them.

    The settings' declaration says which are secret, so a new one cannot be forgotten. Redis' URL may also name the key
    of a client certificate.
    """
    found = [
        (f"OTP_{name.upper()}_FILE", path)
        for name, path in sorted(settings.files.items())
        if name in secret_names()
    ]
    query = urlsplit(settings.redis_url.get_secret_value()).query
    keys = parse_qs(query).get("ssl_keyfile", [])
    return [*found, *(("OTP_REDIS_URL ssl_keyfile", Path(key)) for key in keys)]


def _inspect(what: str, path: Path, settings: Settings) -> Finding:
    strict: Literal["refuse", "warn"] = "refuse" if settings.environment == "production" else "warn"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return Finding("warn", what, f"cannot be checked ({type(error).__name__})")
    told = f"its mode is {mode:04o}"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Finding(strict, what, f"{told}, so others on this machine may change it: chmod 600")
    if mode & stat.S_IRWXO == 0:
        return Finding("ok", what, told)
    if settings.allow_readable_secrets:
        return Finding("note", what, f"{told}, allowed by OTP_ALLOW_READABLE_SECRETS")
    message = (
        f"{told}, so others on this machine may read it: chmod 600, or in a container without other users "
        "OTP_ALLOW_READABLE_SECRETS=true"
    )
    return Finding(strict, what, message)
