"""The WordPress site: whether codes can go out over it, and what it does with them besides."""

from otp_service.doctor.finding import Finding
from otp_service.errors import Unavailable
from otp_service.services.delivery_lookups import ROWS_MISSING_ADVICE
from otp_service.settings.table import Settings
from otp_service.store.delivery_lookups import DeliveryLookups
from otp_service.store.opt_ins import SUBSCRIBES_AT_ONCE, VERIFIES_TOO, OptIns
from otp_service.wsms import advice
from otp_service.wsms.client import WsmsClient
from otp_service.wsms.errors import WsmsError
from otp_service.wsms.models import Capability
from otp_service.wsms.site import SiteReport

_SITE_VERIFIES = (
    "cannot be read over the API. It is told of here for a day once it was seen; look at WordPress > SMS > Settings > "
    "Newsletter, or set it as docs/wordpress.md says"
)


async def inspect_site(client: WsmsClient, settings: Settings) -> list[Finding]:
    """Return what the site says of itself and of our user, judged. Nothing is sent or changed."""
    try:
        report = await client.check()
    except WsmsError as error:
        return [Finding("refuse", "OTP_WSMS_URL", f"the site could not be checked: {error}")]
    return [
        Finding("ok", "site", f"{report.index.name or 'a site'} at {report.address}"),
        *(_of_site(finding, report, settings) for finding in advice.findings(report)),
        await _outbox_texts(client, report, settings),
    ]


def _of_site(finding: advice.Finding, report: SiteReport, settings: Settings) -> Finding:
    if finding.what == "version" and finding.ok is not False:
        return Finding("ok" if finding.ok else "note", "version", report.release or finding.advice)
    if finding.ok:
        return Finding("ok", finding.what, "is there" if finding.what in set(Capability) else "ok")
    told = finding.advice or "could not be learnt"
    match finding.what:
        case "plugin" | "credential" | Capability.SEND if finding.ok is False:
            return Finding("refuse", finding.what, told)
        case Capability.OUTBOX if settings.wsms_scrub_outbox and finding.ok is False:
            told += " OTP_WSMS_SCRUB_OUTBOX needs it."
            return Finding("refuse", finding.what, told)
        case Capability.OUTBOX if not (settings.wsms_scrub_outbox or settings.wsms_reconcile):
            return Finding("ok", finding.what, "missing, and not used")
        case Capability.SETTING if settings.wsms_credit_warning is None and finding.ok is False:
            return Finding("ok", finding.what, "missing: the credit is only known from sends")
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
        told = (
            f"is off: every code stays readable on the site, unless it stores no messages: {remedy}"
        )
    return Finding("warn", what, told)


async def inspect_outbox_rows(traces: DeliveryLookups) -> list[Finding]:
    """Return whether messages that the site accepted left no row, as seen within a day."""
    try:
        seen = await traces.remembers_missing()
    except Unavailable:
        seen = False  # inspect_redis reports that Redis is away
    return [Finding("warn", "outbox", ROWS_MISSING_ADVICE)] if seen else []


def _count(kept: int | None) -> str:
    if kept is None:
        return "an unknown number of messages"
    return "1 message" if kept == 1 else f"{kept} messages"


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
        message = "the site also sends an activation: switch its verification off, or set wsms"
        return Finding("refuse", what, message)
    if seen:
        message = "the site subscribes without asking for a code: set service, or switch its verification on"
        return Finding("refuse", what, message)
    if service:
        return Finding(
            "note", what, f"is service: the site must not verify as well, which {_SITE_VERIFIES}"
        )
    return Finding("note", what, f"is wsms: the site must verify by itself, which {_SITE_VERIFIES}")
