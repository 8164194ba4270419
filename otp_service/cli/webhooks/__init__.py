"""`otp-service webhooks`: the webhook endpoints of callers. A secret is shown once and stored encrypted."""

import typer

from otp_service.cli.webhooks import dead_letters, endpoints

app = typer.Typer(no_args_is_help=True, help="Webhook endpoints of callers.")
app.command()(endpoints.create)
app.command("list")(endpoints.list_endpoints)
for command in (
    endpoints.rotate,
    endpoints.remove,
    endpoints.enable,
    endpoints.test,
    dead_letters.dead,
):
    app.command()(command)
