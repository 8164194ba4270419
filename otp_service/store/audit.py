"""The audit log in Redis: one stream that this service's user may append to and read, and nothing else."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from redis.exceptions import ResponseError

from otp_service.core.audit import Act, Detail, Entry, Tip, next_entry, person
from otp_service.core.challenge import SubjectAddress
from otp_service.core.keyring import Keyring
from otp_service.errors import Unavailable
from otp_service.store import keys
from otp_service.store.connection import FAULTS
from otp_service.store.scripts import Scripts

_DAY_MS = 86_400_000
_PAGE = 500
_TRIES = 50  # each means that somebody else's entry came between


class Audit:
    """
    The audit log.

    Args:
        days: How long entries are kept.
        on_append: Called with each entry after it was written.
    """

    def __init__(
        self,
        scripts: Scripts,
        keyring: Callable[[], Keyring],
        *,
        days: int,
        on_append: Callable[[Entry], None] = lambda entry: None,
    ) -> None:
        self._on_append = on_append
        self._scripts = scripts
        self._keyring = keyring
        self._keep_ms = days * _DAY_MS

    async def record(
        self,
        act: Act,
        *,
        by: str,
        caller: str = "",
        subject: SubjectAddress | None = None,
        reason: str = "",
        details: Mapping[Detail, str | int] | None = None,
    ) -> Entry:
        """
        Write an act, before it is done: what can't be written must not be done.

        Args:
            act: What is about to be done.
            by: `operator:<user>@<host>` or `caller:<name>`.
            caller: Whom it concerns.
            subject: The person it concerns; only a fingerprint is kept.
            reason: As `core.audit.checked_reason` gives it.
            details: What else; see `core.audit.Detail`.

        Raises:
            Unavailable: Redis; it may be written all the same.
        """
        named = {name: str(value) for name, value in (details or {}).items()}
        now, tip = await self._look()
        for _ in range(_TRIES):
            entry = next_entry(
                self._keyring(),
                tip,
                now=now,
                act=act,
                by=by,
                caller=caller,
                subject=person(self._keyring(), subject) if subject else "",
                reason=reason,
                details=named,
            )
            answer = await self._scripts.run(
                "append_audit",
                [keys.AUDIT],
                {
                    "after": tip.id,
                    "id": entry.id,
                    "fields": [part for pair in entry.fields().items() for part in pair],
                    "keep_ms": self._keep_ms,
                },
                durable=True,
            )
            if answer["verdict"] == "appended":
                self._on_append(entry)
                return entry
            now, tip = _tip(answer)
        raise Unavailable("the audit log is too busy")

    async def entries(self, *, since: int = 0, after: str = "") -> AsyncIterator[Entry]:
        """
        Yield entries, the oldest first.

        Args:
            since: Unix milliseconds.
            after: Only what follows the entry of this id, whatever `since` says.

        Raises:
            Unavailable: Redis.
            ValueError: what stands in the log is no entry of ours.
        """
        client: Any = self._scripts.connection.client
        start = f"({after}" if after else str(since)
        while True:
            try:
                page = await client.xrange(keys.AUDIT, min=start, count=_PAGE)
            except FAULTS as error:
                raise Unavailable(f"redis: audit: {type(error).__name__}") from error
            for entry_id, fields in page:
                yield Entry.read(entry_id, fields)
            if len(page) < _PAGE:
                return
            start = f"({page[-1][0]}"

    async def newest(self) -> str | None:
        """Return the id given out last, also if that entry is gone; None without a log. Raises Unavailable."""
        client: Any = self._scripts.connection.client
        try:
            return str((await client.xinfo_stream(keys.AUDIT))["last-generated-id"])
        except ResponseError as error:
            if "no such key" in str(error):
                return None
            raise Unavailable(f"redis: audit: {type(error).__name__}") from error
        except FAULTS as error:
            raise Unavailable(f"redis: audit: {type(error).__name__}") from error

    async def now(self) -> int:
        """Return Redis' clock in Unix milliseconds. Raises Unavailable."""
        return (await self._look())[0]

    async def _look(self) -> tuple[int, Tip]:
        return _tip(await self._scripts.run("append_audit", [keys.AUDIT], {}))


def _tip(answer: dict[str, Any]) -> tuple[int, Tip]:
    now = int(answer["now"])
    if "id" not in answer:
        return now, Tip()
    try:
        return now, Tip(str(answer["id"]), int(answer["number"]), str(answer["mac"]))
    except (TypeError, ValueError):
        raise Unavailable("redis: the audit log holds what is no entry") from None
