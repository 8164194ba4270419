"""
How a person shows who they are, picked for the caller: by an authenticator app where there is one, else by SMS.

With `channel: auto` a login page has one flow for both: request, then verify what the person typed. A challenge for the
app sends nothing and costs nothing; its code is accepted once, by its step, together with the challenge. What must be
shown beside the code (an amount, a payee) goes by SMS, since an app can't show it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from otp_service.core.challenge import (
    ChallengeAddress,
    DeliveryStatus,
    Status,
    SubjectAddress,
    address_of,
    challenge_id_for,
    fingerprint,
    subject_address,
)
from otp_service.core.envelopes import About
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.limits import Window
from otp_service.core.policy import Policy
from otp_service.core.proofs import ProofWish, Success
from otp_service.core.seal import SealBroken
from otp_service.errors import (
    ChallengeExhausted,
    ChallengeNotFound,
    FactorNotFound,
    FieldError,
    InvalidCode,
    InvalidRequest,
)
from otp_service.flows import factors as apps
from otp_service.flows.factors import readable
from otp_service.flows.one_time_code import CodeRequest, Issued, OneTimeCodes, Verified
from otp_service.flows.proofs import PendingProof, ProofMaking
from otp_service.store import keys
from otp_service.store.app_challenges import AppChallenges, ReservedStep
from otp_service.store.challenges import AnsweredByApp, Approved, Challenges, NewChallenge
from otp_service.store.factors import Factor, Factors
from otp_service.store.limits import ChargedLimit
from otp_service.telemetry import CHALLENGES

log = structlog.get_logger()

SMS, APP = "sms", apps.METHOD
# Nothing is sent, so nothing else bounds them: enough for a person, too few to fill Redis.
PER_SUBJECT = Window(30, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What was typed for a challenge, and by which call."""

    address: ChallengeAddress
    caller: str
    code: str
    purpose: str
    binding: str
    handle: str
    wish: ProofWish
    diagnose: bool


class Ways:
    """Codes over whichever way."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        codes: OneTimeCodes,
        challenges: Challenges,
        app_challenges: AppChallenges,
        factors: Factors,
        proofs: ProofMaking,
        wanted: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._codes = codes
        self._challenges = challenges
        self._app_challenges = app_challenges
        self._factors = factors
        self._proofs = proofs
        self._wanted = wanted

    async def request(
        self, caller: str, ask: CodeRequest, *, auto: bool, policy: Policy, handle: str
    ) -> Issued:
        """
        Open a challenge: of a code that is sent, or, if `auto` picks it, of the person's authenticator app.

        Args:
            caller: Who asks.
            ask: What for.
            auto: Whether the way is ours to pick.
            policy: The caller's.
            handle: 32 hex digits; the same again opens nothing new.

        Raises:
            InvalidRequest: `auto` without a subject, or an SMS without a number.
            FactorNotFound: `auto`, and the operator's ways leave none for this person.
            Else as `OneTimeCodes.request`.
        """
        if not auto:
            if not ask.to:
                raise InvalidRequest(FieldError("to", "is required"))
            return await self._codes.request(caller, ask, policy=policy, handle=handle)
        if ask.subject is None:
            raise InvalidRequest(FieldError("subject", "is required with channel auto"))
        address = subject_address(self._keyring(), caller, f"subject:{ask.subject}")
        for way in self._policy.auto_channels:
            if way == APP and not ask.context and await self._has_app(address, caller):
                return await self._request_of_app(caller, ask, address, policy, handle)
            if way == SMS and ask.to:
                return await self._codes.request(caller, ask, policy=policy, handle=handle)
        if SMS in self._policy.auto_channels:
            raise InvalidRequest(FieldError("to", "is required: this goes by SMS"))
        raise FactorNotFound

    async def verify(
        self,
        caller: str,
        challenge_id: str,
        code: str,
        *,
        purpose: str,
        binding: str,
        handle: str,
        wish: ProofWish,
        diagnose: bool,
    ) -> Verified:
        """
        Accept the right code, once, whichever way it came.

        Args:
            wish: What is wanted of the proof.
            diagnose: Whether a refusal may say that the person's clock is off.

        Raises:
            FactorNotFound: the last authenticator was removed since; no try was spent.
            Else as `OneTimeCodes.verify`.
        """
        try:
            return await self._codes.verify(
                caller,
                challenge_id,
                code,
                purpose=purpose,
                binding=binding,
                handle=handle,
                wish=wish,
            )
        except AnsweredByApp:
            address = address_of(self._keyring(), challenge_id)
            if address is None:
                raise ChallengeNotFound from None
        return await self._verify_of_app(
            _Attempt(
                address=address,
                caller=caller,
                code=code,
                purpose=purpose,
                binding=binding,
                handle=handle,
                wish=wish,
                diagnose=diagnose,
            )
        )

    def of(self, factors: list[Factor], recovery_codes: int) -> list[str]:
        """Return how a subject can show who it is, in the order in which `auto` picks, recovery codes last."""
        app = any(factor.confirmed for factor in factors)
        order = [*self._policy.auto_channels]
        order += [way for way in (APP, SMS) if way not in order]
        found = [way for way in order if way != APP or app]
        return [*found, "recovery_code"] if recovery_codes else found

    async def _has_app(self, subject: SubjectAddress, caller: str) -> bool:
        found = await self._factors.all(subject)
        return any(factor.confirmed and factor.caller == caller for factor in found)

    async def _request_of_app(
        self,
        caller: str,
        ask: CodeRequest,
        subject: SubjectAddress,
        policy: Policy,
        handle: str,
    ) -> Issued:
        keyring = self._keyring()
        challenge_id = challenge_id_for(keyring, subject, handle)
        address = ChallengeAddress(challenge_id, subject)
        new = NewChallenge(
            address=address,
            channel=APP,
            caller=caller,
            purpose=ask.purpose,
            binding=self._codes.bound(caller, ask.binding),
            about=About(subject=ask.subject, client_ref=ask.client_ref).seal(keyring, challenge_id),
            sealed="",
            region="",
            locale="",
            digits=0,
            max_attempts=policy.max_attempts,
            max_sends=0,
            ttl_ms=policy.code_ttl * 1000,
            grace_ms=0,
            min_life_ms=0,
            retention_ms=policy.retention * 1000,
            events=await self._wanted(caller),
        )
        digests = [
            fingerprint(phone, "limit/challenges/v1", caller, str(ask.subject))
            for phone in keyring.in_order(Kind.PHONE)
        ]
        limits = [
            ChargedLimit(
                key=keys.limit("challenges", digest), windows=[("challenges", PER_SUBJECT)]
            )
            for digest in digests
        ]
        opened = await self._challenges.open(new, limits)
        if opened is None:  # a retried call
            return await self._issued(caller, address)
        CHALLENGES.labels(ask.purpose, "opened").inc()
        log.info("challenge.opened", caller=caller, challenge_id=challenge_id, purpose=ask.purpose)
        return await self._issued(caller, address)

    async def _issued(self, caller: str, address: ChallengeAddress) -> Issued:
        view = await self._challenges.view(address, caller=caller)
        return Issued(
            challenge_id=address.challenge_id,
            purpose=view.purpose,
            channel=view.channel,
            to=None,
            expires_at=view.expires_at,
            expires_in=max(0, view.expires_at - view.now) // 1000,
            resend_in=None,
            sends_remaining=0,
            attempts_remaining=view.attempts_left,
            delivery=DeliveryStatus.NONE,
            delivery_reason="",
            windows=(),
        )

    async def _verify_of_app(self, attempt: _Attempt) -> Verified:
        keyring, address, caller = self._keyring(), attempt.address, attempt.caller
        reserved = await self._app_challenges.reserve(
            address,
            caller=caller,
            purpose=attempt.purpose,
            binding=self._codes.bound(caller, attempt.binding),
            digits=len(attempt.code),
            attempt_id=attempt.handle,
        )
        try:
            about = About.open(keyring, reserved.about, address.challenge_id)
        except SealBroken:
            raise ChallengeNotFound from None  # its key was taken away: the challenge is void
        success = Success(
            caller=caller,
            id=address.challenge_id,
            attempt_id=attempt.handle,
            challenge_id=address.challenge_id,
            method=apps.METHOD,
            amr=apps.AMR,
            purpose=attempt.purpose,
            binding=attempt.binding,
            subject=about.subject,
        )
        if isinstance(reserved, Approved):
            before = self._proofs.begin(success, attempt.wish, kid=reserved.proof_kid)
            return self._verified(attempt, about, before, reserved.ended_at)
        proving = keyring.active(Kind.PROOF).kid
        proof = self._proofs.begin(success, attempt.wish, kid=proving)
        matched = apps.match(
            keyring, address.subject, reserved.factors, attempt.code, reserved.now,
            past=self._policy.totp_past_steps,
        )  # fmt: skip
        if matched is not None:
            factor, step = matched
            at = await self._app_challenges.consume(
                address,
                factor,
                caller=caller,
                step=step,
                attempt_id=attempt.handle,
                proof_kid=proving,
                proof=proof.record,
            )
            if at is not None:
                CHALLENGES.labels(attempt.purpose, "approved").inc()
                log.info("challenge.approved", caller=caller, challenge_id=address.challenge_id)
                return self._verified(attempt, about, proof, at)
        return await self._wrong(attempt, reserved, matched is None)

    async def _wrong(self, attempt: _Attempt, reserved: ReservedStep, unmatched: bool) -> Verified:
        keyring, caller, address = self._keyring(), attempt.caller, attempt.address
        CHALLENGES.labels(attempt.purpose, "wrong_code").inc()
        log.info("challenge.wrong_code", caller=caller, challenge_id=address.challenge_id)
        if reserved.blocks:
            log.info("challenge.blocked", caller=caller, challenge_id=address.challenge_id)
            await self._challenges.tell_blocked(address, factor=APP)
        if reserved.attempts_left > 0:
            off = (
                attempt.diagnose
                and unmatched
                and any(
                    authenticator.clock_is_off(attempt.code, now=reserved.now)
                    for _, authenticator in readable(keyring, address.subject, reserved.factors)
                )
            )
            raise InvalidCode(reserved.attempts_left, clock_off=off)
        _, ended_at = await self._challenges.end(address, caller=caller, status=Status.EXHAUSTED)
        CHALLENGES.labels(attempt.purpose, "exhausted").inc()
        raise ChallengeExhausted(ended_at)

    def _verified(
        self, attempt: _Attempt, about: About, proof: PendingProof, verified_at: int
    ) -> Verified:
        return Verified(
            challenge_id=attempt.address.challenge_id,
            purpose=attempt.purpose,
            subject=about.subject,
            method=apps.METHOD,
            amr=apps.AMR,
            verified_at=verified_at,
            proof=proof.at(verified_at),
            proof_expires_in=proof.expires_in,
        )
