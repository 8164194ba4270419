"""A check's report as findings an operator can act on, in the order of setting a site up."""

from dataclasses import dataclass

from otp_service.wsms.models import Capability
from otp_service.wsms.site import SiteIndex, SiteReport

# 7.2 by recordings and on a real site; 7.2.8 as read in its source, which the sandbox imitates.
TESTED_RELEASES = ("7.2", "7.2.8")

_PURPOSES = {
    Capability.SEND: "sending",
    Capability.SUBSCRIBERS: "opt-in by the site's newsletter",
    Capability.OUTBOX: "looking up unknown sends, and deleting codes on the site",
    Capability.SETTING: "credit and webhooks",
}


@dataclass(frozen=True)
class Finding:
    """
    One thing that was looked at.

    Attributes:
        ok: None where nothing could be learnt.
        advice: What to do; empty if all is well.
    """

    what: str
    ok: bool | None
    advice: str = ""


def findings(report: SiteReport) -> list[Finding]:
    """Return all findings; sending works when those named `plugin`, `credential` and send do."""
    return [
        Finding("https", report.https, "" if report.https else "Only for a site on loopback."),
        _plugin(report),
        _release(report),
        _application_passwords(report),
        _credential(report),
        *(_capability(report, capability) for capability in Capability),
        _language(report),
    ]


def _plugin(report: SiteReport) -> Finding:
    if report.index.version == "7":
        if not report.missing_routes:
            return Finding("plugin", True)
        missing = ", ".join(report.missing_routes)
        return Finding("plugin", False, f"Routes are missing: {missing}. Update WSMS to 7.2.")
    return Finding("plugin", False, missing_route_advice(report.index))


def missing_route_advice(index: SiteIndex) -> str:
    """Return which WSMS the site has, and what to do so that it has the route that was called."""
    match index.version:
        case "7":
            return "The site has a WSMS 7 without this route: update WSMS to 7.2."
        case "8":
            return "The site has WSMS 8, whose API (wsms/v1) has none of these calls: install 7.2."
    return "Install and activate WSMS 7.2 on the site."


def _release(report: SiteReport) -> Finding:
    what, tested = "version", " and ".join(TESTED_RELEASES)
    if report.index.version != "7":
        return Finding(what, None, "Unknown until the plugin is active.")
    if report.release is None:
        return Finding(
            what,
            None,
            f"Not shown by the site. Tested are {tested}: compare in WordPress > Plugins.",
        )
    if report.release in TESTED_RELEASES:
        return Finding(what, True)
    return Finding(
        what,
        False,
        f"{report.release} has not been tested with this service; {tested} have. Read the plugin's changelog, and send"
        " yourself a code and a sign-up before people do.",
    )


def _application_passwords(report: SiteReport) -> Finding:
    if report.index.application_passwords:
        return Finding("application passwords", True)
    return Finding(
        "application passwords",
        False,
        "Serve the site by https, and let no plugin switch them off: only then WordPress has them.",
    )


def _credential(report: SiteReport) -> Finding:
    match report.authorized:
        case True:
            return Finding("credential", True)
        case False:
            return Finding(
                "credential",
                False,
                "Not accepted: check the user name and the application password (not the login"
                " password), and that the web server passes the Authorization header on.",
            )
    return Finding("credential", None, "Unknown: no response shows it.")


def _language(report: SiteReport) -> Finding:
    what = "English texts"
    if report.translated is None:
        return Finding(what, None, "No text of the plugin was seen.")
    if not report.translated:
        return Finding(what, True)
    return Finding(
        what,
        False,
        "The plugin's texts are translated: a message that the site queues looks like one that was"
        " sent, so keep its delivery method direct. Reasons of newsletter refusals are unknown.",
    )


def _capability(report: SiteReport, capability: Capability) -> Finding:
    has, what = report.capabilities[capability], str(capability)
    if has:
        return Finding(what, True)
    if report.index.version != "7":
        return Finding(what, None, "Unknown until the plugin is active.")
    note = report.notes.get(capability, "")
    if has is None:
        return Finding(what, None, note)
    if report.authorized is False:
        return Finding(what, None, "Unknown until the credential is accepted.")
    if note:
        return Finding(what, False, note)
    return Finding(
        what,
        False,
        f"Give the user's role this capability for {_PURPOSES[capability]}."
        " Administrators get it when one of them opens wp-admin after the plugin's activation.",
    )
