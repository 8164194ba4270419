"""
One-time codes, as a caller sees them: request, verify, resend, cancel, look.

Nothing here waits for the provider and nothing here knows a code before it is typed: the code is drawn by the delivery
worker (`flows.delivery`) when it is about to leave.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from otp_service.channels.channel import Channel
from otp_service.core import codes
from otp_service.core.challenge import (
    ChallengeAddress,
    DeliveryStatus,
    Status,
    SubjectAddress,
    address_of,
    challenge_id_for,
    fingerprint,
    number_address,
    person_address,
)
from otp_service.core.codes import CodeContext
from otp_service.core.envelopes import About, Destination
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.limits import Ceiling
from otp_service.core.messages import Catalogue, resolve_locale
from otp_service.core.policy import Policy
from otp_service.core.proofs import FOR_ITSELF, ProofWish, Success
from otp_service.core.recipients import Recipient
from otp_service.core.seal import SealBroken
from otp_service.errors import (
    ChallengeExhausted,
    ChallengeNotFound,
    FieldError,
    InvalidCode,
    InvalidRequest,
    Overloaded,
    QuotaExceeded,
    Refusal,
    Unavailable,
)
from otp_service.flows.delivery import Hands
from otp_service.flows.hashing import HashPool
from otp_service.flows.proofs import PendingProof, ProofMaking
from otp_service.flows.send_limits import send_limits, served_recipient
from otp_service.store.challenges import (
    Approved,
    Challenges,
    NewChallenge,
    Opened,
    View,
    ended,
)
from otp_service.store.deliveries import Send
from otp_service.store.limits import ChargedLimit, WindowState
from otp_service.telemetry import CHALLENGES, REGIONS

log = structlog.get_logger()

METHOD = "sms"
AMR = ("sms",)  # RFC 8176: confirmation using SMS text message to the user at a registered number


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRequest:
    """
    A wish for a code.

    Attributes:
        to: A number as typed; "" for none.
        subject: The caller's id of the person, or None: then the number stands for the person.
        binding: What the verification must repeat, such as a hash of the caller's session; "" for none.
        locale: A language tag, or None.
        client_ip: The end user's address as the caller knows it, or None.
        client_ref: The caller's own mark, handed back when the challenge is looked at.
        context: Values shown in the message, checked by `core.messages.check_context`.
    """

    to: str = field(repr=False)
    purpose: str
    subject: str | None = field(default=None, repr=False)
    binding: str = ""
    locale: str | None = None
    client_ip: str | None = field(default=None, repr=False)
    client_ref: str | None = None
    context: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """
    A challenge whose code is on its way.

    Attributes:
        to: Masked; None where nothing is sent.
        expires_at: Unix milliseconds.
        expires_in: Seconds.
        resend_in: Seconds until a resend passes every limit known now; None when it can't any more.
        sends_remaining: Codes that may still be sent for this challenge and recipient.
        windows: The caller's own limits on this recipient.
    """

    challenge_id: str
    purpose: str
    channel: str
    to: str | None
    expires_at: int
    expires_in: int
    resend_in: int | None
    sends_remaining: int
    attempts_remaining: int
    delivery: DeliveryStatus
    delivery_reason: str
    windows: Sequence[WindowState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A right code, accepted. `verified_at` in Unix milliseconds, `proof_expires_in` in seconds."""

    challenge_id: str
    purpose: str
    subject: str | None
    method: str
    amr: tuple[str, ...]
    verified_at: int
    proof: str = field(repr=False)
    proof_expires_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a challenge stands or ended."""

    challenge_id: str
    client_ref: str | None
    view: View


class OneTimeCodes:
    """
    The story of a one-time code.

    Args:
        hands: Who delivers in this process, if anybody does.
        wanted: Whether a caller's webhooks are told of challenges.
        clock: Any steady clock, for the ceiling of this process.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        challenges: Challenges,
        hashes: HashPool,
        catalogue: Catalogue,
        channel: Channel,
        hands: Hands,
        proofs: ProofMaking,
        wanted: Callable[[str], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._challenges = challenges
        self._hashes = hashes
        self._catalogue = catalogue
        self._channel = channel
        self._hands = hands
        self._proofs = proofs
        self._ceiling = Ceiling(policy.per_process)
        self._wanted = wanted
        self._clock = clock

    async def request(
        self, caller: str, ask: CodeRequest, *, policy: Policy, handle: str
    ) -> Issued:
        """
        Open a challenge and queue its code.

        Args:
            policy: The caller's; what it says of the challenge holds until its end.
            handle: Of `new_handle`; the same again opens nothing new and tells of the challenge it opened.

        Raises:
            DestinationRefused: the number is none we send to.
            RateLimited, SubjectBlocked, QuotaExceeded: and nothing was counted.
            Overloaded, Unavailable.
        """
        keyring = self._keyring()
        recipient = served_recipient(policy, ask.to)
        self._require_channel()
        subject = _person(keyring, caller, ask.subject, recipient)
        challenge_id = challenge_id_for(keyring, subject, handle)
        address = ChallengeAddress(challenge_id, subject)
        new = NewChallenge(
            address=address,
            caller=caller,
            purpose=ask.purpose,
            binding=self.bound(caller, ask.binding),
            about=About(subject=ask.subject, client_ref=ask.client_ref).seal(keyring, challenge_id),
            sealed=Destination(
                to=recipient.e164,
                context=ask.context,
                client_ip=ask.client_ip,
                brand=policy.brand,
                sender=policy.sender,
                origin=policy.origin,
            ).seal(keyring, challenge_id),
            region=recipient.region,
            locale=self._locale(policy, ask.locale),
            digits=policy.digits,
            max_attempts=policy.max_attempts,
            max_sends=policy.max_sends,
            ttl_ms=policy.code_ttl * 1000,
            grace_ms=policy.resend_grace * 1000,
            min_life_ms=policy.min_life_at_send * 1000,
            retention_ms=policy.retention * 1000,
            events=await self._wanted(caller),
        )
        limits = self._limits(policy, caller, recipient, ask.client_ip)
        with self._headroom():
            opened = await self._challenges.open(new, limits, taker=self._hands.free)
        if opened is None:
            return await self._issued_before(address, caller, recipient)
        if opened.job is not None:
            self._hands.take_along(opened.job, _send(new, opened))
        CHALLENGES.labels(ask.purpose, "opened").inc()
        REGIONS.labels(recipient.region, "requested").inc()
        log.info("challenge.opened", caller=caller, challenge_id=challenge_id, purpose=ask.purpose)
        return self._issued(address, recipient.masked, opened)

    async def resend(
        self, caller: str, challenge_id: str, *, policy: Policy, handle: str
    ) -> Issued:
        """
        Queue a new code; the old one is dead, and neither tries nor limits start anew.

        Args:
            policy: The caller's.
            handle: Of `new_handle`; the same again queues nothing.

        Raises:
            InvalidRequest: nothing is sent for this challenge.
            ChallengeNotFound, ChallengeEnded, RateLimited, SubjectBlocked, QuotaExceeded, Overloaded, Unavailable.
        """
        keyring = self._keyring()
        address = _address(keyring, challenge_id)
        view = await self._challenges.view(address, caller=caller)
        if view.status is not Status.PENDING:
            raise ended(view.status, view.ended_at or view.now)
        if view.channel != METHOD:
            sends_nothing = "is answered by an authenticator app: request a code with channel sms"
            raise InvalidRequest(FieldError("challenge_id", sends_nothing))
        self._require_channel()
        sealed = await self._challenges.sealed_recipient(address)
        if sealed is None:
            raise ended(Status.EXPIRED, view.expires_at)
        try:
            destination = Destination.open(keyring, sealed, challenge_id)
        except SealBroken:
            raise ChallengeNotFound from None  # its key was taken away
        recipient = served_recipient(policy, destination.to)
        limits = self._limits(policy, caller, recipient, destination.client_ip)
        with self._headroom():
            opened = await self._challenges.resend(address, limits, caller=caller, resend_id=handle)
        REGIONS.labels(recipient.region, "requested").inc()
        log.info("challenge.resent", caller=caller, challenge_id=challenge_id)
        return self._issued(address, recipient.masked, opened)

    async def verify(
        self,
        caller: str,
        challenge_id: str,
        code: str,
        *,
        purpose: str,
        binding: str,
        handle: str,
        wish: ProofWish = FOR_ITSELF,
    ) -> Verified:
        """
        Accept the right code, once.

        Args:
            caller: Who asks; the one that requested.
            challenge_id: As it was given.
            code: 4 to 10 ASCII digits, normalised.
            purpose: As requested.
            binding: As requested, or "".
            handle: Of `new_handle`; the same again after success succeeds again with the same proof.
            wish: What is wanted of the proof.

        Raises:
            ChallengeNotFound, ChallengeMismatch, CodeNotSent, ChallengeEnded, SubjectBlocked, InvalidRequest,
                Overloaded: no try was spent.
            InvalidCode, ChallengeExhausted: a try was spent.
            Unavailable: a try may have been spent.
        """
        keyring = self._keyring()
        address = _address(keyring, challenge_id)
        bound = self.bound(caller, binding)
        async with self._hashes.admit() as hashing:
            reserved = await self._challenges.reserve(
                address,
                caller=caller,
                purpose=purpose,
                binding=bound,
                digits=len(code),
                attempt_id=handle,
            )
            success = Success(
                caller=caller,
                id=challenge_id,
                attempt_id=handle,
                challenge_id=challenge_id,
                method=METHOD,
                amr=AMR,
                purpose=purpose,
                binding=binding,
                subject=_about(keyring, reserved.about, challenge_id).subject,
            )
            if isinstance(reserved, Approved):
                before = self._proofs.begin(success, wish, kid=reserved.proof_kid)
                return _verified(success, before, reserved.ended_at)
            proving = keyring.active(Kind.PROOF).kid
            proof = self._proofs.begin(success, wish, kid=proving)
            for candidate in reserved.candidates:
                pepper = keyring.find(Kind.PEPPER, candidate.kid)
                if pepper is None:
                    continue
                context = CodeContext(caller, purpose, challenge_id, candidate.generation, bound)
                if await hashing.matches(candidate.digest, codes.message(pepper, context, code)):
                    ended_at = await self._challenges.consume(
                        address,
                        generation=candidate.generation,
                        attempt_id=handle,
                        proof_kid=proving,
                        proof=proof.record,
                    )
                    CHALLENGES.labels(purpose, "approved").inc()
                    if reserved.region:
                        REGIONS.labels(reserved.region, "approved").inc()
                    log.info("challenge.approved", caller=caller, challenge_id=challenge_id)
                    return _verified(success, proof, ended_at)
        log.info(
            "challenge.wrong_code",
            caller=caller,
            challenge_id=challenge_id,
            attempts_left=reserved.attempts_left,
        )
        CHALLENGES.labels(purpose, "wrong_code").inc()
        if reserved.blocks:
            log.info("challenge.blocked", caller=caller, challenge_id=challenge_id)
            await self._challenges.tell_blocked(address)
        if reserved.attempts_left > 0:
            raise InvalidCode(reserved.attempts_left)
        _, ended_at = await self._challenges.end(address, caller=caller, status=Status.EXHAUSTED)
        CHALLENGES.labels(purpose, "exhausted").inc()
        raise ChallengeExhausted(ended_at)

    async def cancel(self, caller: str, challenge_id: str) -> tuple[Status, int]:
        """
        End a challenge; return how and when it ended, also if it had before.

        Raises:
            ChallengeNotFound, Unavailable.
        """
        address = _address(self._keyring(), challenge_id)
        ended = await self._challenges.end(address, caller=caller, status=Status.CANCELED)
        log.info("challenge.canceled", caller=caller, challenge_id=challenge_id, status=ended[0])
        return ended

    async def look(self, caller: str, challenge_id: str) -> Standing:
        """
        Return how a challenge stands or ended; never a code, a number or a proof.

        Raises:
            ChallengeNotFound, Unavailable.
        """
        keyring = self._keyring()
        address = _address(keyring, challenge_id)
        view = await self._challenges.view(address, caller=caller)
        about = _about(keyring, view.about, challenge_id)
        return Standing(challenge_id=challenge_id, client_ref=about.client_ref, view=view)

    async def wait_for_delivery(
        self, caller: str, challenge_id: str, seconds: float
    ) -> tuple[DeliveryStatus, str]:
        """Return how the delivery stands once it is settled, or after so many seconds. Raises Unavailable."""
        address = _address(self._keyring(), challenge_id)
        end, pause = self._clock() + seconds, 0.02
        while True:
            view = await self._challenges.view(address, caller=caller)
            left = end - self._clock()
            if view.delivery.settled or view.status is not Status.PENDING or left <= 0:
                return view.delivery, view.delivery_reason
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.4)

    def _require_channel(self) -> None:
        if wait := self._channel.unavailable_for:
            raise Unavailable("the provider keeps failing", retry_after=max(1, round(wait)))

    @contextmanager
    def _headroom(self) -> Iterator[None]:
        """Count a send of this process; what Redis then refuses is not one, or refusals would use the ceiling up."""
        now = self._clock()
        if wait := self._ceiling.admit(now):
            raise QuotaExceeded("process", wait)
        try:
            yield
        except (Refusal, Overloaded):
            self._ceiling.take_back(now)
            raise

    def bound(self, caller: str, binding: str) -> str:
        """Return the fingerprint of a binding, or "" for none."""
        if not binding:
            return ""
        return fingerprint(self._keyring().active(Kind.NAME), "binding/v1", caller, binding)

    def _locale(self, policy: Policy, asked: str | None) -> str:
        allowed = set(self._catalogue.locales)
        if policy.locales is not None:
            allowed &= policy.locales | {policy.locale}
        default = policy.locale if policy.locale in allowed else self._policy.locale
        return resolve_locale(asked, allowed | {default}, default)

    def _limits(
        self, policy: Policy, caller: str, recipient: Recipient, client_ip: str | None
    ) -> list[ChargedLimit]:
        phones = self._keyring().in_order(Kind.PHONE)
        return send_limits(policy, phones, caller=caller, recipient=recipient, client_ip=client_ip)

    def _issued(self, address: ChallengeAddress, masked: str, opened: Opened) -> Issued:
        per_recipient = [window.remaining for window in opened.windows]
        sends = min([opened.sends_left, *per_recipient])
        expires_in_ms = opened.expires_at - opened.now
        reachable = opened.sends_left > 0 and opened.next_ms < expires_in_ms
        return Issued(
            challenge_id=address.challenge_id,
            purpose=opened.purpose,
            channel=self._channel.name,
            to=masked,
            expires_at=opened.expires_at,
            expires_in=expires_in_ms // 1000,
            resend_in=-(-opened.next_ms // 1000) if reachable else None,
            sends_remaining=sends,
            attempts_remaining=opened.attempts_left,
            delivery=DeliveryStatus.QUEUED,
            delivery_reason="",
            windows=opened.windows,
        )

    async def _issued_before(
        self, address: ChallengeAddress, caller: str, recipient: Recipient
    ) -> Issued:
        view = await self._challenges.view(address, caller=caller)
        return Issued(
            challenge_id=address.challenge_id,
            purpose=view.purpose,
            channel=view.channel,
            to=recipient.masked,
            expires_at=view.expires_at,
            expires_in=max(0, view.expires_at - view.now) // 1000,
            resend_in=None,
            sends_remaining=view.sends_left,
            attempts_remaining=view.attempts_left,
            delivery=view.delivery,
            delivery_reason=view.delivery_reason,
            windows=(),
        )


def _address(keyring: Keyring, challenge_id: str) -> ChallengeAddress:
    address = address_of(keyring, challenge_id)
    if address is None:
        raise ChallengeNotFound
    return address


def _send(new: NewChallenge, opened: Opened) -> Send | None:
    """Return what the send of a new challenge's job needs; None when the job taken along is another's."""
    if opened.job is None or opened.job.challenge_id != new.address.challenge_id:
        return None
    return Send(
        caller=new.caller,
        purpose=new.purpose,
        binding=new.binding,
        locale=new.locale,
        digits=new.digits,
        sealed=new.sealed,
        expires_at=opened.expires_at,
        now=opened.now,
    )


def _about(keyring: Keyring, sealed: str, challenge_id: str) -> About:
    try:
        return About.open(keyring, sealed, challenge_id)
    except SealBroken:
        raise ChallengeNotFound from None  # its key was taken away: the challenge is void


def _person(
    keyring: Keyring, caller: str, subject: str | None, recipient: Recipient
) -> SubjectAddress:
    if subject is None:
        return number_address(keyring, caller, recipient.e164)
    return person_address(keyring, caller, subject)


def _verified(success: Success, proof: PendingProof, verified_at: int) -> Verified:
    return Verified(
        challenge_id=success.id,
        purpose=success.purpose,
        subject=success.subject,
        method=success.method,
        amr=success.amr,
        verified_at=verified_at,
        proof=proof.at(verified_at),
        proof_expires_in=proof.expires_in,
    )
