"""
The table of settings: each with its unit, default and range, and what the rooms are handed of them.

Values never show in a repr or an error.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from otp_service.core.caller_tokens import TokenRules
from otp_service.core.codes import HashCost
from otp_service.core.keyring import Keyring
from otp_service.core.known_codes import KnownCodes, read_known_codes
from otp_service.core.limits import FailureBudget, Window
from otp_service.core.policy import BUILT_IN_PURPOSES, OPEN_PURPOSES, Policy
from otp_service.core.region_pauses import PauseMode, PauseRules
from otp_service.settings.addresses import KeySetUrl, Proxies, PublicUrl, RedisUrl, SiteUrl
from otp_service.settings.values import (
    Algorithms,
    AppHash,
    Brand,
    Day,
    KeyringText,
    KnownCodesText,
    OneWindow,
    Origin,
    Purposes,
    Steps,
    Ways,
    Windows,
    Words,
)
from otp_service.store.scripts import Durability


class Settings(BaseModel):
    """
    The settings by name; `OTP_REDIS_URL` is `redis_url`. Descriptions are what the README shows.

    `otp_service.settings.environment.load` makes them, and refuses those that contradict each other.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        validate_default=True,
    )

    environment: Literal["production", "development"] = Field(
        "production",
        description="`development` allows every region and warns where production refuses. `otp-service dev` sets it.",
    )
    redis_url: RedisUrl = Field(
        description="Redis or Valkey: `redis://`, `rediss://`, `unix://`, `redis+sentinel://host,host/service`, "
        "`redis+cluster://host,host`."
    )
    redis_allow_plaintext: bool = Field(
        False,
        description="Allow Redis without TLS or password off loopback: only on a network of your own.",
    )
    redis_timeout: float = Field(
        1.0, ge=0.05, le=10, description="Seconds that one command may take."
    )
    redis_connections: int = Field(
        64, ge=4, le=1000, description="Connections of one process, at most."
    )
    durability: Durability = Field(
        Durability.NONE,
        description="What a counted try and a spent code wait for: `none` (the primary), `replica` (WAIT 1), `fsync` "
        "(WAITAOF). A shortfall is a 503.",
    )
    redis_allow_admin: bool = Field(
        False,
        description="Start although our Redis user may run FLUSHALL and CONFIG SET.",
    )
    state_dir: Path | None = Field(
        None,
        description="Directory outside Redis that remembers what Redis had: a restored or emptied one is noticed at a "
        "start too; see docs/restore.md.",
    )
    allow_no_persistence: bool = Field(
        False,
        description="Start although Redis keeps no append-only file: a restart then forgets every limit.",
    )
    keyring: KeyringText = Field(
        description="The secret keys, JSON as `otp-service keys generate` prints it. Use the file."
    )

    allow_readable_secrets: bool = Field(
        False,
        description="Start although others on this machine may read the files of secrets. Only in a container, where "
        "nobody else is.",
    )
    keyring_reload: float = Field(
        5.0,
        ge=0.05,
        le=5,
        description="Seconds after which a changed `OTP_KEYRING_FILE` is in use in every process, at most.",
    )

    wsms_url: SiteUrl = Field(
        description="The WordPress site, with or without `/wp-json`; `?rest_route=` sites too."
    )
    wsms_username: str = Field(description="A WordPress user that may send (`wpsms_sendsms`).")
    wsms_application_password: SecretStr = Field(
        description="Its application password; spaces are fine."
    )
    wsms_sender: str = Field(
        "", max_length=20, description="The sender's name; empty for the gateway's default."
    )
    wsms_deadline: float = Field(
        30.0,
        ge=1,
        le=120,
        description="Seconds for one send. Under 30 a send that succeeds may be called unknown.",
    )
    wsms_reconcile: bool = Field(
        True,
        description="Look unknown deliveries up in the site's outbox, where the user has `wpsms_outbox`.",
    )
    wsms_scrub_outbox: bool = Field(
        False,
        description="Delete the row of each code in the site's outbox, the site's own activations included, so that "
        "none stays readable in WordPress; needs `wpsms_outbox`.",
    )
    wsms_credit_warning: float | None = Field(
        None,
        gt=0,
        description="Credit at the SMS gateway, in its own unit, below which `/readyz` warns and `credit.low` is told.",
    )
    wsms_ca_file: str | None = Field(
        None, description="PEM file of the authority that signed the site's certificate."
    )

    regions: Words = Field(
        frozenset(),
        description="ISO regions to which codes go, such as `DE,AT,CH`. Required in production.",
    )
    purposes: Purposes = Field(
        frozenset(), description="Purposes besides the built-in ones, separated by commas."
    )
    open_purposes: Words = Field(
        OPEN_PURPOSES,
        description="Purposes that anybody can request for any number, such as a public form's. Together they use at "
        "most half of each limit on sends (rounded up), so that half stays for logins; `none`: no such share.",
    )
    code_digits: int = Field(6, ge=4, le=10, description="Digits of a code.")
    allow_short_codes: bool = Field(False, description="Allow codes of fewer than 6 digits.")
    code_ttl: int = Field(300, ge=60, le=600, description="Seconds that a code lives.")
    min_life_at_send: int = Field(
        60,
        ge=5,
        le=540,
        description="Seconds of life below which a waiting code is not sent any more.",
    )
    resend_grace: int = Field(
        0,
        ge=0,
        le=120,
        description="Seconds that the old code still works after a resend; 0: it is dead at once.",
    )
    proof_ttl: int = Field(120, ge=30, le=600, description="Seconds that a proof lives.")
    proof_jwt_algorithm: Literal["ES256", "EdDSA"] = Field(
        "ES256",
        description="How proofs of format `jwt` are signed: `ES256`, or `EdDSA` (Ed25519). Keys of both are published.",
    )
    retention: int = Field(
        86_400,
        ge=3600,
        le=604_800,
        description="Seconds for which one can ask how a challenge ended.",
    )

    device_ttl: int = Field(
        30 * 86_400,
        ge=300,
        le=90 * 86_400,
        description="Seconds for which a device is remembered, at most; using it does not prolong that.",
    )
    device_leeway: int = Field(
        10,
        ge=0,
        le=60,
        description="Seconds in which the token before the newest is refused as that of a call beside another; later "
        "it is taken for a copy, and the device is forgotten.",
    )
    totp_past_steps: int = Field(
        1,
        ge=0,
        le=1,
        description="Past steps of 30 s whose authenticator codes count: 1 for the delay on the way (RFC 6238), 0 for "
        "strictly 30 s (ASVS 6.5.5).",
    )
    auto_channels: Ways = Field(
        ("totp", "sms"),
        description="Ways that `channel: auto` picks from, the first that a person has: `totp` (an authenticator app), "
        "`sms`.",
    )
    totp_enrollment_proof: bool = Field(
        False,
        description="Whoever has a confirmed authenticator enrols another, removes one and draws recovery codes only "
        "with a `proof` by an authenticator or a recovery code.",
    )
    optin_mode: Literal["wsms", "service"] = Field(
        "service",
        description="Who draws the code of a double opt-in: this service, which then adds the confirmed subscriber "
        "(`service`; the site's own verification must be off), or the site (`wsms`; its own verification must be on).",
    )
    optin_ttl: int = Field(
        1800,
        ge=60,
        le=86_400,
        description="Seconds in which an activation of the site may be confirmed.",
    )
    optin_attempts: int = Field(5, ge=1, le=10, description="Wrong tries of such an activation.")
    optin_concurrency: int = Field(
        4,
        ge=1,
        le=64,
        description="Opt-in calls that one process makes to the site at once; further ones get 503 `overloaded`. "
        "Callers share them by `OTP_CALLER_SHARE`, and from 2 on one is kept for verifying and unsubscribing.",
    )
    issuer: str = Field(
        "otp_service",
        min_length=1,
        max_length=200,
        description="Who signs receipts and proofs: a URL of yours, best.",
    )

    max_attempts: int = Field(5, ge=1, le=10, description="Wrong tries of one challenge.")
    max_sends: int = Field(
        5, ge=1, le=10, description="Codes of one challenge, the first included."
    )
    max_bindings: int = Field(
        3,
        ge=1,
        le=10,
        description="Challenges of one subject and purpose side by side, each with its own binding.",
    )
    failures: OneWindow = Field(
        Window(10, 1800),
        description="Wrong codes of one subject, over all challenges, that lead to a block.",
    )
    block_seconds: int = Field(
        1800, ge=60, le=86_400, description="Seconds of that block; trying does not prolong it."
    )
    failures_long: OneWindow = Field(Window(20, 86_400), description="The same over a longer time.")
    failures_in_a_row: int = Field(
        100,
        ge=10,
        le=100,
        description="Wrong codes without a right one between that disable the factor.",
    )
    cooldown: Steps = Field(
        (30, 60, 120),
        description="Seconds between sends to one recipient: after the first, the second, …",
    )
    limit_recipient: Windows = Field(
        (Window(10, 86_400), Window(5, 600)), description="Sends to one recipient for one caller."
    )
    limit_recipient_total: Windows = Field(
        (Window(20, 86_400),), description="Sends to one recipient for all callers."
    )
    limit_client_ip: Windows = Field(
        (Window(10, 600),), description="Sends that one end user's network (/32, /64) causes."
    )
    limit_block: Windows = Field(
        (Window(20, 600),),
        description="Sends to the thousand numbers around a recipient for one caller; for all callers together three "
        "times as many.",
    )
    limit_caller: Windows = Field(
        (Window(10_000, 86_400),), description="Sends of one caller: its budget."
    )
    limit_process: OneWindow = Field(
        Window(6_000, 60),
        description="Sends of one process, counted in its memory: the ceiling if Redis lost all counts.",
    )
    region_pause: PauseMode = Field(
        PauseMode.RECORD,
        description="What happens to a region to which one caller sends many codes of which few come back: nothing "
        "(`off`), it is told (`record`), or only a trickle is let through (`enforce`).",
    )
    region_pause_from: OneWindow = Field(
        Window(50, 3600),
        description="From how many recipients in one region on, in which time (10m to 1d), that is looked at.",
    )
    region_pause_below: float = Field(
        0.1, ge=0.01, le=0.9, description="Share of approved codes under which a region is paused."
    )
    region_pause_trickle: OneWindow = Field(
        Window(10, 600), description="Sends of one caller to a region that is paused."
    )
    region_pause_exempt: Words = Field(
        frozenset(),
        description="Regions in which a pause is only told: where your users are, lest strangers slow them down.",
    )
    limit_unblock: Windows = Field(
        (Window(3, 86_400),), description="How often a help desk may unblock one person."
    )
    limit_timeline: Windows = Field(
        (Window(200, 3600),),
        description="Timelines that one help desk may look at: one caller's, or one operator.",
    )
    queue_limit: int = Field(
        500,
        ge=10,
        le=10_000,  # a script counts a queue that is half full, once a second
        description="Jobs waiting in one of 16 queues before requests are shed.",
    )

    audit_days: int = Field(
        400, ge=1, le=3650, description="Days for which the audit log keeps its entries."
    )

    locale: str = Field("en", description="Language of messages when a request names none.")
    brand: Brand = Field("", description="Your name in messages, at most 20 characters.")
    origin: Origin | None = Field(
        None, description="Host to which codes are bound: the last line `@host #code`."
    )
    test_numbers: KnownCodesText = Field(
        SecretStr(""),
        description="Numbers whose codes are known and not sent: `caller/+number=code`, separated by commas. For app "
        "store reviews; see docs/operations.md.",
    )
    test_numbers_until: Day | None = Field(
        None,
        description="The day, as 2027-01-31, with whose beginning (UTC) `OTP_TEST_NUMBERS` ends; within 90 days.",
    )
    android_app_hash: AppHash | None = Field(
        None,
        description="The 11 characters that name the Android app to which our messages are shown (SMS Retriever); see "
        "docs/messages.md.",
    )
    messages_dir: Path | None = Field(
        None, description="Directory with your own texts; see docs/messages.md."
    )

    webhooks_allow_private: bool = Field(
        False,
        description="Let webhook endpoints be http and inside, for local development; refused in production.",
    )
    webhook_concurrency: int = Field(
        8,
        ge=1,
        le=64,
        description="Webhook endpoints that one process sends to at once; half of them at most for one caller.",
    )

    public_url: PublicUrl | None = Field(
        None,
        description="https address under which others reach this service; for the site's webhooks.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on.")
    http_connections: int = Field(
        1000,
        ge=16,
        le=100_000,
        description="Client connections of one process, at most; one more is answered 503 and closed.",
    )
    admin_host: str = Field("127.0.0.1", description="Address of the admin port.")
    admin_port: int = Field(
        9000, ge=0, le=65_535, description="Port of `/metrics`; 0 picks a free one."
    )
    workers: int = Field(1, ge=1, le=64, description="Serving processes.")
    trusted_proxies: Proxies = Field(
        frozenset(),
        description="Addresses or networks of proxies whose `Client-Cert` is believed. Not `*`.",
    )
    caller_certificates: bool = Field(
        False,
        description="Know callers by the certificate that a proxy of `OTP_TRUSTED_PROXIES` hands on (RFC 9440).",
    )
    caller_issuer: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Issuer (`iss`) of the JWTs by which callers may say who they are; empty: there is none.",
    )
    caller_jwks_url: KeySetUrl | None = Field(
        None, description="https address of that issuer's key set (JWKS)."
    )
    caller_jwks_ca_file: str | None = Field(
        None, description="PEM file of the authority that signed the key set's certificate."
    )
    caller_audience: str | None = Field(
        None, min_length=1, max_length=255, description="The `aud` that such a JWT must name."
    )
    caller_algorithms: Algorithms = Field(
        frozenset({"ES256", "RS256", "EdDSA"}),
        description="Algorithms by which such JWTs may be signed. Never `HS*`, never `none`.",
    )
    caller_claim: str = Field(
        "sub",
        pattern=r"^[A-Za-z0-9_.:/-]{1,64}$",
        description="The claim that names the caller: `sub`, `azp` or `client_id`.",
    )
    caller_token_life: int = Field(
        4200,
        ge=60,
        le=86_400,
        description="Seconds from `iat` to `exp` of such a JWT, at most. Entra ID's have up to about 3,900.",
    )
    drain_seconds: int = Field(
        35, ge=1, le=300, description="Seconds to finish what is in flight on SIGTERM."
    )
    deliver: bool = Field(
        True, description="Deliver in the serving processes too; else run `otp-service worker`."
    )
    delivery_concurrency: int = Field(16, ge=1, le=256, description="Sends at once in one process.")
    hash_passes: int = Field(2, ge=1, le=10, description="argon2id: t.")
    hash_memory_kib: int = Field(19_456, ge=8, le=2_097_152, description="argon2id: m, KiB.")
    hash_lanes: int = Field(1, ge=1, le=16, description="argon2id: p.")
    hash_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads for hashing in one process; 0: its share of the cores.",
    )
    hash_queue: int = Field(
        32,
        ge=0,
        le=1024,
        description="Verifications that may wait for a thread before others are shed.",
    )
    caller_share: int = Field(
        50,
        ge=10,
        le=100,
        description="Percent of the hash capacity and of a delivery queue for one caller while others use them too.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="What is logged."
    )

    _files: dict[str, Path] = PrivateAttr(default_factory=dict)

    @property
    def files(self) -> Mapping[str, Path]:
        """The files that settings were read from (`OTP_<NAME>_FILE`), by setting."""
        return self._files

    def keep_files(self, files: Mapping[str, Path]) -> None:
        """Remember where settings were read from."""
        self._files = dict(files)

    @property
    def keyring_file(self) -> Path | None:
        """Where the ring was read from, and may be read again; None when it came as text."""
        return self._files.get("keyring")

    def redis_url_now(self) -> str:
        """Return Redis' URL, read again where it came from a file: the password may have been replaced since."""
        try:
            if file := self._files.get("redis_url"):
                return file.read_text("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError):
            pass
        return self.redis_url.get_secret_value()

    def ring(self) -> Keyring:
        """Return the key ring as it was when the settings were read."""
        return Keyring.from_json(self.keyring.get_secret_value())

    def token_rules(self) -> TokenRules | None:
        """Return what callers' JWTs must say; None without an issuer."""
        if self.caller_issuer is None or self.caller_audience is None:
            return None
        return TokenRules(
            issuer=self.caller_issuer,
            audience=self.caller_audience,
            algorithms=self.caller_algorithms,
            claim=self.caller_claim,
            max_life=self.caller_token_life,
        )

    def pause_rules(self) -> PauseRules:
        """Return when a region is paused, and what that does."""
        return PauseRules(
            mode=self.region_pause,
            least=self.region_pause_from,
            below=self.region_pause_below,
            trickle=self.region_pause_trickle,
            exempt=self.region_pause_exempt,
        )

    def known_codes(self) -> KnownCodes:
        """Return the test numbers and when they end."""
        until = self.test_numbers_until
        return KnownCodes(
            read_known_codes(self.test_numbers.get_secret_value()),
            datetime.combine(until, time.min, UTC).timestamp() if until else 0.0,
        )

    def policy(self) -> Policy:
        """Return the rules for codes, challenges and sends."""
        return Policy(
            purposes=frozenset(BUILT_IN_PURPOSES) | self.purposes,
            open_purposes=self.open_purposes - {"none"},
            digits=self.code_digits,
            code_ttl=self.code_ttl,
            min_life_at_send=self.min_life_at_send,
            resend_grace=self.resend_grace,
            max_attempts=self.max_attempts,
            max_sends=self.max_sends,
            max_bindings=self.max_bindings,
            retention=self.retention,
            proof_ttl=self.proof_ttl,
            device_ttl=self.device_ttl,
            device_leeway=self.device_leeway,
            totp_past_steps=self.totp_past_steps,
            auto_channels=self.auto_channels,
            enrollment_proof=self.totp_enrollment_proof,
            optin_ttl=self.optin_ttl,
            optin_attempts=self.optin_attempts,
            failures=FailureBudget(
                self.failures, self.block_seconds, self.failures_long, self.failures_in_a_row
            ),
            cooldown=self.cooldown,
            cooldown_window=self.limit_recipient[-1].seconds,
            per_recipient=self.limit_recipient,
            per_recipient_total=self.limit_recipient_total,
            per_client_ip=self.limit_client_ip,
            per_block=self.limit_block,
            per_caller=self.limit_caller,
            per_process=self.limit_process,
            unblocks=self.limit_unblock,
            timelines=self.limit_timeline,
            queue_limit=self.queue_limit,
            regions=self.regions or (None if self.environment == "development" else frozenset()),
            default_region=next(iter(self.regions)) if len(self.regions) == 1 else None,
            test_numbers=self.known_codes(),
            hash_cost=HashCost(self.hash_passes, self.hash_memory_kib, self.hash_lanes),
            locale=self.locale,
            brand=self.brand,
            sender=self.wsms_sender,
            origin=self.origin,
            app_hash=self.android_app_hash,
        )


def secret_names() -> frozenset[str]:
    """Return the settings that are declared as secrets."""
    return frozenset(
        name
        for name, field in Settings.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    )
