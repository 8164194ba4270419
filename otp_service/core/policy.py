"""
What holds for codes, challenges and sends, as one value: `otp_service.settings` reads the service's from the
environment, `otp_service.core.caller_policy` makes a caller's of it.
"""

from dataclasses import dataclass, field

from otp_service.core.codes import HashCost
from otp_service.core.limits import FailureBudget, Window
from otp_service.core.test_numbers import FixedCodeNumbers

OPT_IN = "opt_in"
BUILT_IN_PURPOSES = ("login", "signup", "verification", "recovery", "payment", OPT_IN)
# The number is whatever somebody types; for the others it is on file for the account.
OPEN_PURPOSES = frozenset({"signup", "verification", OPT_IN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The rules. Times in seconds.

    Attributes:
        purposes: What a challenge may be for.
        open_purposes: Those that anybody can request for any number; they use at most half of each limit on sends.
        digits: Of a code, 4 to 10; fewer than 6 only where asked for explicitly.
        code_ttl: A code's life, 60 to 600 (NIST SP 800-63B-4 3.1.3.2: at most ten minutes).
        min_life_at_send: A code with less life left is not sent any more.
        resend_grace: How long the old code still works after a resend; 0 for not at all.
        max_attempts: Wrong tries of one challenge.
        max_sends: Codes of one challenge, the first included.
        max_bindings: Challenges of one subject and purpose that may live side by side, each under its own binding.
        retention: How long it can be asked how a challenge ended.
        proof_ttl: A proof's life.
        device_ttl: For how long a device is remembered at most.
        device_reuse_grace: Seconds in which the previous token counts as a concurrent request, not as theft.
        auto_channels: The ways that a request leaves to us, in the order in which they are picked: `totp`, `sms`.
        enrollment_proof: Whether who has a confirmed authenticator changes factors only with a proof by one.
        totp_past_steps: Steps before the current one whose codes count; 0 or 1.
        optin_ttl: How long an activation that the site drew may be confirmed.
        optin_attempts: Wrong tries of it.
        failures: Over all challenges of one subject.
        cooldown: After the first, second, … send to one recipient; the last repeats.
        cooldown_window: How far back the sends are counted that lead to the next step.
        per_recipient: Sends to one recipient for one caller, the longest window first.
        per_recipient_total: Sends to one recipient for all callers.
        per_client_ip: Sends that one end user's network causes, for one caller.
        per_block: Sends to the thousand numbers around a recipient for one caller.
        per_caller: Sends of one caller: its budget.
        per_process: Sends of one process, counted in its own memory.
        unblocks: How often one person may be freed.
        timelines: How many timelines one help desk may look at.
        queue_limit: Jobs waiting in one bucket; beyond it requests are shed.
        regions: ISO regions that are served; None for all.
        default_region: Region of numbers without a calling code; None where the service has not exactly one.
        test_numbers: Numbers with known codes.
        hash_cost: argon2id.
        locales: Languages of messages; None for all there are texts for.
        locale: When a request names none.
        brand: The name in messages, or "".
        sender: What the SMS gateway is given as sender, or "" for its default.
        origin: The host that codes are bound to (`@host #code`), or None.
        app_hash: Names the Android app that is shown the messages (SMS Retriever), or None.
    """

    purposes: frozenset[str] = frozenset(BUILT_IN_PURPOSES)
    open_purposes: frozenset[str] = OPEN_PURPOSES
    digits: int = 6
    code_ttl: int = 300
    min_life_at_send: int = 60
    resend_grace: int = 0
    max_attempts: int = 5
    max_sends: int = 5
    max_bindings: int = 3
    retention: int = 86_400
    proof_ttl: int = 120
    device_ttl: int = 30 * 86_400
    device_reuse_grace: int = 10
    totp_past_steps: int = 1
    auto_channels: tuple[str, ...] = ("totp", "sms")
    enrollment_proof: bool = False
    optin_ttl: int = 1800
    optin_attempts: int = 5
    failures: FailureBudget = field(default_factory=FailureBudget)
    cooldown: tuple[int, ...] = (30, 60, 120)
    cooldown_window: int = 600
    per_recipient: tuple[Window, ...] = (Window(10, 86_400), Window(5, 600))
    per_recipient_total: tuple[Window, ...] = (Window(20, 86_400),)
    per_client_ip: tuple[Window, ...] = (Window(10, 600),)
    per_block: tuple[Window, ...] = (Window(20, 600),)
    per_caller: tuple[Window, ...] = (Window(10_000, 86_400),)
    per_process: Window = field(default=Window(6_000, 60))
    unblocks: tuple[Window, ...] = (Window(3, 86_400),)
    timelines: tuple[Window, ...] = (Window(200, 3600),)
    queue_limit: int = 500
    regions: frozenset[str] | None = frozenset()
    default_region: str | None = None
    test_numbers: FixedCodeNumbers = field(default_factory=FixedCodeNumbers)
    hash_cost: HashCost = field(default_factory=HashCost)
    locales: frozenset[str] | None = None
    locale: str = "en"
    brand: str = ""
    sender: str = ""
    origin: str | None = None
    app_hash: str | None = None

    @property
    def per_block_total(self) -> tuple[Window, ...]:
        """Sends to the thousand numbers around a recipient for all callers: three times those for one."""
        return tuple(Window(window.count * 3, window.seconds) for window in self.per_block)

    @property
    def history_ms(self) -> int:
        """How long a timeline tells of what happened, in milliseconds: as long as challenges can be asked for."""
        return (self.code_ttl + self.retention) * 1000
