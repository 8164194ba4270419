"""`otp-service wsms check | credit`: what the site offers, and what is left at its gateway."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import typer

from otp_service.cli.wsms.running import REFUSED, run
from otp_service.cli.wsms.showing import AsJson, show, show_table
from otp_service.wsms import Capability, SiteReport, WsmsClient
from otp_service.wsms.advice import findings


def credit(
    context: typer.Context,
    refresh: Annotated[bool, typer.Option(help="Let the site ask its gateway.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the SMS credit that the gateway reports."""

    async def call(wsms: WsmsClient) -> Mapping[str, object]:
        found = await (wsms.credit.refresh() if refresh else wsms.credit.stored())
        return dataclasses.asdict(found)

    show(run(context, call), as_json)


def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the site's features and the credential's capabilities; changes and sends nothing."""
    report: SiteReport = run(context, lambda wsms: wsms.check())
    if as_json:
        show(_report_data(report), as_json)
    else:
        index = report.index
        wsms = f"WSMS {report.release or index.version}" if index.version else "no WSMS"
        typer.echo(f"{index.name or 'A site'} at {report.address} ({wsms}, zone {index.zone})")
        signs = {True: "yes", False: "no", None: "?"}
        rows = [(f.what, signs[f.ok], f.advice) for f in findings(report)]
        show_table(("what", "ok", "what to do"), rows, as_json=False)
    if not report.ready_to_send:
        raise typer.Exit(REFUSED)


def _report_data(report: SiteReport) -> dict[str, object]:
    return {
        "address": report.address,
        "site": report.index.name,
        "https": report.https,
        "version": report.index.version,
        "release": report.release,
        "zone": str(report.index.zone),
        "application_passwords": report.index.application_passwords,
        "authorized": report.authorized,
        "missing_routes": list(report.missing_routes),
        "capabilities": {str(c): report.capabilities[c] for c in Capability},
        "ready_to_send": report.ready_to_send,
        "advice": {f.what: f.advice for f in findings(report) if f.advice},
    }
