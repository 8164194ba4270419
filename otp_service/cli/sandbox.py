"""`otp-service sandbox`: a stand-in WordPress site with WSMS, whose SMS show up on a web page."""

from typing import Annotated

import typer

from otp_service.sandbox import server
from otp_service.sandbox.settings import NEWEST_VERSION, SiteSettings, WsmsVersion
from otp_service.sandbox.site import Site
from otp_service.sandbox.users import default_user, generate_application_password


def sandbox(
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="TCP port; 0 picks a free one.")
    ] = 8025,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    fd: Annotated[int | None, typer.Option(help="Listen on this inherited socket instead.")] = None,
    username: Annotated[str, typer.Option(help="Login name of the site's account.")] = "otp",
    application_password: Annotated[
        str | None,
        typer.Option(
            envvar="OTP_SANDBOX_APPLICATION_PASSWORD",
            help="Application password of the account, 24 letters and digits, spaces ignored."
            " Default: generated and printed.",
        ),
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option(help="Allow an address that others can reach.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Also answer to this host name; repeatable. Addresses always work."),
    ] = None,
    double_opt_in: Annotated[
        bool, typer.Option(help="New subscribers must confirm by a code (a setting of WSMS).")
    ] = False,
    wsms_version: Annotated[
        WsmsVersion, typer.Option(help="Plugin release to imitate.")
    ] = NEWEST_VERSION,
    allow_private_webhooks: Annotated[
        bool,
        typer.Option(
            help="Also call webhooks on loopback and over http, which a real site refuses."
        ),
    ] = False,
) -> None:
    """Run a sandbox WordPress site with WSMS, for development. No SMS is sent."""
    if fd is None and not server.is_loopback(host) and not allow_remote:
        typer.echo(f"{host} is not loopback: everybody who reaches it reads the codes.", err=True)
        typer.echo("Say --allow-remote if that is what you want.", err=True)
        raise typer.Exit(2)
    try:
        listening = server.inherited(fd) if fd is not None else server.bound(host, port)
    except OSError as error:
        what = f"fd {fd}" if fd is not None else f"{host}:{port}"
        typer.echo(f"Cannot listen on {what}: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    password = application_password or generate_application_password()
    settings = SiteSettings(
        wsms_version=wsms_version,
        newsletter_form_verify=double_opt_in,
        allow_private_webhooks=allow_private_webhooks,
    )
    site = Site(settings, users=[default_user(username, password)])
    typer.echo(f"WSMS sandbox: {server.url_of(listening)} (no real site, no SMS leaves it)")
    if application_password is None:
        typer.echo(f"  user {username}, application password {password}")
    server.serve(site, listening, hosts=allow_host or ())
