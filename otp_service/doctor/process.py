"""The process itself: its texts, what it does about pumping, and the argon2 that it hashes with."""

import os
import shlex
import time

from otp_service.core.message_lint import lint
from otp_service.core.messages import Catalogue
from otp_service.core.recipients import parse_recipient
from otp_service.core.region_pauses import PauseMode
from otp_service.doctor.finding import Finding
from otp_service.flows.argon2_build import argon2_build
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
    """Return what is done where many are sent codes and few type them."""
    rules = settings.pause_rules()
    match rules.mode:
        case PauseMode.OFF:
            return Finding("note", "regions", "OTP_REGION_PAUSE=off: of pumping only metrics tell")
        case PauseMode.RECORD:
            return Finding("ok", "regions", "OTP_REGION_PAUSE=record: of pumping the log tells")
    if not rules.exempt:
        return Finding(
            "warn",
            "regions",
            "OTP_REGION_PAUSE=enforce and OTP_REGION_PAUSE_EXEMPT names none: who asks for many codes in the region "
            "of your users slows them all down",
        )
    exempt = ", ".join(sorted(rules.exempt))
    return Finding("ok", "regions", f"OTP_REGION_PAUSE=enforce, but in {exempt} only told")


def inspect_test_numbers(settings: Settings) -> list[Finding]:
    """Return whether there are numbers whose codes are known, while there are any in the settings."""
    known = settings.known_codes()
    if not known.codes:
        return []
    what, until = "OTP_TEST_NUMBERS", settings.test_numbers_until
    if known.until <= time.time():
        return [Finding("warn", what, f"ended with {until}: take them out, an SMS goes there now")]
    found = [
        f"{len(known.codes)}, until {until}: who knows number and code gets in without a phone"
    ]
    regions = {
        parse_recipient(number, regions=None, allow_fictional=True).region
        for _, number in known.codes
    }
    if settings.regions and not regions <= settings.regions:
        outside = ", ".join(sorted(regions - settings.regions))
        found.append(f"some are in {outside}, where OTP_REGIONS lets nobody ask for a code")
    if {len(code) for code in known.codes.values()} != {settings.code_digits}:
        found.append(
            f"some codes have other than {settings.code_digits} digits (OTP_CODE_DIGITS): an SMS goes there, unless "
            "the caller's rule `digits` fits"
        )
    return [Finding("warn", what, message) for message in found]


def inspect_state_dir(settings: Settings) -> list[Finding]:
    """Return whether a restored or emptied Redis is noticed at a start; nothing in development without a directory."""
    what, directory = "OTP_STATE_DIR", settings.state_dir
    if directory is None:
        message = (
            "is not set: a Redis that was restored or emptied while no process ran is not noticed, and spent codes and "
            "used recovery codes count again; name a directory that outlives restarts (docs/restore.md)"
        )
        return [Finding("warn", what, message)] if settings.environment == "production" else []
    if directory.exists() and not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)):
        return [Finding("refuse", what, "is no directory that the service may write to")]
    return [Finding("ok", what, "a restored or emptied Redis is noticed at a start too")]


def inspect_argon2() -> Finding:
    """Return which build of argon2 hashes, and whether another could be faster here."""
    found = argon2_build()
    if found.build == "local":
        return Finding("note", "argon2", f"{found.version}, built here ({found.tag})")
    told = f"{found.version}, the wheel for every processor ({found.tag})"
    if found.processor_also_has:
        wider = ", ".join(found.processor_also_has)
        told += f"; this one has {wider}: a build of its own may verify twice as much (docs/operations.md)"
    return Finding("note", "argon2", told)
