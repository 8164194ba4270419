"""
A challenge's life against a small model of it, in every order that Hypothesis can think of.

The scripts run on the real server, through the store's own classes; only argon2 is left out, so a digest here is the
text it stands for. Time moves in steps of ten seconds and every duration is a multiple of ten, so what the model
expects does not depend on how long the test itself takes.

Invariants (security.md 3.3): a challenge is accepted at most once (I1); at most `max_attempts` guesses of it are
evaluated (I2); a subject's failures fall only by success or by leaving their window (I3); a generation is sent at most
once (I4); no proof without acceptance (I5). After every step what a caller sees is what the model says.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from otp_service.core import keyring as keyrings
from otp_service.core.challenge import (
    ChallengeAddress,
    DeliveryStatus,
    Status,
    challenge_id_for,
    new_handle,
    subject_address,
)
from otp_service.core.keyring import Keyring
from otp_service.core.limits import FailureBudget, Window
from otp_service.errors import (
    ChallengeEnded,
    ChallengeMismatch,
    CodeNotSent,
    OtpError,
    RateLimited,
    SubjectBlocked,
    Unavailable,
)
from otp_service.store import keys
from otp_service.store.attempts import Approved, Attempts, Reserved
from otp_service.store.challenge_creation import ChallengeCreation, NewChallenge
from otp_service.store.challenges import FACTOR, Challenges
from otp_service.store.connection import Timeouts, connect
from otp_service.store.deliveries import Deliveries, Dropped, InProgress, Job, Send
from otp_service.store.limits import ChargedLimit
from otp_service.store.proofs import ProofRecord
from otp_service.store.refusals import ended
from otp_service.store.scripts import Scripts
from tests.reliability.harness import Mutant

T = TypeVar("T")

RING = Keyring.from_json(keyrings.generate(created_at="2026-11-23T00:00:00Z"))
STEP = 10  # seconds
TTL, MIN_LIFE, GRACE, SENDING, PROOF = 60, 25, 20, 30, 30
MAX_ATTEMPTS, MAX_SENDS, MAX_BINDINGS = 3, 3, 2
BUDGET = FailureBudget(Window(5, 60), 70, Window(8, 200), 12)
RECIPIENT = [("recipient", Window(7, 200)), ("recipient", Window(3, 60))]
CALLER = [("caller_total", Window(10, 100))]
COOLDOWN = (10, 10, 20)
SUBJECTS = ("ann", "ann", "ann", "bob")
BINDINGS, PURPOSES = ("", "", "tab-1", "tab-2"), ("login", "login", "signup")
TYPED = ("right", "right", "wrong", "wrong", "wrong", "before", "short", "elsewhere")


@dataclass(eq=False)
class Life:
    """What the model knows of one challenge. Times are seconds of the model."""

    address: ChallengeAddress
    who: str
    purpose: str
    binding: str
    grace: int
    opened: int
    expires: int
    attempts: int = 0
    tried: int = 0  # when the last one was counted
    sends: int = 1
    generation: int = 1
    delivery: str = "queued"
    reason: str = ""
    sending_until: int = 0
    status: str = "pending"  # as its own hash says
    ended: int | None = None
    digest: str | None = None
    old: tuple[str, int, int] | None = None  # digest, generation, until
    proof: str | None = None
    jobs: list[int] = field(default_factory=list)  # generations that wait in the queue
    # What really happened, to hold the invariants against.
    evaluated: int = 0
    accepted: int = 0


@dataclass
class Guard:
    failures: list[int] = field(default_factory=list)
    streak: int = 0
    blocked_until: int = 0


@dataclass
class Attempt:
    """Reserved, its hash not computed yet."""

    life: Life
    reserved: Reserved
    typed: str
    handle: str


class Dying(Challenges):
    """Challenges of a process that may die before it tidies up."""

    dies = False

    async def end(
        self, address: ChallengeAddress, *, caller: str, status: Status
    ) -> tuple[Status, int]:
        if self.dies:
            raise Unavailable("died")
        return await super().end(address, caller=caller, status=status)


class ChallengeLife(RuleBasedStateMachine):
    url = ""
    mutant: Mutant | None = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.connection = connect(
            self.url, name="model", connections=4, timeouts=Timeouts(command=10)
        )
        self.scripts = Scripts(self.connection, frozen_at_ms=int(time.time() * 1000))
        if self.mutant:
            self.mutant.put_into(self.scripts)
        self.challenges = Dying(self.scripts)
        self.openings = ChallengeCreation(
            self.scripts,
            challenges=self.challenges,
            budget=BUDGET,
            max_bindings=MAX_BINDINGS,
            queue_limit=50,
        )
        self.trying = Attempts(self.scripts, budget=BUDGET)
        self.deliveries = Deliveries(self.scripts, self.connection, consumer="model")
        self.redis = redis.Redis.from_url(self.url, decode_responses=True)
        self.redis.flushall()
        self.now = 0
        self.lives: list[Life] = []
        self.pointers: dict[tuple[str, str, str], Life] = {}
        self.guards: dict[str, Guard] = {}
        self.charged: dict[str, list[int]] = {}
        self.attempts: list[Attempt] = []
        self.flying: list[tuple[Life, Job]] = []
        self.sms: Counter[tuple[str, int]] = Counter()

    def teardown(self) -> None:
        self.redis.close()
        self.do(self.connection.aclose())
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def try_to(self, work: Coroutine[Any, Any, T]) -> T | OtpError:
        try:
            return self.do(work)
        except OtpError as error:
            return error

    # --- The model ---------------------------------------------------------------------------------------------------

    def ending(self, life: Life) -> tuple[str, int] | None:
        if life.status != "pending":
            assert life.ended is not None
            return life.status, life.ended
        newest = self.pointers.get((life.who, life.purpose, life.binding))
        over = None
        if self.now >= life.expires:
            over = "expired", life.expires
        elif newest is not life:
            over = "replaced", newest.opened if newest else self.now
        if life.attempts >= MAX_ATTEMPTS and (over or self.now - life.tried >= STEP):
            return "exhausted", life.tried  # whoever compared the last try died over it
        return over

    def blocked(self, who: str) -> bool:
        guard = self.guards.get(who, Guard())
        return guard.streak >= BUDGET.in_a_row or guard.blocked_until > self.now

    def fail(self, who: str) -> None:
        guard = self.guards.setdefault(who, Guard())
        kept = [at for at in guard.failures if at > self.now - BUDGET.long.seconds]
        guard.failures = [*kept, self.now]
        guard.streak += 1
        short = [at for at in guard.failures if at > self.now - BUDGET.short.seconds]
        until = 0
        if len(short) >= BUDGET.short.count:
            until = self.now + BUDGET.block_seconds
        if len(guard.failures) >= BUDGET.long.count:
            until = max(until, guard.failures[0] + BUDGET.long.seconds)
        guard.blocked_until = until or guard.blocked_until

    def obstacles(self, who: str) -> set[str]:
        found = set()
        for name, windows, cooldown in ((who, RECIPIENT, COOLDOWN), ("caller", CALLER, ())):
            times = self.charged.get(name, [])
            for label, window in windows:
                if len([t for t in times if t + window.seconds > self.now]) >= window.count:
                    found.add(label)
            if cooldown and times:
                recent = len([t for t in times if t > self.now - windows[-1][1].seconds])
                step = cooldown[max(1, min(recent, len(cooldown))) - 1]
                if times[-1] + step > self.now:
                    found.add("cooldown")
        return found

    def charge(self, who: str) -> None:
        for name in (who, "caller"):
            self.charged.setdefault(name, []).append(self.now)

    def limits(self, who: str) -> list[ChargedLimit]:
        return [
            ChargedLimit(
                key=keys.limit("recipient", who),
                windows=RECIPIENT,
                cooldown=COOLDOWN,
                cooldown_window=60,
            ),
            ChargedLimit(key=keys.limit("caller", "shop"), windows=CALLER),
        ]

    def pick(self, data: st.DataObject) -> Life:
        """Mostly one that lives, else anyone."""
        living = [life for life in self.lives if self.ending(life) is None]
        return data.draw(st.sampled_from(living * 4 + self.lives))

    # --- What a caller does ------------------------------------------------------------------------------------------

    @rule(
        who=st.sampled_from(SUBJECTS),
        binding=st.sampled_from(BINDINGS),
        purpose=st.sampled_from(PURPOSES),
        grace=st.sampled_from((0, GRACE)),
        dies=st.booleans(),
    )
    def request(self, who: str, binding: str, purpose: str, grace: int, dies: bool = False) -> None:
        """The process may die when the challenge is open and the one it replaces not yet tidied up."""
        subject = subject_address(RING, "shop", who)
        address = ChallengeAddress(challenge_id_for(RING, subject, new_handle(RING)), subject)
        new = NewChallenge(
            address=address, caller="shop", purpose=purpose, binding=binding, about="about",
            sealed="sealed", region="US", locale="en", digits=6, max_attempts=MAX_ATTEMPTS,
            max_sends=MAX_SENDS, ttl_ms=TTL * 1000, grace_ms=grace * 1000,
            min_life_ms=MIN_LIFE * 1000, retention_ms=3_600_000,
        )  # fmt: skip
        self.challenges.dies = dies
        answer = self.try_to(self.openings.open(new, self.limits(who)))
        self.challenges.dies = False

        beside = [
            life
            for (w, p, b), life in self.pointers.items()
            if (w, p) == (who, purpose) and b != binding and life.expires > self.now
        ]
        if self.blocked(who):
            assert isinstance(answer, SubjectBlocked), answer
        elif len(beside) >= MAX_BINDINGS:
            assert isinstance(answer, RateLimited), answer
            assert answer.limit == "live_challenges"
        elif obstacles := self.obstacles(who):
            assert isinstance(answer, RateLimited), answer
            assert answer.limit in obstacles
        else:
            own = (who, purpose, binding)
            before = self.pointers.get(own)
            replaces = before is not None and before.expires > self.now
            assert not isinstance(answer, OtpError | None), answer  # tidying up decides nothing
            self.charge(who)
            life = Life(address, who, purpose, binding, grace, self.now, self.now + TTL, jobs=[1])
            self.pointers[own] = life
            if before is not None and replaces and not dies:
                over = self.ending(before)
                assert over is not None
                before.status, before.ended = over
            self.lives.append(life)

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        self.do_resend(self.pick(data))

    def do_resend(self, life: Life) -> None:
        answer = self.try_to(
            self.openings.resend(
                life.address, self.limits(life.who), caller="shop", resend_id=new_handle(RING)
            )
        )
        if over := self.ending(life):
            self.is_ended(answer, over)
        elif self.blocked(life.who):
            assert isinstance(answer, SubjectBlocked), answer
        elif life.attempts >= MAX_ATTEMPTS:
            self.is_ended(answer, ("exhausted", None))
        elif life.sends >= MAX_SENDS:
            assert isinstance(answer, RateLimited), answer
            assert answer.limit == "challenge_sends"
        elif obstacles := self.obstacles(life.who):
            assert isinstance(answer, RateLimited), answer
            assert answer.limit in obstacles
        else:
            assert not isinstance(answer, OtpError), answer
            self.charge(life.who)
            if life.grace and life.digest is not None:
                life.old = (life.digest, life.generation, self.now + life.grace)
            life.digest = None
            life.generation += 1
            life.sends += 1
            life.expires = self.now + TTL
            life.delivery, life.reason = "queued", ""
            life.jobs.append(life.generation)
            assert answer.sends_left == MAX_SENDS - life.sends
            assert answer.attempts_left == MAX_ATTEMPTS - life.attempts

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from(self.lives))
        status, _ = self.do(
            self.challenges.end(life.address, caller="shop", status=Status.CANCELED)
        )
        over = self.ending(life)
        assert status == (over[0] if over else "canceled")
        if life.status == "pending":
            life.status, life.ended = over or ("canceled", self.now)
            if over is None:
                del self.pointers[life.who, life.purpose, life.binding]

    @rule(
        who=st.sampled_from(SUBJECTS),
        binding=st.sampled_from(BINDINGS),
        grace=st.sampled_from((0, GRACE)),
    )
    def request_and_get(self, who: str, binding: str, grace: int) -> None:
        """The usual way: the code goes out at once."""
        before = len(self.lives)
        self.request(who, binding, "login", grace)
        if len(self.lives) > before:
            self.do_deliver(self.lives[-1], 1, "accepted")

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def resend_and_get(self, data: st.DataObject) -> None:
        life = self.pick(data)
        before = life.generation
        self.do_resend(life)
        if life.generation > before:
            self.do_deliver(life, life.generation, "accepted")

    @precondition(lambda self: self.lives)
    @rule(
        data=st.data(),
        typed=st.lists(
            st.sampled_from(("wrong", "wrong", "wrong", "right")), min_size=1, max_size=2
        ),
    )
    def guess(self, data: st.DataObject, typed: list[str]) -> None:
        """One after the other, each with its hash."""
        life = self.pick(data)
        for each in typed:
            if attempt := self.do_reserve(life, each):
                self.do_finish(attempt)

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), typed=st.lists(st.sampled_from(TYPED), min_size=1, max_size=4))
    def reserve(self, data: st.DataObject, typed: list[str]) -> None:
        """Count the tries; their hashes are computed after anything else may have happened."""
        life = self.pick(data)
        for each in typed:
            if attempt := self.do_reserve(life, each):
                self.attempts.append(attempt)

    def do_reserve(self, life: Life, typed: str) -> Attempt | None:
        handle = new_handle(RING)
        answer = self.try_to(
            self.trying.reserve(
                life.address,
                caller="shop",
                purpose="payment" if typed == "elsewhere" else life.purpose,
                binding=life.binding,
                digits=5 if typed == "short" else 6,
                attempt_id=handle,
            )
        )
        old = life.old if life.old and life.old[2] > self.now else None
        if typed == "elsewhere":
            assert isinstance(answer, ChallengeMismatch), answer
        elif over := self.ending(life):
            self.is_ended(answer, over)
        elif life.attempts >= MAX_ATTEMPTS:
            self.is_ended(answer, ("exhausted", None))
        elif self.blocked(life.who):
            assert isinstance(answer, SubjectBlocked), answer
        elif typed == "short":
            assert isinstance(answer, OtpError), answer
        elif life.digest is None and old is None:
            assert isinstance(answer, CodeNotSent), answer
        else:
            assert isinstance(answer, Reserved), answer
            life.attempts, life.tried = life.attempts + 1, self.now
            life.evaluated += 1
            self.fail(life.who)
            assert answer.attempts_left == MAX_ATTEMPTS - life.attempts
            expected = [d for d in (life.digest, old and old[0]) if d]
            assert [c.digest for c in answer.candidates] == expected
            code = {"right": life.digest, "before": old and old[0], "wrong": None}[typed]
            return Attempt(life, answer, code or "none", handle)
        return None

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """The hash is computed: consume, or say that it was wrong."""
        attempt = data.draw(st.sampled_from(self.attempts))
        self.attempts.remove(attempt)
        self.do_finish(attempt)

    @precondition(lambda self: self.attempts)
    @rule()
    def finish_all(self) -> None:
        while self.attempts:
            self.do_finish(self.attempts.pop())

    def do_finish(self, attempt: Attempt) -> None:
        life = attempt.life
        matched = [c for c in attempt.reserved.candidates if c.digest == attempt.typed]
        if not matched:
            if attempt.reserved.attempts_left == 0:
                self.do(self.challenges.end(life.address, caller="shop", status=Status.EXHAUSTED))
                over = self.ending(life)
                if life.status == "pending":
                    life.status, life.ended = over or ("exhausted", self.now)
                    if over is None:
                        del self.pointers[life.who, life.purpose, life.binding]
            return
        generation = matched[0].generation
        proof_key = keys.proof(life.address.subject.bucket, attempt.handle)
        record = ProofRecord(key=proof_key, fields={"audience": "shop"}, ttl_ms=PROOF * 1000)
        answer = self.try_to(
            self.trying.consume(
                life.address,
                generation=generation,
                attempt_id=attempt.handle,
                proof_kid="p",
                proof=record,
            )
        )
        graced = life.old and life.old[1] == generation and life.old[2] > self.now
        if over := self.ending(life):
            self.is_ended(answer, over)
            assert not self.redis.exists(proof_key)
        elif generation != life.generation and not graced:
            assert isinstance(answer, CodeNotSent), answer
            assert not self.redis.exists(proof_key)
        else:
            assert isinstance(answer, int), answer
            life.accepted += 1
            life.status, life.ended, life.proof = "approved", self.now, proof_key
            if generation == life.generation and life.delivery in ("unknown", "failed"):
                life.delivery, life.reason = "accepted", ""
            del self.pointers[life.who, life.purpose, life.binding]
            self.guards.pop(life.who, None)
            again = self.do(
                self.trying.reserve(
                    life.address, caller="shop", purpose=life.purpose, binding=life.binding,
                    digits=6, attempt_id=attempt.handle,
                )
            )  # fmt: skip
            assert isinstance(again, Approved)

    # --- What workers do ---------------------------------------------------------------------------------------------

    def waiting(self) -> list[tuple[Life, int]]:
        return [(life, generation) for life in self.lives for generation in life.jobs]

    def job(self, life: Life, generation: int) -> Job:
        queue = keys.queue(life.address.subject.bucket)
        wanted = {"id": life.address.challenge_id, "generation": str(generation)}
        found = [i for i, fields in self.redis.xrange(queue) if wanted.items() <= fields.items()]
        assert len(found) == 1, "one entry for each job"
        return Job(queue, found[0], life.address.challenge_id, generation)

    @precondition(lambda self: self.waiting())
    @rule(
        data=st.data(),
        then=st.sampled_from(("die before", "die behind", "accepted", "failed", "unknown", "wait")),
    )
    def deliver(self, data: st.DataObject, then: str) -> None:
        """Take a job, pass the fence, send; and die, settle or take one's time."""
        self.do_deliver(*data.draw(st.sampled_from(self.waiting())), then)

    def do_deliver(self, life: Life, generation: int, then: str) -> None:
        job = self.job(life, generation)
        taken = self.do(self.deliveries.take(job, life.address))
        if generation != life.generation:
            self.is_dropped(taken, "stale", life, generation)
        elif life.delivery == "sending" and self.now < life.sending_until:
            assert isinstance(taken, InProgress), taken
        elif life.delivery == "sending":
            self.is_dropped(taken, "lost", life, generation)
            life.delivery, life.reason = "unknown", "worker_lost"
        elif life.delivery != "queued":
            self.is_dropped(taken, "settled", life, generation)
        elif self.ending(life):
            self.is_dropped(taken, "ended", life, generation)
            life.delivery, life.reason = "failed", "ended_before_sending"
        elif life.expires - self.now < MIN_LIFE:
            self.is_dropped(taken, "too_late", life, generation)
            life.delivery, life.reason = "failed", "too_late"
        else:
            assert isinstance(taken, Send), taken
            if then != "die before":
                self.send(life, job, then)

    def send(self, life: Life, job: Job, then: str) -> None:
        digest = f"{life.address.challenge_id}/{job.generation}"
        begin = self.deliveries.begin(
            job, life.address, digest=digest, kid="k", sending_ms=SENDING * 1000
        )
        assert self.do(begin)
        life.delivery, life.sending_until, life.digest = "sending", self.now + SENDING, digest
        self.sms[life.address.challenge_id, job.generation] += 1
        second = self.deliveries.begin(
            job, life.address, digest="another", kid="k", sending_ms=SENDING * 1000
        )
        assert not self.do(second), "two workers passed one fence"
        if then in ("accepted", "failed", "unknown"):
            self.settle(life, job, then)
        elif then == "wait":
            self.flying.append((life, job))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=st.sampled_from(("accepted", "failed", "unknown")))
    def land(self, data: st.DataObject, outcome: str) -> None:
        """A send comes back, perhaps after everybody has given it up."""
        life, job = data.draw(st.sampled_from(self.flying))
        self.flying.remove((life, job))
        self.settle(life, job, outcome)

    def settle(self, life: Life, job: Job, outcome: str) -> None:
        settled = self.do(self.deliveries.settle(job, life.address, DeliveryStatus(outcome), "why"))
        mine = life.generation == job.generation and life.delivery == "sending"
        assert settled is mine
        if job.generation in life.jobs:
            life.jobs.remove(job.generation)
        if mine:
            life.delivery, life.reason = outcome, "why"
            if outcome == "failed":
                life.digest = None

    @rule(steps=st.sampled_from((1, 1, 1, 1, 1, 2, 2, 3, 7, 20)))
    def time_passes(self, steps: int) -> None:
        self.now += steps * STEP
        self.scripts.offset_ms += steps * STEP * 1000

    # --- What always holds -------------------------------------------------------------------------------------------

    def is_ended(self, answer: Any, over: tuple[str, int | None]) -> None:
        assert isinstance(answer, ChallengeEnded), answer
        assert type(answer) is type(ended(Status(over[0]), 0)), answer

    def is_dropped(self, taken: Any, reason: str, life: Life, generation: int) -> None:
        assert taken == Dropped(reason)
        life.jobs.remove(generation)

    @invariant()
    def what_a_caller_sees_is_what_holds(self) -> None:
        for life in self.lives:
            view = self.do(self.challenges.view(life.address, caller="shop"))
            over = self.ending(life)
            assert view.status == (over[0] if over else "pending")
            assert view.attempts_left == MAX_ATTEMPTS - life.attempts
            assert view.sends_left == MAX_SENDS - life.sends
            assert view.generation == life.generation
            assert (view.delivery, view.delivery_reason) == (life.delivery, life.reason)
            assert round((view.expires_at - view.opened_at) / 10_000) * 10 == (
                life.expires - life.opened
            )
            assert (view.ended_at is None) is (over is None)

    @invariant()
    def nothing_happens_twice(self) -> None:
        """I1, I2, I4, I5."""
        for life in self.lives:
            assert life.accepted <= 1
            assert life.evaluated <= MAX_ATTEMPTS
            assert (life.proof is not None) is (life.status == "approved")
        assert all(times <= 1 for times in self.sms.values())
        proofs = set(self.redis.scan_iter("otp:{*}:proof:*", count=1000))
        assert proofs <= {life.proof for life in self.lives}

    @invariant()
    def failures_fall_only_by_success_or_by_leaving_their_window(self) -> None:
        """I3."""
        for who in set(SUBJECTS):
            subject = subject_address(RING, "shop", who)
            stored = self.redis.hgetall(keys.guard(subject, FACTOR))
            guard = self.guards.get(who, Guard())
            assert int(stored.get("streak", 0)) == guard.streak
            failures = stored.get("failures", "[]").strip("[]{}")
            assert len([at for at in failures.split(",") if at]) == len(guard.failures)
            assert len(guard.failures) <= BUDGET.long.count

    @invariant()
    def no_window_ever_holds_more_than_its_limit(self) -> None:
        for name, times in self.charged.items():
            for _, window in CALLER if name == "caller" else RECIPIENT:
                for at in times:
                    assert sum(at <= t < at + window.seconds for t in times) <= window.count
            key = (
                keys.limit("caller", "shop") if name == "caller" else keys.limit("recipient", name)
            )
            assert self.redis.zcard(key) <= len(times)

    @invariant()
    def a_tombstone_keeps_neither_number_nor_digest(self) -> None:
        for life in self.lives:
            secret = self.redis.hgetall(keys.secret(life.address))
            if life.status != "pending":
                assert secret == {}
            else:
                assert secret.get("digest") == life.digest


def run(url: str, *, examples: int, mutant: Mutant | None = None) -> None:
    class Machine(ChallengeLife):
        pass

    Machine.url, Machine.mutant = url, mutant
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate] if mutant else [Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_challenge_lives_as_the_model_says(valkey_url: str) -> None:
    """I1-I5, A03-A05, A15, A17, A20, B01, B03, B04: see the module."""
    run(valkey_url, examples=120)


MUTANTS = [
    Mutant(
        "tries are not counted (A01)",
        "reserve_attempt",
        "redis.call('HINCRBY', KEYS[1], 'attempts', 1)",
        "redis.call('HINCRBY', KEYS[1], 'attempts', 0) + 1",
    ),
    Mutant(
        "one try too many (A15)",
        "reserve_attempt",
        "if tonumber(c.attempts) >= tonumber(c.max_attempts) then",
        "if tonumber(c.attempts) > tonumber(c.max_attempts) then",
    ),
    Mutant(
        "a resend gives the tries back (A03)",
        "resend_code",
        "'delivery', 'queued', 'delivery_reason', ''",
        "'attempts', 0, 'delivery', 'queued', 'delivery_reason', ''",
    ),
    Mutant(
        "a resent code leaves the old one good (B04)",
        "resend_code",
        "redis.call('HDEL', KEYS[2], 'digest', 'kid')",
        "",
    ),
    Mutant(
        "a spent code can be spent again (B02)",
        "consume_challenge",
        "if status then return cjson.encode({verdict = 'ended', status = status, ended_at = ended_at}) end",
        "",
    ),
    Mutant(
        "success forgets to clear the failures",
        "consume_challenge",
        "redis.call('DEL', KEYS[2], KEYS[4])",
        "redis.call('DEL', KEYS[2])",
    ),
    Mutant(
        "success keeps the digest",
        "consume_challenge",
        "redis.call('DEL', KEYS[2], KEYS[4])",
        "redis.call('DEL', KEYS[4])",
    ),
    Mutant(
        "two workers pass the fence (I4)",
        "begin_send",
        "if c.delivery ~= 'queued' or tonumber(c.generation) ~= a.generation",
        "if tonumber(c.generation) ~= a.generation",
    ),
    Mutant(
        "a send is called lost while it is on its way",
        "take_job",
        "if is_alive(c.sending_at or 0, c.sending_until, now) then return cjson.encode({verdict = 'sending'}) end",
        "",
    ),
    Mutant(
        "a code is good after its end (B09)",
        "reserve_attempt",
        "if now >= tonumber(challenge.expires_at) then return 'expired'",
        "if now >= tonumber(challenge.expires_at) + 20000 then return 'expired'",
    ),
    Mutant(
        "a request does not look at the cooldown",
        "open_challenge",
        "if last + step > now then visit('cooldown', last + step - now) end",
        "",
    ),
    Mutant(
        "a window forgets too early (A20)",
        "open_challenge",
        "if nth and nth + ms > now then",
        "if nth and nth + ms / 2 > now then",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_the_machine_sees_a_script_without_one_of_its_defences(
    valkey_url: str, mutant: Mutant
) -> None:
    """The negative controls of the test above: it goes red for each."""
    with pytest.raises((AssertionError, OtpError)):
        run(valkey_url, examples=60, mutant=mutant)


def a_resend_while_hashing(machine: ChallengeLife) -> None:
    machine.request_and_get("ann", "", 0)
    life = machine.lives[-1]
    attempt = machine.do_reserve(life, "right")
    assert attempt is not None
    machine.time_passes(1)
    machine.do_resend(life)
    machine.do_deliver(life, 2, "accepted")
    machine.do_finish(attempt)


def a_death_before_tidying_up(machine: ChallengeLife) -> None:
    machine.request_and_get("ann", "", 0)
    older = machine.lives[-1]
    machine.time_passes(1)
    machine.request("ann", "", "login", 0, dies=True)
    machine.do_reserve(older, "right")


def guesses_at_two_challenges(machine: ChallengeLife) -> None:
    for guesses in (3, 3):
        machine.request_and_get("ann", "", 0)
        for _ in range(guesses):
            if attempt := machine.do_reserve(machine.lives[-1], "wrong"):
                machine.do_finish(attempt)
        machine.time_passes(1)


# What a short walk at random seldom meets.
STORIES = [
    (
        a_resend_while_hashing,
        Mutant(
            "a code of another generation is accepted (B03)",
            "consume_challenge",
            "if a.generation ~= tonumber(c.generation) then",
            "if false then",
        ),
    ),
    (
        a_death_before_tidying_up,
        Mutant(
            "the older challenge lives on (A05)",
            "reserve_attempt",
            "if newest ~= a.id then return 'replaced', tonumber(opened_at or now) end",
            "",
        ),
    ),
    (
        guesses_at_two_challenges,
        Mutant(
            "a block can be tried away (A17)",
            "reserve_attempt",
            "if until_ms > now then return until_ms end",
            "",
        ),
    ),
]


@pytest.mark.parametrize(("story", "mutant"), STORIES, ids=lambda part: getattr(part, "what", ""))
def test_a_story_holds_and_fails_without_its_defence(
    valkey_url: str, story: Callable[[ChallengeLife], None], mutant: Mutant
) -> None:
    """B03, A05, A17, each with its control."""
    tell(valkey_url, story, None)
    with pytest.raises((AssertionError, OtpError)):
        tell(valkey_url, story, mutant)


def tell(url: str, story: Callable[[ChallengeLife], None], mutant: Mutant | None) -> None:
    class Machine(ChallengeLife):
        pass

    Machine.url, Machine.mutant = url, mutant
    machine = Machine()
    try:
        story(machine)
        machine.what_a_caller_sees_is_what_holds()
        machine.failures_fall_only_by_success_or_by_leaving_their_window()
    finally:
        machine.teardown()
