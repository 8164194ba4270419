"""
Requesting and resending one-time codes.

Nothing here waits for the provider and nothing here knows a code: it is drawn by the delivery worker (`flows.delivery`)
when it is about to leave.
"""

from collections.abc import Awaitable, Callable

import structlog

from otp_service.channels.channel import Channel
from otp_service.core.challenge import (
    ChallengeAddress,
    Status,
    SubjectAddress,
    bound,
    challenge_id_for,
    number_address,
    person_address,
)
from otp_service.core.envelopes import About, Destination
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.messages import Catalogue, resolve_locale
from otp_service.core.policy import Policy
from otp_service.core.recipients import Recipient
from otp_service.core.seal import SealBroken
from otp_service.errors import (
    ChallengeNotFound,
    FieldError,
    InvalidRequest,
    Unavailable,
)
from otp_service.services.challenge_ids import address_behind
from otp_service.services.code_requests import CodeRequest, IssuedCode
from otp_service.services.delivery import InlineDispatcher
from otp_service.services.process_bounds import SendCeiling
from otp_service.services.region_pauses import RegionPauses
from otp_service.services.send_limits import send_limits, served_recipient
from otp_service.store.challenge_creation import ChallengeCreation, CreatedChallenge, NewChallenge
from otp_service.store.challenges import Challenges
from otp_service.store.deliveries import Send
from otp_service.store.limits import ChargedLimit
from otp_service.store.refusals import ended
from otp_service.telemetry import CHALLENGES

log = structlog.get_logger()

METHOD = "sms"


class CodeSending:
    """
    Creates challenges and queues their codes.

    Args:
        hands: Who delivers in this process, if anybody does.
        ceiling: On the sends of this process.
        wanted: Whether a caller's webhooks are told of challenges.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        openings: ChallengeCreation,
        challenges: Challenges,
        catalogue: Catalogue,
        channel: Channel,
        hands: InlineDispatcher,
        regions: RegionPauses,
        ceiling: SendCeiling,
        wanted: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._openings = openings
        self._challenges = challenges
        self._catalogue = catalogue
        self._channel = channel
        self._hands = hands
        self._regions = regions
        self._ceiling = ceiling
        self._wanted = wanted

    async def request(
        self, caller: str, ask: CodeRequest, *, policy: Policy, handle: str
    ) -> IssuedCode:
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
        recipient = served_recipient(policy, ask.to, caller=caller)
        self._require_channel()
        subject = _person(keyring, caller, ask.subject, recipient)
        challenge_id = challenge_id_for(keyring, subject, handle)
        address = ChallengeAddress(challenge_id, subject)
        new = NewChallenge(
            address=address,
            caller=caller,
            purpose=ask.purpose,
            binding=bound(keyring, caller, ask.binding),
            about=About(subject=ask.subject, client_ref=ask.client_ref).seal(keyring, challenge_id),
            sealed=Destination(
                to=recipient.e164,
                context=ask.context,
                client_ip=ask.client_ip,
                brand=policy.brand,
                sender=policy.sender,
                origin=policy.origin,
                app_hash=policy.app_hash,
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
        limits = self._limits(policy, caller, recipient, ask.client_ip, ask.purpose)
        with self._ceiling.one_send():
            opened = await self._openings.open(new, limits, consumer=self._hands.free)
        if opened is None:
            view = await self._challenges.view(address, caller=caller)
            return IssuedCode.of_view(address, view, to=recipient.masked)
        if opened.job is not None:
            self._hands.claim_now(opened.job, _send(new, opened))
        CHALLENGES.labels(ask.purpose, "opened").inc()
        self._regions.requested(caller, recipient.region, opened.windows)
        log.info("challenge.opened", caller=caller, challenge_id=challenge_id, purpose=ask.purpose)
        return IssuedCode.of(address, opened, channel=self._channel.name, to=recipient.masked)

    async def resend(
        self, caller: str, challenge_id: str, *, policy: Policy, handle: str
    ) -> IssuedCode:
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
        address = address_behind(keyring, challenge_id)
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
        recipient = served_recipient(policy, destination.to, caller=caller)
        limits = self._limits(policy, caller, recipient, destination.client_ip, view.purpose)
        with self._ceiling.one_send():
            opened = await self._openings.resend(address, limits, caller=caller, resend_id=handle)
        self._regions.requested(caller, recipient.region, opened.windows)
        log.info("challenge.resent", caller=caller, challenge_id=challenge_id)
        return IssuedCode.of(address, opened, channel=self._channel.name, to=recipient.masked)

    def _require_channel(self) -> None:
        if wait := self._channel.unavailable_for:
            raise Unavailable("the provider keeps failing", retry_after=max(1, round(wait)))

    def _locale(self, policy: Policy, asked: str | None) -> str:
        allowed = set(self._catalogue.locales)
        if policy.locales is not None:
            allowed &= policy.locales | {policy.locale}
        default = policy.locale if policy.locale in allowed else self._policy.locale
        return resolve_locale(asked, allowed | {default}, default)

    def _limits(
        self,
        policy: Policy,
        caller: str,
        recipient: Recipient,
        client_ip: str | None,
        purpose: str,
    ) -> list[ChargedLimit]:
        phones = self._keyring().in_order(Kind.PHONE)
        return send_limits(
            policy,
            phones,
            caller=caller,
            recipient=recipient,
            client_ip=client_ip,
            purpose=purpose,
            trickle=self._regions.trickle(caller, recipient.region),
        )


def _send(new: NewChallenge, opened: CreatedChallenge) -> Send | None:
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


def _person(
    keyring: Keyring, caller: str, subject: str | None, recipient: Recipient
) -> SubjectAddress:
    if subject is None:
        return number_address(keyring, caller, recipient.e164)
    return person_address(keyring, caller, subject)
