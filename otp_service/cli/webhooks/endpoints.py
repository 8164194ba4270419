"""Endpoints: registered, listed, tried; their secrets drawn and retired."""

import secrets
import time
from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

import typer

from otp_service.cli.configured import refuse
from otp_service.cli.plain import console, folding_table
from otp_service.cli.webhooks.app_context import AppContext, run
from otp_service.core import events
from otp_service.core.audit import Act
from otp_service.core.events import EVENTS, PING, Message, new_secret, unknown_types
from otp_service.core.targets import TargetRefused
from otp_service.store.webhooks import UNREADABLE, Endpoint

MOST = 10  # endpoints of one caller

Id = Annotated[str, typer.Argument(help="The endpoint's id: ep_…")]


def create(
    caller: Annotated[str, typer.Argument(help="The caller's name.")],
    url: Annotated[str, typer.Argument(help="https, a public name, port 443 or 8443.")],
    event: Annotated[
        list[str] | None,
        typer.Option(help="Event type; repeatable. Default: all that concern the caller."),
    ] = None,
) -> None:
    """Register an endpoint; print its id and its secret, the secret once."""
    if unknown := unknown_types(event or ()):
        refuse([f"--event {word}: there are {', '.join(EVENTS)}" for word in unknown])

    async def work(desk: AppContext) -> Endpoint:
        if await desk.callers.find(caller) is None:
            refuse([f"CALLER: there is no caller {caller}"])
        if len(await desk.webhooks.of(desk.ring, caller)) >= MOST:
            refuse([f"CALLER: {caller} has {MOST} endpoints; remove one first"])
        await _require_allowed(desk, url)
        endpoint = Endpoint(
            id=f"ep_{secrets.token_hex(8)}",
            caller=caller,
            url=url,
            types=frozenset(event or ()),
            secrets=(new_secret(),),
            created_at=int(time.time()),
        )
        await desk.record(Act.WEBHOOK_CREATED, endpoint, events=" ".join(sorted(endpoint.types)))
        await desk.webhooks.put(desk.ring, endpoint)
        return endpoint

    endpoint = run(work)
    typer.echo(endpoint.id)
    typer.echo(endpoint.secrets[0])


def list_endpoints() -> None:
    """List endpoints; never a secret, and of addresses only the host."""
    table = folding_table("caller", "endpoint", "host", "events", "secrets", "state")
    for endpoint in run(lambda desk: desk.webhooks.all(desk.ring)):
        table.add_row(
            endpoint.caller,
            endpoint.id,
            urlsplit(endpoint.url).netloc,
            ", ".join(sorted(endpoint.types)) or "all of the caller's",
            str(len(endpoint.secrets)),
            f"off: {endpoint.off}" if endpoint.off else "active",
        )
    console().print(table)


def rotate(
    endpoint_id: Id,
    retire: Annotated[bool, typer.Option("--retire", help="Drop the older secret.")] = False,
) -> None:
    """Print a second secret, once; both sign until the older one is retired."""

    async def work(desk: AppContext) -> Endpoint:
        endpoint = await desk.find(endpoint_id)
        if endpoint.off == UNREADABLE:
            refuse([f"ID: {endpoint_id} can't be read: its key is gone; remove it"])
        if retire:
            if len(endpoint.secrets) < 2:
                refuse([f"--retire: {endpoint_id} has one secret; rotate it first"])
            changed = replace(endpoint, secrets=endpoint.secrets[:1])
        else:
            if len(endpoint.secrets) > 1:
                refuse([f"ID: {endpoint_id} has two secrets; `--retire` the older one first"])
            changed = replace(endpoint, secrets=(new_secret(), *endpoint.secrets))
        await desk.record(Act.WEBHOOK_RETIRED if retire else Act.WEBHOOK_ROTATED, endpoint)
        await desk.webhooks.put(desk.ring, changed)
        return changed

    endpoint = run(work)
    typer.echo(f"{endpoint_id} has one secret" if retire else endpoint.secrets[0])


def remove(endpoint_id: Id) -> None:
    """Remove an endpoint and its queued messages."""

    async def work(desk: AppContext) -> None:
        endpoint = await desk.find(endpoint_id)
        await desk.record(Act.WEBHOOK_REMOVED, endpoint)
        await desk.webhooks.remove(endpoint)
        await desk.outgoing.forget(endpoint.name)

    run(work)
    typer.echo(f"{endpoint_id} is gone")


def enable(endpoint_id: Id) -> None:
    """Enable an endpoint that was disabled; missed messages are listed by `dead`."""

    async def work(desk: AppContext) -> None:
        endpoint = await desk.find(endpoint_id)
        await desk.record(Act.WEBHOOK_ENABLED, endpoint)
        await desk.webhooks.switch_on(endpoint)

    run(work)
    typer.echo(f"{endpoint_id} is active")


def test(endpoint_id: Id) -> None:
    """Send one `ping` now and print the result; exits with 1 unless the endpoint accepted it."""

    async def work(desk: AppContext) -> str:
        from otp_service.channels.webhooks import WebhookChannel

        endpoint, now = await desk.find(endpoint_id), time.time()
        data = {"caller": endpoint.caller, "endpoint": endpoint.id}
        body = events.body(PING, int(now * 1000), data)
        message = Message(f"msg_{secrets.token_hex(16)}", PING, body)
        channel = WebhookChannel(allow_private=desk.allow_private)
        try:
            async with channel.line(endpoint.url) as line:
                headers = events.headers(endpoint.secrets, message, now=now)
                reply = await line.post(message.body, headers)
        finally:
            channel.close()
        return "" if reply.delivered else reply.reason

    if reason := run(work):
        refuse([f"{endpoint_id} did not take it: {reason}"])
    typer.echo(f"{endpoint_id} took it")


async def _require_allowed(desk: AppContext, url: str) -> None:
    from otp_service.channels.webhooks import WebhookChannel

    channel = WebhookChannel(allow_private=desk.allow_private)
    try:
        await channel.check(url)
    except TargetRefused as error:
        refuse([f"URL: {error}"])
    except (OSError, TimeoutError, UnicodeError):
        refuse(["URL: the host can't be resolved"])
    finally:
        channel.close()
