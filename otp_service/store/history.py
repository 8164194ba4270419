"""
What shows that Redis still has what it had: an installation id, ticks, and the epoch of the fence.

Each process writes a tick once a second and remembers its number. Tick, id and epoch lie once on a single node; on
Redis Cluster once for each primary, in the first bucket that it serves.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from otp_service.core.challenge import BUCKETS
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.cluster import Cluster
from otp_service.store.connection import FAULTS
from otp_service.store.scripts import Durability, Scripts

TICK_KEPT_MS = 3_600_000  # a process that was stopped for longer takes its tick for lost
STEPS_KEPT = 20


@dataclass(slots=True)
class Memory:
    """
    What a process remembers of one place. Times in Unix milliseconds by Redis' clock.

    Attributes:
        id: Of the installation.
        former: Of the installation before it came back empty; "" if it never did.
        epoch: The highest seen.
        fenced_at: When it rose.
        seen_at: The newest tick that was seen.
        confirmed: The number of this process's newest tick that Redis acknowledged; -1 before the first.
        now: What Redis' clock read then; 0 before.
    """

    id: str
    former: str = ""
    epoch: int = 0
    fenced_at: int = 0
    seen_at: int = 0
    confirmed: int = -1
    now: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """
    What Redis answered to a tick.

    Attributes:
        why: "" while all is well; "emptied": no installation, or one begun since; "lost": an acknowledged tick is gone;
            "clock": Redis' clock was set back.
        raised: Whether this tick raised the epoch.
        fenced_at: When the epoch rose last; 0 before.
        emptied: Whether the store came back empty, and no operator has accepted that.
        newest_at: The tick before this one, of any process.
        steps_back: Whether the operator has not dealt with one yet.
    """

    id: str
    now: int
    epoch: int
    why: str
    raised: bool
    fenced_at: int
    emptied: bool
    newest_at: int
    steps_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBack:
    """
    One step back, as the operator reads it.

    Attributes:
        why: As `Tick.why`.
        noticed_at: By Redis' clock, Unix milliseconds.
        newest_at: Of the newest tick that Redis still had.
        seen_at: Of the newest that the process had seen: what lies between is lost.
        lost: How many entries of the audit log are gone.
        acts: The newest of them that the process remembers.
    """

    why: str
    noticed_at: int
    newest_at: int
    seen_at: int
    lost: int
    acts: Sequence[Mapping[str, str]]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `HistoryStore.note` wrote."""
        return cls(**{**fields, "acts": list(fields["acts"] or ())})


class OtherInstallation(Exception):
    """Redis holds an installation that is older than what is remembered, and another one. Nothing was written."""


class HistoryStore:
    """The ticks of one process."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._process = secrets.token_hex(8)
        self._number = 0

    async def places(self) -> dict[str, int]:
        """Return the bucket of the ticks, for each server; see `Connection.opened`. Raises Unavailable."""
        client = self._scripts.connection.client
        if not isinstance(client, Cluster):
            return {"": 0}
        first: dict[str, int] = {}
        try:
            await client.initialize()
            for bucket in range(BUCKETS):
                if node := client.get_node_from_key(keys.history(bucket)):
                    first.setdefault(node.name, bucket)
        except FAULTS as error:
            raise Unavailable(f"redis: slots: {type(error).__name__}") from error
        return first

    async def tick(self, bucket: int, memory: Memory, *, known: bool) -> Tick:
        """
        Write a tick, compare, and remember what is there now.

        Args:
            bucket: Where.
            memory: Of this place; brought up to date.
            known: Whether its id was read there before, by this process or an earlier one.

        Raises:
            Unavailable.
            OtherInstallation.
        """
        self._number += 1
        number = self._number
        durable, answer = await self._write(
            [keys.history(bucket), keys.tick(bucket, self._process)],
            {
                "id": memory.id,
                "former_id": memory.former,
                "known": known,
                "tick": number,
                "confirmed": memory.confirmed,
                "last_now": memory.now,
                "seen_at": memory.seen_at,
                "epoch": memory.epoch,
                "keep_ms": TICK_KEPT_MS,
            },
        )
        if answer["verdict"] == "other":
            raise OtherInstallation
        tick = Tick(
            id=answer["id"],
            now=int(answer["now"]),
            epoch=int(answer["epoch"]),
            why=answer.get("why", ""),
            raised=bool(answer["raised"]),
            fenced_at=int(answer["fenced_at"]),
            emptied="emptied_at" in answer,
            newest_at=int(answer["newest_at"]),
            steps_back=bool(answer["steps_back"]),
        )
        if tick.id != memory.id:
            memory.id, memory.former = tick.id, memory.id if known else ""
        memory.former = answer.get("former") or memory.former
        memory.epoch, memory.fenced_at, memory.now = tick.epoch, tick.fenced_at, tick.now
        if durable:
            memory.confirmed, memory.seen_at = number, int(answer["at"])
        return tick

    async def _write(
        self, names: list[str], fields: Mapping[str, Any]
    ) -> tuple[bool, dict[str, Any]]:
        """Write a tick; return whether it may be relied on, and the answer. Raises Unavailable."""
        try:
            return True, await self._scripts.run("tick", names, fields, durable=True)
        except Unavailable:
            if self._scripts.durability is Durability.NONE:
                raise
        # Without its replica Redis may lose this tick, so it proves nothing later. The comparison is as good as ever,
        # and calls that read must not depend on the replica.
        return False, await self._scripts.run("tick", names, fields)

    async def note(self, bucket: int, step: StepBack) -> None:
        """Keep a step back for the operator. Raises Unavailable."""
        fields = {"step": asdict(step), "most": STEPS_KEPT}
        await self._scripts.run("note_step_back", [keys.history(bucket)], fields, durable=True)

    async def steps_back(self) -> list[StepBack]:
        """Return those that no operator has dealt with, the oldest first. Raises Unavailable."""
        found = []
        for bucket in (await self.places()).values():
            text = await self._scripts.field(keys.history(bucket), "steps_back")
            found += [StepBack.of(fields) for fields in json.loads(text or "[]")]
        return sorted(found, key=lambda step: step.noticed_at)

    async def dealt_with(self) -> None:
        """The operator has done what was to be done. Raises Unavailable."""
        await self._forget("steps_back")

    async def is_emptied(self) -> bool:
        """Whether a store came back empty and no operator has accepted that. Raises Unavailable."""
        fields = [
            await self._scripts.field(keys.history(bucket), "emptied_at")
            for bucket in (await self.places()).values()
        ]
        return any(fields)

    async def accept_empty(self) -> None:
        """Go on with the store as it is. Raises Unavailable."""
        await self._forget("emptied_at")

    async def _forget(self, field: str) -> None:
        client: Any = self._scripts.connection.client
        try:
            for bucket in (await self.places()).values():
                await client.hdel(keys.history(bucket), field)
        except FAULTS as error:
            raise Unavailable(f"redis: history: {type(error).__name__}") from error
