"""The ring's file, as commands change it."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from otp_service.cli.configured import refuse
from otp_service.core.keyring import Keyring, KeyringError, KindMissing


def find(ring: dict[str, Any], kid: str) -> dict[str, str]:
    """Return the entry of a key; exit 1 naming those there are."""
    found: dict[str, dict[str, str]] = {entry["kid"]: entry for entry in ring["keys"]}
    if kid not in found:
        refuse([f"KID: the ring has {', '.join(found)}"])
    return found[kid]


def read(file: Path, *, incomplete: bool = False) -> dict[str, Any]:
    """Return the ring's JSON, `incomplete` also when a kind has no key; exit 1 saying why it can't be used."""
    try:
        text = file.read_text("utf-8")
        _check(text, incomplete)
    except (OSError, UnicodeDecodeError) as error:
        refuse([f"--file: can't be read ({type(error).__name__})"])
    except KeyringError as error:
        refuse([f"--file: {error}"])
    return dict(json.loads(text))


def _check(text: str, incomplete: bool) -> None:
    try:
        Keyring.from_json(text)
    except KindMissing:
        if not incomplete:
            raise


def write(file: Path, ring: dict[str, Any], *, incomplete: bool = False) -> None:
    """Replace the file in one step, so that no process ever reads half a ring."""
    text = json.dumps(ring, indent=2) + "\n"
    _check(text, incomplete)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with open(handle, "w", encoding="utf-8") as temporary:
        os.fchmod(temporary.fileno(), file.stat().st_mode & 0o777)
        temporary.write(text)
        temporary.flush()
        os.fsync(temporary.fileno())
    Path(name).replace(file)
