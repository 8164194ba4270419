"""The composition root: builds every service from the settings."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from otp_service.channels.key_set import KeySetSource
from otp_service.channels.outbox import WsmsOutbox
from otp_service.channels.webhooks import WebhookChannel
from otp_service.channels.wsms import WsmsChannel
from otp_service.connections import load_catalogue, open_redis, site_client, state_directory
from otp_service.core.audit import Entry
from otp_service.core.hook_tokens import is_hook_token
from otp_service.core.keyring import Keyring
from otp_service.core.policy import Policy
from otp_service.core.signing import Algorithm, key_set
from otp_service.doctor.running import RunningChecks
from otp_service.services.activations import Activations
from otp_service.services.authentication import Authentication
from otp_service.services.caller_tokens import CallerTokens
from otp_service.services.challenge_status import ChallengeStatusReader
from otp_service.services.clock_skew import ClockAgreement
from otp_service.services.code_sending import CodeSending
from otp_service.services.code_verification import CodeVerification
from otp_service.services.credit import CreditWatch
from otp_service.services.delivery import BLOCK_MS, DeliveryWorker
from otp_service.services.delivery_lookups import LookupPolicy
from otp_service.services.devices import RememberedDevices
from otp_service.services.erasure import Erasure
from otp_service.services.events import GROUP as WEBHOOK_GROUP
from otp_service.services.events import EventRelay, Events
from otp_service.services.factor_proofs import FactorProofs
from otp_service.services.factors import AuthenticatorApps
from otp_service.services.hashing import HashPool, default_threads
from otp_service.services.hints import Hints
from otp_service.services.history import History
from otp_service.services.idempotency import IdempotentCalls
from otp_service.services.known_callers import KnownCallers
from otp_service.services.label_sets import create_label_sets
from otp_service.services.method_selector import MethodSelector
from otp_service.services.opt_in import OptIn
from otp_service.services.opt_in_codes import OptInCodes
from otp_service.services.process_bounds import NewsletterCapacity, SendCeiling
from otp_service.services.proofs import ProofMaking, ProofRedemption
from otp_service.services.qr_codes import QrCodes
from otp_service.services.readiness import Readiness
from otp_service.services.reconciliation import Reconciliation
from otp_service.services.recovery import Recovery
from otp_service.services.region_pauses import RegionPauses
from otp_service.services.reloading_keyring import ReloadingKeyring
from otp_service.services.site_outages import SiteOutages
from otp_service.services.subscribers import Subscribers
from otp_service.services.support import Support
from otp_service.services.test_numbers import TestNumberBudget
from otp_service.services.totp_challenges import TotpChallenges
from otp_service.services.totp_verification import TotpVerificationService
from otp_service.services.webhooks import WebhookWorker
from otp_service.settings.environment import SettingsError
from otp_service.settings.table import Settings
from otp_service.store import keys
from otp_service.store.activations import ActivationLookups
from otp_service.store.attempts import Attempts
from otp_service.store.audit import Audit
from otp_service.store.callers import Callers
from otp_service.store.challenge_creation import ChallengeCreation
from otp_service.store.challenges import Challenges
from otp_service.store.credit import CreditStore
from otp_service.store.deliveries import Deliveries
from otp_service.store.delivery_lookups import DeliveryLookups
from otp_service.store.devices import Devices
from otp_service.store.erasing import Erasing
from otp_service.store.factor_tries import FactorTries
from otp_service.store.factors import Factors
from otp_service.store.guards import Guards
from otp_service.store.history import OtherInstallation
from otp_service.store.idempotency import Idempotency
from otp_service.store.limits import Limits
from otp_service.store.opt_ins import OptIns
from otp_service.store.outgoing import Outgoing
from otp_service.store.proofs import Proofs
from otp_service.store.recovery_codes import RecoveryCodes
from otp_service.store.region_codes import RegionCodes
from otp_service.store.scripts import Scripts
from otp_service.store.streams import Streams
from otp_service.store.timelines import Timelines
from otp_service.store.totp_challenges import TotpChallengeStore
from otp_service.store.webhooks import Webhooks
from otp_service.web.client_certificate import TrustedHop
from otp_service.web.problems import leaves
from otp_service.web.service import Service

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Container:
    """All that lives as long as the process."""

    service: Service
    worker: DeliveryWorker
    reconciliation: Reconciliation
    credit: CreditWatch
    regions: RegionPauses
    relay: EventRelay
    scripts: Scripts
    checks: RunningChecks
    history: History

    async def start(self, *, deliver: bool) -> None:
        """
        Begin what every process does: compare Redis with what is remembered of it, and check; then deliver if asked to.

        Raises:
            SettingsError: OTP_STATE_DIR is that of another installation.
        """
        try:
            await self.history.start()
        except OtherInstallation as error:
            raise SettingsError(str(error)) from None
        await self.checks.start()
        if deliver:
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


def _caller_tokens(settings: Settings) -> CallerTokens | None:
    """Return what checks callers' JWTs; None without an issuer."""
    rules = settings.token_rules()
    if rules is None or settings.caller_jwks_url is None:
        return None
    source = KeySetSource(settings.caller_jwks_url, ca_file=settings.caller_jwks_ca_file)
    return CallerTokens(rules, source.fetch)


def _hash_pool(settings: Settings, policy: Policy) -> HashPool:
    """Return the started pool. Raises SettingsError: the process may not start its threads."""
    try:
        return HashPool(
            policy.hash_cost,
            threads=settings.hash_threads or default_threads(settings.workers),
            queue=settings.hash_queue,
            caller_share=settings.caller_share,
        )
    except RuntimeError as error:
        raise SettingsError(
            f"OTP_HASH_THREADS: {error}. Set fewer, or let the process have more (ulimit -u, TasksMax=, pids_limit)"
        ) from None


@asynccontextmanager
async def build_container(
    settings: Settings, *, frozen_at_ms: int | None = None
) -> AsyncIterator[Container]:
    """
    Build everything, and take it down again.

    Args:
        frozen_at_ms: See `Scripts`; None outside tests.
    """
    policy = settings.policy()
    create_label_sets(
        channel=WsmsChannel.name,
        purposes=policy.purposes,
        regions=settings.regions,
        refusals=(error.code for error in leaves()),
    )
    keyring = ReloadingKeyring(
        settings.ring(), settings.keyring_file, look_seconds=settings.keyring_reload
    )
    catalogue = load_catalogue(settings)
    async with AsyncExitStack() as stack:
        connection = open_redis(settings)
        stack.push_async_callback(connection.aclose)
        blocking = open_redis(settings, name="otp_service_delivery", block_seconds=BLOCK_MS / 1000)
        stack.push_async_callback(blocking.aclose)
        hashes = _hash_pool(settings, policy)
        stack.callback(hashes.close)
        qr_codes = QrCodes(caller_share=settings.caller_share)
        stack.callback(qr_codes.close)
        outages = SiteOutages()
        site = partial(site_client, settings, on_result=outages.note)
        client = await stack.enter_async_context(site(pool_size=settings.delivery_concurrency))
        # A client of its own for what runs beside: a sick outbox must open no circuit before sends.
        beside = await stack.enter_async_context(site(pool_size=8))
        # Another for the newsletter: a public form must neither wait for connections of codes nor open their circuit.
        newsletter_client = await stack.enter_async_context(
            site(pool_size=settings.optin_concurrency)
        )
        tracing = LookupPolicy(reconcile=settings.wsms_reconcile, scrub=settings.wsms_scrub_outbox)
        clock = ClockAgreement()
        checks = RunningChecks(settings, connection, keyring=keyring, clock=clock)
        stack.push_async_callback(checks.stop)
        scripts = Scripts(connection, durability=settings.durability, frozen_at_ms=frozen_at_ms)

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
        challenges = Challenges(scripts)
        openings = ChallengeCreation(
            scripts,
            challenges=challenges,
            budget=policy.failures,
            max_bindings=policy.max_bindings,
            queue_limit=policy.queue_limit,
            caller_share=settings.caller_share,
        )
        attempts = Attempts(scripts, budget=policy.failures)
        ceiling = SendCeiling(policy.per_process)
        regions = RegionPauses(settings.pause_rules(), RegionCodes(scripts))
        stack.push_async_callback(regions.stop)
        tokens = _caller_tokens(settings)
        if tokens is not None:
            stack.push_async_callback(tokens.stop)
        consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

        proofs = ProofMaking(
            keyring,
            ttl=policy.proof_ttl,
            issuer=settings.issuer,
            algorithm=Algorithm(settings.proof_jwt_algorithm),
        )
        worker = DeliveryWorker(
            keyring=keyring,
            deliveries=Deliveries(scripts, blocking, consumer=consumer),
            hashes=hashes,
            catalogue=catalogue,
            channel=channel,
            tracing=tracing,
            known_codes=settings.known_codes(),
            concurrency=settings.delivery_concurrency,
        )
        sending = CodeSending(
            policy=policy,
            keyring=keyring,
            openings=openings,
            challenges=challenges,
            catalogue=catalogue,
            channel=channel,
            hands=worker,
            regions=regions,
            ceiling=ceiling,
            wanted=events.wanted,
        )
        verification = CodeVerification(
            keyring=keyring,
            attempts=attempts,
            challenges=challenges,
            hashes=hashes,
            proofs=proofs,
            regions=regions,
            test_numbers=TestNumberBudget(
                known_codes=settings.known_codes(),
                keyring=keyring,
                challenges=challenges,
                limits=Limits(scripts),
                budget=policy.failures,
            ),
        )
        history_ms = policy.history_ms
        recovery_codes = RecoveryCodes(scripts, budget=policy.failures, history_ms=history_ms)
        factors = Factors(scripts, history_ms=history_ms)
        tries = FactorTries(scripts, budget=policy.failures, history_ms=history_ms)
        factor_proofs = FactorProofs(Proofs(scripts), keyring)
        outbox = WsmsOutbox(beside)
        activations = Activations(
            tracing=tracing, keyring=keyring, traces=ActivationLookups(scripts), outbox=outbox
        )
        reconciliation = Reconciliation(
            tracing=tracing,
            keyring=keyring,
            traces=DeliveryLookups(scripts),
            hashes=hashes,
            outbox=outbox,
            activations=activations,
        )
        opt_ins = OptIns(scripts, guesses=policy.failures)
        subscribers = Subscribers(
            keyring=keyring,
            newsletter=newsletter_client.newsletter,
            opt_ins=opt_ins,
            activations=activations,
        )
        redemption = ProofRedemption(Proofs(scripts), keyring, issuer=settings.issuer)
        audit = Audit(scripts, keyring, days=settings.audit_days, on_append=log_audited)
        history = History(scripts, audit, directory=state_directory(settings))
        stack.push_async_callback(history.stop)
        service = Service(
            authentication=Authentication(
                KnownCallers(Callers(connection), policy),
                keyring,
                tokens=tokens,
                is_emptied=scripts.is_emptied,
            ),
            hop=TrustedHop(settings.trusted_proxies) if settings.caller_certificates else None,
            idempotent=IdempotentCalls(
                Idempotency(scripts),
                keyring,
                redis_seconds=settings.redis_timeout,
                site_seconds=settings.wsms_deadline,
            ),
            proofs=redemption,
            methods=MethodSelector(
                policy=policy,
                keyring=keyring,
                sending=sending,
                verification=verification,
                by_app=TotpChallenges(
                    policy=policy,
                    keyring=keyring,
                    openings=openings,
                    attempts=attempts,
                    challenges=challenges,
                    totp_challenge_store=TotpChallengeStore(scripts, budget=policy.failures),
                    proofs=proofs,
                    wanted=events.wanted,
                    clock=clock,
                ),
                factors=factors,
            ),
            sending=sending,
            challenge_status=ChallengeStatusReader(keyring=keyring, challenges=challenges),
            opt_in=OptIn(
                policy=policy,
                keyring=keyring,
                opt_ins=opt_ins,
                subscribers=subscribers,
                capacity=NewsletterCapacity(settings.optin_concurrency, settings.caller_share),
                ceiling=ceiling,
                codes=OptInCodes(keyring=keyring, sending=sending, verification=verification)
                if settings.optin_mode == "service"
                else None,
                issuer=settings.issuer,
                announce=events.announce,
            ),
            apps=AuthenticatorApps(
                policy=policy,
                keyring=keyring,
                factors=factors,
                tries=tries,
                recovery=recovery_codes,
                factor_proofs=factor_proofs,
                events=events,
                clock=clock,
                qr_codes=qr_codes,
            ),
            totp_verification=TotpVerificationService(
                policy=policy,
                keyring=keyring,
                tries=tries,
                proofs=proofs,
                events=events,
                clock=clock,
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
                limits=Limits(scripts),
                hashes=hashes,
                proofs=proofs,
                factor_proofs=factor_proofs,
                events=events,
            ),
            support=make_support(policy, keyring, scripts, audit),
            erasure=make_erasure(policy, keyring, scripts, audit),
            key_set=lambda: key_set(keyring()),
            hints=Hints(keyring=keyring, tell=events.broadcast, wake=reconciliation.wake),
            is_hook_token=lambda token: is_hook_token(keyring(), token),
            readiness=Readiness(
                scripts,
                channel,
                tokens,
                credit,
                partial(subscribers.misfit, site_verifies=settings.optin_mode == "wsms"),
                [
                    lambda: checks.warnings,
                    lambda: reconciliation.warnings,
                    lambda: history.warnings,
                    lambda: outages.warnings,
                ],
            ),
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
        yield Container(
            service, worker, reconciliation, credit, regions, relay, scripts, checks, history
        )


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


def make_erasure(
    policy: Policy, keyring: Callable[[], Keyring], scripts: Scripts, audit: Audit
) -> Erasure:
    """Return what forgets people, for callers and for the command line."""
    return Erasure(keyring=keyring, erasing=Erasing(scripts, budget=policy.failures), audit=audit)


def log_audited(entry: Entry) -> None:
    """Log each audit entry outside Redis, so that a log whose end was cut off is noticed."""
    log.info("audit.recorded", act=entry.act, by=entry.by, number=entry.number, mac=entry.mac)
