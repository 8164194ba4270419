"""Redis: whether it answers, forgets, evicts, lets scripts run code, and does what the durability needs."""

from collections.abc import Sequence
from typing import Literal

from otp_service.doctor.finding import Finding
from otp_service.errors import Unavailable
from otp_service.settings.table import Settings
from otp_service.store.connection import Connection
from otp_service.store.facts import MAX_SKEW_SECONDS, RedisFacts, ask
from otp_service.store.scripts import Durability

# The first release of each branch without CVE-2025-49844, -46817 and -46818: code execution by scripts.
_SAFE_LUA: dict[str, dict[tuple[int, ...], tuple[int, ...]]] = {
    "redis": {
        (6, 2): (6, 2, 20),
        (7, 2): (7, 2, 11),
        (7, 4): (7, 4, 6),
        (8, 0): (8, 0, 4),
        (8, 2): (8, 2, 2),
    },
    "valkey": {(7, 2): (7, 2, 11), (8, 0): (8, 0, 6), (8, 1): (8, 1, 4)},
}
_SAFE_FROM = {"redis": (8, 2, 2), "valkey": (8, 1, 4)}


async def inspect_redis(connection: Connection, settings: Settings) -> list[Finding]:
    """Return what Redis says of itself, judged."""
    try:
        facts = await ask(connection)
    except Unavailable as error:
        return [no_answer(error)]
    return [*judge(facts, settings)]


def no_answer(error: Unavailable) -> Finding:
    """Return what a server without an answer means."""
    return Finding("refuse", "OTP_REDIS_URL", f"Redis does not answer: {error.detail}")


def judge(facts: RedisFacts, settings: Settings) -> Sequence[Finding]:
    """Return what those facts mean under these settings."""
    strict: Literal["warn", "refuse"] = "refuse" if settings.environment == "production" else "warn"
    name = f"{facts.server} {'.'.join(map(str, facts.version))}"
    found = [Finding("ok", "redis", f"{name} answers")]
    if not facts.writable:
        found.append(
            Finding(
                "refuse",
                "OTP_REDIS_URL",
                "this server is a replica; scripts must run on the primary",
            )
        )
    if _vulnerable(facts):
        message = (
            f"{name} lets scripts run code (CVE-2025-49844, and it does not behave as one with a backported fix); "
            "update the server"
        )
        found.append(Finding(strict, "redis", message))
    if facts.policy is None:
        found.append(
            Finding(
                "warn",
                "redis",
                "the Redis user may not run INFO: eviction, persistence and min-replicas-to-write can't be checked",
            )
        )
    elif facts.policy != "noeviction":
        message = (
            f"maxmemory-policy is {facts.policy}: evicted counters loosen limits; set noeviction"
        )
        found.append(Finding("refuse", "redis", message))
    if facts.append_only is False and not settings.allow_no_persistence:
        message = (
            "keeps no append-only file, so a restart forgets every limit: set appendonly yes, "
            "or OTP_ALLOW_NO_PERSISTENCE=true"
        )
        found.append(Finding(strict, "redis", message))
    if abs(facts.skew_seconds) > MAX_SKEW_SECONDS:
        message = (
            f"the clock of Redis differs from the server's by {facts.skew_seconds:.1f} s, so authenticator codes are "
            "refused; set both by NTP"
        )
        found.append(Finding("refuse", "clock", message))
    if facts.missing_commands:
        message = (
            f"the Redis user may not run {', '.join(facts.missing_commands)}; give it the ACL of "
            "docker/users.acl.template"
        )
        found.append(Finding("refuse", "OTP_REDIS_URL", message))
    if facts.all_powerful:
        message = (
            "the Redis user may FLUSHALL and CONFIG SET; give it the ACL of docker/users.acl.template, "
            "or OTP_REDIS_ALLOW_ADMIN=true"
        )
        level = "warn" if settings.redis_allow_admin else strict
        found.append(Finding(level, "OTP_REDIS_URL", message))
    if _behind_sentinel(settings) and facts.needs_replica is False:
        message = (
            "Sentinel, and min-replicas-to-write is 0: a primary that is cut off accepts codes which the promoted one "
            "accepts too; CONFIG SET min-replicas-to-write 1 on it and its replicas, and in their files"
        )
        found.append(Finding(strict, "redis", message))
    if _on_a_cluster(settings):
        found += _of_a_cluster(facts)
    if settings.durability is Durability.REPLICA and facts.replicas == 0:
        found.append(
            Finding(
                strict,
                "OTP_DURABILITY",
                "replica, but no replica is connected: every call would be a 503",
            )
        )
    elif facts.replicas == 0 and settings.environment == "production" and not facts.lone_primaries:
        found.append(
            Finding("warn", "redis", "has no replica: if it fails, logins with codes fail")
        )
    return found


def _of_a_cluster(facts: RedisFacts) -> list[Finding]:
    """Return what a lost node would take with it."""
    found = []
    if facts.lone_primaries:
        message = (
            f"{facts.lone_primaries} primaries have no replica: of three primaries one that is lost fails a third of "
            "all verifications and more than half of all sends; give each primary a replica"
        )
        found.append(Finding("warn", "redis", message))
    if facts.full_coverage:
        message = "cluster-require-full-coverage is yes: one lost slot stops every node; set it to no on all nodes"
        found.append(Finding("warn", "redis", message))
    elif facts.full_coverage is None:
        message = (
            "the Redis user may not run CONFIG GET: set cluster-require-full-coverage to no on all nodes, or one "
            "lost slot stops every node"
        )
        found.append(Finding("note", "redis", message))
    return found


def _on_a_cluster(settings: Settings) -> bool:
    return "+cluster:" in settings.redis_url.get_secret_value()


def _behind_sentinel(settings: Settings) -> bool:
    """Whether the URL names Sentinels."""
    return settings.redis_url.get_secret_value().startswith("redis+sentinel:")


def _vulnerable(facts: RedisFacts) -> bool:
    if (
        facts.lua_fixed
        or facts.version >= _SAFE_FROM[facts.server]
        or not facts.version
        or facts.version == (0,)
    ):
        return False
    fixed = _SAFE_LUA[facts.server].get(facts.version[:2])
    return fixed is None or facts.version < fixed
