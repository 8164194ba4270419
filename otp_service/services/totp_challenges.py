"""
Challenges that a person's authenticator app answers.

Such a challenge sends nothing and costs nothing; its code is accepted once, by its step, together with the challenge.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from otp_service.core.challenge import (
    ChallengeAddress,
    Status,
    SubjectAddress,
    bound,
    challenge_id_for,
)
from otp_service.core.envelopes import About
from otp_service.core.keyring import Keyring, Kind
from otp_service.core.limits import Window
from otp_service.core.policy import Policy
from otp_service.core.proofs import ProofOptions, Success
from otp_service.errors import ChallengeExhausted, InvalidCode
from otp_service.services.authenticators import AMR, METHOD, clock_is_off, match
from otp_service.services.challenge_ids import about_behind
from otp_service.services.clock_skew import ClockAgreement
from otp_service.services.code_requests import CodeRequest, IssuedCode
from otp_service.services.code_verification import Verified
from otp_service.services.proofs import ProofMaking
from otp_service.services.subject_limits import subject_limits
from otp_service.store.attempts import Approved, Attempts
from otp_service.store.challenge_creation import ChallengeCreation, NewChallenge
from otp_service.store.challenges import Challenges
from otp_service.store.totp_challenges import ReservedStep, TotpChallengeStore
from otp_service.telemetry import CHALLENGES

log = structlog.get_logger()

# Nothing is sent, so nothing else bounds them: enough for a person, too few to fill Redis.
PER_SUBJECT = Window(30, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpAttempt:
    """A typed code for a challenge."""

    address: ChallengeAddress
    caller: str
    code: str
    purpose: str
    binding: str
    handle: str
    proof_options: ProofOptions
    diagnose: bool


class TotpChallenges:
    """Creates and verifies these challenges."""

    def __init__(
        self,
        *,
        policy: Policy,
        keyring: Callable[[], Keyring],
        openings: ChallengeCreation,
        attempts: Attempts,
        challenges: Challenges,
        totp_challenge_store: TotpChallengeStore,
        proofs: ProofMaking,
        wanted: Callable[[str], Awaitable[bool]],
        clock: ClockAgreement,
    ) -> None:
        self._policy = policy
        self._keyring = keyring
        self._openings = openings
        self._attempts = attempts
        self._challenges = challenges
        self._app_challenges = totp_challenge_store
        self._proofs = proofs
        self._wanted = wanted
        self._clock = clock

    async def request(
        self,
        caller: str,
        ask: CodeRequest,
        subject: SubjectAddress,
        policy: Policy,
        handle: str,
    ) -> IssuedCode:
        """Open a challenge for a subject that has an app. Raises as `Openings.open`, and ClockSkew."""
        self._clock.require()
        keyring = self._keyring()
        challenge_id = challenge_id_for(keyring, subject, handle)
        address = ChallengeAddress(challenge_id, subject)
        new = NewChallenge(
            address=address,
            channel=METHOD,
            caller=caller,
            purpose=ask.purpose,
            binding=bound(keyring, caller, ask.binding),
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
        limits = subject_limits(keyring, "challenges", PER_SUBJECT, caller, str(ask.subject))
        opened = await self._openings.open(new, limits)
        if opened is None:  # a retried call
            return await self._issued(caller, address)
        CHALLENGES.labels(ask.purpose, "opened").inc()
        log.info("challenge.opened", caller=caller, challenge_id=challenge_id, purpose=ask.purpose)
        return await self._issued(caller, address)

    async def verify(self, attempt: TotpAttempt) -> Verified:
        """
        Accept a right code, once.

        Raises:
            ChallengeNotFound, ChallengeMismatch, ChallengeEnded, SubjectBlocked, FactorNotFound, InvalidRequest,
            ClockSkew: no try was spent.
            InvalidCode, ChallengeExhausted: a try was spent.
            Unavailable.
        """
        self._clock.require()
        keyring, address, caller = self._keyring(), attempt.address, attempt.caller
        reserved = await self._app_challenges.reserve(
            address,
            caller=caller,
            purpose=attempt.purpose,
            binding=bound(keyring, caller, attempt.binding),
            digits=len(attempt.code),
            attempt_id=attempt.handle,
        )
        about = about_behind(keyring, reserved.about, address.challenge_id)
        success = Success(
            caller=caller,
            id=address.challenge_id,
            attempt_id=attempt.handle,
            challenge_id=address.challenge_id,
            method=METHOD,
            amr=AMR,
            purpose=attempt.purpose,
            binding=attempt.binding,
            subject=about.subject,
        )
        if isinstance(reserved, Approved):
            before = self._proofs.begin(success, attempt.proof_options, kid=reserved.proof_kid)
            return Verified.of(success, before, reserved.ended_at)
        proving = keyring.active(Kind.PROOF).kid
        proof = self._proofs.begin(success, attempt.proof_options, kid=proving)
        matched = match(
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
                return Verified.of(success, proof, at)
            CHALLENGES.labels(attempt.purpose, "wrong_code").inc()
            raise InvalidCode(reserved.attempts_left + 1, hint="already_used")
        return await self._wrong(attempt, reserved)

    async def _issued(self, caller: str, address: ChallengeAddress) -> IssuedCode:
        view = await self._challenges.view(address, caller=caller)
        return IssuedCode.of_view(address, view, to=None)

    async def _wrong(self, attempt: TotpAttempt, reserved: ReservedStep) -> Verified:
        keyring, caller, address = self._keyring(), attempt.caller, attempt.address
        CHALLENGES.labels(attempt.purpose, "wrong_code").inc()
        log.info("challenge.wrong_code", caller=caller, challenge_id=address.challenge_id)
        if reserved.blocks:
            log.info("challenge.blocked", caller=caller, challenge_id=address.challenge_id)
            await self._attempts.tell_blocked(address, factor=METHOD)
        if reserved.attempts_left > 0:
            off = attempt.diagnose and clock_is_off(
                keyring, address.subject, reserved.factors, attempt.code, reserved.now
            )
            raise InvalidCode(reserved.attempts_left, hint="clock_off" if off else None)
        _, ended_at = await self._challenges.end(address, caller=caller, status=Status.EXHAUSTED)
        CHALLENGES.labels(attempt.purpose, "exhausted").inc()
        raise ChallengeExhausted(ended_at)
