"""
The table of settings: each with its unit, default and range, and what the container takes from them.

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
from otp_service.core.limits import FailureBudget, Window
from otp_service.core.policy import BUILT_IN_PURPOSES, OPEN_PURPOSES, Policy
from otp_service.core.region_pauses import PauseMode, PauseRules
from otp_service.core.test_numbers import FixedCodeNumbers, read_test_numbers
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
    The settings by name; `OTP_REDIS_URL` is `redis_url`. The README shows the descriptions.

    `otp_service.settings.environment.load` creates them and refuses contradictory ones.
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
        description="`production` or `development`, which allows every region and warns where production refuses to "
        "start. `otp-service dev` sets it.",
    )
    redis_url: RedisUrl = Field(
        description="URL of Redis or Valkey: `redis://`, `rediss://`, `unix://`, "
        "`redis+sentinel://host,host/service`, `redis+cluster://host,host`."
    )
    redis_allow_plaintext: bool = Field(
        False,
        description="Allow a Redis on another host without TLS or password. Only for a private network.",
    )
    redis_timeout: float = Field(
        1.0, ge=0.05, le=10, description="Seconds one Redis command may take, connecting included."
    )
    redis_connections: int = Field(
        64, ge=4, le=1000, description="Redis connections per process, at most."
    )
    durability: Durability = Field(
        Durability.NONE,
        description="What a counted attempt and a spent code wait for: `none` (the primary), `replica` (WAIT 1) or "
        "`fsync` (WAITAOF). If it is not reached, the answer is 503.",
    )
    redis_allow_admin: bool = Field(
        False,
        description="Allow a Redis user that may run FLUSHALL and CONFIG SET.",
    )
    state_dir: Path | None = Field(
        None,
        description="Directory outside Redis in which the service remembers the state of Redis, so that a start "
        "detects a restored or emptied Redis; see docs/restore.md.",
    )
    allow_no_persistence: bool = Field(
        False,
        description="Allow a Redis without an append-only file. A restart of Redis then resets every limit.",
    )
    keyring: KeyringText = Field(
        description="Secret keys, as JSON from `otp-service keys generate`. Prefer the file."
    )

    allow_readable_secrets: bool = Field(
        False,
        description="Allow secret files that other users of the machine can read. Only for containers, which have "
        "no other users.",
    )
    keyring_reload: float = Field(
        5.0,
        ge=0.05,
        le=5,
        description="Seconds until every process uses a changed `OTP_KEYRING_FILE`, at most.",
    )

    wsms_url: SiteUrl = Field(
        description="URL of the WordPress site, with or without `/wp-json`; `?rest_route=` is supported."
    )
    wsms_username: str = Field(description="WordPress user that may send (`wpsms_sendsms`).")
    wsms_application_password: SecretStr = Field(
        description="Application password of that user. It may contain spaces."
    )
    wsms_sender: str = Field(
        "", max_length=20, description="Sender name. Empty: the gateway's default."
    )
    wsms_deadline: float = Field(
        30.0,
        ge=1,
        le=120,
        description="Seconds for one send. Below 30, a successful send may be reported as `unknown`.",
    )
    wsms_reconcile: bool = Field(
        True,
        description="Look up `unknown` deliveries in the site's outbox, if the user has `wpsms_outbox`.",
    )
    wsms_scrub_outbox: bool = Field(
        False,
        description="Delete each code message from the site's outbox, the site's own activations included, so that "
        "no code stays readable in WordPress. Needs `wpsms_outbox`.",
    )
    wsms_credit_warning: float | None = Field(
        None,
        gt=0,
        description="SMS credit, in the gateway's unit, below which `/readyz` warns and the event `credit.low` is "
        "sent.",
    )
    wsms_ca_file: str | None = Field(
        None, description="PEM file of the authority that signed the site's certificate."
    )

    regions: Words = Field(
        frozenset(),
        description="ISO regions that codes may be sent to, such as `DE,AT,CH`. Required in production.",
    )
    purposes: Purposes = Field(frozenset(), description="Additional purposes, separated by commas.")
    open_purposes: Words = Field(
        OPEN_PURPOSES,
        description="Purposes that anyone can request for any number, for example on a public form. Together they "
        "use at most half of each send limit (rounded up), which keeps the other half for logins. "
        "`none`: no such restriction.",
    )
    code_digits: int = Field(6, ge=4, le=10, description="Digits of a code.")
    allow_short_codes: bool = Field(False, description="Allow codes of fewer than 6 digits.")
    code_ttl: int = Field(300, ge=60, le=600, description="Seconds a code is valid.")
    min_life_at_send: int = Field(
        60,
        ge=5,
        le=540,
        description="Seconds a queued code must still be valid to be sent.",
    )
    resend_grace: int = Field(
        0,
        ge=0,
        le=120,
        description="Seconds the old code stays valid after a resend. 0: it is invalid at once.",
    )
    proof_ttl: int = Field(120, ge=30, le=600, description="Seconds a proof is valid.")
    proof_jwt_algorithm: Literal["ES256", "EdDSA"] = Field(
        "ES256",
        description="Signature algorithm of proofs of format `jwt`: `ES256` or `EdDSA` (Ed25519). The keys of both "
        "are published.",
    )
    retention: int = Field(
        86_400,
        ge=3600,
        le=604_800,
        description="Seconds the outcome of a challenge can be read after its end.",
    )

    device_ttl: int = Field(
        30 * 86_400,
        ge=300,
        le=90 * 86_400,
        description="Seconds a device is remembered, at most. Using it does not extend this.",
    )
    device_reuse_grace: int = Field(
        10,
        ge=0,
        le=60,
        description="Grace period in seconds in which the previous token of a device counts as a concurrent "
        "request. Later it counts as theft, and the device is revoked.",
    )
    totp_past_steps: int = Field(
        1,
        ge=0,
        le=1,
        description="Past time steps of 30 s whose authenticator code is accepted: 1 allows for transmission delay "
        "(RFC 6238), 0 is strict (ASVS 6.5.5).",
    )
    auto_channels: Ways = Field(
        ("totp", "sms"),
        description="Channels of `channel: auto` in order of preference; the first one that the person has is used: "
        "`totp` (an authenticator app) or `sms`.",
    )
    totp_enrollment_proof: bool = Field(
        False,
        description="Require a `proof` by an authenticator or a recovery code from people who have a confirmed "
        "authenticator, before they enrol another, remove one or get new recovery codes.",
    )
    optin_mode: Literal["wsms", "service"] = Field(
        "service",
        description="Source of double opt-in codes: `service`, which then adds the confirmed subscriber (the site's "
        "own verification must be off), or `wsms`, the site (its own verification must be on).",
    )
    optin_ttl: int = Field(
        1800,
        ge=60,
        le=86_400,
        description="Seconds an activation by the site can be confirmed.",
    )
    optin_attempts: int = Field(
        5, ge=1, le=10, description="Wrong codes per activation by the site, at most."
    )
    optin_concurrency: int = Field(
        4,
        ge=1,
        le=64,
        description="Concurrent opt-in calls of one process to the site; further ones get 503 `overloaded`. Callers "
        "share them by `OTP_CALLER_SHARE`; from 2 on, one is reserved for verifying and unsubscribing.",
    )
    issuer: str = Field(
        "otp_service",
        min_length=1,
        max_length=200,
        description="Issuer (`iss`) of receipts and signed proofs. Use a URL of yours.",
    )

    max_attempts: int = Field(5, ge=1, le=10, description="Wrong codes per challenge, at most.")
    max_sends: int = Field(
        5, ge=1, le=10, description="Codes per challenge, at most, the first included."
    )
    max_bindings: int = Field(
        3,
        ge=1,
        le=10,
        description="Concurrent challenges per subject and purpose, each with its own binding.",
    )
    lockout_short: OneWindow = Field(
        Window(10, 1800),
        description="Wrong codes of one subject, over all challenges, before a lockout.",
    )
    lockout_seconds: int = Field(
        1800,
        ge=60,
        le=86_400,
        description="Seconds a lockout lasts. Further attempts do not extend it.",
    )
    lockout_long: OneWindow = Field(
        Window(20, 86_400),
        description="Wrong codes of one subject over a longer time before a lockout.",
    )
    lockout_consecutive: int = Field(
        100,
        ge=10,
        le=100,
        description="Consecutive wrong codes before a factor is disabled.",
    )
    cooldown: Steps = Field(
        (30, 60, 120),
        description="Seconds between sends to one recipient: after the first, the second, …",
    )
    limit_recipient: Windows = Field(
        (Window(10, 86_400), Window(5, 600)), description="Sends to one recipient, per caller."
    )
    limit_recipient_total: Windows = Field(
        (Window(20, 86_400),), description="Sends to one recipient, over all callers."
    )
    limit_client_ip: Windows = Field(
        (Window(10, 600),), description="Sends per end user network (IPv4 /32, IPv6 /64)."
    )
    limit_number_range: Windows = Field(
        (Window(20, 600),),
        description="Sends to a range of a thousand numbers, per caller. Over all callers the limit is three times "
        "as high.",
    )
    limit_caller: Windows = Field(
        (Window(10_000, 86_400),), description="Sends per caller (its budget)."
    )
    limit_process: OneWindow = Field(
        Window(6_000, 60),
        description="Sends per process, counted in memory: the remaining limit if Redis loses all counts.",
    )
    region_pause: PauseMode = Field(
        PauseMode.RECORD,
        description="Reaction if a caller sends many codes to a region and few are approved: `off`, `record` (log "
        "and count) or `enforce` (reduce sends to `OTP_REGION_PAUSE_TRICKLE`).",
    )
    region_pause_from: OneWindow = Field(
        Window(50, 3600),
        description="Minimum recipients per window (10m to 1d) before a region is evaluated.",
    )
    region_pause_below: float = Field(
        0.1, ge=0.01, le=0.9, description="Share of approved codes below which a region is paused."
    )
    region_pause_trickle: OneWindow = Field(
        Window(10, 600), description="Sends of one caller to a paused region."
    )
    region_pause_exempt: Words = Field(
        frozenset(),
        description="Regions in which a pause is only recorded. Name the regions of your users, so that an attacker "
        "cannot pause them.",
    )
    limit_unblock: Windows = Field(
        (Window(3, 86_400),), description="Unblocks of one person by a help desk."
    )
    limit_timeline: Windows = Field(
        (Window(200, 3600),),
        description="Timelines that one help desk may read, per caller or operator.",
    )
    queue_limit: int = Field(
        500,
        ge=10,
        le=10_000,  # a script counts a queue that is half full, once a second
        description="Jobs per delivery queue (there are 16) before requests are refused.",
    )

    audit_days: int = Field(400, ge=1, le=3650, description="Days the audit log keeps its entries.")

    locale: str = Field("en", description="Language of messages if a request names none.")
    brand: Brand = Field("", description="Your name in messages, at most 20 characters.")
    origin: Origin | None = Field(
        None, description="Host that codes are bound to, by the last line `@host #code`."
    )
    test_numbers: KnownCodesText = Field(
        SecretStr(""),
        description="Test numbers with a fixed code and no SMS: `caller/+number=code`, separated by commas. For app "
        "store reviews; see docs/operations.md.",
    )
    test_numbers_until: Day | None = Field(
        None,
        description="Date such as 2027-01-31, within 90 days. `OTP_TEST_NUMBERS` expires at 00:00 UTC on this day.",
    )
    android_app_hash: AppHash | None = Field(
        None,
        description="Hash (11 characters) of the Android app that receives the codes by the SMS Retriever; see "
        "docs/messages.md.",
    )
    messages_dir: Path | None = Field(
        None, description="Directory with your own message texts; see docs/messages.md."
    )

    webhooks_allow_private: bool = Field(
        False,
        description="Allow webhook endpoints with http and private addresses, for local development. Refused in "
        "production.",
    )
    webhook_concurrency: int = Field(
        8,
        ge=1,
        le=64,
        description="Webhook endpoints that one process sends to concurrently; half of them at most for one caller.",
    )

    public_url: PublicUrl | None = Field(
        None,
        description="Public https URL of this service, for the site's webhooks.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on.")
    http_connections: int = Field(
        1000,
        ge=16,
        le=100_000,
        description="Client connections per process, at most. Further ones get 503 and are closed.",
    )
    admin_host: str = Field("127.0.0.1", description="Address of the admin port.")
    admin_port: int = Field(
        9000, ge=0, le=65_535, description="Port of `/metrics`. 0 picks a free one."
    )
    workers: int = Field(1, ge=1, le=64, description="Serving processes.")
    trusted_proxies: Proxies = Field(
        frozenset(),
        description="Addresses or networks of proxies that may send `Client-Cert`. `*` is not allowed.",
    )
    caller_certificates: bool = Field(
        False,
        description="Authenticate callers by the certificate that a proxy of `OTP_TRUSTED_PROXIES` forwards (RFC "
        "9440).",
    )
    caller_issuer: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Issuer (`iss`) of callers' JWTs. Empty: JWTs are refused.",
    )
    caller_jwks_url: KeySetUrl | None = Field(
        None, description="https URL of that issuer's key set (JWKS)."
    )
    caller_jwks_ca_file: str | None = Field(
        None, description="PEM file of the authority that signed the key set server's certificate."
    )
    caller_audience: str | None = Field(
        None, min_length=1, max_length=255, description="Required `aud` of callers' JWTs."
    )
    caller_algorithms: Algorithms = Field(
        frozenset({"ES256", "RS256", "EdDSA"}),
        description="Signature algorithms of callers' JWTs. `HS*` and `none` are not allowed.",
    )
    caller_claim: str = Field(
        "sub",
        pattern=r"^[A-Za-z0-9_.:/-]{1,64}$",
        description="Claim that names the caller: `sub`, `azp` or `client_id`.",
    )
    caller_token_life: int = Field(
        4200,
        ge=60,
        le=86_400,
        description="Seconds from `iat` to `exp` of a caller's JWT, at most. Entra ID issues up to about 3,900.",
    )
    drain_seconds: int = Field(
        35, ge=1, le=300, description="Seconds for open requests and sends to finish after SIGTERM."
    )
    deliver: bool = Field(
        True, description="Deliver in the serving processes. If false, run `otp-service worker`."
    )
    delivery_concurrency: int = Field(16, ge=1, le=256, description="Concurrent sends per process.")
    hash_passes: int = Field(2, ge=1, le=10, description="argon2id passes (t).")
    hash_memory_kib: int = Field(
        19_456, ge=8, le=2_097_152, description="argon2id memory (m) in KiB."
    )
    hash_lanes: int = Field(1, ge=1, le=16, description="argon2id lanes (p).")
    hash_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Hashing threads per process. 0: its share of the cores.",
    )
    hash_queue: int = Field(
        32,
        ge=0,
        le=1024,
        description="Verifications that may wait for a hashing thread before further ones get 503.",
    )
    caller_share: int = Field(
        50,
        ge=10,
        le=100,
        description="Percent of the hash capacity, a delivery queue and the opt-in calls that one caller may use "
        "while other callers use them.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Minimum level of log lines."
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
            min_requests=self.region_pause_from,
            below=self.region_pause_below,
            trickle=self.region_pause_trickle,
            exempt=self.region_pause_exempt,
        )

    def known_codes(self) -> FixedCodeNumbers:
        """Return the test numbers and when they end."""
        until = self.test_numbers_until
        return FixedCodeNumbers(
            read_test_numbers(self.test_numbers.get_secret_value()),
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
            device_reuse_grace=self.device_reuse_grace,
            totp_past_steps=self.totp_past_steps,
            auto_channels=self.auto_channels,
            enrollment_proof=self.totp_enrollment_proof,
            optin_ttl=self.optin_ttl,
            optin_attempts=self.optin_attempts,
            failures=FailureBudget(
                self.lockout_short,
                self.lockout_seconds,
                self.lockout_long,
                self.lockout_consecutive,
            ),
            cooldown=self.cooldown,
            cooldown_window=self.limit_recipient[-1].seconds,
            per_recipient=self.limit_recipient,
            per_recipient_total=self.limit_recipient_total,
            per_client_ip=self.limit_client_ip,
            per_block=self.limit_number_range,
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
