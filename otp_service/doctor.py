"""
What makes it unsafe to run, and what deserves a look: the same checks at every start and in `otp-service doctor`, which
asks the WordPress site too (a start does not: the site may be down while codes are verified).

A refusal names the setting or the server's option to change. In development most refusals are warnings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from otp_service.channels.key_set import KeySetAway, KeySetSource
from otp_service.core.issuer_keys import KeySetUnusable, read_key_set
from otp_service.core.message_lint import lint
from otp_service.core.messages import Catalogue
from otp_service.errors import Unavailable
from otp_service.flows.argon2_build import argon2_build
from otp_service.settings import Settings
from otp_service.store.connection import Connection
from otp_service.store.facts import RedisFacts, ask
from otp_service.store.opt_ins import SUBSCRIBES_AT_ONCE, VERIFIES_TOO, OptIns
from otp_service.store.scripts import Durability
from otp_service.wsms import advice
from otp_service.wsms.client import WsmsClient
from otp_service.wsms.errors import WsmsError
from otp_service.wsms.models import Capability
from otp_service.wsms.site import SiteReport

MAX_SKEW_SECONDS = 5

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


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One look at one thing.

    Attributes:
        level: `ok`, `note` (nothing is judged), `warn` (it runs) or `refuse` (it does not start, or of the site: no
            code goes out).
        what: The setting, or the part looked at.
        message: What was found and what to do.
    """

    level: Literal["ok", "note", "warn", "refuse"]
    what: str
    message: str


def inspect_messages(catalogue: Catalogue, settings: Settings) -> list[Finding]:
    """Return what the linter says of the texts with this brand, origin and length of code."""
    digits = settings.code_digits
    found = lint(
        catalogue,
        digits=range(digits, digits + 1),
        brand=settings.brand or None,
        origin=settings.origin,
    )
    return [Finding("warn", "messages", str(finding)) for finding in found] or [
        Finding("ok", "messages", f"every text fits one SMS in {', '.join(catalogue.locales)}")
    ]


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


async def inspect_redis(connection: Connection, settings: Settings) -> list[Finding]:
    """Return what Redis says of itself, judged."""
    try:
        facts = await ask(connection)
    except Unavailable as error:
        return [Finding("refuse", "OTP_REDIS_URL", f"Redis does not answer: {error.detail}")]
    return [*judge(facts, settings)]


async def inspect_site(client: WsmsClient, settings: Settings) -> list[Finding]:
    """Return what the site says of itself and of our user, judged. Nothing is sent or changed."""
    try:
        report = await client.check()
    except WsmsError as error:
        return [Finding("refuse", "OTP_WSMS_URL", f"the site can't be asked: {error}")]
    return [
        Finding("ok", "site", f"{report.index.name or 'a site'} at {report.address}"),
        *(_of_site(finding, report, settings) for finding in advice.findings(report)),
        await _outbox_texts(client, report, settings),
    ]


def _of_site(finding: advice.Finding, report: SiteReport, settings: Settings) -> Finding:
    if finding.ok:
        return Finding("ok", finding.what, "is there" if finding.what in set(Capability) else "ok")
    told = finding.advice or "could not be learnt"
    match finding.what:
        case "plugin" | "credential" | Capability.SEND if finding.ok is False:
            return Finding("refuse", finding.what, told)
        case Capability.OUTBOX if settings.wsms_scrub_outbox and finding.ok is False:
            told += " OTP_WSMS_SCRUB_OUTBOX can't be kept without."
            return Finding("refuse", finding.what, told)
        case Capability.OUTBOX if not (settings.wsms_scrub_outbox or settings.wsms_reconcile):
            return Finding("ok", finding.what, "not there, and not used")
        case Capability.SETTING if settings.wsms_credit_warning is None and finding.ok is False:
            return Finding("ok", finding.what, "not there: the credit is known from sends only")
        case "https" if report.address.startswith("http://"):
            return Finding("warn", finding.what, told)
    return Finding("warn", finding.what, told)


async def _outbox_texts(client: WsmsClient, report: SiteReport, settings: Settings) -> Finding:
    """Whether codes stay readable in WordPress (contract 3.1, quirk 9)."""
    what = "OTP_WSMS_SCRUB_OUTBOX"
    kept: int | None = None
    if report.capabilities[Capability.OUTBOX]:
        try:
            kept = (await client.outbox.page(per_page=1)).total
        except WsmsError:
            kept = None
    if settings.wsms_scrub_outbox:
        return Finding("ok", what, f"is on; the site keeps {_count(kept)} now")
    remedy = "set it to true, or switch the storing of messages off in WSMS"
    if kept:
        told = (
            f"is off, and the site keeps {_count(kept)} with their texts, codes included: {remedy}"
        )
    else:
        told = f"is off: unless the site stores nothing, every code stays readable there: {remedy}"
    return Finding("warn", what, told)


def _count(kept: int | None) -> str:
    if kept is None:
        return "an unknown number of messages"
    return "1 message" if kept == 1 else f"{kept} messages"


async def inspect_issuer(settings: Settings) -> list[Finding]:
    """Return whether the keys of callers' issuer can be fetched now; nothing without an issuer."""
    if settings.caller_jwks_url is None:
        return []
    source = KeySetSource(settings.caller_jwks_url, ca_file=settings.caller_jwks_ca_file)
    what = "OTP_CALLER_JWKS_URL"
    try:
        found = read_key_set(await source.fetch())
    except (KeySetAway, KeySetUnusable) as error:
        return [Finding("warn", what, f"no keys to check callers' tokens by: {error}")]
    allowed = {name for key in found.values() for name in key.algorithms}
    if not allowed & settings.caller_algorithms:
        told = f"its keys are for {', '.join(sorted(allowed))}: see OTP_CALLER_ALGORITHMS"
        return [Finding("warn", what, told)]
    return [Finding("ok", what, f"keys of the issuer: {len(found)}")]


_SITE_VERIFIES = (
    "cannot be read over the API. It is told of here for a day once it was seen; look at WordPress > SMS > Settings > "
    "Newsletter, or `wp option pluck wpsms_settings newsletter_form_verify`"
)


async def inspect_opt_in(opt_ins: OptIns, settings: Settings) -> Finding:
    """
    Return what was seen of the site's own verification, or that nobody can know it beforehand.

    The index lists routes and not settings; GET /newsletter and its status are the same either way (contract 3.2), and
    GET /subscribers shows who was made to confirm before, not who will be. Only subscribing somebody tells.
    """
    what, service = "OTP_OPTIN_MODE", settings.optin_mode == "service"
    try:
        seen = await opt_ins.remembers(VERIFIES_TOO if service else SUBSCRIBES_AT_ONCE)
    except Unavailable:
        seen = False  # that Redis is away is told of by inspect_redis
    if service and seen:
        message = (
            "the site sends an activation of its own: switch its verification off, or set wsms"
        )
        return Finding("refuse", what, message)
    if seen:
        message = "the site subscribes without asking for a code: switch its verification on, or set service"
        return Finding("warn", what, message)
    if service:
        return Finding(
            "note", what, f"is service: the site must not verify too, which {_SITE_VERIFIES}"
        )
    return Finding("note", what, f"is wsms: the site must verify by itself, which {_SITE_VERIFIES}")


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
        message = f"{name} lets scripts run code (CVE-2025-49844); update the server"
        found.append(Finding(strict, "redis", message))
    if facts.policy is None:
        found.append(
            Finding(
                "warn",
                "redis",
                "our user may not run INFO: eviction and persistence can't be checked",
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
        message = f"its clock differs from ours by {facts.skew_seconds:.1f} s; set both by NTP"
        found.append(Finding("refuse", "redis", message))
    if facts.all_powerful:
        message = (
            "our user may FLUSHALL and CONFIG SET; give it the ACL of docker/users.acl.template, "
            "or OTP_REDIS_ALLOW_ADMIN=true"
        )
        level = "warn" if settings.redis_allow_admin else strict
        found.append(Finding(level, "OTP_REDIS_URL", message))
    if settings.durability is Durability.REPLICA and facts.replicas == 0:
        found.append(
            Finding(
                strict,
                "OTP_DURABILITY",
                "replica, but no replica is connected: every call would be a 503",
            )
        )
    elif facts.replicas == 0 and settings.environment == "production":
        found.append(
            Finding(
                "warn", "redis", "has no replica: while it is away nobody can log in with a code"
            )
        )
    return found


def _vulnerable(facts: RedisFacts) -> bool:
    if facts.version >= _SAFE_FROM[facts.server] or not facts.version or facts.version == (0,):
        return False
    fixed = _SAFE_LUA[facts.server].get(facts.version[:2])
    return fixed is None or facts.version < fixed
