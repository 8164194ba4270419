"""The composition root: builds the rooms from settings and hangs them on the application."""

import gc
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from otp_service import settings as configuration
from otp_service.channels.key_set import KeySetSource
from otp_service.channels.outbox import WsmsOutbox
from otp_service.channels.webhooks import WebhookChannel
from otp_service.channels.wsms import WsmsChannel
from otp_service.core.audit import Entry
from otp_service.core.hook_tokens import is_hook_token
from otp_service.core.keyring import Keyring
from otp_service.core.messages import Catalogue, MessagesInvalid
from otp_service.core.policy import Policy
from otp_service.core.signing import Algorithm, key_set
from otp_service.doctor import inspect_messages, inspect_redis
from otp_service.flows.activations import Activations
from otp_service.flows.authentication import Authentication
from otp_service.flows.caller_tokens import CallerTokens
from otp_service.flows.credit import CreditWatch
from otp_service.flows.delivery import BLOCK_MS, DeliveryWorker
from otp_service.flows.devices import RememberedDevices
from otp_service.flows.events import GROUP as WEBHOOK_GROUP
from otp_service.flows.events import EventRelay, Events
from otp_service.flows.factor_proofs import FactorProofs
from otp_service.flows.factors import AuthenticatorApps
from otp_service.flows.hashing import HashPool, default_threads
from otp_service.flows.hints import Hints
from otp_service.flows.idempotency import IdempotentCalls
from otp_service.flows.known_callers import KnownCallers
from otp_service.flows.live_keyring import LiveKeyring
from otp_service.flows.one_time_code import OneTimeCodes
from otp_service.flows.opt_in import OptIn
from otp_service.flows.proofs import ProofMaking, ProofRedemption
from otp_service.flows.reconciliation import Reconciliation
from otp_service.flows.recovery import Recovery
from otp_service.flows.support import Support
from otp_service.flows.tracing import Tracing
from otp_service.flows.ways import Ways
from otp_service.flows.webhooks import WebhookWorker
from otp_service.settings import Settings, SettingsError
from otp_service.store import keys
from otp_service.store.activations import ActivationTraces
from otp_service.store.app_challenges import AppChallenges
from otp_service.store.audit import Audit
from otp_service.store.callers import Callers
from otp_service.store.challenges import Challenges
from otp_service.store.connection import Connection, Timeouts, connect
from otp_service.store.credit import CreditStore
from otp_service.store.deliveries import Deliveries
from otp_service.store.devices import Devices
from otp_service.store.factors import Factors
from otp_service.store.guards import Guards
from otp_service.store.idempotency import Idempotency
from otp_service.store.limits import Limits
from otp_service.store.opt_ins import OptIns
from otp_service.store.outgoing import Outgoing
from otp_service.store.proofs import Proofs
from otp_service.store.recovery_codes import RecoveryCodes
from otp_service.store.scripts import Scripts
from otp_service.store.streams import Streams
from otp_service.store.timelines import Timelines
from otp_service.store.traces import Traces
from otp_service.store.webhooks import Webhooks
from otp_service.telemetry import configure_logging
from otp_service.web.client_certificate import TrustedHop
from otp_service.web.edge import Edge, http_exception
from otp_service.web.routes import routes
from otp_service.web.service import Service, State
from otp_service.wsms.client import WsmsClient

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rooms:
    """All that lives as long as the process."""

    service: Service
    worker: DeliveryWorker
    reconciliation: Reconciliation
    credit: CreditWatch
    relay: EventRelay
    scripts: Scripts

    async def start(self) -> None:
        """Begin to deliver, and to watch what becomes of it."""
        await self.worker.start()
        await self.reconciliation.start()
        await self.credit.start()
        await self.relay.start()

    async def stop(self) -> None:
        """Finish what is in flight."""
        await self.worker.stop()
        await self.reconciliation.stop()
        await self.credit.stop()
        await self.relay.stop()


def open_redis(
    settings: Settings, *, name: str = "otp_service", block_seconds: float = 0
) -> Connection:
    """Return a connection with the settings' URL, times and size."""
    return connect(
        settings.redis_url.get_secret_value(),
        name=name,
        connections=settings.redis_connections,
        timeouts=Timeouts(command=settings.redis_timeout),
        block_seconds=block_seconds,
    )


def site_client(settings: Settings, *, pool_size: int = 4) -> WsmsClient:
    """Return a client of the settings' site, to be entered."""
    return WsmsClient(
        settings.wsms_url,
        settings.wsms_username,
        settings.wsms_application_password.get_secret_value(),
        deadline=settings.wsms_deadline,
        pool_size=pool_size,
        ca_file=settings.wsms_ca_file,
    )


def caller_tokens(settings: Settings) -> CallerTokens | None:
    """Return what checks callers' JWTs; None without an issuer."""
    rules = settings.token_rules()
    if rules is None or settings.caller_jwks_url is None:
        return None
    source = KeySetSource(settings.caller_jwks_url, ca_file=settings.caller_jwks_ca_file)
    return CallerTokens(rules, source.fetch)


@asynccontextmanager
async def rooms(settings: Settings, *, stands_at: int | None = None) -> AsyncIterator[Rooms]:
    """
    Build everything, and take it down again.

    Args:
        stands_at: See `Scripts`; None outside tests.
    """
    policy = settings.policy()
    keyring = LiveKeyring(
        settings.ring(), settings.keyring_file, look_seconds=settings.keyring_reload
    )
    catalogue = load_catalogue(settings)
    async with AsyncExitStack() as stack:
        connection = open_redis(settings)
        stack.push_async_callback(connection.aclose)
        blocking = open_redis(settings, name="otp_service_delivery", block_seconds=BLOCK_MS / 1000)
        stack.push_async_callback(blocking.aclose)
        threads = settings.hash_threads or default_threads(settings.workers)
        hashes = HashPool(policy.hash_cost, threads=threads, queue=settings.hash_queue)
        stack.callback(hashes.close)
        client = await stack.enter_async_context(
            site_client(settings, pool_size=settings.delivery_concurrency)
        )
        # A client of its own for what runs beside: a sick outbox must open no circuit before sends.
        beside = await stack.enter_async_context(site_client(settings, pool_size=8))
        tracing = Tracing(reconcile=settings.wsms_reconcile, scrub=settings.wsms_scrub_outbox)
        scripts = Scripts(connection, durability=settings.durability, stands_at=stands_at)

        listening = open_redis(settings, name="otp_service_events", block_seconds=BLOCK_MS / 1000)
        stack.push_async_callback(listening.aclose)
        webhooks, outgoing = Webhooks(connection), Outgoing(scripts)
        events = Events(keyring=keyring, webhooks=webhooks, outgoing=outgoing)
        calling = WebhookChannel(allow_private=settings.webhooks_allow_private)
        stack.callback(calling.close)
        credit = CreditWatch(
            calls=beside.credit,
            store=CreditStore(scripts),
            warn_below=settings.wsms_credit_warning,
            tell=events.broadcast,
        )
        channel = WsmsChannel(
            client,
            deadline=settings.wsms_deadline,
            on_balance=credit.seen,
        )
        challenges = Challenges(
            scripts,
            budget=policy.failures,
            max_bindings=policy.max_bindings,
            queue_limit=policy.queue_limit,
        )
        tokens = caller_tokens(settings)
        if tokens is not None:
            stack.push_async_callback(tokens.stop)
        consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

        async def readiness() -> tuple[Mapping[str, str], Mapping[str, str]]:
            reasons, warnings = {}, {}
            if not await scripts.answers():
                reasons["redis"] = "does not answer"
            if wait := channel.unavailable_for:
                warnings["sms"] = f"the WSMS site keeps failing; tried again in {round(wait)} s"
            if tokens is not None and (trouble := tokens.trouble):
                warnings["callers"] = trouble
            if not reasons and (low := await credit.low()):
                warnings["credit"] = low
            return reasons, warnings

        proofs = ProofMaking(
            keyring,
            ttl=policy.proof_ttl,
            issuer=settings.issuer,
            algorithm=Algorithm(settings.proof_jwt_algorithm),
        )
        codes = OneTimeCodes(
            policy=policy,
            keyring=keyring,
            challenges=challenges,
            hashes=hashes,
            catalogue=catalogue,
            channel=channel,
            proofs=proofs,
            wanted=events.wanted,
        )
        history_ms = policy.history_ms
        recovery_codes = RecoveryCodes(scripts, budget=policy.failures, history_ms=history_ms)
        factors = Factors(scripts, budget=policy.failures, history_ms=history_ms)
        factor_proofs = FactorProofs(Proofs(scripts), keyring)
        outbox = WsmsOutbox(beside)
        activations = Activations(
            tracing=tracing, keyring=keyring, traces=ActivationTraces(scripts), outbox=outbox
        )
        reconciliation = Reconciliation(
            tracing=tracing,
            keyring=keyring,
            traces=Traces(scripts),
            hashes=hashes,
            outbox=outbox,
            activations=activations,
        )
        redemption = ProofRedemption(Proofs(scripts), keyring, issuer=settings.issuer)
        service = Service(
            authentication=Authentication(
                KnownCallers(Callers(connection), policy), keyring, tokens=tokens
            ),
            hop=TrustedHop(settings.trusted_proxies) if settings.caller_certificates else None,
            idempotent=IdempotentCalls(Idempotency(scripts), keyring),
            codes=codes,
            proofs=redemption,
            ways=Ways(
                policy=policy,
                keyring=keyring,
                codes=codes,
                challenges=challenges,
                app_challenges=AppChallenges(scripts, budget=policy.failures),
                factors=factors,
                proofs=proofs,
                wanted=events.wanted,
            ),
            opt_in=OptIn(
                policy=policy,
                keyring=keyring,
                opt_ins=OptIns(scripts),
                newsletter=client.newsletter,
                codes=codes if settings.optin_mode == "service" else None,
                activations=activations,
                issuer=settings.issuer,
                announce=events.announce,
            ),
            apps=AuthenticatorApps(
                policy=policy,
                keyring=keyring,
                factors=factors,
                recovery=recovery_codes,
                proofs=proofs,
                factor_proofs=factor_proofs,
                events=events,
            ),
            devices=RememberedDevices(
                policy=policy,
                keyring=keyring,
                devices=Devices(scripts, history_ms=history_ms),
                proofs=proofs,
                redemption=redemption,
                events=events,
            ),
            recovery=Recovery(
                keyring=keyring,
                codes=recovery_codes,
                hashes=hashes,
                proofs=proofs,
                factor_proofs=factor_proofs,
                events=events,
            ),
            support=make_support(
                policy,
                keyring,
                scripts,
                Audit(scripts, keyring, days=settings.audit_days, witness=log_audited),
            ),
            key_set=lambda: key_set(keyring()),
            hints=Hints(keyring=keyring, tell=events.broadcast, hurry=reconciliation.hurry),
            is_hook_token=lambda token: is_hook_token(keyring(), token),
            readiness=readiness,
        )
        worker = DeliveryWorker(
            keyring=keyring,
            deliveries=Deliveries(scripts, blocking, consumer=consumer),
            hashes=hashes,
            catalogue=catalogue,
            channel=channel,
            tracing=tracing,
            concurrency=settings.delivery_concurrency,
        )
        relay = EventRelay(
            keyring=keyring,
            streams=Streams(
                scripts,
                listening,
                names=keys.event_streams(),
                group=WEBHOOK_GROUP,
                consumer=consumer,
            ),
            events=events,
            worker=WebhookWorker(
                keyring=keyring,
                webhooks=webhooks,
                outgoing=outgoing,
                channel=calling,
                woken=events.queued,
                concurrency=settings.webhook_concurrency,
            ),
        )
        yield Rooms(service, worker, reconciliation, credit, relay, scripts)


def make_support(
    policy: Policy, keyring: Callable[[], Keyring], scripts: Scripts, audit: Audit
) -> Support:
    """Return what help desks work with, for callers and for the command line."""
    return Support(
        policy=policy,
        keyring=keyring,
        timelines=Timelines(scripts, budget=policy.failures),
        guards=Guards(scripts, budget=policy.failures, history_ms=policy.history_ms),
        limits=Limits(scripts),
        audit=audit,
    )


def log_audited(entry: Entry) -> None:
    """A witness of the audit log outside Redis: by it one finds that the log's end was cut off."""
    log.info("audit.recorded", act=entry.act, by=entry.by, number=entry.number, mac=entry.mac)


def create_app(
    settings: Settings, *, stands_at: int | None = None, freeze: bool = False
) -> Starlette:
    """
    Return the application; it connects and starts to deliver with its lifespan.

    Args:
        settings: All of it.
        stands_at: See `Scripts`; None outside tests.
        freeze: Whether what is alive after the start lives as long as the process: the collector then never looks at
            it again, which takes its pauses out of the slowest answers.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[State]:
        async with rooms(settings, stands_at=stands_at) as built:
            app.state.rooms = built
            await check(settings)
            if settings.deliver:
                await built.start()
            if freeze:
                gc.collect()
                gc.freeze()
            log.info("service.started", deliver=settings.deliver)
            try:
                yield {"service": built.service}
            finally:
                if settings.deliver:
                    await built.stop()
                log.info("service.stopped")

    return Starlette(
        routes=routes(),
        middleware=[Middleware(Edge)],
        exception_handlers={HTTPException: http_exception},
        lifespan=lifespan,
    )


def from_environment() -> Starlette:
    """Return the application that the environment describes; what uvicorn's processes call."""
    settings = configuration.load(os.environ)
    configure_logging(settings.log_level)
    return create_app(settings, freeze=True)


def load_catalogue(settings: Settings) -> Catalogue:
    """
    Return the texts.

    Raises:
        SettingsError: the operator's own can't be used, or the default locale has none.
    """
    try:
        catalogue = Catalogue.load(settings.messages_dir, purposes=settings.purposes)
    except MessagesInvalid as error:
        raise SettingsError(
            *(f"OTP_MESSAGES_DIR: {finding}" for finding in error.findings)
        ) from None
    if settings.locale not in catalogue.locales:
        raise SettingsError(f"OTP_LOCALE: there are texts for {', '.join(catalogue.locales)}")
    return catalogue


async def check(settings: Settings) -> None:
    """
    Refuse to go on when it would be unsafe; log what deserves a look.

    Raises:
        SettingsError: the refusals, one a line.
    """
    connection = open_redis(settings, name="otp_service_doctor")
    try:
        findings = [
            *inspect_messages(load_catalogue(settings), settings),
            *await inspect_redis(connection, settings),
        ]
    finally:
        await connection.aclose()
    for finding in findings:
        if finding.level == "warn":
            log.warning("doctor.warning", what=finding.what, message=finding.message)
    refused = [
        f"{finding.what}: {finding.message}" for finding in findings if finding.level == "refuse"
    ]
    if refused:
        raise SettingsError(*refused)
