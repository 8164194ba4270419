"""
`otp-service`: one command for operators, one file here for each group.

Exit codes: 0 done, 1 refused (bad configuration, unknown name, a check that failed), 2 wrong usage.
"""

import typer

from otp_service.cli import (
    audit,
    callers,
    dev,
    doctor,
    factors,
    keys,
    messages,
    regions,
    sandbox,
    serve,
    store,
    subjects,
    webhooks,
    wsms,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="One-time codes over WSMS, accepted once.",
)
app.command("serve")(serve.serve)
app.command("worker")(serve.worker)
app.command("healthcheck")(serve.healthcheck)
app.command("dev")(dev.dev)
app.command("sandbox")(sandbox.sandbox)
app.command("doctor")(doctor.doctor)
app.command("timeline")(subjects.timeline)
app.command("unblock")(subjects.unblock)
app.command("erase")(subjects.erase)
app.command("settings")(doctor.settings)
app.command("openapi")(serve.openapi)
app.add_typer(audit.app, name="audit")
app.add_typer(callers.app, name="callers")
app.add_typer(factors.app, name="factors")
app.add_typer(keys.app, name="keys")
app.add_typer(messages.app, name="messages")
app.add_typer(regions.app, name="regions")
app.add_typer(store.app, name="store")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(wsms.app, name="wsms")


def main() -> None:
    """Run the command line."""
    app()
