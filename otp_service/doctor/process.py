"""The process itself: its texts, what it does about pumping, and the argon2 that it hashes with."""

import os
import shlex
import time

from otp_service.core.message_lint import lint
from otp_service.core.messages import Catalogue
from otp_service.core.recipients import parse_recipient
from otp_service.core.region_pauses import PauseMode
from otp_service.doctor.finding import Finding
from otp_service.services.argon2_build import argon2_build
from otp_service.settings.table import Settings

TOLD_AT_MOST = 3  # findings about texts


def inspect_messages(catalogue: Catalogue, settings: Settings) -> list[Finding]:
    """
    Return what the linter says of the texts with this brand, origin, app and length of code.

    A long host or an app's hash is too much for many texts at once: of more than three the first is told, and how to
    see all.
    """
    digits = settings.code_digits
    found = lint(
        catalogue,
        digits=range(digits, digits + 1),
        brand=settings.brand or None,
        origin=settings.origin,
        app_hash=settings.android_app_hash,
    )
    if len(found) > TOLD_AT_MOST:
        told = (
            f"{len(found)} findings: `{_lint_command(settings)}` shows them; the first: {found[0]}"
        )
        return [Finding("warn", "messages", told)]
    return [Finding("warn", "messages", str(finding)) for finding in found] or [
        Finding("ok", "messages", f"every text fits one SMS in {', '.join(catalogue.locales)}")
    ]


def _lint_command(settings: Settings) -> str:
    """Return what an operator types to see every finding about the texts."""
    given = {
        "--dir": settings.messages_dir,
        "--digits": settings.code_digits,
        "--brand": settings.brand,
        "--origin": settings.origin,
        "--app-hash": settings.android_app_hash,
    }
    words = ["otp-service", "messages", "lint"]
    for option, value in given.items():
        words += [option, str(value)] if value else []
    for purpose in sorted(settings.purposes):
        words += ["--configured", purpose]
    return shlex.join(words)


def inspect_region_pause(settings: Settings) -> Finding:
    """Return whether SMS pumping of a region is limited, recorded or not evaluated."""
    rules = settings.pause_rules()
    match rules.mode:
        case PauseMode.OFF:
            return Finding("note", "regions", "OTP_REGION_PAUSE=off: only metrics show SMS pumping")
        case PauseMode.RECORD:
            return Finding("ok", "regions", "OTP_REGION_PAUSE=record: SMS pumping is logged")
    if not rules.exempt:
        return Finding(
            "warn",
            "regions",
            "OTP_REGION_PAUSE=enforce without OTP_REGION_PAUSE_EXEMPT: an attacker who requests many codes in the "
            "region of your users limits all of them",
        )
    exempt = ", ".join(sorted(rules.exempt))
    return Finding("ok", "regions", f"OTP_REGION_PAUSE=enforce, only recorded in {exempt}")


def inspect_test_numbers(settings: Settings) -> list[Finding]:
    """Return whether there are numbers whose codes are known, while there are any in the settings."""
    known = settings.known_codes()
    if not known.codes:
        return []
    what, until = "OTP_TEST_NUMBERS", settings.test_numbers_until
    if known.until <= time.time():
        return [Finding("warn", what, f"expired on {until}: remove them, SMS are sent there now")]
    found = [f"{len(known.codes)}, until {until}: anyone who knows number and code can log in"]
    regions = {
        parse_recipient(number, regions=None, allow_fictional=True).region
        for _, number in known.codes
    }
    if settings.regions and not regions <= settings.regions:
        outside = ", ".join(sorted(regions - settings.regions))
        found.append(f"some are in {outside}, which is not in OTP_REGIONS")
    if {len(code) for code in known.codes.values()} != {settings.code_digits}:
        found.append(
            f"some codes have other than {settings.code_digits} digits (OTP_CODE_DIGITS): SMS are sent there, unless "
            "the caller's policy has matching `digits`"
        )
    return [Finding("warn", what, message) for message in found]


def inspect_state_dir(settings: Settings) -> list[Finding]:
    """Return whether a restored or emptied Redis is noticed at a start; nothing in development without a directory."""
    what, directory = "OTP_STATE_DIR", settings.state_dir
    if directory is None:
        message = (
            "is not set: a Redis that was restored or emptied while no process ran is not detected, and spent codes "
            "and used recovery codes are accepted again; name a directory that survives restarts (docs/restore.md)"
        )
        return [Finding("warn", what, message)] if settings.environment == "production" else []
    if directory.exists() and not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)):
        return [Finding("refuse", what, "is not a directory that the service can write to")]
    return [Finding("ok", what, "a start detects a restored or emptied Redis")]


def inspect_argon2() -> Finding:
    """Return which build of argon2 hashes, and whether another could be faster here."""
    found = argon2_build()
    if found.build == "local":
        return Finding("note", "argon2", f"{found.version}, built here ({found.tag})")
    told = f"{found.version}, the wheel for every processor ({found.tag})"
    if found.processor_also_has:
        wider = ", ".join(found.processor_also_has)
        told += (
            f"; this one has {wider}: a custom build may verify twice as much (docs/operations.md)"
        )
    return Finding("note", "argon2", told)
