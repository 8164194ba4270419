"""`otp-service wsms webhook`: have the site announce things."""

from functools import partial
from typing import Annotated, TypeAlias

import typer

from otp_service.cli.configured import load_settings
from otp_service.cli.wsms.running import run
from otp_service.cli.wsms.showing import AsJson, show
from otp_service.wsms import WebhookEvent, WsmsClient

app = typer.Typer(help="Webhooks of the site.", no_args_is_help=True)

HookUrl: TypeAlias = Annotated[str, typer.Argument(help="https, with an ASCII host.")]
HookEvent: TypeAlias = Annotated[WebhookEvent | None, typer.Argument()]
Here: TypeAlias = Annotated[
    bool, typer.Option("--here", help="This service, at OTP_PUBLIC_URL, for both events.")
]


@app.command("subscribe")
def subscribe(
    context: typer.Context,
    url: HookUrl = "",
    event: HookEvent = None,
    here: Here = False,
    as_json: AsJson = False,
) -> None:
    """Register an https URL at the site; calls are unsigned, so put a secret into its path. `--here`: this service."""
    for where, what in _hooks(url, event, here):
        run(context, partial(_subscribe, where, what), changes=True)
    show({"status": "subscribed"}, as_json)


@app.command("unsubscribe")
def unsubscribe(
    context: typer.Context,
    url: HookUrl = "",
    event: HookEvent = None,
    here: Here = False,
    as_json: AsJson = False,
) -> None:
    """Remove a URL from the site."""
    for where, what in _hooks(url, event, here):
        run(context, partial(_unsubscribe, where, what), changes=True)
    show({"status": "unsubscribed"}, as_json)


async def _subscribe(url: str, event: WebhookEvent, wsms: WsmsClient) -> None:
    await wsms.webhooks.subscribe(url, event)


async def _unsubscribe(url: str, event: WebhookEvent, wsms: WsmsClient) -> None:
    await wsms.webhooks.unsubscribe(url, event)


def _hooks(url: str, event: WebhookEvent | None, here: bool) -> list[tuple[str, WebhookEvent]]:
    """What to subscribe: one URL to one event, or this service to both."""
    if not here:
        if not url or event is None:
            raise typer.BadParameter("give a URL and an event, or --here")
        return [(url, event)]
    if url:
        raise typer.BadParameter("--here takes no URL: it is made of OTP_PUBLIC_URL and the ring")
    from otp_service.core.hook_tokens import hook_token

    settings = load_settings()
    if settings.public_url is None:
        raise typer.BadParameter("set OTP_PUBLIC_URL to the https address of this service")
    own = f"{settings.public_url}/hooks/wsms/{hook_token(settings.ring())}"
    return [(own, each) for each in WebhookEvent]
