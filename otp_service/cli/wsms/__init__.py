"""``otp-service wsms``: call a site's WSMS API by hand. Exits 0 accepted, 1 refused, 3 unknown."""

import os
from typing import Annotated

import typer

from otp_service.cli.wsms import newsletter, outbox, sending, site, webhooks
from otp_service.cli.wsms.running import Login, setting

app = typer.Typer(help="Call a site's WSMS API.", no_args_is_help=True)
for command in (
    sending.send,
    newsletter.subscribe,
    newsletter.verify,
    newsletter.unsubscribe,
    newsletter.subscribers,
    site.credit,
    site.check,
):
    app.command()(command)
app.add_typer(outbox.app, name="outbox")
app.add_typer(webhooks.app, name="webhook")


@app.callback()
def settings(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="The site. Default: OTP_WSMS_URL.")] = "",
    username: Annotated[str, typer.Option(help="Default: OTP_WSMS_USERNAME.")] = "",
) -> None:
    """
    Call a site's WSMS API by hand.

    The application password is in OTP_WSMS_APPLICATION_PASSWORD. Each variable may also be the
    name of a file, with _FILE behind it; OTP_WSMS_CA_FILE is a private authority's.
    Exits 0 accepted, 1 refused, 2 misused, 3 unknown.
    """
    # Not read here: `--help` of a command must work without.
    context.obj = lambda: Login(
        url or setting("OTP_WSMS_URL"),
        username or setting("OTP_WSMS_USERNAME"),
        setting("OTP_WSMS_APPLICATION_PASSWORD"),
        os.environ.get("OTP_WSMS_CA_FILE") or None,
    )
