"""The doctor's checks, repeated while the process runs: what a start refuses may come about later."""

import asyncio
from collections.abc import Mapping

import structlog

from otp_service.doctor.finding import Finding
from otp_service.doctor.redis import judge, no_answer
from otp_service.errors import Unavailable
from otp_service.services.clock_skew import ClockAgreement
from otp_service.services.loops import end
from otp_service.services.reloading_keyring import ReloadingKeyring
from otp_service.settings.table import Settings
from otp_service.store.connection import Connection
from otp_service.store.facts import ask
from otp_service.telemetry import FAILED_CHECKS

log = structlog.get_logger()

CHECK_SECONDS = 60.0
RECHECK_SECONDS = 5.0  # while something is wrong, so that a repair counts soon


class RunningChecks:
    """
    Looks every CHECK_SECONDS. Start it with `start`, end it with `stop`.

    A refusal becomes a warning of `/readyz`, a log line when it appears and when it goes, and `otp_check_failed`. The
    clock skew that it measures decides whether codes of authenticators are judged.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        *,
        keyring: ReloadingKeyring,
        clock: ClockAgreement,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._keyring = keyring
        self._clock = clock
        self._warnings: dict[str, str] = {}
        self._loops: list[asyncio.Task[None]] = []

    @property
    def warnings(self) -> Mapping[str, str]:
        """What a start would refuse now, by what was looked at."""
        return self._warnings

    async def start(self) -> None:
        """Begin to look."""
        self._loops = [asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """Leave off."""
        await end(self._loops)

    async def look(self) -> None:
        """Look once."""
        found: dict[str, str] = {}
        for finding in [*await self._redis(), *self._keys()]:
            if finding.level == "refuse":
                before = found.get(finding.what)
                found[finding.what] = f"{before}; {finding.message}" if before else finding.message
        for what, message in found.items():
            if what not in self._warnings:
                log.warning("check.failed", what=what, message=message)
            FAILED_CHECKS.labels(what).set(1)
        for what in self._warnings.keys() - found.keys():
            log.info("check.passed", what=what)
            FAILED_CHECKS.labels(what).set(0)
        self._warnings = found

    async def _redis(self) -> list[Finding]:
        try:
            facts = await ask(self._connection)
        except Unavailable as error:
            return [no_answer(error)]
        self._clock.measured(facts.skew_seconds)
        return [*judge(facts, self._settings)]

    def _keys(self) -> list[Finding]:
        self._keyring()  # an idle process reads a changed file too
        trouble = self._keyring.trouble
        return [Finding("refuse", "keyring", trouble)] if trouble else []

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("check.fault")
            await asyncio.sleep(RECHECK_SECONDS if self._warnings else CHECK_SECONDS)
