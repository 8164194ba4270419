"""Checks of combinations of settings."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from otp_service.core.codes import HashCost
from otp_service.core.recipients import REGIONS
from otp_service.core.test_numbers import MAX_DAYS
from otp_service.settings.addresses import is_loopback
from otp_service.settings.table import Settings


def cross_check(settings: Settings) -> list[str]:
    """Return why these settings are unsafe or useless together, a line for each setting; empty when not."""
    wrong: list[str] = []
    if settings.code_digits < 6 and not settings.allow_short_codes:
        wrong.append("OTP_CODE_DIGITS: fewer than 6 needs OTP_ALLOW_SHORT_CODES=true")
    if settings.min_life_at_send >= settings.code_ttl:
        wrong.append(
            "OTP_MIN_LIFE_AT_SEND: must be less than OTP_CODE_TTL, or no code is ever sent"
        )
    if settings.lockout_long.seconds < settings.lockout_short.seconds:
        wrong.append("OTP_LOCKOUT_LONG: must be over a longer time than OTP_LOCKOUT_SHORT")
    if settings.drain_seconds < settings.wsms_deadline:
        wrong.append(
            "OTP_DRAIN_SECONDS: must not be less than OTP_WSMS_DEADLINE, or a shutdown interrupts sends"
        )
    if max(settings.cooldown) > settings.limit_recipient[0].seconds:
        wrong.append(
            "OTP_COOLDOWN: a step is longer than the longest window of OTP_LIMIT_RECIPIENT"
        )
    cost = HashCost(settings.hash_passes, settings.hash_memory_kib, settings.hash_lanes)
    if not cost.approved:
        wrong.append(
            "OTP_HASH_MEMORY_KIB: below the OWASP row for OTP_HASH_PASSES (t=1: 47104, t=2: 19456, t=3: 12288)"
        )
    if not 600 <= settings.region_pause_from.seconds <= 86_400:
        wrong.append("OTP_REGION_PAUSE_FROM: its time must be 10m to 1d, such as 50/1h")
    if unknown := settings.open_purposes - settings.policy().purposes - {"none"}:
        wrong.append(
            f"OTP_OPEN_PURPOSES: {', '.join(sorted(unknown))} is neither a built-in purpose nor in OTP_PURPOSES"
        )
    if settings.webhooks_allow_private and settings.environment != "development":
        wrong.append(
            "OTP_WEBHOOKS_ALLOW_PRIVATE: only with OTP_ENVIRONMENT=development: callers could reach internal hosts"
        )
    if settings.test_numbers.get_secret_value():
        wrong += _test_numbers(settings)
    issuer = {
        "OTP_CALLER_ISSUER": settings.caller_issuer,
        "OTP_CALLER_JWKS_URL": settings.caller_jwks_url,
        "OTP_CALLER_AUDIENCE": settings.caller_audience,
    }
    if any(issuer.values()):
        wrong += [
            f"{name}: is required with the others of {', '.join(issuer)}"
            for name, value in issuer.items()
            if not value
        ]
    if settings.caller_certificates and not settings.trusted_proxies:
        wrong.append(
            "OTP_CALLER_CERTIFICATES: needs OTP_TRUSTED_PROXIES, or any client could present any certificate"
        )
    if settings.environment == "production":
        if not settings.regions:
            wrong.append(
                "OTP_REGIONS: name the regions that codes may be sent to, such as DE,AT,CH"
            )
        wrong += _redis_in_the_open(settings)
    for name, named in {
        "OTP_REGIONS": settings.regions,
        "OTP_REGION_PAUSE_EXEMPT": settings.region_pause_exempt,
    }.items():
        if strange := sorted(named - REGIONS):
            wrong.append(
                f"{name}: {_named(strange)} not among the ISO 3166-1 codes of two capital letters, such as DE,GB"
            )
    return wrong


def _named(words: list[str]) -> str:
    """Return what is unknown by name; what is too long for a region may be something else, and is not repeated."""
    shown = [word for word in words if re.fullmatch(r"[A-Za-z]{1,10}", word)]
    told = [*shown, "something"] if len(shown) < len(words) else shown
    return f"{', '.join(told)} {'is' if len(told) == 1 else 'are'}"


def _test_numbers(settings: Settings) -> list[str]:
    until, latest = settings.test_numbers_until, datetime.now(UTC).date() + timedelta(days=MAX_DAYS)
    if until is None:
        return [
            f"OTP_TEST_NUMBERS_UNTIL: is required with OTP_TEST_NUMBERS: an end date such as {latest}"
        ]
    if until > latest:
        return [f"OTP_TEST_NUMBERS_UNTIL: must be within {MAX_DAYS} days, {latest} at the latest"]
    return []


def _redis_in_the_open(settings: Settings) -> list[str]:
    if settings.redis_allow_plaintext:
        return []
    parts = urlsplit(settings.redis_url.get_secret_value())
    if parts.scheme == "unix":
        return []
    hosts = [
        entry.rpartition(":")[0] or entry for entry in parts.netloc.rpartition("@")[2].split(",")
    ]
    if all(is_loopback(host) for host in hosts):
        return []
    wrong = []
    if not parts.scheme.startswith("rediss"):
        wrong.append(
            "OTP_REDIS_URL: without TLS off loopback; use rediss://, or set OTP_REDIS_ALLOW_PLAINTEXT=true"
        )
    if not parts.password:
        wrong.append(
            "OTP_REDIS_URL: without a password off loopback, or set OTP_REDIS_ALLOW_PLAINTEXT=true"
        )
    return wrong
