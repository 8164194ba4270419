"""`otp-service webhooks`: where callers are told of events. Secrets are shown once and kept sealed."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import typer
from rich.table import Table

from otp_service.cli.audit import operator
from otp_service.cli.configured import load_settings, refuse
from otp_service.cli.plain import console
from otp_service.core import events
from otp_service.core.audit import Act, Detail
from otp_service.core.events import EVENTS, PING, Message, new_secret, unknown_types
from otp_service.core.keyring import Keyring
from otp_service.core.targets import TargetRefused
from otp_service.errors import Unavailable
from otp_service.store.audit import Audit
from otp_service.store.callers import Callers
from otp_service.store.outgoing import Outgoing, Record
from otp_service.store.webhooks import UNREADABLE, Endpoint, Webhooks

app = typer.Typer(no_args_is_help=True, help="Where callers are told of events.")
T = TypeVar("T")

MOST = 10  # endpoints of one caller

Id = Annotated[str, typer.Argument(help="The endpoint's id: ep_…")]


@dataclass(frozen=True)
class _Desk:
    """What a command works with."""

    ring: Keyring
    callers: Callers
    webhooks: Webhooks
    outgoing: Outgoing
    audit: Audit
    allow_private: bool

    async def find(self, endpoint_id: str) -> Endpoint:
        found = [each for each in await self.webhooks.all(self.ring) if each.id == endpoint_id]
        if not found:
            refuse([f"ID: there is no endpoint {endpoint_id}; see `otp-service webhooks list`"])
        return found[0]

    async def record(self, act: Act, endpoint: Endpoint, **details: str) -> None:
        """Write what is about to be done to an endpoint."""
        named = {Detail.ENDPOINT: endpoint.id} | {Detail(k): v for k, v in details.items()}
        await self.audit.record(act, by=operator(), caller=endpoint.caller, details=named)


@app.command()
def create(
    caller: Annotated[str, typer.Argument(help="The caller's name.")],
    url: Annotated[str, typer.Argument(help="https, a public name, port 443 or 8443.")],
    event: Annotated[
        list[str] | None,
        typer.Option(help="Only these types; all that concern the caller without any."),
    ] = None,
) -> None:
    """Register an endpoint; print its id and its secret, the secret once."""
    if unknown := unknown_types(event or ()):
        refuse([f"--event {word}: there are {', '.join(EVENTS)}" for word in unknown])

    async def work(desk: _Desk) -> Endpoint:
        if await desk.callers.find(caller) is None:
            refuse([f"CALLER: there is no caller {caller}"])
        if len(await desk.webhooks.of(desk.ring, caller)) >= MOST:
            refuse([f"CALLER: {caller} has {MOST} endpoints; remove one first"])
        await _check(desk, url)
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

    endpoint = _run(work)
    typer.echo(endpoint.id)
    typer.echo(endpoint.secrets[0])


@app.command("list")
def list_endpoints() -> None:
    """List endpoints; never a secret, and of addresses only the host."""
    table = Table("caller", "endpoint", "host", "events", "secrets", "state")
    for endpoint in _run(lambda desk: desk.webhooks.all(desk.ring)):
        table.add_row(
            endpoint.caller,
            endpoint.id,
            urlsplit(endpoint.url).netloc,
            ", ".join(sorted(endpoint.types)) or "all of the caller's",
            str(len(endpoint.secrets)),
            f"off: {endpoint.off}" if endpoint.off else "active",
        )
    console().print(table)


@app.command()
def rotate(
    endpoint_id: Id,
    retire: Annotated[bool, typer.Option("--retire", help="Drop the older secret.")] = False,
) -> None:
    """Print a second secret, once; both sign until the older one is retired."""

    async def work(desk: _Desk) -> Endpoint:
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

    endpoint = _run(work)
    typer.echo(f"{endpoint_id} has one secret" if retire else endpoint.secrets[0])


@app.command()
def remove(endpoint_id: Id) -> None:
    """Remove an endpoint with all that waits for it."""

    async def work(desk: _Desk) -> None:
        endpoint = await desk.find(endpoint_id)
        await desk.record(Act.WEBHOOK_REMOVED, endpoint)
        await desk.webhooks.remove(endpoint)
        await desk.outgoing.forget(endpoint.name)

    _run(work)
    typer.echo(f"{endpoint_id} is gone")


@app.command()
def enable(endpoint_id: Id) -> None:
    """Send again to an endpoint that was switched off; what it missed is under `dead`."""

    async def work(desk: _Desk) -> None:
        endpoint = await desk.find(endpoint_id)
        await desk.record(Act.WEBHOOK_ENABLED, endpoint)
        await desk.webhooks.switch_on(endpoint)

    _run(work)
    typer.echo(f"{endpoint_id} is active")


@app.command()
def test(endpoint_id: Id) -> None:
    """Send a `ping` now, once, and say what came of it; exit 1 unless the endpoint took it."""

    async def work(desk: _Desk) -> str:
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

    if reason := _run(work):
        refuse([f"{endpoint_id} did not take it: {reason}"])
    typer.echo(f"{endpoint_id} took it")


@app.command()
def dead(
    retry: Annotated[str | None, typer.Option(help="A message's id, or `all`: send again.")] = None,
) -> None:
    """List what was given up, kept for 30 days."""

    async def work(desk: _Desk) -> list[tuple[Endpoint, str, Record]]:
        found = [
            (endpoint, message_id, record)
            for endpoint in await desk.webhooks.all(desk.ring)
            for message_id, record in await desk.outgoing.dead_letters(endpoint.name)
            if retry in (None, "all", message_id)
        ]
        if retry is not None:
            if off := sorted({endpoint.id for endpoint, _, _ in found if endpoint.off}):
                refuse([f"{endpoint_id}: is switched off; enable it first" for endpoint_id in off])
            for name, count in Counter(endpoint.id for endpoint, _, _ in found).items():
                endpoint = next(each for each, _, _ in found if each.id == name)
                await desk.record(Act.WEBHOOK_RETRIED, endpoint, count=str(count))
            for endpoint, message_id, record in found:
                await desk.outgoing.enqueue(
                    endpoint.name, message_id, replace(record, tries=0), again=True
                )
        return found

    found = _run(work)
    if retry is not None:
        if not found:
            refuse([f"--retry {retry}: there is no such dead letter"])
        typer.echo(f"{len(found)} queued again")
        return
    table = Table("message", "caller", "endpoint", "event", "at", "tries", "last")
    for endpoint, message_id, record in found:
        table.add_row(
            message_id,
            endpoint.caller,
            endpoint.id,
            record.type,
            events.rfc3339(record.at),
            str(record.tries),
            record.last,
        )
    console().print(table)


async def _check(desk: _Desk, url: str) -> None:
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


def _run(work: Callable[[_Desk], Awaitable[T]]) -> T:
    from otp_service.app import open_redis
    from otp_service.store.scripts import Scripts

    settings = load_settings()

    async def run() -> T:
        connection = open_redis(settings, name="otp_service_cli")
        try:
            ring, scripts = settings.ring(), Scripts(connection)
            desk = _Desk(
                ring,
                Callers(connection),
                Webhooks(connection),
                Outgoing(scripts),
                Audit(scripts, lambda: ring, days=settings.audit_days),
                settings.webhooks_allow_private,
            )
            return await work(desk)
        finally:
            await connection.aclose()

    try:
        return asyncio.run(run())
    except Unavailable as error:
        refuse([f"OTP_REDIS_URL: {error.detail}"])
